#include "connectors/lake/verify_files.h"

#include <arrow/api.h>
#include <fmt/format.h>

#include <map>
#include <memory>
#include <set>
#include <unordered_set>
#include <utility>

#include "base/bytes.h"
#include "connectors/lake/checkpoint.h"
#include "connectors/lake/data_file.h"
#include "connectors/lake/file_rows.h"
#include "connectors/lake/json_text.h"
#include "connectors/lake/log.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/repair.h"

namespace sightline::lake {
namespace {

// A hash of what a row is about. No two rows of a table are about the same.
uint64_t KeyHash(const FileRow& row) {
  ByteWriter key;
  key.String(row.partition.source);
  key.Signed(row.partition.partition);
  key.Signed(row.first.v);
  key.Signed(row.next.v);
  key.Signed(row.window.key.location.v);
  key.Signed(row.window.key.pane_start.v);
  key.String(row.window.key.item);
  key.Varint(static_cast<uint64_t>(row.window.key.kind));
  key.Varint(row.coverage);
  key.Varint(row.ledger.key.known);
  key.Signed(row.ledger.key.location.v);
  key.Signed(row.ledger.key.camera.v);
  key.Signed(row.ledger.key.hour.v);
  return std::hash<std::string_view>()(key.bytes());
}

// True if the statistics match the rows. Files of earlier programs have statistics only of the
// columns that existed then.
bool StatsAre(const std::string& stats, const arrow::Table& rows) {
  if (StatsJson(rows) == stats) return true;
  for (const std::string_view name : kAddedColumns) {
    const int column = rows.schema()->GetFieldIndex(name);
    if (column < 0 || rows.column(column)->null_count() < rows.num_rows()) continue;
    const auto without = rows.RemoveColumn(column);
    if (without.ok() && StatsJson(**without) == stats) return true;
  }
  return false;
}

class FileChecker {
 public:
  FileChecker(Storage& storage, const TableSpec& spec, TableCheck& check, VerifyReport& report)
      : storage_(storage), spec_(spec), check_(check), report_(report) {}

  void Check(const AddFile& file) {
    const std::string path = UrlDecoded(file.path);
    if (const auto [other, is_new] = paths_.emplace(path, file.path); !is_new)
      Find(file, fmt::format("it is in the table twice, also as '{}'", other->second));
    const Result<std::string> whole = StoragePath(spec_, file.path);
    if (!whole.ok()) return Unread(file, whole.status().message());
    Result<std::optional<std::string>> bytes = storage_.ReadWhole(whole.value());
    if (!bytes.ok()) return Unread(file, bytes.status().message());
    if (!bytes.value().has_value()) return Unread(file, "it is gone");
    const std::string& content = *bytes.value();
    const bool good_bytes = CheckBytes(file, content);
    auto rows = DecodeDataFile(content, spec_, file);
    if (!rows.ok()) return Unread(file, rows.status().message());
    CheckStats(file, *rows.value(), good_bytes);
    check_.table.rows += rows.value()->num_rows();
    if (spec_.name == kLocationsTable) return;
    if (file.partition_values != partition_) keys_.clear();
    partition_ = file.partition_values;
    const Status read =
        ForEachFileRow(spec_, file, *rows.value(), [&](const FileRow& row) { AddRow(file, row); });
    if (!read.ok()) Unread(file, read.message());
  }

