// Writer: the only thread that changes the log's file. Group commit: everything that is queued goes
// into one transaction with one fsync.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/log_clock.h"
#include "base/status.h"
#include "connectors/embedded_log/batch_table.h"
#include "connectors/embedded_log/counts_table.h"
#include "connectors/embedded_log/log.h"
#include "connectors/embedded_log/sqlite.h"
#include "connectors/embedded_log/tail.h"
#include "connectors/embedded_log/transaction.h"
#include "connectors/embedded_log/watches.h"
#include "ingest/detection_log.h"

namespace sightline::embedded_log {

class Writer {
 public:
  // Work inside a transaction. kRebuild: it was refused and has written nothing; the rest of the
  // transaction continues. Any other failure rolls the whole transaction back.
  using Work = std::function<Status(Transaction&)>;
  using Done = std::function<void(Status)>;

  // Starts the thread. `tail` receives the positions from the file, and the options' clock is
  // resumed at the newest record. They and `watches` outlive the writer.
  static Result<std::unique_ptr<Writer>> Start(Database database, const EmbeddedLogOptions& options,
                                               Tail& tail, Watches& watches);
  ~Writer();  // calls Close()

  // All of these are thread-safe. Returns false, and never calls `done`, if the queue is full or
  // the log is closed.
  bool Append(std::string topic, std::vector<PackedRecords> records, Done done);
  // Not bounded by bytes, because each sink has only one under way. Returns false if the log is
  // closed.
  bool Submit(Work work, Done done);
  Status EnforceRetention();
  void Close();
  void ReadStats(EmbeddedLogStats& stats) const;
  Status Health() const;

 private:
  struct Job {
    std::string topic;
    std::vector<PackedRecords> records;
    Work work;
    Done done;
    int64_t bytes = 0;
  };

  Writer(Database database, const EmbeddedLogOptions& options, Tail& tail, Watches& watches);
  void Run();
  std::vector<Job> TakeJobs();
  void CommitGroup(std::vector<Job> jobs);
  Status Apply(Job& job, Transaction& transaction);
  // Runs `fill` in a transaction. Publishes what it changed, or rolls it back.
  Status Transact(const std::function<Status(Transaction&)>& fill);
  Status CommitTimed();
  void NoteOutcome(const Status& status);
  void Maintain(bool idle);
  void CheckpointWal(bool idle);
  // Removes some of what is due. True if there may be more.
  Result<bool> RetainSome();
  Status RetainAll();

  // Set by the constructor.
  Tail& tail_;
  Watches& watches_;
  LogClock& clock_;
  const Millis retention_age_;
  const int64_t retention_bytes_;
  const int64_t queue_bytes_max_;
  const int64_t row_bytes_max_;

  // Used by the writer's thread only. The statements are destroyed before the connection.
  Database database_;
  BatchWriter batches_;
  CountsTable counts_;
  int wal_pages_ = 0;
  int checkpoint_at_pages_;               // when busy
  int64_t checkpoint_not_before_ms_ = 0;  // by the steady clock, like the next member
  int64_t retention_due_ms_ = 0;
  bool retention_fails_ = false;

  // Guarded by mutex_.
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  std::vector<Done> retention_waiters_;
  int64_t queue_bytes_ = 0;  // queued, or in the transaction under way
  bool closing_ = false;
  EmbeddedLogStats stats_;
  Status health_ = Status::Ok();

  std::mutex close_mutex_;  // for Close() from two threads
  std::thread thread_;
};

}  // namespace sightline::embedded_log
