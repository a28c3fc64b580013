#include "connectors/lake/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "connectors/lake/checkpoint.h"
#include "connectors/lake/commit_json.h"
#include "connectors/lake/log_names.h"

namespace sightline::lake {
namespace {

// CleanLog() may delete what a listing has shown while somebody reads it. Then list again.
constexpr int kReadAttempts = 3;

Status NoTable(std::string_view table) {
  return Status::Stop(fmt::format("there is no table '{}'", table));
}

Status Gap(std::string_view table, Version missing) {
  return Status::Stop(fmt::format(
      "the log of table '{}' has a gap: '{}' is missing; restore it from a copy, or see "
      "`sightline lake repair --dry-run`",
      table, CommitPath(table, missing)));
}

int64_t ModifiedMs(const LogListing::Checkpoint& checkpoint) {
  return std::ranges::max(checkpoint.parts, {}, &FileInfo::modified_ms).modified_ms;
}

// The first missing commit of the chain [first, last]; kNoVersion if the chain is complete.
Version FirstMissing(const LogListing& log, Version first, Version last) {
  auto at = std::lower_bound(
      log.commits.begin(), log.commits.end(), first,
      [](const LogListing::Entry& entry, Version version) { return entry.version < version; });
  for (Version version = first; version <= last; ++version.v, ++at)
    if (at == log.commits.end() || at->version != version) return version;
  return kNoVersion;
}

// The checkpoint at which reading `target` begins: the newest one that is not behind it. kStop if
// the commits from there on are not complete, with the reason.
Result<Version> ChooseStart(const LogListing& log, std::string_view table, Version target) {
  Version start = kNoVersion;
  for (const LogListing::Checkpoint& checkpoint : log.checkpoints)
    if (checkpoint.version <= target) start = checkpoint.version;
  const Version missing = FirstMissing(log, {start.v + 1}, target);
  if (missing == kNoVersion) return start;
  // The commits were cleaned because of a checkpoint that we cannot read. That is not damage, and
  // has another remedy.
  if (log.foreign_checkpoint.has_value() && log.foreign_checkpoint->version >= missing)
    return Status::Stop(
        fmt::format("'{}' is of a checkpoint that this program cannot read, because it is a v2 "
                    "checkpoint or because parts of it are missing: set delta.checkpointPolicy to "
                    "'classic', and write a checkpoint in the engine that made this one",
                    log.foreign_checkpoint->file.path));
  const bool cleaned =
      start == kNoVersion && (log.commits.empty() || log.commits.front().version > Version{0});
  if (cleaned && !log.checkpoints.empty())
    return Status::Stop(
        fmt::format("version {} of table '{}' was cleaned from its log; the oldest version that "
                    "can still be read is {}",
                    target.v, table, log.checkpoints.front().version.v));
  return Gap(table, missing);
}

Result<Snapshot> ReadCheckpoint(Storage& storage, const LogListing::Checkpoint& checkpoint) {
  std::vector<std::string> parts;
  for (const FileInfo& part : checkpoint.parts) {
    Result<std::optional<std::string>> bytes = storage.ReadWhole(part.path);
    if (!bytes.ok()) return bytes.status();
    if (!bytes.value().has_value())
      return Status::Retry(fmt::format("'{}' was cleaned meanwhile; read again", part.path));
    parts.push_back(std::move(*bytes.value()));
  }
  return DecodeCheckpoint(std::move(parts), checkpoint.version, checkpoint.parts.front().path);
}

Result<SnapshotPtr> ReadChain(Storage& storage, std::string_view table, const LogListing& log,
                              Version target) {
  const Result<Version> start = ChooseStart(log, table, target);
  if (!start.ok()) return start.status();
  auto snapshot = std::make_shared<Snapshot>();
  if (start.value() != kNoVersion) {
    Result<Snapshot> decoded = ReadCheckpoint(
        storage,
        *std::ranges::find(log.checkpoints, start.value(), &LogListing::Checkpoint::version));
    if (!decoded.ok()) return decoded.status();
    *snapshot = std::move(decoded).value();
  }
  while (snapshot->version < target) {
    Result<Commit> commit = ReadCommit(storage, table, {snapshot->version.v + 1});
    if (!commit.ok()) return commit.status();
    snapshot->Apply(std::move(commit).value());
  }
  return SnapshotPtr(std::move(snapshot));
}

Result<std::optional<Commit>> ReadCommitIfThere(Storage& storage, std::string_view table,
                                                Version version) {
  const std::string path = CommitPath(table, version);
  const Result<std::optional<std::string>> json = storage.ReadWhole(path);
  if (!json.ok()) return json.status();
  if (!json.value().has_value()) return std::optional<Commit>();
  Result<Commit> commit = ParseCommit(*json.value(), path);
  if (!commit.ok()) return commit.status();
  return std::optional<Commit>(std::move(commit).value());
}

Result<SnapshotPtr> ReadNewestOr(Storage& storage, std::string_view table,
                                 std::optional<Version> wanted) {
  for (int attempt = 1;; ++attempt) {
    const Result<LogListing> log = ListLog(storage, table);
    if (!log.ok()) return log.status();
    if (log.value().newest() == kNoVersion) {
      if (wanted.has_value()) return NoTable(table);
      return std::make_shared<const Snapshot>();
    }
    const Version newest = log.value().newest();
    if (wanted.value_or(newest) > newest || wanted.value_or(newest) < Version{0})
      return Status::Stop(fmt::format("table '{}' has no version {}; the newest is {}", table,
                                      wanted->v, newest.v));
    Result<SnapshotPtr> snapshot = ReadChain(storage, table, log.value(), wanted.value_or(newest));
    const bool again = snapshot.status().code() == StatusCode::kRetry && attempt < kReadAttempts;
    if (!again) return snapshot;
  }
}

}  // namespace

Version LogListing::newest() const {
  return std::max(commits.empty() ? kNoVersion : commits.back().version,
                  checkpoints.empty() ? kNoVersion : checkpoints.back().version);
}

Result<LogListing> ListLog(Storage& storage, std::string_view table) {
  Result<std::vector<FileInfo>> files = storage.List(LogDirectory(table));
  if (!files.ok()) return files.status();
  LogListing log;
  const size_t depth = LogDirectory(table).size() + 1;
  std::map<std::pair<Version, int64_t>, std::vector<FileInfo>> checkpoints;  // version, parts
  for (FileInfo& file : files.value()) {
    const std::optional<LogName> name = ParseLogName(file.path);
    if (!name.has_value() || file.path.find('/', depth) != std::string::npos) continue;
    if (name->kind == LogFile::kCheckpoint)
      checkpoints[{name->version, name->parts}].push_back(std::move(file));
    else if (name->kind == LogFile::kCommit)
      log.commits.push_back({name->version, std::move(file)});
    else
      log.foreign_checkpoint = {name->version, std::move(file)};
  }
  for (auto& [key, parts] : checkpoints) {
    const auto& [version, count] = key;
    const bool is_double = !log.checkpoints.empty() && log.checkpoints.back().version == version;
    if (std::ssize(parts) == count && !is_double)
      log.checkpoints.push_back({version, std::move(parts)});
    else if (!is_double && (!log.foreign_checkpoint || log.foreign_checkpoint->version < version))
      log.foreign_checkpoint = {version, std::move(parts.front())};
  }
  return log;
}

Result<SnapshotPtr> ReadSnapshot(Storage& storage, std::string_view table) {
  return ReadNewestOr(storage, table, std::nullopt);
}

Result<SnapshotPtr> ReadSnapshotAt(Storage& storage, std::string_view table, Version version) {
  return ReadNewestOr(storage, table, version);
}

Result<Version> VersionAt(Storage& storage, std::string_view table, int64_t time_ms) {
  const Result<LogListing> log = ListLog(storage, table);
  if (!log.ok()) return log.status();
  if (log.value().commits.empty()) return NoTable(table);
  Version found = kNoVersion;
  for (const LogListing::Entry& commit : log.value().commits)
    if (commit.file.modified_ms <= time_ms) found = commit.version;
  if (found == kNoVersion)
    return Status::Stop(
        fmt::format("table '{}' has no version of that time: the oldest commit in its log, version "
                    "{}, is {} ms younger; earlier versions were cleaned, or never existed",
                    table, log.value().commits.front().version.v,
                    log.value().commits.front().file.modified_ms - time_ms));
  return found;
}

Result<SnapshotPtr> Refresh(Storage& storage, std::string_view table, SnapshotPtr snapshot) {
  std::shared_ptr<Snapshot> next;
  for (Version version{snapshot->version.v + 1};; ++version.v) {
    Result<std::optional<Commit>> commit = ReadCommitIfThere(storage, table, version);
    if (!commit.ok()) return commit.status();
    if (!commit.value().has_value()) break;
    // Copied only when there is something new: most refreshes find nothing.
    if (next == nullptr) next = std::make_shared<Snapshot>(*snapshot);
    next->Apply(std::move(*commit.value()));
  }
  if (next == nullptr) return snapshot;
  return SnapshotPtr(std::move(next));
}

Result<Commit> ReadCommit(Storage& storage, std::string_view table, Version version) {
  Result<std::optional<Commit>> commit = ReadCommitIfThere(storage, table, version);
  if (!commit.ok()) return commit.status();
  if (!commit.value().has_value())
    return Status::Retry(
        fmt::format("'{}' was cleaned meanwhile; read again", CommitPath(table, version)));
  return std::move(*commit.value());
}

Result<SnapshotPtr> WithForeignChanges(Storage& storage, std::string_view table,
                                       SnapshotPtr snapshot) {
  Version ours = snapshot->version;
  for (; ours != kNoVersion; --ours.v) {
    const Result<std::optional<Commit>> commit = ReadCommitIfThere(storage, table, ours);
    if (!commit.ok()) return commit.status();
    if (!commit.value().has_value() || commit.value()->IsOurs()) break;
  }
  if (ours == snapshot->version || ours == kNoVersion) return snapshot;
  Result<SnapshotPtr> base = ReadSnapshotAt(storage, table, ours);
  if (base.status().code() == StatusCode::kStop) return snapshot;  // it was cleaned
  if (!base.ok()) return base;
  return Refresh(storage, table, std::move(base).value());
}

Result<int64_t> CleanLog(Storage& storage, std::string_view table, int64_t retention_ms,
                         int64_t now_ms) {
  const Result<LogListing> log = ListLog(storage, table);
  if (!log.ok()) return log.status();
  Version keep_from = kNoVersion;
  for (const LogListing::Checkpoint& checkpoint : log.value().checkpoints)
    if (ModifiedMs(checkpoint) <= now_ms - retention_ms) keep_from = checkpoint.version;
  int64_t deleted = 0;
  const auto clean = [&](Version version, const FileInfo& file) -> Status {
    if (version >= keep_from) return Status::Ok();
    ++deleted;
    return storage.Delete(file.path);
  };
  // Oldest first, so that an interruption leaves a log without a gap.
  for (const LogListing::Entry& commit : log.value().commits)
    RETURN_IF_ERROR(clean(commit.version, commit.file));
  for (const LogListing::Checkpoint& checkpoint : log.value().checkpoints)
    for (const FileInfo& part : checkpoint.parts) RETURN_IF_ERROR(clean(checkpoint.version, part));
  return deleted;
}

}  // namespace sightline::lake
