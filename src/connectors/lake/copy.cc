// Of each table, in this order:
//   1. its data files are put into the target, and read back;
//   2. a commit at the source sets sightline.moved_to: it succeeds only on the version that was
//      copied, and from then on nobody can commit there. If the table has grown, 1 again;
//   3. a commit 0 in the target names the files and the offsets.
// So the target has no table that could fall behind, and no two places take writes. A file in the
// target's root names the lake that is being copied there, until all is done.
#include "connectors/lake/copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "connectors/lake/committer.h"
#include "connectors/lake/data_file.h"
#include "connectors/lake/json_text.h"
#include "connectors/lake/log.h"
#include "connectors/lake/repair.h"
#include "connectors/lake/tables.h"
#include "connectors/lake/writable.h"
#include "connectors/storage/at_once.h"

namespace sightline::lake {
namespace {

constexpr std::string_view kCopiedTables[] = {kIncrementsTable, kLedgerTable, kLocationsTable};
constexpr std::string_view kMarker = "sightline-copy.json";
constexpr size_t kFilesAtOnce = 8;
// Each follows a commit at the source, whose files are few.
constexpr int kCopyAttempts = 100;

bool IsInterruptedPut(const std::string& path) {
  return path.substr(path.rfind('/') + 1).starts_with(Storage::kPutPrefix);
}

std::vector<FilePtr> FilesOf(const Snapshot& snapshot) {
  std::vector<FilePtr> files;
  snapshot.files.ForEach([&](const FilePtr& file) { files.push_back(file); });
  return files;
}

// The bytes are those that the log names.
Status CheckBytes(const AddFile& file, const std::string& bytes, const std::string& path) {
  const auto tag = file.tags.find(kContentHashTag);
  if (std::ssize(bytes) == file.size_bytes &&
      (tag == file.tags.end() || tag->second == ContentHash(bytes)))
    return Status::Ok();
  return Status::Stop(
      fmt::format("data file '{}' is damaged: its length or its hash is not that of the log; see "
                  "`sightline lake verify`, and restore it from a copy",
                  path));
}

// One table on its way.
class TableCopy {
 public:
  TableCopy(Storage& source, Storage& target, const Clock& clock, std::string_view table,
            const CopyOptions& options)
      : source_(source), target_(target), clock_(clock), table_(table), options_(options) {
    spec_.name = std::string(table);
  }

  Result<CopiedTable> Run(SnapshotPtr from) {
    const Result<SnapshotPtr> there = ReadSnapshot(target_, table_);
    if (!there.ok()) return there.status();
    const bool is_done = there.value()->version != kNoVersion;
    if (is_done && there.value()->Property(kMovedFromProperty) != from->metadata->id)
      return Status::Stop(fmt::format("'{}' has another table '{}'", options_.to, table_));
    if (!is_done) {
      const Result<SnapshotPtr> handed_over = HandOver(std::move(from));
      if (!handed_over.ok()) return handed_over.status();
      from = handed_over.value();
      RETURN_IF_ERROR(Tidy(*from));
      RETURN_IF_ERROR(Publish(*from, there.value()));
    }
    CopiedTable copied{.name = spec_.name,
                       .version = from->version.v,
                       .files = static_cast<int64_t>(from->files.size()),
                       .copied = copied_};
    for (const FilePtr& file : FilesOf(*from)) copied.bytes += file->size_bytes;
    return copied;
  }

 private:
  // Copies the newest version, and ends the writing at the source. Returns what was copied.
  Result<SnapshotPtr> HandOver(SnapshotPtr from) {
    for (int attempt = 0; attempt < kCopyAttempts; ++attempt) {
      RETURN_IF_ERROR(CopyFiles(*from));
      if (from->Property(kMovedToProperty) == options_.to) return from;  // by an earlier call
      const CommitResult ended =
          CommitChange(source_, clock_, table_, from, [&](const Snapshot& now) -> Result<Change> {
            if (now.version != from->version) return Status::Retry("the table has grown");
            Change change{.operation = "MOVE", .metadata = *now.metadata};
            change.metadata->configuration[kMovedToProperty] = options_.to;
            return change;
          });
      if (ended.status.ok()) return ended.snapshot;
      if (!ended.known || ended.snapshot->version == from->version) return ended.status;
      from = ended.snapshot;
    }
    return Status::Retry(
        fmt::format("table '{}' grows faster than it can be copied; stop what writes it", table_));
  }

