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
#include "connectors/lake/writable.h"

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
         (HoldsRowsOf(now.metadata->schema_json, from.metadata->schema_json) &&
          from.metadata->partition_columns == now.metadata->partition_columns);
}

SnapshotPtr Seen(const SnapshotPtr& snapshot, int64_t seen_ms) {
  auto seen = std::make_shared<Snapshot>(*snapshot);
  seen->seen_ms = seen_ms;
  return seen;
}

// Whether the commit of a snapshot's version is still the one that was read.
Result<bool> HasCommitOf(Storage& storage, std::string_view table, const Snapshot& known) {
  if (known.version == kNoVersion) return true;
  const Result<std::optional<std::string>> commit =
      storage.Read(CommitPath(table, known.version), {0, kCommitMarkBytes});
  if (!commit.ok()) return commit.status();
  if (commit.value().has_value())
    return known.mark.value_or(CommitMark(*commit.value())) == CommitMark(*commit.value());
  // Another engine may have cleaned a commit that has a checkpoint.
  const Result<std::optional<FileInfo>> checkpoint =
      storage.Stat(CheckpointPath(table, known.version));
  if (!checkpoint.ok()) return checkpoint.status();
  return checkpoint.value().has_value();
}

// Reads what is there instead of the known version: a newer one of the same table.
Result<SnapshotPtr> ReadAnew(Storage& storage, std::string_view table, const Snapshot& known) {
  Result<SnapshotPtr> there = ReadSnapshot(storage, table);
  if (known.version == kNoVersion) return there;
  if (!there.ok())
    return OtherTable(table, known, "a log that cannot be read: " + there.status().message());
  if (there.value()->version == kNoVersion) return OtherTable(table, known, "no such table");
  if (!IsSameTable(known, *there.value())) return OtherTable(table, known, "another one");
  if (there.value()->version < known.version)
    return OtherTable(table, known, fmt::format("only version {} of it", there.value()->version.v));
  return there;
}

// Looks whether the log still ends with the version that is known, and reads it anew if not: it was
// restored from a copy, exchanged for another one, or has grown. What was last looked at long ago
// is listed. Otherwise another engine might have used the next number meanwhile, and cleaned it
// from the log: then the number would be free, and a commit that took it would be in no version.
Result<SnapshotPtr> FollowLog(Storage& storage, const Clock& clock, std::string_view table,
                              SnapshotPtr known) {
  const int64_t now_ms = clock.ElapsedMs();
  const bool trusted = known->seen_ms && now_ms - *known->seen_ms < TrustedMs(*known);
  bool same = true;
  if (!trusted) {
    const Result<LogListing> log = ListLog(storage, table);
    if (!log.ok()) return log.status();
    same = log.value().newest() == known->version;
  }
  if (same) {
    const Result<bool> has = HasCommitOf(storage, table, *known);
    if (!has.ok()) return has.status();
    same = has.value();
  }
  if (same && trusted) return known;
  Result<SnapshotPtr> there = same ? known : ReadAnew(storage, table, *known);
  // What was read by somebody who does not write, or anew, may lack what others have done.
  if (there.ok() && (!same || !known->seen_ms))
    there = WithForeignChanges(storage, table, std::move(there).value());
  if (!there.ok()) return there;
  return Seen(there.value(), now_ms);
}

// One commit on its way, over all attempts.
class Commitment {
 public:
  Commitment(Storage& storage, const Clock& clock, std::string_view table, SnapshotPtr from,
             const ChangePlan& plan)
      : storage_(storage), clock_(clock), table_(table), from_(std::move(from)), plan_(plan) {
    result_.snapshot = from_;
  }

  CommitResult Run() {
    for (; result_.conflicts <= kConflictsMax; ++result_.conflicts) {
      bool again = false;
      Status status = Attempt(again);
      if (again) continue;
      result_.status = std::move(status);
      return std::move(result_);
    }
    result_.status =
        Status::Retry(fmt::format("table '{}' has so many other writers that no commit succeeds; "
                                  "reduce their number or their rate",
                                  table_));
    return std::move(result_);
  }

