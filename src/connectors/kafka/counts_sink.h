// CountsSink: the sink of one task into the topics. See engine/sink.h and KafkaWriter. Not for
// other rooms: it exposes librdkafka.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/records.h"
#include "connectors/kafka/transaction_worker.h"
#include "connectors/kafka/writer.h"
#include "engine/sink.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline::kafka {

// What the sinks of a writer share. Thread-safe.
struct WriterState {
  explicit WriterState(KafkaWriterOptions given) : options(std::move(given)) {}

  const KafkaWriterOptions options;
  std::atomic<int64_t> commits = 0, messages = 0, failures = 0, commit_microseconds = 0;
  RetiredWorkers retired;
};

class CountsSink final : public Sink {
 public:
  // `writer` outlives the sink.
  CountsSink(WriterState& writer, std::function<void()> on_answer)
      : writer_(writer), options_(writer.options), on_answer_(std::move(on_answer)) {}
  ~CountsSink() override;

  Status Fence(const SourcePartition& partition, Epoch epoch) override;
  Result<Offset> Committed(const SourcePartition& partition) override;
  Result<Offset> Commit(const SourcePartition& partition,
                        std::span<const Segment> segments) override;

 private:
  using Clock = std::chrono::steady_clock;

  std::shared_ptr<Answer> Submit(std::vector<Message> messages);
  Result<Offset> TakeAnswer();
  std::vector<Message> Prepare(std::span<const Segment> segments);
  Message CountMessage(const CountKey& key) const;
  Message LedgerMessage(const LedgerKey& key) const;

  WriterState& writer_;
  const KafkaWriterOptions& options_;
  const std::function<void()> on_answer_;
  std::unique_ptr<TransactionWorker> worker_;
  Provenance provenance_;
  std::shared_ptr<Answer> fencing_, committing_;
  bool fenced_ = false;
  bool dead_ = false;  // the outcome of a transaction is unknown: only a new task may continue
  std::optional<Progress> progress_;  // committed
  Progress offered_;                  // what the transaction under way will have committed
  // The running totals of the group that began at `first_`. They include what is under way.
  std::vector<CountRow> totals_;
  std::vector<LedgerRow> ledger_;
  Offset first_;
  Clock::time_point begun_;
};

}  // namespace sightline::kafka
