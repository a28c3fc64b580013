// QueryWorkers: a QueryService whose questions run in processes of their own.
//
// A worker process parses a question and says which views it reads, within which bounds. The server
// alone knows the scope of the asker: it selects the files and rows of one state of the lake, cuts
// them to the scope, and hands them over. The worker computes and sends the answer's bytes.
//
// A question that takes too long, grows too much or is abandoned is ended by SIGKILL; nothing of
// the server waits for it. Thread-safe; a question runs on the caller's thread, which only moves
// bytes.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/metric.h"
#include "query/query_service.h"
#include "query/unreadable_files.h"
#include "workers/messages.h"
#include "workers/refused_questions.h"
#include "workers/shared_rows.h"
#include "workers/worker_process.h"

namespace sightline {

struct QueryWorkersOptions {
  // The program of a worker, by default this program's own file, and its arguments.
  std::string program = "/proc/self/exe";
  std::vector<std::string> arguments = {"sightline", "query-worker"};
  std::vector<std::string> read;           // folders that workers may read besides the lake's
  int64_t memory_bytes_max = 256LL << 20;  // of DuckDB, in each worker
  int64_t answer_bytes_max = 256LL << 20;
  int32_t threads = 2;          // of DuckDB, in each worker
  int32_t sql_workers_max = 4;  // that run SQL at the same time
  // A question that has taken so much of the processor runs only when nobody else needs it, in the
  // idle class, from then on.
  int64_t demote_cpu_ms = 2'000;
};

// The fixed questions of the page and the API have workers of their own, so that SQL never makes
// them wait. These run at the normal priority, those of SQL at a lower one.
constexpr int32_t kFixedWorkersMax = 2;
// A worker that has more memory of its own is ended.
constexpr int64_t kWorkerOtherBytesMax = kUncountedBytesMax + (64LL << 20);
inline int64_t WorkerBytesMax(const QueryWorkersOptions& options) {
  return options.memory_bytes_max + kWorkerOtherBytesMax;
}
// What all workers together may take.
inline int64_t WorkersBytesMax(const QueryWorkersOptions& options) {
  return (options.sql_workers_max + kFixedWorkersMax) * WorkerBytesMax(options);
}

class QueryWorkers final : public QueryService {
 public:
  // Starts the first worker of each kind and does not wait for it. `root` is the lake's folder, or
  // that of the copies of its files, an absolute path; it need not exist yet.
  QueryWorkers(std::shared_ptr<LakeSource> source, std::string root, Millis window_size,
               const QueryWorkersOptions& options);
  ~QueryWorkers() override;

  AnswerEnd Answer(const Question& question, const QueryLimits& limits,
                   const AnswerSink& sink) override;
  void Interrupt() override;
  // Also why no worker can start.
  std::string trouble() override;
  std::vector<Metric> metrics() const override;

 private:
  using Time = std::chrono::steady_clock::time_point;
  // The workers of one kind of question.
  struct Crew {
    int32_t size_max = 0;
    int32_t nice = 0;
    // Under mutex_.
    int32_t running = 0;
    std::vector<std::unique_ptr<WorkerProcess>> idle;
  };
  // Why the server ended a worker.
  enum class Reason : uint8_t { kNone, kTime, kMemory, kAbandoned, kStopping, kAnswer, kCrash };
  static constexpr size_t kReasons = 7;
  struct Asked;  // one attempt to answer a question

  // `fresh`: one that has answered nothing yet.
  Result<std::unique_ptr<WorkerProcess>> Take(Crew& crew, const Scope& scope, Time deadline,
                                              const QueryLimits& limits, bool fresh);
  std::unique_ptr<WorkerProcess> TakeIdle(Crew& crew, const Scope& scope);
  Result<std::unique_ptr<WorkerProcess>> Spawn(const Crew& crew);
  void GiveBack(Crew& crew, std::unique_ptr<WorkerProcess> worker, bool clean);
  void Leave(std::unique_ptr<WorkerProcess> worker);

  Status Ask(Asked& asked);
  Status HandOver(Asked& asked, const ViewBounds& views);
  Status HoldFiles(Asked& asked, StateMessage& message);
  Status Tick(Asked& asked) const;
  Status ExplainEnd(Asked& asked, const Status& failed);
  Status Refuse(const Asked& asked, QueryLimit limit, const std::string& why);
  void NoteUnreadable(const Asked& asked, const EndMessage& end);
  Holding HoldFile(const std::string& path);
  std::string ReadFile(const std::string& path);

  void Keep(const std::stop_token& stop);
  void FillUp(Crew& crew);

  const std::string root_;
  const QueryWorkersOptions options_;
  SharedRows rows_;
  RefusedQuestions refused_;
  UnreadableFiles unreadable_;
  mutable std::array<std::atomic<int64_t>, kReasons> ended_{};  // workers, by why

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  // Under mutex_.
  Crew sql_, fixed_;
  std::vector<pid_t> leaving_;  // killed, and not gone yet
  bool ending_ = false;
  std::string start_trouble_;

  std::jthread keeper_;  // last, so that it is joined before what it uses is destroyed
};

}  // namespace sightline
