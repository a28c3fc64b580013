// KnownTables: remembers, in a small file outside the lake, which tables a pipeline writes. So a
// lake whose file system is not mounted is not taken for a new one.
//
// Thread-safe. Several processes may keep the same file if they write the same lake.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/status.h"
#include "connectors/lake/snapshot.h"

namespace sightline::lake {

struct KnownTablesOptions {
  std::string path;   // of the file
  std::string lake;   // the lake's root, for messages
  std::string renew;  // how a person begins a new lake, for messages: "start once with ..."
};

class KnownTables {
 public:
  // Reads the file, if there is one. kStop: it is damaged, or cannot be read.
  static Result<std::unique_ptr<KnownTables>> Open(KnownTablesOptions options);
  // Forgets the tables, but not that there was a lake: it is switched off, and may be another one
  // when it is on again. False: there never was one.
  static Result<bool> Forget(const std::string& path);

  // kStop: the pipeline has written the table before, and `snapshot` has no table, or another one.
  // A table that was moved there (CopyLake) is the same.
  Status Check(std::string_view table, const Snapshot& snapshot) const;
  // Remembers the table of `snapshot`. It lasts when this returns kOk.
  Status Add(std::string_view table, const Snapshot& snapshot);

 private:
  KnownTables(KnownTablesOptions options, std::map<std::string, std::string, std::less<>> ids)
      : options_(std::move(options)), ids_(std::move(ids)) {}

  const KnownTablesOptions options_;
  mutable std::mutex mutex_;
  std::map<std::string, std::string, std::less<>> ids_;  // table -> id; under mutex_
};

}  // namespace sightline::lake
