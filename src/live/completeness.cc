#include "live/completeness.h"

#include <algorithm>

namespace sightline {

void Completeness::OnCounted(const SourcePartition& partition, Offset next, Watermark watermark) {
  Partition& known = partitions_[partition];
  known.next = next;
  if (watermark <= known.watermark) return;  // malformed or old ones: they tell nothing new
  known.watermark = watermark;
  known.idle_until = kBeforeAllTime;
}

// Silence is measured by the log, not by this process: a restart neither ends nor begins it.
bool Completeness::IsIdle(const SourcePartition& name, const Partition& partition,
                          EventTime now) const {
  if (!log_end_) return false;
  const LogEnd end = log_end_(name);
  if (end.newest == kNoAppendTime) return true;
  if (partition.next < end.next) return false;
  // Nothing but malformed ones: no camera was ever heard here.
  if (partition.watermark == kBeforeAllTime) return true;
  return now - ToEventTime(end.newest) >= idle_timeout_;
}

Watermark Completeness::CompleteUntil(EventTime now) {
  if (partitions_.empty()) return kBeforeAllTime;
  const Watermark idle_until = now - idle_timeout_ - out_of_orderness_;
  Watermark least = kAfterAllTime;
  for (auto& [name, partition] : partitions_) {
    if (partition.watermark < idle_until && IsIdle(name, partition, now))
      partition.idle_until = std::max(partition.idle_until, idle_until);
    least = std::min(least, std::max(partition.watermark, partition.idle_until));
  }
  return least;
}

}  // namespace sightline
