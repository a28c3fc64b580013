#include "monitor/activity.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sightline {
namespace {

// A camera that has not changed its partition for so long is in one.
constexpr int64_t kSplitMs = 60'000;

}  // namespace

struct Activity::State {
  struct Camera {
    CameraSample sample;
    int32_t partition = 0;  // its number in `partitions`
    // Between partitions of one source; more than one is forth and back: it has not just moved.
    int32_t changes = 0;
    int32_t before = 0;  // the newest
    int64_t changed_ms = 0;
  };
  size_t subjects_max = 0;
  Millis forget_after;
  mutable std::mutex mutex;
  // Under mutex.
  std::map<SourcePartition, int32_t> partitions;  // numbered as they came
  std::vector<SourcePartition> by_number;
  std::unordered_map<CameraId, Camera> cameras;
  std::unordered_map<LocationId, int64_t> locations;  // when last seen
  Ledger ledger;
  int64_t untracked = 0;

  void UpdateLocation(LocationId location, int64_t now_ms) {
    if (const auto found = locations.find(location); found != locations.end())
      found->second = std::max(found->second, now_ms);
    else if (locations.size() < subjects_max)
      locations.emplace(location, now_ms);
    else
      ++untracked;
  }
  int32_t NumberOf(const SourcePartition& partition) {
    const auto number = static_cast<int32_t>(by_number.size());
    const auto [known, is_new] = partitions.try_emplace(partition, number);
    if (is_new) by_number.push_back(partition);
    return known->second;
  }
  // A topic that is made again is another source: there it begins anew.
  void Move(Camera& camera, int32_t to, int64_t now_ms) const {
    const int32_t from = std::exchange(camera.partition, to);
    if (from == to || by_number[from].source != by_number[to].source) return;
    if (now_ms - camera.changed_ms > kSplitMs) camera.changes = 0;
    ++camera.changes;
    camera.changed_ms = now_ms;
    camera.before = from;
  }
  void UpdateCamera(int32_t partition, const LedgerRow& row, int64_t now_ms) {
    auto found = cameras.find(row.key.camera);
    if (found == cameras.end()) {
      if (cameras.size() >= subjects_max) {
        ++untracked;
        return;
      }
      found = cameras.emplace(row.key.camera, Camera{}).first;
      found->second.sample.camera = row.key.camera;
      found->second.partition = partition;
    }
    Camera& camera = found->second;
    Move(camera, partition, now_ms);
    camera.sample.location = row.key.location;
    camera.sample.last_seen_ms = now_ms;
    camera.sample.received += row.ledger.received;
    camera.sample.future += row.ledger.of(Outcome::kFuture);
    camera.sample.too_late += row.ledger.of(Outcome::kTooLate);
  }
};

Activity::Activity(size_t subjects_max, Millis forget_after) : state_(std::make_unique<State>()) {
  state_->subjects_max = subjects_max;
  state_->forget_after = forget_after;
}
Activity::~Activity() = default;

void Activity::Count(const SourcePartition& from, const Segment& segment, int64_t now_ms) {
  State& s = *state_;
  const std::lock_guard lock(s.mutex);
  const int32_t number = s.NumberOf(from);
  bool has_cameras = false;
  for (const LedgerRow& row : segment.ledger) {
    s.ledger.Add(row.ledger);
    if (!row.key.known) continue;
    has_cameras = true;
    s.UpdateCamera(number, row, now_ms);
    s.UpdateLocation(row.key.location, now_ms);
  }
  // Where segments come without cameras (`serve`), the counts say which locations are alive.
  if (has_cameras) return;
  for (const CountRow& row : segment.counts) s.UpdateLocation(row.key.location, now_ms);
}

void Activity::Expect(LocationId location, int64_t now_ms) {
  const std::lock_guard lock(state_->mutex);
  state_->UpdateLocation(location, now_ms);
}

void Activity::Forget(const SourcePartition& partition) {
  const std::lock_guard lock(state_->mutex);
  const auto known = state_->partitions.find(partition);
  if (known == state_->partitions.end()) return;
  std::erase_if(state_->cameras, [number = known->second](const auto& entry) {
    return entry.second.partition == number;
  });
}

void Activity::ForgetSplits() {
  const std::lock_guard lock(state_->mutex);
  for (auto& [id, camera] : state_->cameras) camera.changes = 0;
}

void Activity::Fill(int64_t now_ms, MonitorSample& sample) {
  State& s = *state_;
  const std::lock_guard lock(s.mutex);
  const int64_t oldest = now_ms - s.forget_after.v;
  std::erase_if(s.cameras,
                [oldest](const auto& entry) { return entry.second.sample.last_seen_ms < oldest; });
  std::erase_if(s.locations, [oldest](const auto& entry) { return entry.second < oldest; });
  sample.cameras.reserve(s.cameras.size());
  for (const auto& [id, camera] : s.cameras) {
    sample.cameras.push_back(camera.sample);
    if (camera.changes < 2 || now_ms - camera.changed_ms > kSplitMs) continue;
    const auto [first, second] =
        std::minmax(s.by_number[camera.before].partition, s.by_number[camera.partition].partition);
    sample.splits.push_back(
        {.camera = id, .location = camera.sample.location, .first = first, .second = second});
  }
  sample.locations.reserve(s.locations.size());
  for (const auto& [location, last_seen_ms] : s.locations)
    sample.locations.push_back({location, last_seen_ms});
  sample.ledger = s.ledger;
}

int64_t Activity::untracked() const {
  const std::lock_guard lock(state_->mutex);
  return state_->untracked;
}

}  // namespace sightline
