#include "connectors/lake/lake_writer.h"

#include <arrow/api.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/log.h"
#include "connectors/lake/checkpoint.h"
#include "connectors/lake/data_file.h"
#include "connectors/lake/layout.h"
#include "connectors/lake/log.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/rows.h"
#include "connectors/lake/table_sink.h"
#include "connectors/lake/writable.h"

namespace sightline::lake {
namespace {

std::string EngineProperty(const std::string& source) {
  return std::string(kEnginePrefix) + source;
}

// What is written at once: an abandoned write ends between two such parts.
constexpr size_t kFilesAtOnce = 256;
constexpr size_t kBytesAtOnce = 64 << 20;
// An abandoned write deletes as many files as take no time. Vacuum deletes the rest.
constexpr size_t kDeletedAtClose = 1000;

Status Closing() { return Status::Retry("the lake's writer is closed"); }

}  // namespace

Result<std::unique_ptr<LakeWriter>> LakeWriter::Open(Storage& storage, const Clock& clock,
                                                     LakeWriterOptions options) {
  const bool ledger = options.table == kLedgerTable;
  CHECK(ledger || options.table == kIncrementsTable);
  CHECK(options.checkpoint_commits > 0);
  Result<SnapshotPtr> snapshot = OpenOrCreate(
      storage, clock, ledger ? LedgerSpec() : IncrementsSpec(options.layout), options.known);
  if (snapshot.ok())
    snapshot = WithForeignChanges(storage, options.table, std::move(snapshot).value());
  if (!snapshot.ok()) return snapshot.status();
  Result<TableSpec> spec = SpecOf(options.table, *snapshot.value());
  if (!spec.ok()) return spec.status();
  RETURN_IF_ERROR(CheckWritable(options.table, *snapshot.value()));
  return std::unique_ptr<LakeWriter>(new LakeWriter(
      storage, clock, std::move(options), std::move(spec).value(), std::move(snapshot).value()));
}

LakeWriter::LakeWriter(Storage& storage, const Clock& clock, LakeWriterOptions options,
                       TableSpec spec, SnapshotPtr snapshot)
    : storage_(storage),
      clock_(clock),
      options_(std::move(options)),
      spec_(std::move(spec)),
      spec_of_(snapshot->metadata),
      current_(std::move(snapshot)) {
  thread_ = std::thread([this] { Run(); });
}

LakeWriter::~LakeWriter() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::unique_ptr<Sink> LakeWriter::OpenSink(std::function<void()> on_answer) {
  return std::make_unique<LakeTableSink>(*this, std::move(on_answer));
}

SnapshotPtr LakeWriter::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

LakeWriterStats LakeWriter::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

std::string LakeWriter::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

void LakeWriter::Fence(const SourcePartition& partition, Epoch epoch,
                       AsyncAnswerPtr<Answer> answer) {
  std::unique_lock lock(mutex_);
  if (closing_) {
    lock.unlock();
    return Finish(*answer, Closing());
  }
  fences_.push_back({partition, epoch, std::move(answer)});
  wake_.notify_all();
}

void LakeWriter::Write(WriteBatch batch, int64_t token, AsyncAnswerPtr<Answer> answer) {
  std::unique_lock lock(mutex_);
  if (closing_) {
    lock.unlock();
    return Finish(*answer, Closing());
  }
  if (writes_.empty()) oldest_write_ = std::chrono::steady_clock::now();
  writes_.push_back({std::move(batch), token, std::move(answer)});
  wake_.notify_all();
}

void LakeWriter::Finish(AsyncAnswer<Answer>& answer, Status status) {
  answer.value().status = std::move(status);
  answer.Finish();
}

void LakeWriter::Run() {
  std::unique_lock lock(mutex_);
  const std::chrono::milliseconds linger(options_.linger.v);
  while (true) {
    wake_.wait(lock, [&] { return closing_ || !fences_.empty() || !writes_.empty(); });
    if (fences_.empty() && !closing_)
      wake_.wait_until(lock, oldest_write_ + linger, [&] { return closing_ || !fences_.empty(); });
    if (closing_) break;
    // Fences first, so that what an older owner has queued is refused.
    if (!fences_.empty()) {
      std::vector<FenceJob> fences = std::exchange(fences_, {});
      lock.unlock();
      RunFences(std::move(fences));
    } else {
      std::vector<WriteJob> writes = std::exchange(writes_, {});
      lock.unlock();
      RunWrites(std::move(writes));
    }
    lock.lock();
  }
  const auto fences = std::exchange(fences_, {});
  const auto writes = std::exchange(writes_, {});
  lock.unlock();
  for (const FenceJob& job : fences) Finish(*job.answer, Closing());
  for (const WriteJob& job : writes) Finish(*job.answer, Closing());
}

// Plans the commit of some fences. The owner's token is the task's epoch, or one more than the
// token before if epochs have started again (the checkpoint store was removed by hand). So the last
// one to fence wins.
Result<Change> LakeWriter::PlanFences(const std::vector<FenceJob>& jobs,
                                      const Snapshot& snapshot) const {
  Change change{.operation = "FENCE"};
  for (const FenceJob& job : jobs) {
    const std::string property = EngineProperty(job.partition.source);
    const std::string engine = snapshot.Property(property);
    if (!engine.empty() && engine != options_.engine)
      return Status::Stop(
          fmt::format("source '{}' of table '{}' is written by the engine '{}': stop that pipeline "
                      "for good and remove the table property '{}', or count into another lake",
                      job.partition.source, options_.table, engine, property));
    if (engine.empty()) {
      if (!change.metadata.has_value()) change.metadata = *snapshot.metadata;
      change.metadata->configuration[property] = options_.engine;
    }
    const std::string app = OwnerTxn(options_.table, job.partition);
    const auto planned = change.txns.find(app);
    const int64_t before =
        planned != change.txns.end() ? planned->second : snapshot.Txn(app).value_or(0);
    const int64_t token = std::max(job.epoch.v, before + 1);
    job.answer->value().token = token;
    change.txns[app] = token;
  }
  return change;
}

void LakeWriter::RunFences(std::vector<FenceJob> jobs) {
  // Checks each fence alone first: one that is refused must not hold up the others.
  const auto refused = [&](const FenceJob& job) {
    const Result<Change> alone = PlanFences({job}, *current());
    if (!alone.ok()) Finish(*job.answer, alone.status());
    return !alone.ok();
  };
  std::erase_if(jobs, refused);
  if (jobs.empty()) return;
  bool overtaken = false;  // by what another writer has committed meanwhile
  const CommitResult result = CommitChange(storage_, clock_, options_.table, current(),
                                           [&](const Snapshot& snapshot) -> Result<Change> {
                                             Result<Change> change = PlanFences(jobs, snapshot);
                                             overtaken = !change.ok();
                                             return change;
                                           });
  Publish(result.snapshot);
  if (overtaken || result.schema_changed) return RunFences(std::move(jobs));
  if (result.status.ok()) Maintain(*result.snapshot);
  // A fence whose outcome is unknown is taken again: fencing twice does no harm.
  const Status status =
      Judged(result.status.code() == StatusCode::kRebuild ? Status::Retry(result.status.message())
                                                          : result.status);
  for (const FenceJob& job : jobs) Finish(*job.answer, status);
}

Result<bool> LakeWriter::IsNew(const WriteJob& job, const Snapshot& snapshot) const {
  const SourcePartition& partition = job.batch.partition;
  const auto owner = snapshot.Txn(OwnerTxn(options_.table, partition));
  if (owner != job.token)
    return Status::Rebuild(fmt::format("a newer task owns '{}' partition {} in table '{}'",
                                       partition.source, partition.partition, options_.table));
  const auto committed = snapshot.Txn(OffsetTxn(options_.table, partition));
  // Compare-and-set. A commit that is there already is one whose answer was lost.
  if (!committed.has_value() || *committed == job.batch.first.v) return true;
  if (*committed == job.batch.next.v) return false;
  return Status::Rebuild(fmt::format("table '{}' has '{}' partition {} up to {}, not {}",
                                     options_.table, partition.source, partition.partition,
                                     *committed, job.batch.first.v));
}

void LakeWriter::FinishDuplicates(std::vector<WriteJob>& jobs, const Snapshot& snapshot) const {
  std::erase_if(jobs, [&](const WriteJob& job) {
    const Result<bool> is_new = IsNew(job, snapshot);
    if (is_new.ok() && is_new.value()) return false;
    Finish(*job.answer, is_new.status());
    return true;
  });
}

Result<std::vector<AddFile>> LakeWriter::WriteFiles(const std::vector<WriteJob>& jobs) {
  std::vector<const WriteBatch*> batches;
  for (const WriteJob& job : jobs) batches.push_back(&job.batch);
  const RowContext context{.engine = options_.engine,
                           .window_size = options_.window_size,
                           .today = DayOf({clock_.NowMs()}),
                           .location_name = options_.location_name};
  std::vector<AddFile> adds;
  std::vector<NewDataFile> files;
  size_t bytes = 0, put = 0;
  const auto put_files = [&]() -> Status {
    RETURN_IF_ERROR(CheckOpen());
    RETURN_IF_ERROR(PutDataFiles(storage_, spec_, std::exchange(files, {})));
    bytes = 0;
    put = adds.size();
    return Status::Ok();
  };
  Status written = ForEachPartition(
      spec_, context, batches, [&](const PartitionValues& partition, const arrow::Table& rows) {
        Result<NewDataFile> file = EncodeDataFile(clock_, spec_, partition, rows);
        if (!file.ok()) return file.status();
        adds.push_back(file.value().add);
        bytes += file.value().bytes.size();
        files.push_back(std::move(file).value());
        return files.size() < kFilesAtOnce && bytes < kBytesAtOnce ? Status::Ok() : put_files();
      });
  if (written.ok()) written = put_files();
  if (written.ok()) written = CheckOpen();
  if (written.ok()) return adds;
  adds.resize(put);
  if (CheckOpen().ok() || put < kDeletedAtClose) DeleteUncommitted(storage_, spec_, adds);
  return written;
}

Status LakeWriter::CheckOpen() const {
  const std::lock_guard lock(mutex_);
  return closing_ ? Closing() : Status::Ok();
}

// Another writer may have changed the table's columns or its layout.
Status LakeWriter::UseSpec() {
  SnapshotPtr snapshot = current();
  if (snapshot->metadata == spec_of_) return Status::Ok();
  Result<TableSpec> spec = SpecOf(options_.table, *snapshot);
  if (!spec.ok()) {  // it may have been corrected since
    const Result<SnapshotPtr> refreshed = Refresh(storage_, options_.table, snapshot);
    if (!refreshed.ok() || refreshed.value() == snapshot) return spec.status();
    snapshot = refreshed.value();
    Publish(snapshot);
    spec = SpecOf(options_.table, *snapshot);
  }
  if (!spec.ok()) return spec.status();
  spec_ = std::move(spec).value();
  spec_of_ = snapshot->metadata;
  return Status::Ok();
}

// What the sinks are told of the outcome of a write. A full disk and the like pass by themselves
// and are no trouble.
Status LakeWriter::Judged(Status status) {
  const bool is_stop = status.code() == StatusCode::kStop;
  if (!is_stop && !status.ok()) return status;
  const std::string trouble = is_stop ? status.message() : "";
  std::string before;
  {
    const std::lock_guard lock(mutex_);
    before = std::exchange(trouble_, trouble);
  }
  if (is_stop && before != trouble)
    LogWarning(fmt::format("table '{}' of the lake cannot be written, what it lacks waits: {}",
                           options_.table, trouble));
  if (!is_stop && !before.empty())
    LogInfo(fmt::format("table '{}' of the lake is written again", options_.table));
  return is_stop ? Status::Retry(trouble) : status;
}

// Adds the columns that the table lacks before the first row that needs them, so that earlier
// programs can write beside this one until then.
Status LakeWriter::AddColumnsFor(const std::vector<WriteJob>& jobs) {
  const bool loses = std::ranges::any_of(jobs, [](const WriteJob& job) {
    return std::ranges::any_of(job.batch.ledger,
                               [](const LedgerRow& row) { return row.ledger.lost > 0; });
  });
  if (!loses || spec_.Has("lost")) return Status::Ok();
  const Result<SnapshotPtr> snapshot = AddColumns(storage_, clock_, current(), LedgerSpec());
  if (!snapshot.ok()) return snapshot.status();
  Publish(snapshot.value());
  return UseSpec();
}

// The layout follows the data: changes it before the rows of a batch make too many locations.
Status LakeWriter::UseLayoutFor(const std::vector<WriteJob>& jobs) {
  if (!spec_.IsPartition("geographical_location_oid")) return Status::Ok();
  const auto too_many = [&] {
    for (const WriteJob& job : jobs)
      for (const CountRow& row : job.batch.windows) locations_->insert(row.key.location);
    return std::ssize(*locations_) > options_.max_partitions;
  };
  if (!locations_) locations_ = LocationsOf(*current());
  if (!too_many()) return Status::Ok();
  // Locations of earlier batches that failed are not in the table: count again.
  locations_ = LocationsOf(*current());
  if (!too_many()) return Status::Ok();
  Result<SnapshotPtr> converted =
      ConvertToBuckets(storage_, clock_, current(), [this] { return CheckOpen(); });
  if (!converted.ok()) return converted.status();
  Publish(converted.value());
  return UseSpec();
}

void LakeWriter::RunWrites(std::vector<WriteJob> jobs) {
  while (true) {
    FinishDuplicates(jobs, *current());
    if (jobs.empty()) return;
    const auto finish_all = [&](const Status& status) {
      for (const WriteJob& job : jobs) Finish(*job.answer, status);
    };
    if (Status used = UseSpec(); !used.ok()) return finish_all(Judged(std::move(used)));
    if (Status added = AddColumnsFor(jobs); !added.ok())
      return finish_all(Judged(std::move(added)));
    if (Status ready = UseLayoutFor(jobs); !ready.ok()) return finish_all(Judged(std::move(ready)));
    const Result<std::vector<AddFile>> files = WriteFiles(jobs);
    if (!files.ok()) {
      const std::lock_guard lock(mutex_);
      ++stats_.failures;
    }
    if (!files.ok()) return finish_all(Judged(files.status()));
    bool stale = false;  // another writer has committed a partition of this batch
    const auto plan = [&](const Snapshot& snapshot) -> Result<Change> {
      Change change{.operation = "WRITE", .adds = files.value()};
      for (const WriteJob& job : jobs) {
        const Result<bool> is_new = IsNew(job, snapshot);
        // After a conflict, a job may have become refused or done. Its rows are in the files, so
        // the files are written again without it.
        stale = !is_new.ok() || !is_new.value();
        if (stale) return Status::Retry("the batch is out of date");
        change.txns[OffsetTxn(options_.table, job.batch.partition)] = job.batch.next.v;
      }
      return change;
    };
    const CommitResult result = CommitChange(storage_, clock_, options_.table, current(), plan);
    // If the outcome is unknown, the files may be in the table, so they stay. Vacuum removes them
    // if they are not.
    if (!result.status.ok() && result.known) DeleteUncommitted(storage_, spec_, files.value());
    {
      const std::lock_guard lock(mutex_);
      stats_.conflicts += result.conflicts;
      ++(result.status.ok() ? stats_.commits : stats_.failures);
      if (result.status.ok())
        for (const AddFile& file : files.value()) {
          ++stats_.files;
          stats_.rows += RowsOf(file);
          stats_.bytes += file.size_bytes;
        }
    }
    Publish(result.snapshot);
    if (result.conflicts > 0) locations_.reset();
    if (stale || result.schema_changed) continue;
    finish_all(Judged(result.status));
    if (result.status.ok()) Maintain(*result.snapshot);
    return;
  }
}

void LakeWriter::Publish(const SnapshotPtr& snapshot) {
  {
    const std::lock_guard lock(mutex_);
    // Only a new snapshot is announced.
    if (snapshot == current_) return;
    current_ = snapshot;
  }
  if (options_.on_commit) options_.on_commit(snapshot);
}

// Writes a checkpoint and cleans the log every few commits. It only makes reading cheaper, so a
// failure is logged and the next round makes up for it.
void LakeWriter::Maintain(const Snapshot& snapshot) {
  if (snapshot.version.v == 0 || snapshot.version.v % options_.checkpoint_commits != 0) return;
  const Result<int64_t> now_ms = storage_.NowMs(LogDirectory(options_.table));
  Status status = now_ms.status();
  if (status.ok()) status = WriteCheckpoint(storage_, options_.table, snapshot, now_ms.value());
  if (status.ok())
    status = CleanLog(storage_, options_.table, options_.log_retention.v, now_ms.value()).status();
  if (!status.ok())
    LogWarning(
        fmt::format("table '{}' has no checkpoint at version {}; the next one makes up for it: {}",
                    options_.table, snapshot.version.v, status.message()));
}

}  // namespace sightline::lake
