// CountsTable: the statements on the tables 'progress' and 'groups', which layout.cc draws.
//
// Bound to one connection, and used by the thread that uses it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/embedded_log/log.h"
#include "connectors/embedded_log/sqlite.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline::embedded_log {

// A group of consecutive segments' running totals, ready to be stored.
struct EncodedGroup {
  Offset first, next;
  EventTime newest_pane;
  std::string data;
};

class CountsTable {
 public:
  static Result<CountsTable> Create(Database& database);

  Result<std::optional<CountsProgress>> ReadProgress(const SourcePartition& partition);
  // The partitions that have progress, ordered by source and partition.
  Result<std::vector<SourcePartition>> ReadPartitions();
  // Calls `callback` for every group whose newest pane starts at or after `not_before`, ordered by
  // offset.
  Status ReadGroups(const SourcePartition& partition, EventTime not_before,
                    const std::function<void(Segment&&)>& callback);

  // Only for the writer, in its transaction.
  Status WriteProgress(const SourcePartition& partition, const CountsProgress& progress);
  Status WriteGroup(const SourcePartition& partition, const EncodedGroup& group);
  Status DeleteGroups(const SourcePartition& partition, EventTime newest_pane_before);

 private:
  Statement read_progress_, read_partitions_, read_groups_, write_progress_, write_group_,
      delete_groups_;
};

}  // namespace sightline::embedded_log