 private:
  void Find(const AddFile& file, std::string what) {
    report_.findings.push_back({spec_.name, file.path, std::move(what)});
  }
  void Unread(const AddFile& file, std::string what) {
    check_.table.complete = false;
    Find(file, std::move(what));
  }
  // True if the bytes are known to be those that were written.
  bool CheckBytes(const AddFile& file, const std::string& content) {
    if (static_cast<int64_t>(content.size()) != file.size_bytes)
      Find(file, fmt::format("it has {} bytes, not {}", content.size(), file.size_bytes));
    const auto tag = file.tags.find(kContentHashTag);
    if (tag == file.tags.end()) return false;
    const std::string hash = ContentHash(content);
    if (hash != tag->second) Find(file, "its content was altered: it does not match its hash");
    // In another partition the same bytes are other rows: the files do not have the location, so
    // the same item at the same time in two locations gives two equal files.
    const auto [other, is_new] =
        hashes_.emplace(std::pair(file.partition_values, tag->second), file.path);
    if (!is_new)
      Find(file, fmt::format("it is a copy of '{}': its rows are there twice", other->second));
    return hash == tag->second;
  }
  void CheckStats(const AddFile& file, const arrow::Table& rows, bool good_bytes) {
    const int64_t expected = RowsOf(file);
    if (expected >= 0 && expected != rows.num_rows())
      return Find(file, fmt::format("it has {} rows, and its statistics say {}", rows.num_rows(),
                                    expected));
    // Other engines format statistics differently, so only those of our own files are compared as
    // text.
    if (good_bytes && !StatsAre(file.stats, rows))
      Find(file, "its statistics in the log do not match its rows");
  }
  void AddRow(const AddFile& file, const FileRow& row) {
    const bool ledger = spec_.name == kLedgerTable;
    if (row.partition.source.empty()) return;  // another engine's row: no provenance
    if (!keys_.insert(KeyHash(row)).second && doubled_.insert(file.path).second)
      Find(file,
           fmt::format("rows of offsets [{}, {}) of {} partition {} are there twice", row.first.v,
                       row.next.v, row.partition.source, row.partition.partition));
    if (ledger && !row.ledger.ledger.Balanced() && unbalanced_.insert(file.path).second)
      Find(file, fmt::format("a ledger row of offsets [{}, {}) does not balance: received is not "
                             "the sum of the outcomes",
                             row.first.v, row.next.v));
    const int64_t lost = row.ledger.ledger.lost;
    if (ledger && (lost < 0 || lost > row.next.v - row.first.v))
      Find(file, fmt::format("a ledger row of offsets [{}, {}) says that {} of them are lost",
                             row.first.v, row.next.v, lost));
    if (ledger) report_.lost += lost;
    check_.sums[row.partition].counted[{row.first, row.next}] +=
        ledger ? row.ledger.ledger.of(Outcome::kCounted) : row.window.count;
  }

