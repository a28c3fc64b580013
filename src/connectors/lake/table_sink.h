// LakeTableSink: the sink of one task into one table of the lake. See engine/sink.h and LakeWriter.
#pragma once

#include <functional>
#include <span>
#include <utility>

#include "base/status.h"
#include "connectors/lake/lake_writer.h"
#include "engine/async_answer.h"
#include "engine/sink.h"

namespace sightline::lake {

class LakeTableSink final : public Sink {
 public:
  LakeTableSink(LakeWriter& writer, std::function<void()> on_answer)
      : writer_(writer), waker_(std::move(on_answer)) {}

  Status Fence(const SourcePartition& partition, Epoch epoch) override;
  Result<Offset> Committed(const SourcePartition& partition) override;
  Result<Offset> Commit(const SourcePartition& partition,
                        std::span<const Segment> segments) override;

 private:
  LakeWriter& writer_;
  const AnswerWaker waker_;
  int64_t token_ = 0;  // 0: not fenced
  AsyncAnswerPtr<LakeWriter::Answer> fencing_, committing_;
  Offset committing_next_;  // where the commit under way ends
};

}  // namespace sightline::lake