  Status CopyFiles(const Snapshot& snapshot) {
    const std::vector<FilePtr> files = FilesOf(snapshot);
    int64_t done = 0;
    return ForEachAtOnce(files.size(), kFilesAtOnce, [&](size_t i) -> Status {
      RETURN_IF_ERROR(CopyFile(*files[i]));
      const std::lock_guard lock(mutex_);
      checked_.insert(files[i]->path);
      if (options_.progress) options_.progress(table_, ++done, std::ssize(files));
      return Status::Ok();
    });
  }

  Status CopyFile(const AddFile& file) {
    {
      const std::lock_guard lock(mutex_);
      if (checked_.contains(file.path)) return Status::Ok();
    }
    const Result<std::string> path = StoragePath(spec_, file.path);
    if (!path.ok()) return path.status();
    const Result<std::optional<std::string>> bytes = source_.ReadWhole(path.value());
    if (!bytes.ok()) return bytes.status();
    if (!bytes.value())
      return Status::Retry(fmt::format(
          "data file '{}' is gone: if somebody has just packed it, call again; otherwise see "
          "`sightline lake verify`",
          path.value()));
    RETURN_IF_ERROR(CheckBytes(file, *bytes.value(), path.value()));
    const Result<bool> there = Has(path.value(), *bytes.value());
    if (!there.ok() || there.value()) return there.status();
    // An unknown outcome is looked at below.
    const Status put = target_.Put(path.value(), *bytes.value(), PutMode::kReplace).status();
    if (!put.ok() && put.code() != StatusCode::kRebuild) return put;
    const Result<bool> written = Has(path.value(), *bytes.value());
    if (!written.ok()) return written.status();
    if (!written.value())
      return Status::Retry(
          fmt::format("'{}' was put into '{}', and has other bytes there; copy again", path.value(),
                      options_.to));
    if (!put.ok()) RETURN_IF_ERROR(target_.Confirm(path.value()));
    ++copied_;
    return Status::Ok();
  }

  // Whether the target has the file with these bytes.
  Result<bool> Has(const std::string& path, const std::string& bytes) {
    const Result<std::optional<FileInfo>> file = target_.Stat(path);
    if (!file.ok()) return file.status();
    if (!file.value() || file.value()->size_bytes != std::ssize(bytes)) return false;
    const Result<std::optional<std::string>> there = target_.ReadWhole(path);
    if (!there.ok()) return there.status();
    return there.value() == bytes;
  }

  // Deletes what earlier versions had: nothing in the target is a table yet.
  Status Tidy(const Snapshot& from) {
    std::set<std::string> wanted;
    for (const FilePtr& file : FilesOf(from)) wanted.insert(UrlDecoded(file->path));
    const Result<std::vector<FileInfo>> files = target_.List(table_);
    if (!files.ok()) return files.status();
    for (const FileInfo& file : files.value()) {
      const std::string inside = file.path.substr(table_.size() + 1);
      if (!IsHidden(inside) && !wanted.contains(inside)) RETURN_IF_ERROR(target_.Delete(file.path));
    }
    return Status::Ok();
  }