  Storage& storage_;
  const TableSpec& spec_;
  TableCheck& check_;
  VerifyReport& report_;
  std::map<std::string, std::string> paths_;  // decoded path -> path as in the log
  // Partition and content hash -> the first path that has them.
  std::map<std::pair<PartitionValues, std::string>, std::string> hashes_;
  PartitionValues partition_;                   // of the previous file
  std::unordered_set<uint64_t> keys_;           // keys of the rows of partition_
  std::set<std::string> doubled_, unbalanced_;  // reported once per file
};

// Compares the snapshot, which checkpoints have led to, with what the commits alone say.
void CompareReplay(const Snapshot& replayed, const Snapshot& snapshot, std::string_view table,
                   std::vector<Finding>& findings) {
  const std::string object = CheckpointPath(table, snapshot.checkpoint);
  const auto find = [&](std::string what) {
    findings.push_back({std::string(table), object, std::move(what)});
  };
  if (replayed.txns != snapshot.txns) find("its offsets are not those of the commits before it");
  snapshot.files.ForEach([&](const FilePtr& file) {
    const FilePtr other = replayed.files.Find(file->path);
    if (other == nullptr) find(fmt::format("'{}' is in no commit before it", file->path));
    if (other != nullptr && (other->size_bytes != file->size_bytes ||
                             other->partition_values != file->partition_values))
      find(fmt::format("'{}' differs from the commits before it", file->path));
  });
  replayed.files.ForEach([&](const FilePtr& file) {
    if (snapshot.files.Find(file->path) == nullptr)
      find(fmt::format("'{}' is missing in it", file->path));
  });
}

void NoteOrphans(Storage& storage, std::string_view table, const Snapshot& snapshot,
                 VerifyReport& report) {
  const Result<std::vector<FileInfo>> files = storage.List(table);
  if (!files.ok()) return;
  std::set<std::string> known;
  snapshot.files.ForEach([&](const FilePtr& file) { known.insert(UrlDecoded(file->path)); });
  snapshot.tombstones.ForEach([&](const std::shared_ptr<const Tombstone>& tombstone) {
    known.insert(UrlDecoded(tombstone->path));
  });
  const Result<std::set<std::string>> set_aside = RetiredFiles(storage, table, files.value());
  if (!set_aside.ok()) return;
  for (const FileInfo& file : files.value()) {
    const std::string inside = file.path.substr(table.size() + 1);
    if (IsHidden(inside) || known.contains(inside)) continue;
    const bool kept = set_aside.value().contains(inside);
    report.notes.push_back({std::string(table), file.path,
                            kept ? "it is of a commit that `lake repair` has set aside"
                                 : "it is in no version: an interrupted writer left it, or its "
                                   "commit was deleted; vacuum removes it"});
  }
}

}  // namespace

void CheckLog(Storage& storage, std::string_view table, VerifyReport& report) {
  const auto find = [&](std::string object, std::string what) {
    report.findings.push_back({std::string(table), std::move(object), std::move(what)});
  };
  const Result<LogListing> log = ListLog(storage, table);
  if (!log.ok()) return find(LogDirectory(table), log.status().message());
  Version expected = kNoVersion;
  auto replayed = std::make_unique<Snapshot>();
  for (const LogListing::Entry& commit : log.value().commits) {
    if (expected == kNoVersion) expected = commit.version;
    for (; expected < commit.version; ++expected.v)
      find(CommitPath(table, expected), "it is missing: the log has a gap");
    ++expected.v;
    Result<Commit> parsed = ReadCommit(storage, table, commit.version);
    if (!parsed.ok()) find(commit.file.path, parsed.status().message());
    if (!parsed.ok() || (replayed != nullptr && replayed->version.v + 1 != commit.version.v))
      replayed = nullptr;
    if (replayed != nullptr) replayed->Apply(std::move(parsed).value());
  }
  if (log.value().checkpoints.empty()) return;
  const Version newest = log.value().checkpoints.back().version;
  if (expected <= newest)
    find(CommitPath(table, newest), "it is missing, although there is a checkpoint of it");
  const Result<SnapshotPtr> snapshot = ReadSnapshot(storage, table);
  if (replayed != nullptr && snapshot.ok() && snapshot.value()->version == replayed->version)
    CompareReplay(*replayed, *snapshot.value(), table, report.findings);
}

Result<std::optional<TableCheck>> CheckTable(Storage& storage, std::string_view table,
                                             const VerifyProgress& progress, VerifyReport& report) {
  TableCheck check{.table = {.name = std::string(table)}};
  const auto unread = [&](const Status& status) {
    report.findings.push_back({check.table.name, LogDirectory(table), status.message()});
    return std::optional<TableCheck>(check);
  };
  const Result<SnapshotPtr> snapshot = ReadSnapshot(storage, table);
  if (!snapshot.ok()) return unread(snapshot.status());
  if (snapshot.value()->version == kNoVersion) return std::optional<TableCheck>();
  const Result<TableSpec> spec = SpecOf(table, *snapshot.value());
  if (!spec.ok()) return unread(spec.status());
  check.snapshot = snapshot.value();
  check.table.version = check.snapshot->version.v;
  check.table.files = static_cast<int64_t>(check.snapshot->files.size());
  check.table.complete = true;
  FileChecker checker(storage, spec.value(), check, report);
  int64_t done = 0;
  check.snapshot->files.ForEach([&](const FilePtr& file) {
    checker.Check(*file);
    check.table.bytes += file->size_bytes;
    if (progress) progress(table, ++done, check.table.files);
  });
  NoteOrphans(storage, table, *check.snapshot, report);
  return std::optional<TableCheck>(std::move(check));
}

}  // namespace sightline::lake
