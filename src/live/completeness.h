// Completeness: up to when every partition has told what it saw. docs/SEMANTICS.md, "Windows".
//
// Not thread-safe. `now` is the wall clock, on the scale of event time and of append time.
#pragma once

#include <functional>
#include <map>
#include <utility>

#include "model/log_end.h"
#include "model/types.h"

namespace sightline {

// Asked whenever completeness is, so that it is never behind what is durable; must be quick.
using LogEndOf = std::function<LogEnd(const SourcePartition&)>;

class Completeness {
 public:
  // Without `log_end` nobody is known to be at the end of its log, so nobody is idle.
  Completeness(Millis idle_timeout, Millis out_of_orderness, LogEndOf log_end)
      : idle_timeout_(idle_timeout),
        out_of_orderness_(out_of_orderness),
        log_end_(std::move(log_end)) {}

  // Everything before `next` is counted. From the first call on the partition is waited for.
  void OnCounted(const SourcePartition& partition, Offset next, Watermark watermark);

  // kBeforeAllTime while a partition has told nothing and is not idle, or none is known.
  Watermark CompleteUntil(EventTime now);

 private:
  struct Partition {
    Offset next;
    Watermark watermark = kBeforeAllTime;
    // What was told while it was idle stands until its own word: records that are durable and not
    // counted yet end the idleness, but take nothing back.
    Watermark idle_until = kBeforeAllTime;
  };
  bool IsIdle(const SourcePartition& name, const Partition& partition, EventTime now) const;

  const Millis idle_timeout_, out_of_orderness_;
  const LogEndOf log_end_;
  std::map<SourcePartition, Partition> partitions_;
};

}  // namespace sightline
