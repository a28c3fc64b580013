#include "processes/live_sink.h"

namespace sightline {

Result<Offset> LiveSink::Commit(const SourcePartition& partition,
                                std::span<const Segment> segments) {
  if (!live_->Apply(partition, segments))
    return Status::Rebuild("live has counts of other offsets than this task offers");
  return segments.back().next;
}

}  // namespace sightline
