#include "history/lake_reader.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "connectors/lake/locations_table.h"
#include "connectors/lake/log.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/tables.h"
#include "connectors/storage/open_storage.h"

namespace sightline {

Result<std::unique_ptr<LakeReader>> LakeReader::Open(const std::string& folder,
                                                     const OpenQueries& open_queries) {
  Result<std::unique_ptr<LakeReader>> reader = OpenEarly(folder, open_queries);
  if (reader.ok() && !reader.value()->complete())
    return Status::Stop(reader.value()->Refresh().message());
  return reader;
}

Result<std::unique_ptr<LakeReader>> LakeReader::OpenEarly(const std::string& folder,
                                                          const OpenQueries& open_queries) {
  const std::string root = AbsoluteStorageUrl(folder);
  RETURN_IF_ERROR(LakeView::CheckRoot(root));
  std::unique_ptr<LakeReader> reader(new LakeReader);
  reader->root_ = root;
  // The window size matters only for pending rows, and a reader has none.
  constexpr Millis kWindowSize{60'000};
  reader->view_ = std::make_shared<LakeView>(root, kWindowSize);
  if (const Status read = reader->Refresh(); read.code() == StatusCode::kStop) return read;
  auto queries = open_queries(reader->view_, root, kWindowSize);
  if (!queries.ok()) return queries.status();
  reader->queries_ = std::move(queries).value();
  return reader;
}

Status LakeReader::Refresh() {
  // Opened each time: a reader writes nothing, so it takes whatever lies at the path, and holds no
  // file system.
  const Result<std::unique_ptr<Storage>> opened = OpenStorage(root_, {});
  if (!opened.ok()) return opened.status();
  Storage& storage = *opened.value();
  // The writer creates one table after the other, so the second may still be missing.
  for (const std::string_view table : {lake::kIncrementsTable, lake::kLedgerTable}) {
    if (complete()) continue;
    const Result<std::vector<FileInfo>> log = storage.List(lake::LogDirectory(table));
    if (!log.ok()) return log.status();
    if (log.value().empty())
      return Status::Retry(fmt::format("there is no lake in '{}': no table '{}'", root_, table));
  }
  const auto newest = [&](std::string_view table, const lake::SnapshotPtr& known) {
    return known == nullptr ? lake::ReadSnapshot(storage, table)
                            : lake::Refresh(storage, table, known);
  };
  const Result<lake::SnapshotPtr> counts = newest(lake::kIncrementsTable, counts_);
  if (!counts.ok()) return counts.status();
  const Result<lake::SnapshotPtr> ledger = newest(lake::kLedgerTable, ledger_);
  if (!ledger.ok()) return ledger.status();
  Result<std::vector<Location>> locations = lake::ReadLocationsTable(storage);
  if (!locations.ok()) return locations.status();
  counts_ = counts.value();
  ledger_ = ledger.value();
  view_->SetCounts(counts_);
  view_->SetLedger(ledger_);
  view_->SetLocations(std::move(locations).value());
  return Status::Ok();
}

}  // namespace sightline
