#include "connectors/lake/repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "connectors/lake/commit_json.h"
#include "connectors/lake/data_file.h"
#include "connectors/lake/json_text.h"
#include "connectors/lake/log.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/tables.h"

namespace sightline::lake {
namespace {

constexpr std::string_view kPrefix = "_repaired-";

std::string FolderFor(std::string_view table, int64_t now_ms) {
  std::string time = TimeText(now_ms);
  std::ranges::replace(time, ':', '-');
  return fmt::format("{}/{}{}", table, kPrefix, time);
}

// The newest gap between the commits, counting the newest checkpoint as one of them.
void FindGap(const LogListing& log, RepairResult& result) {
  Version before = kNoVersion;
  const Version checkpoint = log.checkpoints.empty() ? kNoVersion : log.checkpoints.back().version;
  const auto take = [&](Version version) {
    if (version.v > before.v + 1 && (before != kNoVersion || checkpoint == kNoVersion)) {
      // Behind the checkpoint it is the first gap that counts, before it the last one.
      if (result.missing_first <= checkpoint) {
        result.missing_first = {before.v + 1};
        result.missing_last = {version.v - 1};
      }
    }
    before = std::max(before, version);
  };
  bool taken = checkpoint == kNoVersion;
  for (const LogListing::Entry& commit : log.commits) {
    if (!taken && commit.version >= checkpoint) {
      take(checkpoint);
      taken = true;
    }
    take(commit.version);
  }
  if (!taken) take(checkpoint);
  result.newest = before;
}

// What the commits that leave the log have done.
Status AddUp(Storage& storage, std::string_view table, RepairResult& result) {
  const Result<SnapshotPtr> kept = ReadSnapshotAt(storage, table, result.kept);
  if (!kept.ok()) return kept.status();
  for (const std::string& path : result.set_aside) {
    const Result<std::optional<std::string>> text = storage.ReadWhole(path);
    if (!text.ok()) return text.status();
    const Result<Commit> commit = ParseCommit(text.value().value_or(""), path);
    // A damaged commit is set aside like the others.
    if (!commit.ok()) continue;
    for (const AddFile& file : commit.value().adds) {
      if (kept.value()->files.Find(file.path) != nullptr) continue;
      ++result.files;
      result.rows += std::max<int64_t>(RowsOf(file), 0);
    }
    for (const auto& [app, version] : commit.value().txns) {
      const auto [entry, is_new] =
          result.txns.try_emplace(app, version, kept.value()->Txn(app).value_or(-1));
      entry->second.first = std::max(entry->second.first, version);
    }
  }
  return Status::Ok();
}

Status Retire(Storage& storage, const RepairResult& result) {
  for (const std::string& path : result.set_aside) {
    const Result<std::optional<std::string>> bytes = storage.ReadWhole(path);
    if (!bytes.ok()) return bytes.status();
    if (!bytes.value().has_value()) continue;
    const std::string copy = result.folder + path.substr(path.rfind('/'));
    RETURN_IF_ERROR(storage.Put(copy, *bytes.value(), PutMode::kReplace).status());
    RETURN_IF_ERROR(storage.Delete(path));
  }
  return Status::Ok();
}

}  // namespace

Result<RepairResult> Repair(Storage& storage, const Clock& clock, std::string_view table,
                            bool dry_run) {
  const Result<LogListing> log = ListLog(storage, table);
  if (!log.ok()) return log.status();
  const auto& [commits, checkpoints, foreign] = log.value();
  RepairResult result;
  FindGap(log.value(), result);
  result.kept = result.newest;
  if (result.missing_first == kNoVersion) return result;
  result.folder = FolderFor(table, clock.NowMs());
  const bool readable = !checkpoints.empty() && result.missing_first <= checkpoints.back().version;
  if (readable) {
    // Oldest first, so that an interruption leaves no other gap.
    for (const LogListing::Entry& commit : commits)
      if (commit.version < result.missing_first) result.set_aside.push_back(commit.file.path);
    for (const LogListing::Checkpoint& checkpoint : checkpoints)
      for (const FileInfo& part : checkpoint.parts)
        if (checkpoint.version < result.missing_first) result.set_aside.push_back(part.path);
  } else {
    if (result.missing_first == Version{0})
      return Status::Stop(fmt::format(
          "table '{}' has no version before the gap: '{}' is missing, and there is no checkpoint; "
          "restore it from a copy",
          table, CommitPath(table, {0})));
    result.kept = {result.missing_first.v - 1};
    // Newest first: an interruption leaves the same gap.
    for (auto commit = commits.rbegin(); commit != commits.rend(); ++commit)
      if (commit->version > result.kept) result.set_aside.push_back(commit->file.path);
    RETURN_IF_ERROR(AddUp(storage, table, result));
  }
  if (!dry_run) RETURN_IF_ERROR(Retire(storage, result));
  return result;
}

Result<std::set<std::string>> RetiredFiles(Storage& storage, std::string_view table,
                                           std::span<const FileInfo> files) {
  std::set<std::string> named;
  const std::string prefix = fmt::format("{}/{}", table, kPrefix);
  for (const FileInfo& file : files) {
    if (!file.path.starts_with(prefix) || !file.path.ends_with(".json")) continue;
    const Result<std::optional<std::string>> text = storage.ReadWhole(file.path);
    if (!text.ok()) return text.status();
    const Result<Commit> commit = ParseCommit(text.value().value_or(""), file.path);
    if (!commit.ok()) continue;
    for (const AddFile& add : commit.value().adds) named.insert(UrlDecoded(add.path));
  }
  return named;
}

}  // namespace sightline::lake
