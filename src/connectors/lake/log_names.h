// The file names in a table's `_delta_log`.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "connectors/lake/actions.h"

namespace sightline::lake {

std::string LogDirectory(std::string_view table);
std::string CommitPath(std::string_view table, Version version);
std::string CheckpointPath(std::string_view table, Version version);
std::string LastCheckpointPath(std::string_view table);

enum class LogFile : uint8_t {
  kCommit,
  kCheckpoint,         // classic: of one file, or one of several parts
  kForeignCheckpoint,  // v2: a form that we cannot read
};
struct LogName {
  LogFile kind = LogFile::kCommit;
  Version version;
  int64_t part = 1, parts = 1;  // of a checkpoint: 1 <= part <= parts
};
// Parses the last component of a path in the log; nothing for other files.
std::optional<LogName> ParseLogName(std::string_view path);

}  // namespace sightline::lake
