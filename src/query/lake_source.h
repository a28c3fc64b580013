// LakeSource: the port through which queries see the lake, and the rows that the engine has not
// written there yet.
//
// The columns of the tables are those of the structs below, by these names; times are UTC. A row of
// `locations` is a Location of the current location table (Dataset B).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/location.h"
#include "model/scope.h"
#include "model/segment.h"
#include "query/file_keeper.h"
#include "query/file_list.h"
#include "query/incomplete_partition.h"
#include "sql/read_bounds.h"

namespace sightline {

// A row of `item_count_increments`: what one segment adds to one window. In the files:
//   geographical_location_oid long, date date (both usually in the path), geographical_location
//   string?, item_name string, window_start window_end timestamp, item_count long, first_detected
//   last_detected timestamp, kind string, engine source string?, source_partition int?,
//   first_offset next_offset long?
struct CountIncrement {
  LocationId location;
  std::string item;
  Window window;
  int64_t count = 0;
  EventTime first_detected, last_detected;
  CountKind kind = CountKind::kCount;
  SourcePartition source;
  Offset first, next;
};

// A row of `ledger`. In the files:
//   source string, source_partition int, first_offset next_offset long, geographical_location_oid
//   video_camera_oid long? (null: unreadable), append_hour timestamp? (null: no append time),
//   received counted duplicate too_late future malformed outside conflicts heartbeats long, lost
//   long? (files of earlier versions lack the column)
struct LedgerIncrement {
  SourcePartition source;
  Offset first, next;
  LedgerRow row;
};

// Whether a scope sees a row.
inline bool Sees(const Scope& scope, const CountIncrement& row) { return scope.Sees(row.location); }
inline bool Sees(const Scope& scope, const Location& row) { return scope.Sees(row.location); }
inline bool Sees(const Scope& scope, const LedgerIncrement& row) {
  // An unreadable record belongs to no location, so only a scope of all locations includes it.
  return row.row.key.known ? scope.Sees(row.row.key.location) : !scope.locations;
}

// A part of the pending rows that is not in memory. A query reads it when it needs it and does not
// keep it. Immutable, so safe on any thread. kRetry or kStop when the part cannot be read.
class PendingPart {
 public:
  virtual ~PendingPart() = default;
  virtual Result<std::vector<CountIncrement>> Counts() const = 0;
  virtual Result<std::vector<LedgerIncrement>> Ledger() const = 0;
  // What another process needs to read the same part (query/lake_source.h, OpenPart).
  virtual std::string Reference() const = 0;
};
// Opens the part that Reference() of another process describes. kStop: it is not one of ours.
using OpenPart = std::function<Result<std::shared_ptr<const PendingPart>>(std::string_view)>;

// The lake and the pending rows at one moment: the lake at one version, every pending segment whose
// `first` is at or after that version's committed offset, and nothing else. So sums never dip.
//
// The pointers are shared because states change every second and share what did not change, and
// because a running query keeps the state with which it began.
struct LakeState {
  // Versions of item_count_increments and ledger, which identify the state; -1: the table does not
  // exist yet.
  int64_t counts_version = -1, ledger_version = -1;
  FileList counts_files, ledger_files;
  std::shared_ptr<const std::vector<CountIncrement>> pending_counts;   // null: none
  std::shared_ptr<const std::vector<LedgerIncrement>> pending_ledger;  // null: none
  std::vector<std::shared_ptr<const PendingPart>> pending_parts;       // more pending rows, on disk
  std::shared_ptr<const std::vector<Location>> locations;              // null: none
  std::vector<IncompletePartition> incomplete;  // what is known to be missing; mostly nothing
};

// The folders of the two tables, below the lake's.
constexpr std::string_view kCountsFolder = "item_count_increments", kLedgerFolder = "ledger";

// The views that a question reads, by name, and the bounds of the rows that it needs from each.
using ViewBounds = std::map<std::string, ReadBounds, std::less<>>;

class LakeSource {
 public:
  virtual ~LakeSource() = default;
  // The state for a question about `views`; what the question does not need may be missing in it.
  virtual Result<std::shared_ptr<const LakeState>> For(const ViewBounds& /*views*/) {
    return Current();
  }
  // The current state, never null. Called from any thread and concurrently; it
  // must not wait for the network. kRetry: there is no state that can be queried yet.
  virtual Result<std::shared_ptr<const LakeState>> Current() = 0;
  // Who has the files of a state while they are read. Null: FileList::root() is the lake's own
  // folder, so nobody needs to fetch them. The same as long as this lives.
  virtual FileKeeper* copies() { return nullptr; }
};

}  // namespace sightline
