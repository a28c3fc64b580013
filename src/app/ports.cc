#include "app/ports.h"

#include <utility>

namespace sightline {

Result<Offset> LiveSink::Commit(const SourcePartition& partition,
                                std::span<const Segment> segments) {
  if (!live_->Apply(partition, segments))
    return Status::Rebuild("live has counts of other offsets than this task offers");
  return segments.back().next;
}

bool RawDetectionLog::Append(std::vector<PackedRecords> records, std::function<void(Status)> done) {
  std::vector<EmbeddedLog::PackedRecords> packed;
  packed.reserve(records.size());
  for (PackedRecords& r : records)
    packed.push_back({.partition = r.partition, .count = r.count, .bytes = std::move(r.bytes)});
  return log_->Append(kRawTopic, std::move(packed), std::move(done));
}

}  // namespace sightline
