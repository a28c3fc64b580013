// Deduplicate: decides the outcome of each event - the first matching row of the outcome table in
// docs/SEMANTICS.md - and remembers what it needs for that.
//
// It has no thread and no clock. Forgetting is lazy: whether an id is still remembered follows from
// its first copy's camera at the moment of the look-up, and a forgotten id is removed some time
// later. The outcomes are the same as with immediate forgetting, because watermarks only grow.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/mutant.h"
#include "base/status.h"
#include "model/event.h"
#include "model/segment.h"
#include "operators/clock_jumps.h"
#include "operators/fact_index.h"
#include "operators/id_conflicts.h"
#include "operators/id_memory.h"
#include "pipeline/spec.h"

namespace sightline {

struct Decision {
  std::optional<Outcome> outcome;  // none: a heartbeat, which is counted apart
  bool conflict = false;           // a duplicate that contradicts the first copy
  uint32_t camera = 0;             // the camera's number in Deduplicate; not of kMalformed
  uint32_t fact = 0;               // number of (camera, location, item); of kCounted only
  uint32_t item = 0;               // number in ItemNumbers; of kCounted only
};

// Maps item names to dense numbers. A number keeps its meaning until CompactIfDue().
class ItemNumbers {
 public:
  uint32_t Intern(std::string_view name);
  const std::string& name(uint32_t item) const { return names_[item]; }
  size_t size() const { return names_.size(); }
  void Clear();

 private:
  std::deque<std::string> names_;  // a deque keeps addresses stable: the index has views of them
  boost::unordered_flat_map<std::string_view, uint32_t> index_;
};

class Deduplicate {
 public:
  explicit Deduplicate(const PipelineSpec& spec, uint64_t hash_seed = 0)
      : spec_(spec), hash_seed_(hash_seed) {}

  // What can be looked up before an event's turn. Call MakeHint() for several events and then
  // Prefetch() for each of them, so that their cache misses overlap: each pass loads what the next
  // one reads.
  struct Hint {
    uint64_t hash = 0;
    uint32_t fact_hash = 0;
    uint32_t camera = 0, item = 0;
    uint32_t fact = FactIndex::kNone;  // a guess by hash; Decide() checks it
  };
  Hint MakeHint(const Event& event);
  void Prefetch(Hint& hint) const;
  // Decides the next event in the partition's order. `hint` is MakeHint(event).
  Decision Decide(const Event& event, AppendTime now, const Hint& hint);
  Decision Decide(const Event& event, AppendTime now) {
    return Decide(event, now, MakeHint(event));
  }
  void BeginBatch();  // only the planted bug kBatchWatermark uses batches

  Watermark watermark() const { return watermark_; }
  // The greatest accepted event time; none: nothing was accepted yet.
  std::optional<EventTime> greatest() const { return greatest_; }
  const ClockJumps& clock_jumps() const { return clock_jumps_; }  // since this object was built
  // Since this object was built, or since ForgetIdConflicts().
  const IdConflicts& id_conflicts() const { return id_conflicts_; }
  void ForgetIdConflicts() { id_conflicts_ = {}; }
  int64_t remembered_ids() const { return ids_.size(); }
  int64_t cameras() const { return static_cast<int64_t>(cameras_.size()); }
  const ItemNumbers& items() const { return items_; }
  // Drops the facts and names that no remembered id uses, once there may be enough of them, and the
  // cameras that were silent for camera_ttl. True: all numbers have changed. No Decision or Hint
  // may be held over the call.
  bool CompactIfDue();

  void Save(const std::function<void(std::string_view)>& out) const;
  Status Load(ByteReader& in);

