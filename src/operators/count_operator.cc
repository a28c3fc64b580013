#include "operators/count_operator.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "operators/count_windows.h"
#include "operators/decode.h"
#include "operators/deduplicate.h"

namespace sightline {
namespace {

constexpr uint64_t kStateVersion = 2;  // of Save()'s layout
// So many events are looked up together before they are decided in their order: enough for their
// cache misses to overlap, few enough for what they fetch to stay in the first-level cache.
constexpr size_t kTogether = 32;

}  // namespace

struct CountOperator::State {
  State(const PipelineSpec& spec, uint64_t hash_seed)
      : spec(spec), decoder(spec.timestamp_unit), deduplicate(spec, hash_seed), windows(spec) {}
  PipelineSpec spec;
  Decoder decoder;
  Deduplicate deduplicate;
  CountWindows windows;
  std::vector<Event> events;  // of the record in hand
  AppendTime newest_append_time = kNoAppendTime;
};

CountOperator::CountOperator(const PipelineSpec& spec, uint64_t hash_seed)
    : state_(std::make_unique<State>(spec, hash_seed)) {}
CountOperator::~CountOperator() = default;
CountOperator::CountOperator(CountOperator&&) noexcept = default;
CountOperator& CountOperator::operator=(CountOperator&&) noexcept = default;

void CountOperator::BeginBatch() {
  state_->decoder.Clear();
  state_->deduplicate.BeginBatch();
}

void CountOperator::OnRecord(Offset offset, AppendTime append_time, std::string_view payload) {
  state_->events.clear();
  state_->decoder.Decode(payload, state_->events);
  OnEvents(offset, append_time, state_->events);
}

void CountOperator::OnEvents(Offset offset, AppendTime append_time, std::span<const Event> events) {
  Deduplicate& deduplicate = state_->deduplicate;
  CountWindows& windows = state_->windows;
  std::array<Deduplicate::Hint, kTogether> hints;
  for (; !events.empty(); events = events.subspan(std::min(events.size(), kTogether))) {
    const size_t together = std::min(events.size(), kTogether);
    for (size_t i = 0; i < together; ++i) hints[i] = deduplicate.Look(events[i]);
    for (size_t i = 0; i < together; ++i) deduplicate.Approach(hints[i]);
    for (size_t i = 0; i < together; ++i) windows.Approach(hints[i].camera, hints[i].fact);
    for (size_t i = 0; i < together; ++i) {
      const Watermark watermark = deduplicate.watermark();
      const Decision decision = deduplicate.Decide(events[i], append_time, hints[i]);
      windows.Add(events[i], decision, offset, append_time, watermark);
    }
  }
  state_->newest_append_time = append_time;
}

Segment CountOperator::TakeSegment(Offset first, Offset next) {
  Deduplicate& deduplicate = state_->deduplicate;
  Segment segment = state_->windows.Take(first, next, deduplicate.watermark(), deduplicate.items());
  deduplicate.CompactIfDue(state_->newest_append_time);
  return segment;
}

size_t CountOperator::open_rows() const { return state_->windows.rows(); }
size_t CountOperator::open_bytes() const { return state_->windows.set_aside_bytes(); }
Watermark CountOperator::watermark() const { return state_->deduplicate.watermark(); }
int64_t CountOperator::remembered_ids() const { return state_->deduplicate.remembered_ids(); }
int64_t CountOperator::cameras() const { return state_->deduplicate.cameras(); }

void CountOperator::Save(const std::function<void(std::string_view)>& out) const {
  CHECK(state_->windows.rows() == 0);
  ByteWriter header;
  header.Varint(kStateVersion);
  header.Fixed64(state_->spec.Fingerprint());
  out(header.bytes());
  state_->deduplicate.Save(out);
}

Status CountOperator::Load(std::string_view bytes) {
  ByteReader in(bytes);
  if (const uint64_t version = in.Varint(); in.ok() && version != kStateVersion)
    return Status::Stop(
        "the checkpoint was written by another version of sightline (state layout " +
        std::to_string(version) + ", this one reads " + std::to_string(kStateVersion) +
        "): run the version that wrote it");
  if (const uint64_t fingerprint = in.Fixed64();
      in.ok() && fingerprint != state_->spec.Fingerprint())
    return Status::Stop(
        "the checkpoint was written under other pipeline settings: results would not be those of "
        "either; restore the settings, or hand over to a new pipeline with count_from");
  if (!in.ok()) return Status::Stop("the operator state of the checkpoint is damaged: too short");
  return state_->deduplicate.Load(in);
}

}  // namespace sightline
