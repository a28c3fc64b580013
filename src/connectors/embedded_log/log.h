// EmbeddedLog: a durable log of records, and of the counts made from them, in one directory.
//
// It serves one machine without Kafka: topics with partitions and one offset per record, stored in
// SQLite as one blob per batch. One writer thread commits everything that is queued in one
// transaction with one fsync (group commit). So a single append waits for one fsync, and many of
// them share one.
//
// Thread-safe. The sources, sinks and watches that the log has given out must be gone before it is.
//
// Failure: a full disk or a failed write answers every waiting append with kRetry. Nothing of them
// has happened, and the log continues by itself when there is space. Damage is kStop and names the
// place.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log_clock.h"
#include "base/status.h"
#include "engine/sink.h"
#include "engine/source.h"
#include "ingest/detection_log.h"
#include "model/log_end.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

namespace embedded_log {
struct Parts;
class Watches;
}  // namespace embedded_log

constexpr std::string_view kDeadLettersTopic = "dead_letters";
constexpr std::string_view kLateDetectionsTopic = "late_detections";

struct EmbeddedLogOptions {
  std::string dir;         // created if needed; has one owner at a time
  int32_t partitions = 1;  // of every topic; fixed when the log is created
  // Gives the append times; Open() resumes it at the newest record. It outlives the log. While it
  // refuses, appends are answered with kRetry and its reason.
  LogClock* clock = nullptr;
  // See LogClock::Resume().
  Millis clock_ahead_max{int64_t{7} * 24 * 3600 * 1000};
  // Batches beyond either limit are removed, oldest first, even if somebody has not read them yet.
  Millis retention_age{int64_t{7} * 24 * 3600 * 1000};
  int64_t retention_bytes = int64_t{10} << 30;
  int64_t queue_bytes_max = int64_t{64} << 20;  // of appends that are not durable yet
  int64_t row_bytes_max = int64_t{4} << 20;  // of a stored batch, unless a single record is larger
  int64_t tail_bytes_max = int64_t{32} << 20;  // of the newest batches, kept in memory for readers
};

struct CountsSinkOptions {
  // A group of running totals is written again with every commit, so it is bounded: beyond either
  // limit, a new group begins.
  Millis group_age_max{60'000};
  int64_t group_rows_max = 16 * 1024;
  // Groups whose newest pane lies this far behind the partition's watermark are removed.
  Millis groups_retention{int64_t{25} * 3600 * 1000};
  // Called on the log's thread when a Fence() or Commit() that said kRetry has an answer. It must
  // be quick and must not call the sink. The sink's destructor waits for a call that is under way.
  std::function<void()> on_answer;
};

// How far the counts of a source partition are committed.
struct CountsProgress {
  Offset next;
  Watermark watermark = kBeforeAllTime;
  Ledger ledger;  // cumulative since the partition's first commit
  friend bool operator==(const CountsProgress&, const CountsProgress&) = default;
};

struct EmbeddedLogStats {
  int64_t appended_bytes = 0;    // bytes of durable records since Open()
  int64_t appended_records = 0;  // durable records since Open()
  int64_t batches = 0;           // rows written
  int64_t commits = 0;           // transactions that became durable
  int64_t commits_failed = 0;
  int64_t appends_refused = 0;    // because the queue was full
  double commit_seconds = 0;      // time in COMMIT: writing and fsync
  double checkpoint_seconds = 0;  // time spent copying the write-ahead log into the file
  int64_t queue_bytes = 0;        // appended and not yet durable
  int64_t wal_bytes = 0;          // in the write-ahead log, not yet copied into the file
  int64_t tail_bytes = 0;         // of the newest batches, in memory
  int64_t stored_bytes = 0;       // of all batches in the file
  int64_t retention_batches = 0;  // removed by retention
  struct Partition {
    std::string topic;
    int32_t partition = 0;
    Offset oldest, next;
    int64_t bytes = 0;
  };
  std::vector<Partition> partitions;  // of every topic
};

// A subscription: its callback is called while it lives. Its destructor waits for a call that is
// under way, so it must not run inside one.
class AppendWatch {
 public:
  AppendWatch(embedded_log::Watches& watches, int64_t id) : watches_(watches), id_(id) {}
  ~AppendWatch();
  AppendWatch(const AppendWatch&) = delete;
  AppendWatch& operator=(const AppendWatch&) = delete;

 private:
  embedded_log::Watches& watches_;
  const int64_t id_;
};

class EmbeddedLog {
 public:
  // kStop: another process owns the directory; or the log is damaged, of another format, or of
  // another number of partitions. kRetry: an I/O error, or a full disk.
  static Result<std::unique_ptr<EmbeddedLog>> Open(EmbeddedLogOptions options);
  ~EmbeddedLog();  // calls Close()

  // Makes everything durable that was accepted, answers it, and stops. From then on appends are
  // refused; sources go on reading.
  void Close();

  const std::string& id() const;  // random, created with the log
  int32_t partitions() const;
  // The source identity of a topic (docs/SEMANTICS.md, "Source identity").
  std::string SourceName(std::string_view topic) const;

  // Accepts all of the records or none; they become durable together. Their origins are not stored.
  // `done` is called once, on the log's thread, and should be quick: kOk when they are durable,
  // otherwise nothing has happened. Returns false, and never calls `done`, if the queue is full or
  // the log is closed.
  bool Append(std::string_view topic, std::vector<PackedRecords> records,
              std::function<void(Status)> done);
  // Calls `callback` with the partition, on the log's thread, when new records of the topic are
  // durable. It must be quick, and must not create or destroy a watch.
  [[nodiscard]] std::unique_ptr<AppendWatch> OnAppend(std::string_view topic,
                                                      std::function<void(int32_t)> callback);

  // The end of what is durable now. Cheap.
  LogEnd EndOf(std::string_view topic, int32_t partition) const;
  std::unique_ptr<Source> OpenSource(std::string_view topic, int32_t partition);

  // Opens the transactional sink of the counts. It commits through the writer's group commit: the
  // first call of Commit() says kRetry, and a later one has the answer; the same goes for Fence().
  // Dead letters become records (dead_letter_record.h) of the topics dead_letters and
  // late_detections.
  std::unique_ptr<Sink> OpenCountsSink(CountsSinkOptions options);
  // How far a partition's counts are committed; nothing if there were no commits.
  Result<std::optional<CountsProgress>> Progress(const SourcePartition& partition);
  // All partitions with committed counts, even of sources that nobody reads any more.
  Result<std::vector<SourcePartition>> CountedPartitions();
  // Calls `callback` with the committed counts as segments without dead letters, ordered by offset,
  // but without groups whose newest pane starts before `not_before`.
  Status ForEachGroup(const SourcePartition& partition, EventTime not_before,
                      const std::function<void(Segment&&)>& callback);

  EmbeddedLogStats stats() const;
  // kOk, or why the newest transaction failed.
  Status Health() const;
  // Removes at once what retention would remove within the next seconds.
  Status EnforceRetention();

 private:
  explicit EmbeddedLog(std::unique_ptr<embedded_log::Parts> parts);
  std::unique_ptr<embedded_log::Parts> parts_;
};

}  // namespace sightline