 private:
  struct Camera {
    CameraId id;
    // The camera's watermark is this - out_of_orderness: its greatest accepted event time, or less
    // if its clock is in doubt (Reach).
    std::optional<EventTime> greatest;
    // The greatest append time in the partition up to its last readable record.
    AppendTime last_heard = kNoAppendTime;
    // Increases when the camera returns after a silence of camera_ttl: that forgets its ids at
    // once.
    uint32_t generation = 0;
    EventTime frozen = kBeforeAllTime;  // used by kBatchWatermark only
  };
  // What a camera's records without append time say of its clock.
  struct CameraClock {
    bool is_known = false;  // there was a record; then id and time are the last one's
    bool is_event = false;  // not a heartbeat
    DetectionId id;
    EventTime time;
    std::optional<EventTime> reference;  // the last time of the moment before
  };
  // What the first copy of an id said: camera, item and location. IdMemory stores times as 32-bit
  // milliseconds after `base`. A time that does not fit (49 days and later) begins a new fact with
  // the same key, and so does the camera's next generation.
  struct Fact {
    uint32_t camera = 0, generation = 0, item = 0;
    LocationId location;
    EventTime base;
  };
  struct FactKey {
    uint32_t camera = 0, item = 0;
    LocationId location;
    friend bool operator==(const FactKey&, const FactKey&) = default;
    uint32_t Hash() const {
      return HashId((uint64_t{camera} << 32 | item) ^
                    static_cast<uint64_t>(location.v) * 0x9e3779b97f4a7c15ull) >>
             32;
    }
  };
  static constexpr uint32_t kNone = FactIndex::kNone;

  uint64_t HashOf(const Event& event) const;
  uint32_t CameraOf(CameraId id);
  EventTime WatermarkOf(const Camera& camera) const;
  bool IsTooLate(const Event& event, const Camera& camera, AppendTime now) const;
  // Returns the append time that counts for forgetting.
  AppendTime MarkHeard(uint32_t camera, AppendTime now);
  // True if nothing was heard of the camera for camera_ttl.
  bool IsSilent(const Camera& camera) const;
  void CompactFacts();
  void DropSilentCameras();
  // Returns the time up to which the record may move its camera's watermark, if any, and takes note
  // of what it says of the camera's clock. Call it once for each readable record.
  std::optional<EventTime> Reach(const Event& event, uint32_t camera, AppendTime now);
  void Advance(Camera& camera, EventTime time, std::optional<EventTime> reach);
  Decision Remember(const Event& event, AppendTime now, const Hint& hint);
  void InsertId(const IdMemory::Entry& fresh, EventTime time, AppendTime now);
  bool IsRemembered(const IdMemory::Entry& entry, AppendTime now) const;
  bool Is(const Fact& fact, const FactKey& key) const;
  bool Fits(const Fact& fact, EventTime newest) const;
  // Returns a fact with this key that can hold the time `newest`; `guess` may be the one.
  uint32_t FactFor(const FactKey& key, EventTime newest, uint32_t guess);
  void IndexFacts();
  bool HasClocks() const { return spec_.watermark_step == WatermarkStep::kBounded; }
  void SaveCameras(ByteWriter& writer) const;
  Status LoadCameras(ByteReader& in);
  Status LoadTables(ByteReader& in);
  Status LoadIds(ByteReader& in);

  PipelineSpec spec_;
  uint64_t hash_seed_;
  ItemNumbers items_;
  std::vector<Camera> cameras_;
  std::vector<CameraClock> clocks_;  // one for each camera, or none at all (HasClocks)
  boost::unordered_flat_map<CameraId, uint32_t, std::hash<CameraId>> camera_index_;
  std::vector<Fact> facts_;
  FactIndex fact_index_;             // maps each key to its newest fact
  size_t compact_at_ = kCompactMin;  // compares with facts_.size() and items_.size()
  IdMemory ids_;
  EventTime oldest_ = kAfterAllTime;      // no remembered id is older than this
  bool camera_returned_ = false;          // a generation began since oldest_ was set
  Watermark watermark_ = kBeforeAllTime;  // the partition's
  std::optional<EventTime> greatest_;     // over all cameras, whatever their clocks
  ClockJumps clock_jumps_;
  IdConflicts id_conflicts_;
  AppendTime newest_heard_ = kNoAppendTime;  // the greatest last_heard

  AppendTime look_at_cameras_at_ = kNoAppendTime;  // when newest_heard_ is so far

  static constexpr size_t kCompactMin = kSimulated ? 4 : 65'536;
};

}  // namespace sightline
