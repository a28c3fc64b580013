#include "connectors/lake/snapshot.h"

#include <utility>

namespace sightline::lake {

std::optional<int64_t> Snapshot::Txn(std::string_view app) const {
  const auto found = txns.find(app);
  if (found == txns.end()) return std::nullopt;
  return found->second;
}

std::string Snapshot::Property(const std::string& key) const {
  const auto found = metadata->configuration.find(key);
  return found == metadata->configuration.end() ? std::string() : found->second;
}

void Snapshot::Apply(Commit commit) {
  version = {version.v + 1};
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
