// CountsSink: the transactional sink of the counts in the embedded log.
//
// Consecutive segments are merged into a group of running totals. The group is stored under its
// first segment's offset, and written again with every commit until it is old or large. The same
// transaction stores the progress and the dead letters. The task's thread merges and encodes; the
// writer's thread only stores.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/embedded_log/counts_table.h"
#include "connectors/embedded_log/fences.h"
#include "connectors/embedded_log/log.h"
#include "connectors/embedded_log/readers.h"
#include "connectors/embedded_log/writer.h"
#include "engine/sink.h"

namespace sightline::embedded_log {

class CountsSink final : public Sink {
 public:
  // All references outlive the sink.
  CountsSink(Writer& writer, Readers& readers, Fences& fences, const Clock& clock,
             int32_t partitions, CountsSinkOptions options)
      : writer_(writer),
        readers_(readers),
        fences_(fences),
        clock_(clock),
        partitions_(partitions),
        options_(std::move(options)),
        waker_(std::make_shared<Waker>()) {
    waker_->on_answer = options_.on_answer;
  }
  ~CountsSink() override;

  // The first call takes the fence: nothing of an earlier owner that is still queued will be
  // applied. kRetry until what was just being applied is over.
  Status Fence(const SourcePartition& partition, Epoch epoch) override;
  Result<Offset> Committed(const SourcePartition& partition) override;
  Result<Offset> Commit(const SourcePartition& partition,
                        std::span<const Segment> segments) override;

 private:
  // Shared with the writer's queue, which may hold it longer than the sink lives. The writer's
  // thread writes it until `finished` is set; from then on it belongs to the task's thread.
  struct Answer {
    std::atomic<bool> finished = false;
    Status status = Status::Ok();
    bool written = false;  // false with kOk: it had been committed before
    Offset next;           // where the commit ends
  };
  // Shared like an answer. The sink's destructor clears it, so that nobody is called who may be
  // gone.
  struct Waker {
    std::mutex mutex;
    std::function<void()> on_answer;
  };
  // What the writer stores, in one transaction.
  struct Write {
    SourcePartition partition;
    int64_t token = 0;
    Offset first, next;  // of the segments of this commit
    Watermark watermark;
    Ledger ledger;  // of the segments of this commit
    EncodedGroup group;
    bool begins_group = false;
    struct Records {
      int64_t count = 0;
      std::string packed;
    } dead_letters, late_detections;
    int32_t topic_partition = 0;
    Millis groups_retention;
  };
  static Status Store(const Write& write, const Fences& fences, Transaction& transaction,
                      Answer& answer);
  Write Prepare(const SourcePartition& partition, std::span<const Segment> segments);
  Result<Offset> TakeAnswer();
  bool Submit(Writer::Work work, std::shared_ptr<Answer> answer) const;

  Writer& writer_;
  Readers& readers_;
  Fences& fences_;
  const Clock& clock_;
  const int32_t partitions_;
  const CountsSinkOptions options_;
  const std::shared_ptr<Waker> waker_;

  int64_t token_ = 0;  // from the last Fence()
  std::shared_ptr<Answer> fencing_, committing_;
  // The group that commits add to, without dead letters. It may include what is under way.
  std::optional<Segment> group_;
  int64_t group_begun_ms_ = 0;
};

}  // namespace sightline::embedded_log
