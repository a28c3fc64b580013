// Snapshot: what a table contains at one version. It is immutable once published, and any thread
// may read it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"
#include "connectors/lake/actions.h"
#include "connectors/lake/path_set.h"

namespace sightline::lake {

// What another program has done to rows or offsets of ours.
struct ForeignChange {
  Version version;
  std::string operation, engine;
};

struct Snapshot {
  Version version = kNoVersion;     // kNoVersion: there is no table
  Version checkpoint = kNoVersion;  // the newest known checkpoint
  std::optional<size_t> mark;       // of the newest commit; none: it is known from a checkpoint
  int64_t timestamp_ms = 0;         // of the newest commit, by its writer's clock; 0: unknown
  // A moment at which nothing behind `version` was in the log, by Clock::ElapsedMs(); none:
  // unknown.
  std::optional<int64_t> seen_ms;
  Protocol protocol;
  std::shared_ptr<const Metadata> metadata = std::make_shared<const Metadata>();
  PathSet<AddFile> files;
  PathSet<Tombstone> tombstones;
  std::map<std::string, int64_t, std::less<>> txns;  // application id -> version
  // Since our newest commit, as far as the commits were read: files with rows of ours that others
  // have removed, by path, and offsets of ours that they have set back, by application id.
  std::map<std::string, ForeignChange, std::less<>> foreign;
  // Since then: files that others have added with rows of their own, or of files that are noted.
  std::set<std::string, std::less<>> foreign_files;

  std::optional<int64_t> Txn(std::string_view app) const;
  std::string Property(const std::string& key) const;  // empty if it is not set
  // Applies the next commit. O(size of the commit), see PathSet.
  void Apply(Commit commit);

 private:
  void NoteForeign(const Commit& commit);
};

// Shared by all readers of that version, while the writer goes on.
using SnapshotPtr = std::shared_ptr<const Snapshot>;

}  // namespace sightline::lake
