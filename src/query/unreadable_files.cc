#include "query/unreadable_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

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

}  // namespace

void UnreadableFiles::Note(const LakeState& state, const std::string& message) {
  for (const FileList* files : {&state.counts_files, &state.ledger_files}) {
    const std::string path = PathIn(message, files->root());
    if (path.empty() || !files->Has(path)) continue;
    const std::string why = read_(path);
    if (!why.empty()) Add(path, why);
  }
}

void UnreadableFiles::Add(const std::string& path, const std::string& why) {
  const std::lock_guard lock(mutex_);
  files_[path] = why;
}

std::map<std::string, std::string> UnreadableFiles::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(files_, {});
}

std::string UnreadableFiles::Known() const {
  const std::lock_guard lock(mutex_);
  return files_.empty()
             ? ""
             : "queries fail, because a file of the lake cannot be read: " + files_.begin()->second;
}

std::string UnreadableFiles::Trouble(LakeSource& source) {
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
    why = listed ? read_(path) : "";
    if (!why.empty()) {
      Add(path, why);
      break;
    }
    const std::lock_guard lock(mutex_);
    files_.erase(path);
  }
  return Known();
}

}  // namespace sightline
