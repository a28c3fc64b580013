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
#include "operators/id_memory.h"
#include "pipeline/spec.h"

namespace sightline {

struct Decision {
  std::optional<Outcome> outcome;  // none: a heartbeat, which is counted apart
  bool conflict = false;           // a duplicate that says something else than the first copy
  uint32_t item = 0;               // of kCounted: the item's number in ItemNames
};

// Item names by number. Numbers are dense and never change until Compact().
class ItemNames {
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
  explicit Deduplicate(const PipelineSpec& spec) : spec_(spec) {}

  void Prefetch(const Event& event) const { ids_.Prefetch(HashOf(event)); }
  Decision Decide(const Event& event, AppendTime now);
  void BeginBatch();  // only the planted bug kBatchWatermark looks at batches

  Watermark watermark() const { return watermark_; }
  int64_t remembered_ids() const { return ids_.size(); }
  int64_t cameras() const { return static_cast<int64_t>(cameras_.size()); }
  const ItemNames& items() const { return items_; }
  // Forgets the names that no remembered id has. Numbers change: no Decision may be held.
  void CompactItems();

  void Save(const std::function<void(std::string_view)>& out) const;
  Status Load(ByteReader& in);

 private:
  struct Camera {
    CameraId id;
    std::optional<EventTime> greatest;      // accepted; its watermark is that - out_of_orderness
    AppendTime last_heard = kNoAppendTime;  // of any readable record
    uint32_t life = 0;  // grows when the camera comes back after camera_ttl: its ids are forgotten
    uint32_t slot = kNone;              // the newest of its slots
    EventTime frozen = kBeforeAllTime;  // of kBatchWatermark only
  };
  // A camera's life with a base for the 32-bit times of IdMemory: 49 days after it a new one
  // begins.
  struct Slot {
    uint32_t camera = 0, life = 0;
    EventTime base;
    uint32_t facts = 0;  // that use it; 0: free
  };
  // What the first copy of an id said.
  struct Fact {
    uint32_t slot = 0, item = 0;
    LocationId location;
    uint32_t ids = 0;  // that use it; 0: free
  };
  struct FactKey {
    uint32_t slot = 0, item = 0;
    LocationId location;
    friend bool operator==(const FactKey&, const FactKey&) = default;
    friend size_t hash_value(const FactKey& key) {
      return HashId(HashId(uint64_t{key.slot} << 32 | key.item) +
                    static_cast<uint64_t>(key.location.v));
    }
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  uint64_t HashOf(const Event& event) const;
  uint32_t CameraOf(CameraId id);
  EventTime WatermarkOf(const Camera& camera) const;
  bool IsTooLate(const Event& event, const Camera& camera, AppendTime now) const;
  void Hear(Camera& camera, AppendTime now);
  void Advance(Camera& camera, EventTime time);
  Decision Remember(const Event& event, uint32_t camera, AppendTime now);
  bool IsRemembered(const IdMemory::Entry& entry, AppendTime now) const;
  EventTime NewestOf(const IdMemory::Entry& entry) const;
  // Gives the entry what is known about it, with a reference to its fact.
  void SetFact(IdMemory::Entry& entry, uint32_t camera, LocationId location, uint32_t item,
               EventTime newest);
  uint32_t SlotFor(uint32_t camera, EventTime newest);
  uint32_t AddFact(const FactKey& key);
  void ReleaseFact(uint32_t fact);
  Status LoadTables(ByteReader& in);
  Status LoadIds(ByteReader& in);

  PipelineSpec spec_;
  ItemNames items_;
  std::vector<Camera> cameras_;
  boost::unordered_flat_map<CameraId, uint32_t, std::hash<CameraId>> camera_index_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  std::vector<Fact> facts_;
  std::vector<uint32_t> free_facts_;
  boost::unordered_flat_map<FactKey, uint32_t> fact_index_;
  IdMemory ids_;
  Watermark watermark_ = kBeforeAllTime;  // the partition's
};

}  // namespace sightline