 private:
  // kOk: committed. `again`: others have committed, and `result_` has what they did.
  Status Attempt(bool& again) {
    Result<SnapshotPtr> newest = FollowLog(storage_, clock_, table_, result_.snapshot);
    if (!newest.ok()) return newest.status();
    if (!IsSameTable(*from_, *newest.value())) {
      result_.snapshot = from_;
      return OtherTable(table_, *from_, "another one");
    }
    result_.snapshot = std::move(newest).value();
    const Snapshot& base = *result_.snapshot;
    // Every attempt checks everything again on the snapshot that it builds on, since another writer
    // may have changed any of it. What is wrong there may have been corrected behind it.
    if (const Status writable = CheckWritable(table_, base); !writable.ok())
      return RefreshOr(writable, again);
    result_.schema_changed = !HasSameColumns(*from_, base);
    if (result_.schema_changed)
      return Status::Retry(
          fmt::format("another writer has changed the columns of table '{}'; try again", table_));
    Result<Change> change = plan_(base);
    if (!change.ok()) return change.status();
    if (!change.value().removes.empty()) {
      const Result<int64_t> now_ms = storage_.NowMs(LogDirectory(table_));
      if (!now_ms.ok()) return now_ms.status();
      change.value().removed_ms = now_ms.value();
    }
    return PutChange(change.value(), again);
  }

  Status PutChange(const Change& change, bool& again) {
    const Snapshot& base = *result_.snapshot;
    const std::string body = EncodeCommit(change, clock_.NowMs(), id_);
    // A log entry that cannot be parsed would make the whole table unreadable.
    if (!simdjson::validate_utf8(body))
      return Status::Stop(fmt::format(
          "a commit to table '{}' is not valid UTF-8: a source name or an item name is damaged",
          table_));
    const Version version{base.version.v + 1};
    const std::string path = CommitPath(table_, version);
    const int64_t began_ms = clock_.ElapsedMs();
    Status status = Status::Ok();
    switch (TryPut(storage_, path, body, status)) {
      case PutAttempt::kFailed:
        return status;
      case PutAttempt::kUnknown:
        result_.known = false;
        return Status::Rebuild(status.message());
      case PutAttempt::kTaken:
        return RefreshOr(Status::Retry(fmt::format("'{}' was cleaned meanwhile; try again", path)),
                         again);
      case PutAttempt::kCommitted:
        break;
    }
    if (status = CheckInTime(base, version); !status.ok()) {
      result_.known = false;
      return status;
    }
    auto next = std::make_shared<Snapshot>(base);
    // The new snapshot comes from the bytes that were written, as for every other reader.
    Result<Commit> commit = ParseCommit(body, path);
    if (!commit.ok()) return commit.status();
    next->Apply(std::move(commit).value());
    next->seen_ms = began_ms;  // nobody has committed behind it before
    result_.snapshot = std::move(next);
    return Status::Ok();
  }

  // A machine may sleep between the look at the log and the put. Then the put may have taken a
  // number that was cleaned, so the log is listed again. kRebuild: it is unknown.
  Status CheckInTime(const Snapshot& base, Version version) {
    if (clock_.ElapsedMs() - *base.seen_ms <= 2 * TrustedMs(base)) return Status::Ok();
    const Result<LogListing> log = ListLog(storage_, table_);
    if (log.ok() && log.value().newest() == version) return Status::Ok();
    return Status::Rebuild(fmt::format(
        "it is unknown whether version {} of table '{}' is in its log: the commit took {} s",
        version.v, table_, (clock_.ElapsedMs() - *base.seen_ms) / 1000));
  }

  // Takes in what others have committed; the status if there is nothing.
  Status RefreshOr(const Status& status, bool& again) {
    const int64_t now_ms = clock_.ElapsedMs();
    const Result<SnapshotPtr> refreshed = Refresh(storage_, table_, result_.snapshot);
    if (!refreshed.ok()) return refreshed.status();
    again = refreshed.value() != result_.snapshot;
    if (again) result_.snapshot = Seen(refreshed.value(), now_ms);
    return status;
  }

  Storage& storage_;
  const Clock& clock_;
  const std::string_view table_;
  const SnapshotPtr from_;
  const ChangePlan& plan_;
  // One id for all attempts: whichever of them took effect is recognised as ours.
  const std::string id_ = RandomId();
  CommitResult result_;
};

}  // namespace

CommitResult CommitChange(Storage& storage, const Clock& clock, std::string_view table,
                          SnapshotPtr from, const ChangePlan& plan) {
  return Commitment(storage, clock, table, std::move(from), plan).Run();
}

Status CheckStillThere(const Snapshot& snapshot, const std::vector<FilePtr>& files) {
  for (const FilePtr& file : files)
    if (snapshot.files.Find(file->path) == nullptr)
      return Status::Retry(
          fmt::format("'{}' was removed by another writer meanwhile; try again", file->path));
  return Status::Ok();
}

}  // namespace sightline::lake
