#include "live/completeness.h"

#include <algorithm>

namespace sightline {

void Completeness::OnLoaded(const SourcePartition& partition, Watermark watermark) {
  Partition& known = partitions_[partition];
  known.watermark = std::max(known.watermark, watermark);
}

void Completeness::OnRecords(const SourcePartition& partition, Watermark watermark, EventTime now) {
  Partition& known = partitions_[partition];
  known.watermark = std::max(known.watermark, watermark);
  known.last_records = now;
}

bool Completeness::SetAtEnd(const SourcePartition& partition, bool at_end) {
  const auto [it, is_new] = partitions_.try_emplace(partition);
  const bool news = is_new || it->second.at_end != at_end;
  it->second.at_end = at_end;
  return news;
}

Watermark Completeness::Of(const Partition& partition, EventTime now) const {
  // A partition that was never fed, and of which nobody says that it is behind, is at its end.
  const bool at_end = partition.at_end.value_or(!partition.last_records);
  const Millis silent = now - partition.last_records.value_or(start_);
  if (!at_end || silent < idle_timeout_) return partition.watermark;
  return std::max(partition.watermark, now - idle_timeout_ - out_of_orderness_);
}

Watermark Completeness::CompleteUntil(EventTime now) const {
  if (partitions_.empty()) return kBeforeAllTime;
  Watermark least = kAfterAllTime;
  for (const auto& [name, partition] : partitions_) least = std::min(least, Of(partition, now));
  return least;
}

}  // namespace sightline
