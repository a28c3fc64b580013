#include "history/lake_service.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "connectors/lake/locations_table.h"
#include "connectors/lake/maintenance.h"
#include "connectors/lake/table_sink.h"
#include "history/pinned_runs.h"

namespace sightline {
namespace {

constexpr Millis kOpenInterval{1'000};
constexpr std::string_view kOpening = "tables";  // what fails while they cannot be opened

}  // namespace

// A sink of a table that may not be open yet.
class LakeService::LateSink final : public Sink {
 public:
  LateSink(LakeService& service, bool ledger, std::function<void()> on_answer)
      : service_(service), ledger_(ledger), on_answer_(std::move(on_answer)) {}

  Status Fence(const SourcePartition& partition, Epoch epoch) override {
    if (!Open()) return NotYet();
    return sink_->Fence(partition, epoch);
  }
  Result<Offset> Committed(const SourcePartition& partition) override {
    if (!Open()) return NotYet();
    return sink_->Committed(partition);
  }
  Result<Offset> Commit(const SourcePartition& partition,
                        std::span<const Segment> segments) override {
    if (!Open()) return NotYet();
    return sink_->Commit(partition, segments);
  }

 private:
  bool Open() {
    if (sink_ == nullptr && service_.open_)
      sink_ = (ledger_ ? service_.ledger_ : service_.counts_)->OpenSink(on_answer_);
    return sink_ != nullptr;
  }
  static Status NotYet() { return Status::Retry("the lake has not been read yet"); }

  LakeService& service_;
  const bool ledger_;
  const std::function<void()> on_answer_;
  std::unique_ptr<Sink> sink_;
};

LakeService::LakeService(const LakeServiceOptions& options, const LogClock& clock,
                         std::unique_ptr<StorageMetrics> metrics, std::stop_source stop,
                         std::unique_ptr<Storage> storage, std::unique_ptr<FileCache> cache)
    : options_(options),
      clock_(clock),
      storage_metrics_(std::move(metrics)),
      stop_(std::move(stop)),
      storage_(std::move(storage)),
      cache_(std::move(cache)),
      view_(std::make_shared<LakeView>(cache_ ? cache_->root() : options.dir, options.window_size,
                                       options.runs, options.engine, cache_.get())) {}

Result<std::unique_ptr<LakeService>> LakeService::Open(const LakeServiceOptions& options,
                                                       const LogClock& clock,
                                                       std::vector<Location> locations) {
  LakeServiceOptions absolute = options;
  absolute.dir = AbsoluteStorageUrl(options.dir);
  auto metrics = std::make_unique<StorageMetrics>();
  std::stop_source stop;
  absolute.storage.metrics = metrics.get();
  absolute.storage.stop = stop.get_token();
  Result<std::unique_ptr<Storage>> storage = OpenStorage(absolute.dir, absolute.storage);
  if (!storage.ok()) return storage.status();
  std::unique_ptr<FileCache> cache;
  if (options.open_queries) {
    auto opened = FileCache::OpenIfNeeded(absolute.dir, options.cache, *storage.value());
    if (!opened.ok()) return opened.status();
    cache = std::move(opened).value();
  }
  std::unique_ptr<LakeService> service(new LakeService(
      absolute, clock, std::move(metrics), stop, std::move(storage).value(), std::move(cache)));
  RETURN_IF_ERROR(service->Start(std::move(locations)));
  return service;
}

Status LakeService::Start(std::vector<Location> locations) {
  if (!options_.known_tables.empty()) {
    auto known = lake::KnownTables::Open(
        {.path = options_.known_tables, .lake = options_.dir, .renew = options_.renew});
    if (!known.ok()) return known.status();
    known_ = std::move(known).value();
  }
  const Status opened = OpenTables();
  if (!opened.ok() && opened.code() != StatusCode::kRetry) return opened;
  Note(kOpening, opened);
  if (options_.open_queries) {
    auto queries =
        options_.open_queries(view_, cache_ ? cache_->root() : options_.dir, options_.window_size);
    if (!queries.ok()) return queries.status();
    queries_ = std::move(queries).value();
  }
  SetLocations(std::move(locations));
  maintenance_ = std::thread([this] { RunMaintenance(); });
  return Status::Ok();
}

// Call it again after a failure.
Status LakeService::OpenTables() {
  for (const auto& [table, writer] :
       {std::pair(lake::kIncrementsTable, &counts_), {lake::kLedgerTable, &ledger_}}) {
    if (*writer != nullptr) continue;
    auto opened = OpenWriter(table);
    if (!opened.ok()) {
      view_->SetUnread(opened.status().message());
      return opened.status();
    }
    *writer = std::move(opened).value();
  }
  SetCounts(counts_->current());
  view_->SetLedger(ledger_->current());
  view_->SetUnread("");
  open_ = true;
  return Status::Ok();
}

Result<std::unique_ptr<lake::LakeWriter>> LakeService::OpenWriter(std::string_view table) {
  const bool counts = table == lake::kIncrementsTable;
  return lake::LakeWriter::Open(*storage_, clock_,
                                {.table = std::string(table),
                                 .max_partitions = options_.max_partitions,
                                 .window_size = options_.window_size,
                                 .location_name = options_.location_name,
                                 .on_commit =
                                     [this, counts](const lake::SnapshotPtr& snapshot) {
                                       counts ? SetCounts(snapshot) : view_->SetLedger(snapshot);
                                     },
                                 .known = known_.get()});
}

void LakeService::SetCounts(const lake::SnapshotPtr& snapshot) {
  by_bucket_ = lake::LayoutOf(*snapshot) == lake::Layout::kByBucket;
  view_->SetCounts(snapshot);
}

LakeService::~LakeService() {
  stop_.request_stop();
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  if (maintenance_.joinable()) maintenance_.join();
}

std::unique_ptr<Sink> LakeService::OpenCountsSink(std::function<void()> on_answer) {
  return std::make_unique<LateSink>(*this, /*ledger=*/false, std::move(on_answer));
}
std::unique_ptr<Sink> LakeService::OpenLedgerSink(std::function<void()> on_answer) {
  return std::make_unique<LateSink>(*this, /*ledger=*/true, std::move(on_answer));
}

void LakeService::SetLocations(std::vector<Location> locations) {
  view_->SetLocations(locations);
  const std::lock_guard lock(locations_mutex_);
  locations_ = std::move(locations);
  WriteLocations();
}

// Under locations_mutex_, so that the newest table is written last.
void LakeService::WriteLocations() {
  if (locations_.empty()) return;  // no table: what the lake has stays
  locations_written_ = false;
  if (!open_) return;  // it is not known yet which lake this is
  const Result<bool> written = lake::WriteLocations(*storage_, clock_, locations_, known_.get());
  locations_written_ = written.ok();
  Note(lake::kLocationsTable, written.status());
}

lake::LakeWriterStats LakeService::stats(bool ledger) const {
  return open_ ? (ledger ? ledger_ : counts_)->stats() : lake::LakeWriterStats();
}

std::string LakeService::trouble() const {
  std::vector<std::string> reasons;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [what, reason] : troubles_) reasons.push_back(reason);
  }
  if (open_)
    for (const auto& writer : {counts_.get(), ledger_.get()}) reasons.push_back(writer->trouble());
  if (options_.runs != nullptr) reasons.push_back(options_.runs->trouble());
  if (queries_) reasons.push_back(queries_->trouble());
  std::erase(reasons, "");
  return reasons.empty() ? "" : fmt::format("lake: {}", fmt::join(reasons, "; "));
}

