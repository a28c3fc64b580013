#include "connectors/lake/committer.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <optional>
#include <utility>

#include "connectors/lake/commit_json.h"
#include "connectors/lake/json_text.h"
#include "connectors/lake/log.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/tables.h"

namespace sightline::lake {
namespace {

// Each conflict is another writer's success. More than this in a row means that something is wrong.
constexpr int64_t kConflictsMax = 1000;

enum class PutAttempt { kCommitted, kTaken, kFailed, kUnknown };

// Puts the commit file. Unless the answer is a plain yes, it reads what is there: the answer to a
// put that succeeded may have been lost. The id in the body tells our commit from any other.
PutAttempt TryPut(Storage& storage, const std::string& path, const std::string& body,
                  Status& status) {
  const Result<PutOutcome> put = storage.Put(path, body, PutMode::kIfAbsent);
  if (put.ok() && put.value() == PutOutcome::kWritten) return PutAttempt::kCommitted;
  status = put.status();
  if (!put.ok() && put.status().code() != StatusCode::kRebuild) return PutAttempt::kFailed;
  const Result<std::optional<std::string>> there = storage.ReadWhole(path);
  if (!there.ok()) {
    status = Status::Rebuild("it is unknown whether '" + path +
                             "' was written: " + there.status().message());
    return PutAttempt::kUnknown;
  }
  if (there.value() == body) {
    // Everybody sees it, but its name may not survive a crash yet.
    const Status confirmed = storage.Confirm(path);
    if (confirmed.ok()) return PutAttempt::kCommitted;
    status =
        Status::Rebuild("it is unknown whether '" + path + "' is durable: " + confirmed.message());
    return PutAttempt::kUnknown;
  }
  return there.value().has_value() ? PutAttempt::kTaken : PutAttempt::kUnknown;
}

Status OtherTable(std::string_view table, const Snapshot& from, std::string_view there) {
  return Status::Stop(fmt::format(
      "table '{}' (id {}) is to be written at version {}, and the lake's folder has {}: "
      "mount its file system, or bring the table back; nothing is written until then",
      table, from.metadata->id, from.version.v + 1, there));
}

bool IsSameTable(const Snapshot& from, const Snapshot& now) {
  return from.version == kNoVersion || from.metadata->id == now.metadata->id;
}

bool HasSameColumns(const Snapshot& from, const Snapshot& now) {
  return from.version == kNoVersion ||
         (SameColumns(from.metadata->schema_json, now.metadata->schema_json) &&
          from.metadata->partition_columns == now.metadata->partition_columns);
}

// Looks whether the newest commit that is known is still there. If not, the log was restored from a
// copy, or exchanged for another one: then returns what is there now, which must be as new.
Result<SnapshotPtr> FollowLog(Storage& storage, std::string_view table, SnapshotPtr known) {
  if (known->version == kNoVersion) return known;
  const Result<std::optional<std::string>> commit =
      storage.Read(CommitPath(table, known->version), {0, kCommitMarkBytes});
  if (!commit.ok()) return commit.status();
  if (commit.value().has_value() &&
      known->mark.value_or(CommitMark(*commit.value())) == CommitMark(*commit.value()))
    return known;
  // Another engine may have cleaned a commit that has a checkpoint.
  if (!commit.value().has_value()) {
    const Result<std::optional<FileInfo>> checkpoint =
        storage.Stat(CheckpointPath(table, known->version));
    if (!checkpoint.ok()) return checkpoint.status();
    if (checkpoint.value().has_value()) return known;
  }
  Result<SnapshotPtr> there = ReadSnapshot(storage, table);
  if (!there.ok())
    return OtherTable(table, *known, "a log that cannot be read: " + there.status().message());
  if (there.value()->version == kNoVersion) return OtherTable(table, *known, "no such table");
  if (!IsSameTable(*known, *there.value())) return OtherTable(table, *known, "another one");
  if (there.value()->version < known->version)
    return OtherTable(table, *known,
                      fmt::format("only version {} of it", there.value()->version.v));
  return there;
}

}  // namespace

CommitResult CommitChange(Storage& storage, const Clock& clock, std::string_view table,
                          SnapshotPtr from, const ChangePlan& plan) {
  CommitResult result{.snapshot = from};
  // One id for all attempts: whichever of them took effect is recognised as ours.
  const std::string id = RandomId();
  const auto fail = [&result](Status status) {
    result.status = std::move(status);
    return result;
  };
  for (; result.conflicts <= kConflictsMax; ++result.conflicts) {
    Result<SnapshotPtr> newest = FollowLog(storage, table, result.snapshot);
    if (!newest.ok()) return fail(newest.status());
    if (!IsSameTable(*from, *newest.value())) {
      result.snapshot = from;
      return fail(OtherTable(table, *from, "another one"));
    }
    result.snapshot = std::move(newest).value();
    const Snapshot& base = *result.snapshot;
    // Every attempt checks everything again on the snapshot that it builds on, since another writer
    // may have changed any of it.
    if (Status writable = CheckWritable(base.protocol, table); !writable.ok())
      return fail(std::move(writable));
    result.schema_changed = !HasSameColumns(*from, base);
    if (result.schema_changed)
      return fail(Status::Retry(
          fmt::format("another writer has changed the columns of table '{}'; try again", table)));
    const Result<Change> change = plan(base);
    if (!change.ok()) return fail(change.status());
    const std::string body = EncodeCommit(change.value(), clock.NowMs(), id);
    // A log entry that cannot be parsed would make the whole table unreadable.
    if (!simdjson::validate_utf8(body))
      return fail(Status::Stop(fmt::format(
          "a commit to table '{}' is not valid UTF-8: a source name or an item name is damaged",
          table)));
    const std::string path = CommitPath(table, {base.version.v + 1});
    Status status = Status::Ok();
    const PutAttempt attempt = TryPut(storage, path, body, status);
    if (attempt == PutAttempt::kFailed) return fail(std::move(status));
    if (attempt == PutAttempt::kUnknown) {
      result.known = false;
      return fail(Status::Rebuild(status.message()));
    }
    if (attempt == PutAttempt::kCommitted) {
      auto next = std::make_shared<Snapshot>(base);
      // The new snapshot comes from the bytes that were written, as for every other reader.
      Result<Commit> commit = ParseCommit(body, path);
      if (!commit.ok()) return fail(commit.status());
      next->Apply(std::move(commit).value());
      result.snapshot = std::move(next);
      return result;
    }
    Result<SnapshotPtr> refreshed = Refresh(storage, table, result.snapshot);
    if (!refreshed.ok()) return fail(refreshed.status());
    result.snapshot = std::move(refreshed).value();
  }
  return fail(
      Status::Retry(fmt::format("table '{}' has so many other writers that no commit succeeds; "
                                "reduce their number or their rate",
                                table)));
}

Status CheckStillThere(const Snapshot& snapshot, const std::vector<FilePtr>& files) {
  for (const FilePtr& file : files)
    if (snapshot.files.Find(file->path) == nullptr)
      return Status::Retry(
          fmt::format("'{}' was removed by another writer meanwhile; try again", file->path));
  return Status::Ok();
}

}  // namespace sightline::lake
