// Copy: moves a lake to another place, such as from a disk to HDFS.
//
// The tables' newest versions are copied, and from then on they are written at the new place only.
// Writers may go on meanwhile, until their table is handed over. An interrupted copy is not a table
// yet, and the next call continues it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

struct CopyOptions {
  std::string from, to;  // the URLs of the two storages, as the tables' properties name them
  // Reports progress: `done` of `total` files of a table. Called by several threads, one at a time.
  // May be null.
  std::function<void(std::string_view table, int64_t done, int64_t total)> progress;
};

struct CopiedTable {
  std::string name;
  int64_t version = -1;          // of the source, whose content the copy has
  int64_t files = 0, bytes = 0;  // of that content
  int64_t copied = 0;            // files that this call has written; the others were there
};

// Copies every table of `source` into `target`. Each file is read back from there, and compared by
// length and content hash. Memory: a few data files.
//
// kStop: the target has other files than an interrupted copy of this lake; the lake was moved
// somewhere else; a file of it is gone or damaged; or CheckWritable() refuses a table. kRetry and
// kRebuild: call again, which goes on where this call ended.
Result<std::vector<CopiedTable>> CopyLake(Storage& source, Storage& target, const Clock& clock,
                                          const CopyOptions& options);

}  // namespace sightline::lake