  Status Publish(const Snapshot& from, const SnapshotPtr& none) {
    const auto plan = [&](const Snapshot& now) -> Result<Change> {
      if (now.version != kNoVersion)
        return Status::Retry(fmt::format("another process copies table '{}' there, too", table_));
      Change change{.operation = "MOVE", .metadata = *from.metadata, .protocol = from.protocol};
      change.metadata->id = RandomId();
      std::map<std::string, std::string>& properties = change.metadata->configuration;
      properties[kMovedFromProperty] = from.metadata->id;
      properties.erase(kMovedToProperty);
      properties.erase(kAcceptedProperty);  // it is about versions of the source
      change.txns.insert(from.txns.begin(), from.txns.end());
      for (const FilePtr& file : FilesOf(from)) change.adds.push_back(*file);
      return change;
    };
    return CommitChange(target_, clock_, table_, none, plan).status;
  }

  Storage& source_;
  Storage& target_;
  const Clock& clock_;
  const std::string_view table_;
  const CopyOptions& options_;
  TableSpec spec_;  // only its name
  std::atomic<int64_t> copied_ = 0;
  std::mutex mutex_;               // of what follows, and of calls of the progress
  std::set<std::string> checked_;  // paths of files that the target has
};

// Takes the target for this lake, or finds that an earlier call has.
Status TakeTarget(Storage& target, const std::string& marker, const CopyOptions& options) {
  const Result<std::optional<std::string>> there = target.ReadWhole(kMarker);
  if (!there.ok()) return there.status();
  if (there.value() == marker) return Status::Ok();
  if (there.value())
    return Status::Stop(
        fmt::format("'{}' has an unfinished copy of another lake: {}", options.to, *there.value()));
  for (const std::string_view table : kCopiedTables) {
    const Result<std::vector<FileInfo>> files = target.List(table);
    if (!files.ok()) return files.status();
    for (const FileInfo& file : files.value())
      if (!IsInterruptedPut(file.path))
        return Status::Stop(fmt::format("'{}' is not empty: it has '{}'; copy to a new folder",
                                        options.to, file.path));
  }
  const Result<PutOutcome> put = target.Put(kMarker, marker, PutMode::kIfAbsent);
  if (!put.ok()) return put.status();
  if (put.value() == PutOutcome::kTaken)
    return Status::Retry(fmt::format("another process copies to '{}', too", options.to));
  return Status::Ok();
}

bool IsBelow(std::string_view path, std::string_view folder) {
  return path == folder ||
         (path.starts_with(folder) && path.substr(folder.size()).starts_with('/'));
}

}  // namespace

Result<std::vector<CopiedTable>> CopyLake(Storage& source, Storage& target, const Clock& clock,
                                          const CopyOptions& options) {
  if (IsBelow(options.to, options.from) || IsBelow(options.from, options.to))
    return Status::Stop(fmt::format("'{}' and '{}' lie one in the other; copy to another folder",
                                    options.from, options.to));
  std::vector<std::pair<std::string_view, SnapshotPtr>> tables;
  for (const std::string_view table : kCopiedTables) {
    const Result<SnapshotPtr> snapshot = ReadSnapshot(source, table);
    if (!snapshot.ok()) return snapshot.status();
    if (snapshot.value()->version == kNoVersion) continue;
    const std::string moved_to = snapshot.value()->Property(kMovedToProperty);
    if (moved_to != options.to) RETURN_IF_ERROR(CheckWritable(table, *snapshot.value()));
    tables.emplace_back(table, snapshot.value());
  }
  if (tables.empty()) return Status::Stop(fmt::format("there is no lake in '{}'", options.from));
  const std::string marker = fmt::format("{{\"source\":{},\"table\":{}}}\n", Quoted(options.from),
                                         Quoted(tables.front().second->metadata->id));
  RETURN_IF_ERROR(TakeTarget(target, marker, options));
  std::vector<CopiedTable> copied;
  for (auto& [table, snapshot] : tables) {
    Result<CopiedTable> done =
        TableCopy(source, target, clock, table, options).Run(std::move(snapshot));
    if (!done.ok()) return done.status();
    copied.push_back(std::move(done).value());
  }
  RETURN_IF_ERROR(target.Delete(kMarker));
  return copied;
}

}  // namespace sightline::lake
