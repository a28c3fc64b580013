// Repair: makes a table usable again whose log lacks commits in its middle.
//
// It deletes nothing: what no longer belongs to the log goes into a folder beside it. Everything
// that writes the table must be stopped.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/lake/actions.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

struct RepairResult {
  Version newest = kNoVersion;  // before the repair
  // The missing commits. kNoVersion: the log is whole, and nothing is done.
  Version missing_first = kNoVersion, missing_last = kNoVersion;
  // The newest version afterwards. It is `newest` if a checkpoint lies behind the missing commits:
  // then reading begins there, and nothing is lost but the versions before it.
  Version kept = kNoVersion;
  std::string folder;                  // where commits are set aside
  std::vector<std::string> set_aside;  // files of the log, in the order in which they are moved
  // What leaves the table: files and rows that the commits behind the gap have added.
  int64_t files = 0, rows = 0;
  // Application id -> version before and after. Offsets that were never committed become -1.
  std::map<std::string, std::pair<int64_t, int64_t>> txns;
};

// Sets aside the commits behind the gap; or, if a checkpoint lies behind it, those before it. A dry
// run only reports. kStop: there is no version before the gap, or the log is damaged in another
// way.
Result<RepairResult> Repair(Storage& storage, const Clock& clock, std::string_view table,
                            bool dry_run);

// The data files, relative to the table, that commits name which were set aside. `files` are those
// of the table's folder.
Result<std::set<std::string>> RetiredFiles(Storage& storage, std::string_view table,
                                           std::span<const FileInfo> files);
// True for what lies beside the data, like the log. `path` is relative to the table.
inline bool IsHidden(std::string_view path) { return path.starts_with('_'); }

}  // namespace sightline::lake
