// TransactionWorker: one transactional producer and the thread that makes its blocking calls. Not
// for other rooms: it shows librdkafka.
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
#include "model/types.h"

namespace sightline::kafka {

// The value of a header of a record; nothing if it has none.
std::optional<std::string> HeaderOf(const rd_kafka_message_t& message, std::string_view name);

// What became of a call, written by the worker's thread until `finished`.
struct Answer {
  std::atomic<bool> finished = false;
  Status status = Status::Ok();
  std::optional<std::string> found;  // of a fence: what was looked for
  Offset next;                       // of a commit: what it ends with; set by who asked
  int64_t microseconds = 0;          // that the calls took
};

// What of a record is looked for; nothing if this is none of them.
using Finder = std::function<std::optional<std::string>(const rd_kafka_message_t& message)>;

// How a worker finds out that the end of a transaction is not there (adr/0015). Tests shorten the
// times, and answer in the cluster's place.
struct LostEndWatch {
  // The offsets from the last stable one to the end: none, if everything is decided.
  struct Undecided {
    int64_t begin = 0, end = 0;
  };
  // The end of a transaction that has one is seen sooner, whatever leader is new.
  Millis settle{2'000};
  // So long after a commit that no other follows, it is seen to that readers of committed records
  // can pass it.
  Millis look_after{5'000};
  // And again so long after that. Nothing: when nobody's transaction can be open any more that was
  // open then.
  std::optional<Millis> look_again;
  std::function<Result<Undecided>()> ask;  // null: asks the cluster
};

class TransactionWorker {
 public:
  struct Job {
    std::shared_ptr<Answer> answer;
    // Of a commit. Of a fence at most one: what is repeated, with what was found as its value.
    std::vector<Message> messages;
  };

  // All messages go to `partition`. A fence looks in `topic` for the newest record, committed or
  // not, of which `find` has something to say. When the last message of the newest transaction,
  // or what the fence found, is older than `repeat_interval` (0: never) it is written again, so
  // that retention leaves one. `own`: whether a record is of this id; null: all are, and what one
  // transaction wrote can be written again by the next.
  TransactionWorker(KafkaOptions options, std::string transactional_id, std::string topic,
                    int32_t partition, Finder find, std::function<void()> on_answer,
                    Millis repeat_interval = {},
                    std::function<bool(const rd_kafka_message_t&)> own = nullptr,
                    LostEndWatch watch = {});
  // Waits for the thread: Close() before, and some time, make it short.
  ~TransactionWorker();

  // One at a time. The first is the fence.
  void Submit(Job job);
  // Nobody waits for answers any more: the thread ends soon, whatever it is doing.
  void Close();
  bool ended() const { return ended_.load(); }
  // The newest commit has no end in the partition and cannot be repeated: readers of committed
  // records stop before it. A new owner, whose fence closes it, has to write it again.
  bool left_open() const { return left_open_.load(); }

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;
  static constexpr SteadyTime kNever = SteadyTime::max();
  using Undecided = LostEndWatch::Undecided;

  void Run();
  void RunJob(const Job& job);
  void LookIn(Millis time);
  void LookBehind();
  void Repeat();
  void RepeatIn(Millis time);
  Status RunFence(const Job& job);
  Status CloseLeftOpen(const Job& job);
  Status RunCommit(const std::vector<Message>& messages);
  Status RunAbort();
  Status Produce(const Message& message);
  Status Find(std::optional<std::string>& found);
  // Shows `see` the records of the offsets [begin, end).
  Status Read(rd_kafka_t* client, int64_t begin, int64_t end,
              const std::function<void(const rd_kafka_message_t&)>& see);
  Result<Undecided> AskUndecided();
  Result<int64_t> AskOffsetNow(
      rd_kafka_t* client, int64_t spec,
      rd_kafka_IsolationLevel_t isolation = RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED);

  const KafkaOptions options_;
  const std::string transactional_id_, topic_;
  const int32_t partition_;
  const Finder find_;
  const std::function<bool(const rd_kafka_message_t&)> own_;
  const Millis repeat_interval_;
  const LostEndWatch watch_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<Job> job_;           // under mutex_
  std::function<void()> on_answer_;  // under mutex_; null once closed
  std::atomic<bool> closing_ = false;
  std::atomic<bool> ended_ = false;
  std::atomic<bool> left_open_ = false;
  // The thread's.
  std::string refused_;          // why the first message of a failed commit was not taken
  std::optional<Message> last_;  // of the newest transaction, if it is to be repeated
  SteadyTime repeat_at_;
  SteadyTime look_at_ = kNever;
  std::optional<int64_t> open_since_;  // what was undecided at the last look
  Millis found_age_{0};                // of what the fence found
  Handle producer_;
  std::thread thread_;
};

// Takes the workers of those that are gone. Those that have ended meanwhile are joined; the others
// by the destructor. Thread-safe.
class ClosedWorkers {
 public:
  void Bury(std::unique_ptr<TransactionWorker> worker);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<TransactionWorker>> closed_;  // under mutex_
};

}  // namespace sightline::kafka
