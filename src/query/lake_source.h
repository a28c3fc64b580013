// LakeSource: the port through which queries see the lake and what the engine has not written there
// yet.
//
// The columns of the tables are those of the structs below, by these names; times are UTC. A row of
// `locations` is a Location: Dataset B as it is used now.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/location.h"
#include "model/segment.h"
#include "query/file_list.h"

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
//   long? (files of earlier programs do not have the column)
struct LedgerIncrement {
  SourcePartition source;
  Offset first, next;
  LedgerRow row;
};

// A part of the pending rows that is not in memory: read when a query comes to it, and forgotten.
// Immutable; any thread.
class PendingPart {
 public:
  virtual ~PendingPart() = default;
  virtual Result<std::vector<CountIncrement>> Counts() const = 0;
  virtual Result<std::vector<LedgerIncrement>> Ledger() const = 0;
};

// One moment of everything. Sums over it never dip: it holds the lake at one version and every
// pending segment with first >= that version's committed offset, and nothing else.
//
// Shared pointers, because states change every second and share what did not change, and because
// running queries keep the state that they began with.
struct LakeState {
  // Versions of item_count_increments and ledger; -1: the table does not exist yet. For the answer
  // to "which state was this?".
  int64_t counts_version = -1, ledger_version = -1;
  FileList counts_files, ledger_files;
  std::shared_ptr<const std::vector<CountIncrement>> pending_counts;   // null: none
  std::shared_ptr<const std::vector<LedgerIncrement>> pending_ledger;  // null: none
  std::vector<std::shared_ptr<const PendingPart>> pending_parts;       // and these
  std::shared_ptr<const std::vector<Location>> locations;              // null: none
};

class LakeSource {
 public:
  virtual ~LakeSource() = default;
  // Never null. Called once a query, from any thread, several at once; must not wait for the
  // network.
  virtual Result<std::shared_ptr<const LakeState>> Current() = 0;
};

}  // namespace sightline
