#include "connectors/embedded_log/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "connectors/embedded_log/layout.h"

namespace sightline::embedded_log {
namespace {

// A transaction has at most this many bytes, so that the first in the queue do not wait for the
// last.
constexpr int64_t kTransactionBytesMax = int64_t{16} << 20;
// Thresholds in pages of 8 KiB. An idle writer copies the write-ahead log into the file early, so
// that a busy time begins with an empty one. A busy writer copies it only before it becomes large.
constexpr int kCheckpointIdlePages = 1024;
constexpr int kCheckpointBusyPages = 8192;
constexpr int kReadersTimeoutMs = 50;
constexpr int64_t kCheckpointPauseMs = 1000;  // after a checkpoint that did not copy everything
constexpr int64_t kNapMs = 20;
constexpr int64_t kRetentionPeriodMs = 10'000;
constexpr int64_t kRetentionRowsMax = 256;

// Durations are measured with the steady clock. The Clock port may step.
int64_t SteadyMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int OnWalCommit(void* wal_pages, sqlite3*, const char*, int pages) {
  *static_cast<int*>(wal_pages) = pages;
  return SQLITE_OK;
}

}  // namespace

Writer::Writer(Database database, const EmbeddedLogOptions& options, Tail& tail, Watches& watches)
    : tail_(tail),
      watches_(watches),
      clock_(*options.clock),
      retention_age_(options.retention_age),
      retention_bytes_(options.retention_bytes),
      queue_bytes_max_(options.queue_bytes_max),
      row_bytes_max_(options.row_bytes_max),
      database_(std::move(database)),
      checkpoint_at_pages_(kCheckpointBusyPages) {}

Result<std::unique_ptr<Writer>> Writer::Start(Database database, const EmbeddedLogOptions& options,
                                              Tail& tail, Watches& watches) {
  std::unique_ptr<Writer> writer(new Writer(std::move(database), options, tail, watches));
  Result<BatchWriter> batches = BatchWriter::Create(writer->database_);
  if (!batches.ok()) return batches.status();
  writer->batches_ = std::move(batches).value();
  Result<CountsTable> counts = CountsTable::Create(writer->database_);
  if (!counts.ok()) return counts.status();
  writer->counts_ = std::move(counts).value();
  RETURN_IF_ERROR(writer->batches_.LoadPositions(writer->database_, tail));
  const auto anchor = BatchWriter::ReadClock(writer->database_);
  if (!anchor.ok()) return anchor.status();
  if (const AppendTime newest = tail.newest(); newest != kNoAppendTime)
    options.clock->Resume(newest.v, anchor.value(), options.clock_ahead_max.v);
  sqlite3_wal_hook(writer->database_.handle(), OnWalCommit, &writer->wal_pages_);
  writer->thread_ = std::thread([w = writer.get()] { w->Run(); });
  return writer;
}

Writer::~Writer() { Close(); }

bool Writer::Append(std::string topic, std::vector<PackedRecords> records, Done done) {
  Job job{.topic = std::move(topic), .records = std::move(records), .done = std::move(done)};
  for (PackedRecords& packed : job.records) {
    job.bytes += static_cast<int64_t>(packed.bytes.size());
    // Not stored, so the queue does not hold them either.
    decltype(packed.origins)().swap(packed.origins);
  }
  const std::lock_guard lock(mutex_);
  // An append that is larger than the whole queue is accepted alone; otherwise it never would be.
  const bool full = queue_bytes_ > 0 && queue_bytes_ + job.bytes > queue_bytes_max_;
  if (full || closing_) {
    ++stats_.appends_refused;
    return false;
  }
  queue_bytes_ += job.bytes;
  queue_.push_back(std::move(job));
  wake_.notify_one();
  return true;
}

bool Writer::Submit(Work work, Done done) {
  const std::lock_guard lock(mutex_);
  if (closing_) return false;
  queue_.push_back({.work = std::move(work), .done = std::move(done)});
  wake_.notify_one();
  return true;
}

Status Writer::EnforceRetention() {
  std::promise<Status> answer;
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return Status::Retry("the log is closed");
    retention_waiters_.push_back([&answer](const Status& status) { answer.set_value(status); });
    wake_.notify_one();
  }
  return answer.get_future().get();
}

void Writer::Close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    wake_.notify_one();
  }
  const std::lock_guard lock(close_mutex_);
  if (thread_.joinable()) thread_.join();
}

void Writer::ReadStats(EmbeddedLogStats& stats) const {
  const std::lock_guard lock(mutex_);
  stats = stats_;
  stats.queue_bytes = queue_bytes_;
}

