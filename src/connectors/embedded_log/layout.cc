// Layout of 'log.db' (SQLite 3, write-ahead log, application_id "SLog", user_version 1):
//
//   meta      key | value
//             'log_id' (16 hex digits, random, made with the file), 'partitions', 'clock' (the
//             append time of the newest record, and the machine's elapsed time then: LogClock)
//   streams   topic, partition | oldest next append_time bytes
//             One row for each partition of a topic that was ever appended to. It holds
//             [oldest, next), the append_time of the newest record, and the bytes of all its
//             batches. The row outlives its batches, so that neither offsets nor append times go
//             back.
//   batches   id | topic partition first next append_time crc data
//             data: the records of [first, next), each a varint length and its bytes
//             (base/bytes.h). Ids grow in the order of appending, so retention removes the lowest
//             ones. The batches of one partition follow each other without a hole.
//   progress  source, partition | next watermark ledger crc
//             How far the counts of a source partition are committed. `ledger` is the cumulative
//             one: six outcomes, conflicts and heartbeats as varints.
//   groups    source, partition, first | next newest_pane crc data
//             data: Segment::Encode of the running totals of [first, next), without dead letters
//             (those are records of the topics dead_letters and late_detections).
//
// Every crc is zlib's CRC-32 over the row's other columns (RowCrc in block.h), because SQLite has
// no page checksums. All integers are SQLite's own. Times are milliseconds since the Unix epoch.
#include "connectors/embedded_log/layout.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <array>
#include <utility>

