// Completeness: up to when every partition has told what it saw. docs/SEMANTICS.md, "Windows".
//
// Not thread-safe. `now` is the wall clock, on the scale of event time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "model/types.h"

namespace sightline {

class Completeness {
 public:
  Completeness(Millis idle_timeout, Millis out_of_orderness, EventTime now)
      : idle_timeout_(idle_timeout), out_of_orderness_(out_of_orderness), start_(now) {}

  // What is durable says: known from now on, and as idle as the time since the start.
  void OnLoaded(const SourcePartition& partition, Watermark watermark);
  void OnRecords(const SourcePartition& partition, Watermark watermark, EventTime now);
  // True if that is news.
  bool SetAtEnd(const SourcePartition& partition, bool at_end);

  // kBeforeAllTime while a partition is silent and not idle yet, or none is known.
  Watermark CompleteUntil(EventTime now) const;

 private:
  struct Partition {
    Watermark watermark = kBeforeAllTime;
    std::optional<EventTime> last_records;  // wall time; none: not fed since the start
    std::optional<bool> at_end;             // none: nobody said
  };
  Watermark Of(const Partition& partition, EventTime now) const;

  const Millis idle_timeout_, out_of_orderness_;
  const EventTime start_;
  std::map<SourcePartition, Partition> partitions_;
};

}  // namespace sightline
