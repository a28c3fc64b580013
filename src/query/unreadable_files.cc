#include "query/unreadable_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

namespace sightline {
namespace {

// The first path below `root` that DuckDB has put between quotes.
std::string PathIn(std::string_view message, const std::string& root) {
  const size_t start = message.find(root + "/");
  if (root.empty() || start == std::string_view::npos) return "";
  const std::string_view rest = message.substr(start);
  return std::string(
      rest.substr(0, std::min(rest.find_first_of("\"'\n", root.size()), rest.size())));
}

// Reads all columns of the file. Empty: it can be read.
std::string WhyUnreadable(const std::string& path, const duck::Database& database) {
  const Result<duck::Connection> connection = duck::Connect(database);
  if (!connection.ok()) return connection.status().message();
  const std::string message =
      duck::Execute(connection.value(),
                    fmt::format("SELECT count(COLUMNS(*)) FROM read_parquet({}, "
                                "hive_partitioning = false)",
                                duck::Quoted(path)))
          .message();
  return message.substr(0, message.find('\n'));
}

}  // namespace

void UnreadableFiles::Note(const LakeState& state, const std::string& message,
                           const duck::Database& database) {
  for (const FileList* files : {&state.counts_files, &state.ledger_files}) {
    const std::string path = PathIn(message, files->root());
    if (path.empty() || !files->Has(path)) continue;
    const std::string why = WhyUnreadable(path, database);
    if (why.empty()) continue;
    const std::lock_guard lock(mutex_);
    files_[path] = why;
  }
}

std::string UnreadableFiles::Trouble(LakeSource& source, const duck::Database& database) {
  std::map<std::string, std::string> files;
  {
    const std::lock_guard lock(mutex_);
    files = files_;
  }
  if (files.empty()) return "";
  const auto state = source.Current();
  for (auto& [path, why] : files) {
    const bool listed = !state.ok() || state.value()->counts_files.Has(path) ||
                        state.value()->ledger_files.Has(path);
    why = listed ? WhyUnreadable(path, database) : "";
    const std::lock_guard lock(mutex_);
    if (!why.empty()) {
      files_[path] = why;
      return "queries fail, because a file of the lake cannot be read: " + why;
    }
    files_.erase(path);
  }
  return "";
}

}  // namespace sightline
