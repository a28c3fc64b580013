#include "history/lake_reader.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>
#include <vector>

#include "base/log.h"
#include "connectors/lake/locations_table.h"
#include "connectors/lake/log.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/tables.h"

namespace sightline {
namespace {

// The newest version of a table. `known`: an earlier one, or null.
Result<lake::SnapshotPtr> Newest(Storage& storage, std::string_view table,
                                 const lake::SnapshotPtr& known) {
  return known == nullptr ? lake::ReadSnapshot(storage, table)
                          : lake::Refresh(storage, table, known);
}

}  // namespace

Result<std::unique_ptr<LakeReader>> LakeReader::Open(LakeReaderOptions options) {
  std::unique_ptr<LakeReader> reader(new LakeReader(std::move(options)));
  RETURN_IF_ERROR(reader->Prepare());
  if (const Status read = reader->Refresh(); !read.ok()) return Status::Stop(read.message());
  return reader;
}

Result<std::unique_ptr<LakeReader>> LakeReader::Follow(LakeReaderOptions options, Millis interval) {
  std::unique_ptr<LakeReader> reader(new LakeReader(std::move(options)));
  RETURN_IF_ERROR(reader->Prepare());
  // A place that has to be asked over the network may take long to answer.
  const Status read = reader->cache_ ? reader->NotYet() : reader->Refresh();
  if (read.code() == StatusCode::kStop) return read;
  reader->trouble_ = read.message();
  reader->follower_ = std::jthread([reader = reader.get(), interval](const std::stop_token& stop) {
    reader->KeepFresh(stop, interval);
  });
  return reader;
}

LakeReader::~LakeReader() {
  stop_.request_stop();
  if (!follower_.joinable()) return;
  follower_.request_stop();
  follower_.join();
}

Status LakeReader::Prepare() {
  options_.lake = AbsoluteStorageUrl(options_.lake);
  options_.storage.stop = stop_.get_token();
  Result<std::unique_ptr<Storage>> storage = OpenStorage(options_.lake, options_.storage);
  if (!storage.ok()) return storage.status();
  storage_ = std::move(storage).value();
  auto cache = FileCache::OpenIfNeeded(options_.lake, options_.cache, *storage_);
  if (!cache.ok()) return cache.status();
  cache_ = std::move(cache).value();
  const std::string root = cache_ ? cache_->root() : options_.lake;
  // The window size matters only for pending rows, and a reader has none.
  constexpr Millis kWindowSize{60'000};
  view_ = std::make_shared<LakeView>(root, kWindowSize, nullptr, EngineReports(), cache_.get());
  view_->SetUnread(NotYet().message());
  auto queries = options_.open_queries(view_, root, kWindowSize);
  if (!queries.ok()) return queries.status();
  queries_ = std::move(queries).value();
  return Status::Ok();
}

Status LakeReader::NotYet() const {
  return Status::Retry(fmt::format("'{}' is being read: ask again in a second", options_.lake));
}

Status LakeReader::Refresh() {
  // Opened each time where that costs nothing: a reader writes nothing, so it takes whatever lies
  // at the path, and holds no file system.
  std::unique_ptr<Storage> now;
  if (cache_ == nullptr) {
    Result<std::unique_ptr<Storage>> opened = OpenStorage(options_.lake, options_.storage);
    if (!opened.ok()) return opened.status();
    now = std::move(opened).value();
  }
  Storage& storage = now ? *now : *storage_;
  const Result<std::string> absent = AbsentTable(storage);
  const bool is_empty = absent.ok() && !absent.value().empty();
  Status read = absent.status();
  if (is_empty)
    read = Status::Retry(
        fmt::format("there is no lake in '{}': no table '{}'", options_.lake, absent.value()));
  if (read.ok()) read = ReadTables(storage);
  // Nothing is in a lake that does not exist yet. One that could not be read may hold anything.
  if (!complete()) view_->SetUnread(is_empty ? "" : read.message());
  return read;
}

// The name of a table that does not exist yet. The writer creates one after the other, so the
// second may still be missing.
Result<std::string> LakeReader::AbsentTable(Storage& storage) const {
  if (complete()) return std::string();
  for (const std::string_view table : {lake::kIncrementsTable, lake::kLedgerTable}) {
    const Result<std::vector<FileInfo>> log = storage.List(lake::LogDirectory(table));
    if (!log.ok()) return log.status();
    if (log.value().empty()) return std::string(table);
  }
  return std::string();
}

Status LakeReader::ReadTables(Storage& storage) {
  const Result<lake::SnapshotPtr> counts = Newest(storage, lake::kIncrementsTable, counts_);
  if (!counts.ok()) return counts.status();
  const Result<lake::SnapshotPtr> ledger = Newest(storage, lake::kLedgerTable, ledger_);
  if (!ledger.ok()) return ledger.status();
  RETURN_IF_ERROR(ReadLocations(storage));
  counts_ = counts.value();
  ledger_ = ledger.value();
  view_->SetCounts(counts_);
  view_->SetLedger(ledger_);
  view_->SetUnread("");  // after both: a question never sees one without the other
  return Status::Ok();
}

// Reads the rows only of a new version.
Status LakeReader::ReadLocations(Storage& storage) {
  const Result<lake::SnapshotPtr> newest = Newest(storage, lake::kLocationsTable, locations_);
  if (!newest.ok()) return newest.status();
  if (newest.value() == locations_) return Status::Ok();
  Result<std::vector<Location>> rows = lake::ReadLocationsTable(storage);
  if (!rows.ok()) return rows.status();
  view_->SetLocations(std::move(rows).value());
  locations_ = newest.value();
  return Status::Ok();
}

std::string LakeReader::trouble() const {
  {
    const std::lock_guard lock(mutex_);
    if (!trouble_.empty()) return trouble_;
  }
  return queries_->trouble();
}

void LakeReader::KeepFresh(const std::stop_token& stop, Millis interval) {
  std::string logged;
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    lock.unlock();
    const Status refreshed = Refresh();
    lock.lock();
    if (!refreshed.ok() && logged != refreshed.message()) LogWarning(refreshed.message());
    trouble_ = logged = refreshed.message();
    wake_.wait_for(lock, stop, std::chrono::milliseconds(interval.v), [] { return false; });
  }
}

}  // namespace sightline
