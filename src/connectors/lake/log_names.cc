#include "connectors/lake/log_names.h"

#include <fmt/format.h>

#include <charconv>

namespace sightline::lake {
namespace {

constexpr size_t kDigits = 20, kPartDigits = 10;

// A number of exactly so many digits; nothing for other texts.
std::optional<int64_t> NumberOf(std::string_view text, size_t digits) {
  int64_t number = 0;
  if (text.size() != digits) return std::nullopt;
  const auto [stopped, error] = std::from_chars(text.data(), text.data() + digits, number);
  if (error != std::errc() || stopped != text.data() + digits || number < 0) return std::nullopt;
  return number;
}

// Of the name "<version>.checkpoint.<part>.<parts>.parquet", what follows ".checkpoint.".
std::optional<LogName> ParsePart(std::string_view text, int64_t version) {
  constexpr size_t kSize = 2 * kPartDigits + 1;
  if (text.size() < kSize || text[kPartDigits] != '.' || text.substr(kSize) != ".parquet")
    return std::nullopt;
  const auto part = NumberOf(text.substr(0, kPartDigits), kPartDigits);
  const auto parts = NumberOf(text.substr(kPartDigits + 1, kPartDigits), kPartDigits);
  if (!part || !parts || *part < 1 || *part > *parts) return std::nullopt;
  return LogName{LogFile::kCheckpoint, {version}, *part, *parts};
}

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
  const std::optional<int64_t> version = NumberOf(name.substr(0, kDigits), kDigits);
  if (!version) return std::nullopt;
  constexpr std::string_view kCheckpoint = ".checkpoint.";
  const std::string_view rest = name.substr(kDigits);
  if (rest == ".json") return LogName{LogFile::kCommit, {*version}};
  if (rest == ".checkpoint.parquet") return LogName{LogFile::kCheckpoint, {*version}};
  if (rest.starts_with(kCheckpoint))
    return ParsePart(rest.substr(kCheckpoint.size()), *version)
        .value_or(LogName{LogFile::kForeignCheckpoint, {*version}});
  return std::nullopt;
}

}  // namespace sightline::lake