namespace sightline::embedded_log {
namespace {

constexpr int64_t kApplicationId = 0x534c6f67;  // "SLog"

constexpr std::string_view kCreate = R"sql(
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE streams(
  topic TEXT NOT NULL, partition INTEGER NOT NULL,
  oldest INTEGER NOT NULL, next INTEGER NOT NULL,
  append_time INTEGER NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY(topic, partition)) WITHOUT ROWID;
CREATE TABLE batches(
  id INTEGER PRIMARY KEY,
  topic TEXT NOT NULL, partition INTEGER NOT NULL,
  first INTEGER NOT NULL, next INTEGER NOT NULL,
  append_time INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX batches_by_offset ON batches(topic, partition, first);
CREATE TABLE progress(
  source TEXT NOT NULL, partition INTEGER NOT NULL,
  next INTEGER NOT NULL, watermark INTEGER NOT NULL,
  ledger BLOB NOT NULL, crc INTEGER NOT NULL,
  PRIMARY KEY(source, partition)) WITHOUT ROWID;
CREATE TABLE groups(
  id INTEGER PRIMARY KEY,
  source TEXT NOT NULL, partition INTEGER NOT NULL,
  first INTEGER NOT NULL, next INTEGER NOT NULL,
  newest_pane INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX groups_by_offset ON groups(source, partition, first);
)sql";

Result<std::string> RandomId() {
  std::array<unsigned char, 8> random;
  if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
    return Status::Retry("cannot draw a random log id");
  std::string id;
  for (const unsigned char byte : random) id += fmt::format("{:02x}", byte);
  return id;
}

Status Create(Database& database, int32_t partitions) {
  Result<std::string> id = RandomId();
  if (!id.ok()) return id.status();
  // In one transaction, so that a crash leaves either a complete log or an empty file.
  return database.Execute(
      fmt::format("BEGIN IMMEDIATE;{}INSERT INTO meta VALUES('log_id', '{}');"
                  "INSERT INTO meta VALUES('partitions', {});"
                  "PRAGMA application_id={};PRAGMA user_version={};COMMIT",
                  kCreate, id.value(), partitions, kApplicationId, kFormatVersion),
      "create the log");
}

// True if the file is empty and must be initialised. It checks before anything is written, so that
// another program's file stays as it is.
Result<bool> IsNew(Database& database, const std::string& path) {
  Result<int64_t> application = database.ReadInt("PRAGMA application_id", "read the header");
  if (!application.ok()) return application.status();
  Result<int64_t> version = database.ReadInt("PRAGMA user_version", "read the header");
  if (!version.ok()) return version.status();
  Result<int64_t> tables =
      database.ReadInt("SELECT count(*) FROM sqlite_schema", "read the table of tables");
  if (!tables.ok()) return tables.status();
  if (application.value() == 0 && version.value() == 0 && tables.value() == 0) return true;
  if (application.value() != kApplicationId)
    return Status::Stop(fmt::format(
        "'{}' is not an embedded log; name another data directory, or move the file away", path));
  if (version.value() != kFormatVersion)
    return Status::Stop(fmt::format(
        "'{}' has data format {}, and this program reads and writes format {}; use the program "
        "that wrote it, or name another data directory",
        path, version.value(), kFormatVersion));
  return false;
}

Status CheckPages(Database& database, const std::string& path) {
  // Checks the small tables completely. Batches and groups have checksums and are checked as they
  // are read: walking gigabytes at every start would take minutes.
  for (const char* table : {"meta", "streams", "progress"}) {
    Result<std::string> found = database.ReadText(fmt::format("PRAGMA quick_check('{}')", table),
                                                  fmt::format("check table '{}'", table));
    if (!found.ok()) return found.status();
    if (found.value() != "ok")
      return Status::Stop(fmt::format(
          "table '{}' of '{}' is damaged ({}); restore the data directory from a copy, or move it "
          "away to begin with an empty one",
          table, path, found.value()));
  }
  return Status::Ok();
}

}  // namespace

Result<OpenedFile> OpenForWriting(const std::string& path, int32_t partitions) {
  Result<Database> opened = Database::Open(path, Database::Mode::kWrite);
  if (!opened.ok()) return opened.status();
  Database& database = opened.value();
  Result<bool> is_new = IsNew(database, path);
  if (!is_new.ok()) return is_new.status();
  // 8 KiB pages halve the length of a blob's page chain, and still keep a small append small.
  // secure_delete is on in Debian's SQLite and would write every freed page once more. Automatic
  // checkpoints are off: the writer copies the write-ahead log itself, when it is idle.
  RETURN_IF_ERROR(database.Execute(
      fmt::format("PRAGMA page_size={}; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                  "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864;"
                  "PRAGMA secure_delete=OFF; PRAGMA cache_size=-16384; PRAGMA trusted_schema=OFF",
                  kPageSize),
      "prepare the connection"));
  if (is_new.value()) RETURN_IF_ERROR(Create(database, partitions));
  RETURN_IF_ERROR(CheckPages(database, path));

  Result<std::string> id =
      database.ReadText("SELECT value FROM meta WHERE key='log_id'", "read table 'meta'");
  if (!id.ok()) return id.status();
  Result<int64_t> made_with =
      database.ReadInt("SELECT value FROM meta WHERE key='partitions'", "read table 'meta'");
  if (!made_with.ok()) return made_with.status();
  if (made_with.value() != partitions)
    return Status::Stop(
        fmt::format("'{}' was created with {} partitions and is now to have {}: cameras would move "
                    "between partitions and be counted twice; set partitions back to {}, or hand "
                    "over to a log in a new data directory (docs/SEMANTICS.md, \"Hand-over\")",
                    path, made_with.value(), partitions, made_with.value()));
  return OpenedFile{std::move(database), {std::move(id).value(), partitions}};
}

Result<Database> OpenForReading(const std::string& path) {
  Result<Database> database = Database::Open(path, Database::Mode::kRead);
  if (!database.ok()) return database.status();
  RETURN_IF_ERROR(database.value().Execute(
      "PRAGMA cache_size=-1024; PRAGMA query_only=ON; PRAGMA trusted_schema=OFF",
      "prepare a reader"));
  return database;
}

}  // namespace sightline::embedded_log
