// LiveSink: the sink that shows sealed segments on the page. It is an adapter between the engine
// and live, which do not know each other.
#pragma once

#include <memory>

#include "engine/sink.h"
#include "live/live.h"

namespace sightline {

// Everything stays in memory: after a crash, the next start loads it from the durable counts. A
// commit is visible at once, before the durable sinks have it.
class LiveSink final : public Sink {
 public:
  explicit LiveSink(Live* live) : live_(live) {}
  // The tasks of one process follow each other, so no write of an earlier task can be under way.
  Status Fence(const SourcePartition&, Epoch) override { return Status::Ok(); }
  Result<Offset> Committed(const SourcePartition& partition) override {
    return live_->Committed(partition);
  }
  Result<Offset> Commit(const SourcePartition& partition,
                        std::span<const Segment> segments) override;

 private:
  Live* const live_;
};

}  // namespace sightline
