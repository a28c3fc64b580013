#include "live/completeness.h"

#include <algorithm>

namespace sightline {

void Completeness::OnCounted(const SourcePartition& partition, Offset next, Watermark watermark) {
  Partition& known = partitions_[partition];
  known.next = next;
  if (watermark <= known.watermark) return;  // malformed or old records do not advance it
  known.watermark = watermark;
  known.idle_until = kBeforeAllTime;
}

// The log's append times measure the silence, not the uptime of this process: a restart neither
// ends nor begins it.
bool Completeness::IsIdle(const SourcePartition& name, const Partition& partition,
                          EventTime now) const {
  if (!log_end_) return false;
  const LogEnd end = log_end_(name);
  if (end.newest == kNoAppendTime) return true;
  if (partition.next < end.next) return false;
  // Only malformed records ever came, so there is no camera to wait for.
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