Status Writer::Health() const {
  const std::lock_guard lock(mutex_);
  return health_;
}

void Writer::Run() {
  retention_due_ms_ = SteadyMs();
  while (true) {
    std::vector<Job> jobs = TakeJobs();
    const bool idle = jobs.empty();
    if (!idle) CommitGroup(std::move(jobs));
    Maintain(idle);
    if (!idle) continue;
    const std::lock_guard lock(mutex_);
    if (closing_ && queue_.empty() && retention_waiters_.empty()) return;
  }
}

// Waits until there is something to do. That may be maintenance: then there are no jobs.
std::vector<Writer::Job> Writer::TakeJobs() {
  std::unique_lock lock(mutex_);
  const int64_t now_ms = SteadyMs();
  int64_t wait_ms = retention_due_ms_ - now_ms;
  // A short pause before the checkpoint of an idle log, so that it delays nobody who arrives just
  // now.
  if (wal_pages_ > kCheckpointIdlePages)
    wait_ms = std::min(wait_ms, std::max(kNapMs, checkpoint_not_before_ms_ - now_ms));
  if (wait_ms > 0)
    wake_.wait_for(lock, std::chrono::milliseconds(wait_ms),
                   [this] { return !queue_.empty() || !retention_waiters_.empty() || closing_; });
  std::vector<Job> jobs;
  int64_t bytes = 0;
  while (!queue_.empty() &&
         (jobs.empty() || bytes + queue_.front().bytes <= kTransactionBytesMax)) {
    bytes += queue_.front().bytes;
    jobs.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return jobs;
}

void Writer::CommitGroup(std::vector<Job> jobs) {
  std::vector<Status> refused(jobs.size(), Status::Ok());
  const LogClock::Trouble clock = clock_.CheckTrouble();
  const Status status = Transact([&](Transaction& transaction) {
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (clock.refuses && !jobs[i].records.empty()) {
        refused[i] = Status::Retry(clock.text);
        continue;
      }
      Status applied = Apply(jobs[i], transaction);
      // A refusal concerns its job alone and has written nothing. Any other failure fails the whole
      // transaction.
      if (applied.code() == StatusCode::kRebuild) {
        refused[i] = std::move(applied);
      } else if (!applied.ok()) {
        return applied;
      }
    }
    return Status::Ok();
  });
  NoteOutcome(status);
  {
    const std::lock_guard lock(mutex_);
    for (const Job& job : jobs) queue_bytes_ -= job.bytes;
  }
  for (size_t i = 0; i < jobs.size(); ++i)
    if (jobs[i].done) jobs[i].done(refused[i].ok() ? status : refused[i]);
}

Status Writer::Apply(Job& job, Transaction& transaction) {
  for (PackedRecords& packed : job.records)
    RETURN_IF_ERROR(
        transaction.Append(job.topic, packed.partition, packed.count, std::move(packed.bytes)));
  return job.work ? job.work(transaction) : Status::Ok();
}

Status Writer::Transact(const std::function<Status(Transaction&)>& fill) {
  RETURN_IF_ERROR(database_.Execute("BEGIN IMMEDIATE", "begin a transaction"));
  const LogClock::Anchor now = clock_.Now();
  Transaction transaction(batches_, counts_, tail_, {now.time_ms}, row_bytes_max_);
  Status status = fill(transaction);
  if (status.ok()) status = transaction.Finish();
  if (status.ok() && transaction.rows() > 0) status = batches_.WriteClock(now);
  if (status.ok()) status = CommitTimed();
  if (!status.ok()) {
    // After some failures SQLite has rolled back already. Should the rollback fail, the next BEGIN
    // will fail, too.
    if (sqlite3_get_autocommit(database_.handle()) == 0) {
      const Status rolled_back = database_.Execute("ROLLBACK", "roll back");
      if (!rolled_back.ok()) LogError(rolled_back.message());
    }
    return status;
  }
  if (transaction.rows() > 0) clock_.Begin();
  {
    const std::lock_guard lock(mutex_);
    stats_.appended_bytes += transaction.bytes();
    stats_.appended_records += transaction.records();
    stats_.batches += transaction.rows();
  }
  std::vector<Tail::Change> changes = transaction.TakeChanges();
  std::vector<Stream*> grown;
  for (const Tail::Change& change : changes)
    if (!change.blocks.empty()) grown.push_back(change.stream);
  // Only what is durable becomes visible, and readers are woken last.
  tail_.Publish(std::move(changes));
  for (const Stream* stream : grown) watches_.Call(stream->topic, stream->partition);
  return Status::Ok();
}

