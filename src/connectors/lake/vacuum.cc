#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "connectors/lake/checkpoint.h"
#include "connectors/lake/json_text.h"
#include "connectors/lake/log.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/maintenance.h"
#include "connectors/lake/repair.h"
#include "connectors/lake/writable.h"

namespace sightline::lake {
namespace {

// Tells what a file in the table's directory means to the snapshot.
class FileStates {
 public:
  explicit FileStates(const Snapshot& snapshot) {
    snapshot.files.ForEach([&](const FilePtr& file) { known_[UrlDecoded(file->path)] = kLive; });
    snapshot.tombstones.ForEach([&](const std::shared_ptr<const Tombstone>& tombstone) {
      // try_emplace: a file may be live under another spelling of its path, and then it stays live.
      known_.try_emplace(UrlDecoded(tombstone->path), tombstone->deleted_ms);
    });
  }
  bool IsLive(const std::string& path) const {
    const auto found = known_.find(path);
    return found != known_.end() && found->second == kLive;
  }
  // When a file left the table; for one that was never in it, when it was written.
  int64_t LeftAt(const std::string& path, int64_t modified_ms) const {
    const auto found = known_.find(path);
    return found == known_.end() ? modified_ms : std::max(found->second, modified_ms);
  }

 private:
  static constexpr int64_t kLive = INT64_MAX;
  std::map<std::string, int64_t> known_;
};

}  // namespace

Result<VacuumResult> Vacuum(Storage& storage, std::string_view table,
                            const VacuumOptions& options) {
  if (options.retention.v < 0 || options.retention.v > kTombstoneRetentionMs)
    return Status::Stop(
        fmt::format("a vacuum_retention of {} ms is refused: the log remembers removed files for "
                    "{} days; choose 0 to {} days",
                    options.retention.v, kTombstoneRetentionMs / 86'400'000,
                    kTombstoneRetentionMs / 86'400'000));
  // List the files first: what is committed meanwhile is then in the snapshot, and is not deleted.
  const Result<std::vector<FileInfo>> files = storage.List(table);
  if (!files.ok()) return files.status();
  Result<SnapshotPtr> snapshot = ReadSnapshot(storage, table);
  if (snapshot.ok()) snapshot = WithForeignChanges(storage, table, std::move(snapshot).value());
  if (!snapshot.ok()) return snapshot.status();
  if (snapshot.value()->version == kNoVersion)
    return Status::Stop(fmt::format("there is no table '{}'", table));
  // What others have removed of ours can be brought back only while its files are there.
  if (!snapshot.value()->foreign.empty()) RETURN_IF_ERROR(CheckWritable(table, *snapshot.value()));
  const Result<int64_t> now_ms = storage.NowMs(LogDirectory(table));
  if (!now_ms.ok()) return now_ms.status();
  const int64_t limit_ms =
      std::min(now_ms.value(), options.not_after_ms.value_or(INT64_MAX)) - options.retention.v;
  const FileStates states(*snapshot.value());
  const Result<std::set<std::string>> set_aside = RetiredFiles(storage, table, files.value());
  if (!set_aside.ok()) return set_aside.status();
  const std::string log = LogDirectory(table) + "/";
  VacuumResult result;
  int64_t done = 0;
  for (const FileInfo& file : files.value()) {
    ++done;
    const bool interrupted_put =
        file.path.substr(file.path.rfind('/') + 1).starts_with(Storage::kPutPrefix);
    if (file.path.starts_with(log) && !interrupted_put) continue;
    const std::string inside = file.path.substr(table.size() + 1);
    // What a repair has set aside stays until a person removes it.
    if (states.IsLive(inside) || set_aside.value().contains(inside)) continue;
    if (IsHidden(inside) && !interrupted_put) continue;
    if (states.LeftAt(inside, file.modified_ms) > limit_ms) {
      ++result.kept;
      continue;
    }
    if (!options.dry_run) RETURN_IF_ERROR(storage.Delete(file.path));
    ++result.files;
    result.bytes += file.size_bytes;
    if (options.progress && !options.progress(done, static_cast<int64_t>(files.value().size())))
      return Status::Retry("stopped before it was finished");
  }
  return result;
}

}  // namespace sightline::lake
