// LakeTableSink: the sink of one task into one table of the lake. See engine/sink.h and LakeWriter.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <span>

#include "base/status.h"
#include "connectors/lake/lake_writer.h"
#include "engine/sink.h"

namespace sightline::lake {

class LakeTableSink final : public Sink {
 public:
  LakeTableSink(LakeWriter& writer, std::function<void()> on_answer);
  ~LakeTableSink() override;

  Status Fence(const SourcePartition& partition, Epoch epoch) override;
  Result<Offset> Committed(const SourcePartition& partition) override;
  Result<Offset> Commit(const SourcePartition& partition,
                        std::span<const Segment> segments) override;

 private:
  // Shared with answers under way. The sink's destructor clears it, so that nobody is called who
  // may be gone.
  struct Waker {
    std::mutex mutex;
    std::function<void()> on_answer;
  };
  std::shared_ptr<LakeWriter::Answer> NewAnswer() const;
  static bool Finished(const LakeWriter::Answer& answer);

  LakeWriter& writer_;
  const std::shared_ptr<Waker> waker_;
  int64_t token_ = 0;  // 0: not fenced
  std::shared_ptr<LakeWriter::Answer> fencing_, committing_;
  Offset committing_next_;  // where the commit under way ends
};

}  // namespace sightline::lake
