// ObservedSink: a sink, and somebody who sees each segment once it is committed.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "engine/sink.h"

namespace sightline {

class ObservedSink final : public Sink {
 public:
  // `on_committed` is called on the task's thread, in the order of the offsets. Of what was
  // committed before a crash or a rebuild nothing is seen again.
  using OnCommitted = std::function<void(const SourcePartition&, const Segment&)>;
  ObservedSink(std::unique_ptr<Sink> sink, OnCommitted on_committed)
      : sink_(std::move(sink)), on_committed_(std::move(on_committed)) {}

  Status Fence(const SourcePartition& partition, Epoch epoch) override {
    return sink_->Fence(partition, epoch);
  }
  Result<Offset> Committed(const SourcePartition& partition) override {
    return sink_->Committed(partition);
  }
  Result<Offset> Commit(const SourcePartition& partition,
                        std::span<const Segment> segments) override {
    Result<Offset> next = sink_->Commit(partition, segments);
    if (!next.ok()) return next;
    for (const Segment& segment : segments) on_committed_(partition, segment);
    return next;
  }
  void Follow(const SourcePartition& partition, const SealedList& list) override {
    sink_->Follow(partition, list);
  }

 private:
  const std::unique_ptr<Sink> sink_;
  const OnCommitted on_committed_;
};

}  // namespace sightline
