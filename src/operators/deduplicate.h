// deduplicate: what becomes of each event - the first matching row of the table in
// docs/SEMANTICS.md - and everything that must be remembered to say so.
//
// Pure: no thread, no clock. Forgetting is lazy: whether an id is remembered follows from its first
// copy's camera at the moment it is looked up, and a forgotten id is physically removed some time
// later. That gives the same outcomes as forgetting at once, because watermarks only grow.
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
#include "base/status.h"
#include "model/event.h"
#include "model/segment.h"
#include "operators/fact_index.h"
#include "operators/id_memory.h"
#include "pipeline/spec.h"

namespace sightline {

struct Decision {
  std::optional<Outcome> outcome;  // none: a heartbeat, which is counted apart
  bool conflict = false;           // a duplicate that says something else than the first copy
  uint32_t camera = 0;             // its number here; not of kMalformed
  uint32_t fact = 0;               // number of (camera, location, item); of kCounted only
  uint32_t item = 0;               // number in ItemNumbers; of kCounted only
};

// Item names by number. Numbers are dense and never change until Compact().
class ItemNumbers {
 public:
  uint32_t Intern(std::string_view name);
  const std::string& name(uint32_t item) const { return names_[item]; }
  size_t size() const { return names_.size(); }
  void Clear();

 private:
  std::deque<std::string> names_;  // stable addresses: the keys of the index
  boost::unordered_flat_map<std::string_view, uint32_t> index_;
};

class Deduplicate {
 public:
  explicit Deduplicate(const PipelineSpec& spec, uint64_t hash_seed = 0)
      : spec_(spec), hash_seed_(hash_seed) {}

  // What can be looked up before an event's turn. MakeHint() at several events, then Prefetch()
  // each, and the cache misses of all of them overlap; each step brings near what the next one
  // reads.
  struct Hint {
    uint64_t hash = 0;
    uint32_t fact_hash = 0;
    uint32_t camera = 0, item = 0;
    uint32_t fact = FactIndex::kNone;  // a guess: Decide() checks it
  };
  Hint MakeHint(const Event& event);
  void Prefetch(Hint& hint) const;
  // The outcome of the next event in the partition's order. `hint` is MakeHint(event).
  Decision Decide(const Event& event, AppendTime now, const Hint& hint);
  Decision Decide(const Event& event, AppendTime now) {
    return Decide(event, now, MakeHint(event));
  }
  void BeginBatch();  // only the planted bug kBatchWatermark looks at batches

  Watermark watermark() const { return watermark_; }
  int64_t remembered_ids() const { return ids_.size(); }
  int64_t cameras() const { return static_cast<int64_t>(cameras_.size()); }
  const ItemNumbers& items() const { return items_; }
  // Forgets facts and names that no remembered id has, when enough may have gathered. All numbers
  // change: no Decision or Hint may be held.
  void CompactIfDue(AppendTime now);

  void Save(const std::function<void(std::string_view)>& out) const;
  Status Load(ByteReader& in);

 private:
  struct Camera {
    CameraId id;
    std::optional<EventTime> greatest;      // accepted; its watermark is that - out_of_orderness
    AppendTime last_heard = kNoAppendTime;  // of any readable record
    uint32_t generation =
        0;  // grows when the camera comes back after camera_ttl: its ids are forgotten
    EventTime frozen = kBeforeAllTime;  // of kBatchWatermark only
  };
  // What the first copy of an id said. IdMemory keeps times as 32-bit ms behind `base`: a time that
  // does not fit there (49 days on), and a camera's next generation, begin a new fact of the same
  // key.
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
  void MarkHeard(Camera& camera, AppendTime now);
  void Advance(Camera& camera, EventTime time);
  Decision Remember(const Event& event, AppendTime now, const Hint& hint);
  void InsertId(const IdMemory::Entry& fresh, EventTime time, AppendTime now);
  bool IsRemembered(const IdMemory::Entry& entry, AppendTime now) const;
  bool Is(const Fact& fact, const FactKey& key) const;
  bool Fits(const Fact& fact, EventTime newest) const;
  // A fact of this key that can hold `newest`; `guess` may be it.
  uint32_t FactFor(const FactKey& key, EventTime newest, uint32_t guess);
  void IndexFacts();
  Status LoadTables(ByteReader& in);
  Status LoadIds(ByteReader& in);

  PipelineSpec spec_;
  uint64_t hash_seed_;
  ItemNumbers items_;
  std::vector<Camera> cameras_;
  boost::unordered_flat_map<CameraId, uint32_t, std::hash<CameraId>> camera_index_;
  std::vector<Fact> facts_;
  FactIndex fact_index_;             // the newest fact of each key
  size_t compact_at_ = kCompactMin;  // facts_.size() or items_.size()
  IdMemory ids_;
  EventTime oldest_ = kAfterAllTime;      // no remembered id has a `newest` before this
  bool camera_returned_ = false;          // a camera began a new generation since oldest_ was set
  Watermark watermark_ = kBeforeAllTime;  // the partition's

  static constexpr size_t kCompactMin = 65'536;
};

}  // namespace sightline