Status Writer::CommitTimed() {
  const auto start = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(database_.Execute("COMMIT", "commit a transaction"));
  const double seconds = SecondsSince(start);
  const std::lock_guard lock(mutex_);
  ++stats_.commits;
  stats_.commit_seconds += seconds;
  stats_.wal_bytes = wal_pages_ * kPageSize;
  return Status::Ok();
}

// Logs changes of the state, not every failure.
void Writer::NoteOutcome(const Status& status) {
  const std::lock_guard lock(mutex_);
  if (!status.ok()) ++stats_.commits_failed;
  if (status.ok() && !health_.ok()) LogInfo("the log accepts records again");
  if (!status.ok() && health_.ok()) LogError("the log cannot store records: " + status.message());
  health_ = status;
}

void Writer::Maintain(bool idle) {
  if (idle ? wal_pages_ > kCheckpointIdlePages && SteadyMs() >= checkpoint_not_before_ms_
           : wal_pages_ > checkpoint_at_pages_)
    CheckpointWal(idle);
  std::vector<Done> waiters;
  {
    const std::lock_guard lock(mutex_);
    waiters.swap(retention_waiters_);
  }
  if (!waiters.empty()) {
    const Status status = RetainAll();
    for (const Done& done : waiters) done(status);
  }
  if (SteadyMs() < retention_due_ms_) return;
  const Result<bool> more = RetainSome();
  if (!more.ok() && !retention_fails_) LogWarning("retention failed: " + more.status().message());
  retention_fails_ = !more.ok();
  retention_due_ms_ = SteadyMs() + (more.ok() && more.value() ? 0 : kRetentionPeriodMs);
}

void Writer::CheckpointWal(bool idle) {
  const auto start = std::chrono::steady_clock::now();
  // The next commit starts the write-ahead log over if all of it was copied and nobody reads from
  // it. An idle log only tries. A busy one waits for the readers, which are quick; otherwise the
  // log would keep growing.
  sqlite3_busy_timeout(database_.handle(), kReadersTimeoutMs);
  int pages = 0, copied = 0;
  const int code = sqlite3_wal_checkpoint_v2(
      database_.handle(), nullptr, idle ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_RESTART,
      &pages, &copied);
  sqlite3_busy_timeout(database_.handle(), kBusyTimeoutMs);
  if (code == SQLITE_OK && pages == copied) {
    wal_pages_ = 0;
    checkpoint_at_pages_ = kCheckpointBusyPages;
  } else {
    // A failure (a full disk, a long reader) costs only space: the records are durable in the
    // write-ahead log. Try again, but not at every commit.
    checkpoint_at_pages_ = wal_pages_ + kCheckpointBusyPages;
    checkpoint_not_before_ms_ = SteadyMs() + kCheckpointPauseMs;
  }
  const std::lock_guard lock(mutex_);
  stats_.checkpoint_seconds += SecondsSince(start);
  stats_.wal_bytes = wal_pages_ * kPageSize;
}

Result<bool> Writer::RetainSome() {
  Result<std::vector<BatchWriter::Stored>> oldest = batches_.Oldest(kRetentionRowsMax);
  if (!oldest.ok()) return oldest.status();
  // Never counted from a time ahead of the newest record: a silence removes nothing.
  const std::optional<int64_t> now_ms = clock_.RetentionNowMs();
  const AppendTime newest = tail_.newest();
  const AppendTime kept_from = now_ms && newest != kNoAppendTime
                                   ? AppendTime{std::min(*now_ms, newest.v) - retention_age_.v}
                                   : kNoAppendTime;
  int64_t stored_bytes = tail_.stored_bytes();
  int64_t removed_bytes = 0;
  std::vector<BatchWriter::Stored> due;
  for (BatchWriter::Stored& batch : oldest.value()) {
    const bool is_due = batch.append_time < kept_from || stored_bytes > retention_bytes_;
    if (!is_due || removed_bytes > kTransactionBytesMax) break;
    stored_bytes -= batch.bytes;
    removed_bytes += batch.bytes;
    due.push_back(std::move(batch));
  }
  if (due.empty()) return false;
  RETURN_IF_ERROR(Transact([&](Transaction& transaction) {
    for (const BatchWriter::Stored& batch : due) RETURN_IF_ERROR(transaction.Remove(batch));
    return Status::Ok();
  }));
  const std::lock_guard lock(mutex_);
  stats_.retention_batches += static_cast<int64_t>(due.size());
  return true;
}

Status Writer::RetainAll() {
  while (true) {
    const Result<bool> more = RetainSome();
    if (!more.ok()) return more.status();
    if (!more.value()) return Status::Ok();
  }
}

}  // namespace sightline::embedded_log
