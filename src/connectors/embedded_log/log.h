// EmbeddedLog: a durable log of records and the counts made from them, in one directory.
//
// For one machine without a Kafka: topics with partitions and offsets, one offset a record, stored
// in SQLite as a blob per batch. One writer thread commits everything that is queued in one
// transaction and one fsync (group commit), so that a lone append waits for one fsync and a crowd
// of them shares one.
//
// Thread-safe. Sources, sinks and watches that it has given out must be gone before it is.
// Failure: a full disk or a failed write is told to every waiting append as kRetry, nothing of them
// has happened, and it goes on by itself when there is space. Damage is kStop and names the place.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "engine/sink.h"
#include "engine/source.h"
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
  std::string dir;               // made if it is not there; one owner at a time
  int32_t partitions = 1;        // of every topic; fixed when the log is made
  const Clock* clock = nullptr;  // append times; outlives the log
  // Whole batches beyond either are removed, oldest first, whoever still wants to read them.
  Millis retention_age{int64_t{7} * 24 * 3600 * 1000};
  int64_t retention_bytes = int64_t{10} << 30;
  int64_t queue_bytes_max = int64_t{64} << 20;  // of appends that are not yet durable
  int64_t row_bytes_max = int64_t{4} << 20;     // a stored batch, unless one record is larger
  int64_t tail_bytes_max = int64_t{32} << 20;   // newest batches kept in memory for readers
};

struct CountsSinkOptions {
  // A group of running totals is written again with every commit, so it is bounded: after either, a
  // new group begins.
  Millis group_age_max{60'000};
  int64_t group_rows_max = 16 * 1024;
  // Groups whose newest pane is this far behind the partition's watermark are removed.
  Millis groups_retention{int64_t{25} * 3600 * 1000};
  // Called on the log's thread when a Fence() or Commit() that said kRetry has an answer; must be
  // quick and must not call the sink. The sink's destructor waits for a call that is under way.
  std::function<void()> on_answer;
};

// How far the counts of a source partition are committed.
struct CountsProgress {
  Offset next;
  Watermark watermark = kBeforeAllTime;
  Ledger ledger;  // cumulative, from the partition's first commit on
  friend bool operator==(const CountsProgress&, const CountsProgress&) = default;
};

struct EmbeddedLogStats {
  int64_t appended_bytes = 0;    // of durable records, since Open()
  int64_t appended_records = 0;  // likewise
  int64_t batches = 0;           // rows written
  int64_t commits = 0;           // transactions that became durable
  int64_t commits_failed = 0;
  int64_t appends_refused = 0;    // because the queue was full
  double commit_seconds = 0;      // in COMMIT: writing out and fsync
  double checkpoint_seconds = 0;  // copying the write-ahead log into the file
  int64_t queue_bytes = 0;        // appended and not yet durable
  int64_t wal_bytes = 0;          // of the write-ahead log, not yet copied into the file
  int64_t tail_bytes = 0;         // newest batches in memory
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

// While it lives, its callback is called. Its destructor waits for a call that is under way, so it
// must not run inside one.
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
  // Records for one partition, packed: each a varint length (base/bytes.h) and its bytes. The same
  // three fields as server/detection_log.h, a room that connectors do not see.
  struct PackedRecords {
    int32_t partition = 0;
    int64_t count = 0;
    std::string bytes;
  };

  // kStop: somebody else owns the directory, or the log is damaged, of another format or of another
  // number of partitions. kRetry: an I/O error or a full disk.
  static Result<std::unique_ptr<EmbeddedLog>> Open(EmbeddedLogOptions options);
  ~EmbeddedLog();  // Close()

  // Makes everything durable that has been taken, answers it, and stops. Appends are refused from
  // here on; sources go on reading.
  void Close();

  const std::string& id() const;  // random, made with the log
  int32_t partitions() const;
  // The identity of what is read from a topic (docs/SEMANTICS.md, "Source identity").
  std::string SourceName(std::string_view topic) const;

  // Takes all the records or none; all of them become durable together. `done` is called once, on
  // the log's thread, and should be quick: kOk when they are durable, else nothing has happened.
  // False, and `done` is never called: the queue is full, or the log is closed.
  bool Append(std::string_view topic, std::vector<PackedRecords> records,
              std::function<void(Status)> done);
  // Calls back on the log's thread, with the partition, when new records of the topic are durable.
  // The callback must be quick and must not make or drop a watch.
  [[nodiscard]] std::unique_ptr<AppendWatch> OnAppend(std::string_view topic,
                                                      std::function<void(int32_t)> callback);

  struct End {
    Offset next;
    AppendTime newest = kNoAppendTime;  // of the last record, also when retention has removed it
  };
  // Of what is durable now. Cheap.
  End EndOf(std::string_view topic, int32_t partition) const;
  std::unique_ptr<Source> OpenSource(std::string_view topic, int32_t partition);

  // The transactional sink of the counts. Commits through the writer's group commit: the first call
  // of Commit() says kRetry and the next one has the answer; Fence() likewise. Set-aside events
  // become records (dead_letter_record.h) of the topics dead_letters and late_detections.
  std::unique_ptr<Sink> OpenCountsSink(CountsSinkOptions options);
  // None: nothing has been committed for this partition.
  Result<std::optional<CountsProgress>> Progress(const SourcePartition& partition);
  // All for which something has been committed, also of sources that nobody reads any more.
  Result<std::vector<SourcePartition>> CountedPartitions();
  // The committed counts as segments without set-aside events, in the order of their offsets, but
  // for groups whose newest pane starts before not_before.
  Status ForEachGroup(const SourcePartition& partition, EventTime not_before,
                      const std::function<void(Segment&&)>& callback);

  EmbeddedLogStats stats() const;
  // Not kOk: the newest transaction failed, and why.
  Status Health() const;
  // Removes now what retention would remove in the next seconds.
  Status EnforceRetention();

 private:
  explicit EmbeddedLog(std::unique_ptr<embedded_log::Parts> parts);
  std::unique_ptr<embedded_log::Parts> parts_;
};

}  // namespace sightline
