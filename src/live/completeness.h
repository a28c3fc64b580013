// Completeness: the event time up to which every partition has reported all it saw.
// docs/SEMANTICS.md, "Windows".
//
// Not thread-safe: Live's mutex guards it. `now` is the wall clock, which event times and append
// times share.
#pragma once

#include <functional>
#include <map>
#include <utility>

#include "model/log_end.h"
#include "model/types.h"

namespace sightline {

// Returns where a partition's log ends now. Every evaluation calls it, so that completeness never
// lags behind what is durable; it must be quick.
using LogEndOf = std::function<LogEnd(const SourcePartition&)>;

class Completeness {
 public:
  // Without `log_end` no partition is known to be at the end of its log, so none is idle.
  Completeness(Millis idle_timeout, Millis out_of_orderness, LogEndOf log_end)
      : idle_timeout_(idle_timeout),
        out_of_orderness_(out_of_orderness),
        log_end_(std::move(log_end)) {}

  // Everything before `next` is counted. From the first call on, completeness waits for the
  // partition.
  void OnCounted(const SourcePartition& partition, Offset next, Watermark watermark);

  // kBeforeAllTime while no partition is known, or while one that is not idle has no watermark yet.
  Watermark CompleteUntil(EventTime now);

 private:
  struct Partition {
    Offset next;
    Watermark watermark = kBeforeAllTime;
    // What was announced while the partition was idle. It holds until the partition's own watermark
    // advances: records that are durable but not yet counted end the idleness, but they must not
    // take back what viewers have already seen.
    Watermark idle_until = kBeforeAllTime;
  };
  bool IsIdle(const SourcePartition& name, const Partition& partition, EventTime now) const;

  const Millis idle_timeout_, out_of_orderness_;
  const LogEndOf log_end_;
  std::map<SourcePartition, Partition> partitions_;
};

}  // namespace sightline
