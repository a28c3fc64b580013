#include "connectors/lake/log_names.h"

#include <fmt/format.h>

#include <charconv>

namespace sightline::lake {
namespace {

constexpr size_t kDigits = 20;

}  // namespace

std::string LogDirectory(std::string_view table) { return fmt::format("{}/_delta_log", table); }
std::string CommitPath(std::string_view table, Version version) {
  return fmt::format("{}/_delta_log/{:0{}}.json", table, version.v, kDigits);
}
std::string CheckpointPath(std::string_view table, Version version) {
  return fmt::format("{}/_delta_log/{:0{}}.checkpoint.parquet", table, version.v, kDigits);
}
std::string LastCheckpointPath(std::string_view table) {
  return fmt::format("{}/_delta_log/_last_checkpoint", table);
}

std::optional<LogName> ParseLogName(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (name.size() <= kDigits) return std::nullopt;
  int64_t version = 0;
  const auto [stopped, error] = std::from_chars(name.data(), name.data() + kDigits, version);
  if (error != std::errc() || stopped != name.data() + kDigits || version < 0) return std::nullopt;
  const std::string_view rest = name.substr(kDigits);
  if (rest == ".json") return LogName{LogFile::kCommit, {version}};
  if (rest == ".checkpoint.parquet") return LogName{LogFile::kCheckpoint, {version}};
  if (rest.starts_with(".checkpoint.")) return LogName{LogFile::kForeignCheckpoint, {version}};
  return std::nullopt;
}

}  // namespace sightline::lake
