// The adapters between rooms that do not see each other. Only processes/up.cc names them.
#pragma once

#include <memory>

#include "engine/sink.h"
#include "live/live.h"

namespace sightline {

// The engine's sealed segments become visible. In memory: what a crash takes from it, the next
// start loads from the durable counts. Committed at once; the durable sink has its own pace.
class LiveSink final : public Sink {
 public:
  explicit LiveSink(Live* live) : live_(live) {}
  // Tasks of one process follow each other, so nothing of an earlier one can be under way.
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
