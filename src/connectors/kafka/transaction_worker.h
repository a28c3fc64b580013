// TransactionWorker: one transactional producer, and the thread that makes its blocking calls. Not
// for other rooms: it exposes librdkafka.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/client.h"
#include "connectors/kafka/options.h"
#include "connectors/kafka/records.h"
#include "engine/async_answer.h"
#include "model/types.h"

namespace sightline::kafka {

// The value of a record's header; nothing if the record has none.
std::optional<std::string> HeaderOf(const rd_kafka_message_t& message, std::string_view name);

// The outcome of a fence or a commit.
struct Answer {
  Status status = Status::Ok();
  std::optional<std::string> found;  // of a fence: what the search found
  int64_t microseconds = 0;          // how long the calls took
};

// Extracts what the fence searches for from a record; nothing if the record does not have it.
using Finder = std::function<std::optional<std::string>(const rd_kafka_message_t& message)>;

// How a worker checks for a hanging transaction (adr/0015). Tests shorten the times, and stand in
// for the cluster.
struct HangingCheck {
  // The offsets from the last stable offset (LSO) to the end of the partition. Empty if no
  // transaction is open.
  struct OpenRange {
    int64_t last_stable = 0, end = 0;
  };
  // The end marker of a transaction that has one becomes visible within this time, even with a new
  // leader.
  Millis settle_time{2'000};
  // When to check: this long after a commit that no other follows.
  Millis after{5'000};
  // A suspect is checked again after this time. Nothing: when no transaction can be open any more
  // that was open then.
  std::optional<Millis> again;
  std::function<Result<OpenRange>()> read_open_range;  // null: asks the cluster
};

class TransactionWorker {
 public:
  // All messages go to `partition`. A fence ends a hanging transaction of this id, and then
  // searches `topic` for the newest committed record in which `find` finds something. When the last
  // message of the newest transaction, or what the fence found, is older than `repeat_interval` (0:
  // never), it is written again, so that retention leaves one. `is_own` tells whether a record is
  // of this id. Null: all are, and what one transaction wrote can be written again by the next.
  // `on_answer` is also called when has_hanging_transaction() becomes true.
  TransactionWorker(KafkaOptions options, std::string transactional_id, std::string topic,
                    int32_t partition, Finder find, std::function<void()> on_answer,
                    Millis repeat_interval = {},
                    std::function<bool(const rd_kafka_message_t&)> is_own = nullptr,
                    HangingCheck hanging_check = {});
  // Waits for the thread. Call Close() some time before to keep the wait short.
  ~TransactionWorker();

  // Hands over the messages of a commit; only one job at a time. The first job is the fence. It has
  // at most one message: the one to repeat, with what was found as its value.
  AsyncAnswerPtr<Answer> Submit(std::vector<Message> messages);
  // Nobody waits for answers any more: the thread ends soon, whatever it is doing.
  void Close();
  bool ended() const { return ended_.load(); }
  // True if the newest commit is a hanging transaction that could not be repeated: readers of
  // committed records stop before it. A new owner, whose fence ends it, has to write it again.
  bool has_hanging_transaction() const { return hanging_.load(); }

 private:
  struct Job {
    AsyncAnswerPtr<Answer> answer;
    std::vector<Message> messages;
  };
  using SteadyTime = std::chrono::steady_clock::time_point;
  static constexpr SteadyTime kNever = SteadyTime::max();
  using OpenRange = HangingCheck::OpenRange;

  void Run();
  void RunJob(const Job& job);
  void CheckIn(Millis time);
  void CheckForHanging();
  void Repeat();
  bool Reopen();
  void RepeatIn(Millis time);
  // `messages` has at most the one that is to be repeated. Sets `found` to what the search found.
  Status RunFence(const std::vector<Message>& messages, std::optional<std::string>& found);
  Status EndHangingTransaction(const std::vector<Message>& messages);
  Status RunCommit(const std::vector<Message>& messages);
  Status RunAbort();
  Status Produce(const Message& message);
  Status Find(std::optional<std::string>& found);
  // Calls `see` with each record of the offsets [begin, end).
  Status Read(rd_kafka_t* client, int64_t begin, int64_t end,
              const std::function<void(const rd_kafka_message_t&)>& see);
  Result<OpenRange> ReadOpenRange();
  Result<int64_t> AskOffsetNow(
      rd_kafka_t* client, int64_t spec,
      rd_kafka_IsolationLevel_t isolation = RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED);

  const KafkaOptions options_;
  const std::string transactional_id_, topic_;
  const int32_t partition_;
  const Finder find_;
  const std::function<bool(const rd_kafka_message_t&)> is_own_;
  const Millis repeat_interval_;
  const HangingCheck hanging_check_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<Job> job_;  // under mutex_
  const AnswerWaker waker_;
  std::atomic<bool> closing_ = false;
  std::atomic<bool> ended_ = false;
  std::atomic<bool> hanging_ = false;
  // Used by the thread only.
  std::string refused_;  // why the first message of a failed commit was refused
  // The last message of the newest transaction, if it is to be repeated.
  std::optional<Message> last_;
  SteadyTime repeat_at_;
  SteadyTime check_at_ = kNever;
  std::optional<int64_t> suspect_;  // the LSO at the last check
  Millis found_age_{0};             // of what the fence found
  bool fenced_ = false;             // the first job was done
  Handle producer_;                 // null: none yet, or the next repeat begins with a new one
  std::thread thread_;
};

// Keeps the workers of tasks that are gone until their threads have ended. Retire() joins those
// that have; the destructor joins the others. Thread-safe.
class RetiredWorkers {
 public:
  void Retire(std::unique_ptr<TransactionWorker> worker);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<TransactionWorker>> retired_;  // under mutex_
};

}  // namespace sightline::kafka