// The success of one does not hide the trouble of another. What lasts is logged once.
void LakeService::Note(std::string_view what, const Status& status) {
  bool is_new = false;
  {
    const std::lock_guard lock(mutex_);
    is_new = std::exchange(troubles_[std::string(what)], status.message()) != status.message();
  }
  wake_.notify_all();
  if (is_new && !status.ok()) LogWarning("lake: " + status.message());
}

bool LakeService::HasFailed(std::string_view what) const {
  const std::lock_guard lock(mutex_);
  const auto trouble = troubles_.find(what);
  return trouble != troubles_.end() && !trouble->second.empty();
}

bool LakeService::Well() const {
  return std::ranges::all_of(troubles_, [](const auto& trouble) { return trouble.second.empty(); });
}

// Packs files, removes days beyond the retention, deletes files that
// no version needs, and tries a failed write of the locations again. The lock is released while it
// works, so that the destructor can ask it to stop; a maintenance that was interrupted so reports
// no error. What fails is tried again soon: the lake may be away for seconds only.
void LakeService::RunMaintenance() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const bool well = Well();
    Millis interval = options_.maintenance_interval;
    if (!well) interval = std::min(interval, open_ ? options_.troubled_interval : kOpenInterval);
    const bool woken = wake_.wait_for(lock, std::chrono::milliseconds(interval.v),
                                      [&] { return closing_ || Well() != well; });
    if (closing_) return;
    if (woken) continue;  // the locations could not be written: try again sooner
    lock.unlock();
    if (!open_) Note(kOpening, OpenTables());
    for (const std::string_view table : {lake::kIncrementsTable, lake::kLedgerTable}) {
      if (!open_) break;
      const Status status = Maintain(table);
      lock.lock();
      const bool closing = closing_;
      lock.unlock();
      if (closing) return;
      Note(table, status);
    }
    if (const std::lock_guard locations_lock(locations_mutex_); !locations_written_)
      WriteLocations();
    lock.lock();
  }
}

Status LakeService::Maintain(std::string_view table) {
  const lake::ProgressCallback progress = [this](int64_t, int64_t) {
    const std::lock_guard lock(mutex_);
    return !closing_;
  };
  // Several processes maintain a lake, each when it was started: half of the interval is enough for
  // one of them to do it once in an interval. Whoever has failed goes on.
  const Millis recent = HasFailed(table) ? Millis{0} : Millis{options_.maintenance_interval.v / 2};
  const auto compacted =
      lake::Compact(*storage_, clock_, table, {.recent = recent, .progress = progress});
  if (!compacted.ok()) return compacted.status();
  if (compacted.value().files_before > 0)
    LogInfo(fmt::format("lake: {}: compaction packed {} files into {}", table,
                        compacted.value().files_before, compacted.value().files_after));
  const std::optional<int64_t> now_ms = clock_.RetentionNowMs();
  if (!now_ms) return Status::Ok();  // /healthz has the reason
  if (options_.retention_days > 0 && table == lake::kIncrementsTable) {
    const auto removed = lake::RemoveOldDays(
        *storage_, clock_, table,
        {.days = options_.retention_days, .not_after_ms = now_ms, .progress = progress});
    if (!removed.ok()) return removed.status();
    if (!removed.value().days.empty())
      LogInfo(fmt::format("lake: {}: retention removed {} days, the newest is {}", table,
                          removed.value().days.size(), removed.value().days.back()));
  }
  const auto vacuumed = lake::Vacuum(
      *storage_, table,
      {.retention = options_.vacuum_retention, .not_after_ms = now_ms, .progress = progress});
  return vacuumed.ok() ? Status::Ok() : vacuumed.status();
}

}  // namespace sightline
