#include "connectors/lake/snapshot.h"

#include <simdjson.h>

#include <utility>

namespace sightline::lake {
namespace {

constexpr std::string_view kOurTxns = "sightline/";

// False if the statistics show that no row has a source: then other programs have written them all.
bool HasOurRows(const AddFile& file) {
  simdjson::dom::parser parser;
  simdjson::dom::element stats;
  int64_t rows = 0, without = -1;
  if (file.stats.empty() || parser.parse(file.stats).get(stats)) return true;
  if (stats["numRecords"].get(rows) || stats["nullCount"]["source"].get(without)) return true;
  return without < rows;
}

}  // namespace

std::optional<int64_t> Snapshot::Txn(std::string_view app) const {
  const auto found = txns.find(app);
  if (found == txns.end()) return std::nullopt;
  return found->second;
}

std::string Snapshot::Property(const std::string& key) const {
  const auto found = metadata->configuration.find(key);
  return found == metadata->configuration.end() ? std::string() : found->second;
}

void Snapshot::NoteForeign(const Commit& commit) {
  // We commit only on what CheckWritable() has found good.
  if (commit.IsOurs()) {
    foreign.clear();
    return foreign_files.clear();
  }
  const ForeignChange change{version, commit.info.operation, commit.info.engine};
  for (const Tombstone& remove : commit.removes) {
    const FilePtr file = remove.data_change ? files.Find(remove.path) : nullptr;
    if (file != nullptr && HasOurRows(*file) && !foreign_files.contains(remove.path))
      foreign.try_emplace(remove.path, change);
  }
  for (const AddFile& add : commit.adds) {
    const bool is_back = foreign.erase(add.path) > 0;
    if (add.data_change && !is_back) foreign_files.insert(add.path);
  }
  for (const auto& [app, txn] : commit.txns)
    if (app.starts_with(kOurTxns) && txn < Txn(app).value_or(txn)) foreign.try_emplace(app, change);
}

void Snapshot::Apply(Commit commit) {
  version = {version.v + 1};
  NoteForeign(commit);
  mark = commit.mark;
  timestamp_ms = commit.info.timestamp_ms;
  if (commit.protocol.has_value()) protocol = *commit.protocol;
  if (commit.metadata.has_value())
    metadata = std::make_shared<const Metadata>(std::move(*commit.metadata));
  for (auto& [app, txn] : commit.txns) txns[std::move(app)] = txn;
  // Removes before adds: a commit may remove a path and add it again.
  for (Tombstone& remove : commit.removes) {
    files.Erase(remove.path);
    tombstones.Put(std::make_shared<const Tombstone>(std::move(remove)));
  }
  for (AddFile& add : commit.adds) {
    tombstones.Erase(add.path);
    files.Put(std::make_shared<const AddFile>(std::move(add)));
  }
}

}  // namespace sightline::lake
