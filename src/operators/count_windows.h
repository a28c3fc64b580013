// CountWindows: adds up decided events into panes and into the ledger, until a segment is taken.
//
// It has no thread, no clock and no I/O. Panes are half-open [start, start + pane_size) and aligned
// to the epoch; windows are sums of panes. A count is a correction when the partition's watermark
// had passed the end of its window.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <string>
#include <vector>

#include "base/touch.h"
#include "model/event.h"
#include "model/segment.h"
#include "operators/deduplicate.h"
#include "pipeline/spec.h"

namespace sightline {

class CountWindows {
 public:
  explicit CountWindows(const PipelineSpec& spec)
      : pane_size_(spec.pane_size), window_size_(spec.window_size) {}

  // Loads the entries that Add() will read for a decision with these numbers. Unknown numbers are
  // ignored.
  void Prefetch(uint32_t camera, uint32_t fact) const {
    if (camera < last_row_of_camera_.size()) {
      const uint32_t row = last_row_of_camera_[camera];
      if (row < ledger_.size()) Touch(&ledger_[row].ledger);
    }
    if (fact < last_sum_of_fact_.size()) {
      const uint32_t index = last_sum_of_fact_[fact].index;
      if (index < counts_.size()) Touch(&counts_[index]);
    }
  }
  // Adds one event. `watermark` is the partition's watermark before this event.
  void Add(const Event& event, const Decision& decision, Offset offset, AppendTime now,
           Watermark watermark);
  // Moves out what was added since the last call. `items` maps the item numbers of the decisions to
  // names.
  Segment Take(Offset first, Offset next, Watermark watermark, const ItemNumbers& items);

  // Between two segments: the numbers of facts and cameras change their meaning, and there may be
  // far fewer of them.
  void ForgetNumbers() {
    last_sum_of_fact_ = {};
    last_row_of_camera_ = {};
  }

  size_t rows() const { return counts_.size() + ledger_.size() + dead_letters_.size(); }
  size_t dead_letter_bytes() const { return dead_letter_bytes_; }

 private:
  struct Cell {
    EventTime pane_start;
    LocationId location;
    uint32_t item = 0;
    CountKind kind = CountKind::kCount;
    friend bool operator==(const Cell&, const Cell&) = default;
    friend size_t hash_value(const Cell& cell) {
      return HashId(HashId(static_cast<uint64_t>(cell.pane_start.v) + cell.item) +
                    static_cast<uint64_t>(cell.location.v) + static_cast<uint64_t>(cell.kind));
    }
  };
  struct Sum {
    Cell cell;
    int64_t count = 0;
    EventTime first, last;
  };
  struct LedgerHash {
    size_t operator()(const LedgerKey& key) const {
      return HashId(HashId(static_cast<uint64_t>(key.camera.v)) +
                    static_cast<uint64_t>(key.location.v) + static_cast<uint64_t>(key.hour.v) +
                    static_cast<uint64_t>(key.known));
    }
  };

  static constexpr uint32_t kNone = UINT32_MAX;
  // The sum to which a fact was added last. Its next event most often belongs there, too, which
  // saves the hash look-up.
  struct LastSum {
    Window pane{kAfterAllTime, kBeforeAllTime};
    EventTime window_end;
    CountKind kind = CountKind::kCount;
    uint32_t index = kNone;
  };

  LastSum FindSum(const Event& event, const Decision& decision, Watermark watermark);
  Ledger& LedgerOf(const Event& event, const Decision& decision, AppendTime now);
  void Count(const Event& event, const Decision& decision, Watermark watermark);
  void Clear();
  void KeepDeadLetter(const Event& event, Outcome outcome, Offset offset, AppendTime now);

  Millis pane_size_, window_size_;
  std::vector<Sum> counts_;
  boost::unordered_flat_map<Cell, uint32_t> count_index_;
  std::vector<LastSum> last_sum_of_fact_;
  std::vector<uint32_t> facts_;  // whose LastSum is set; a fact may occur twice
  std::vector<LedgerRow> ledger_;
  boost::unordered_flat_map<LedgerKey, uint32_t, LedgerHash> ledger_index_;
  std::vector<uint32_t> last_row_of_camera_;
  std::vector<uint32_t> cameras_;  // whose last row is set
  std::vector<DeadLetter> dead_letters_;
  size_t dead_letter_bytes_ = 0;
};

}  // namespace sightline
