#include "cli/command_lake.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "cli/lake_place.h"
#include "config/options.h"
#include "connectors/lake/copy.h"
#include "connectors/lake/create_sql.h"
#include "connectors/lake/describe.h"
#include "connectors/lake/log.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/maintenance.h"
#include "connectors/lake/repair.h"
#include "connectors/lake/tables.h"
#include "connectors/lake/verify.h"
#include "connectors/storage/open_storage.h"
#include "operators/decode.h"
#include "query/write_result.h"

namespace sightline {
namespace {

struct Options {
  LakePlaceOptions place;
  std::string table, format = "table", at, retention = "7d";
  int64_t version = -1, limit = 20, days = 0;
  bool dry_run = false, all_days = false;
  std::string sql, to;
  // Found by Run().
  std::string root;  // of the lake, a path or a URL
  StorageOptions storage;
};

int Fail(std::string_view command, const std::string& message) {
  fmt::print(stderr, "sightline lake {}: {}\n", command, message);
  return 1;
}

// Shows progress in one line of a terminal. It prints nothing if stderr is not a terminal.
class ProgressLine {
 public:
  void operator()(std::string_view what, int64_t done, int64_t total) {
    if (!shown_) return;
    fmt::print(stderr, "\r\x1b[K{} {} of {}", what, done, total);
    drew_ = true;
  }
  ~ProgressLine() {
    if (drew_) fmt::print(stderr, "\r\x1b[K");
  }

 private:
  const bool shown_ = isatty(STDERR_FILENO) != 0;
  bool drew_ = false;
};

Value Time(int64_t ms) { return ms == 0 ? Value() : Value(ms * 1'000); }

int Print(std::string_view command, const Options& options, std::vector<Column> columns,
          std::vector<Row> rows) {
  const Result<ResultFormat> format = ParseResultFormat(options.format);
  if (!format.ok()) return Fail(command, format.status().message());
  ResultTable table = ResultTable::FromRows(std::move(columns), std::move(rows));
  const Status written = WriteResult(table, format.value(), [](std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size())
      return Status::Stop("cannot write to standard output");
    return Status::Ok();
  });
  if (!written.ok()) return Fail(command, written.message());
  if (std::fflush(stdout) != 0) return Fail(command, "cannot write to standard output");
  return 0;
}

// Returns the table that was named, or all tables that exist.
std::vector<std::string> TablesOf(const Options& options, Storage& storage) {
  if (!options.table.empty()) return {options.table};
  std::vector<std::string> tables;
  for (const std::string_view table :
       {lake::kIncrementsTable, lake::kLedgerTable, lake::kLocationsTable}) {
    const Result<lake::LogListing> log = lake::ListLog(storage, table);
    // A table that cannot be listed is included, so that the command reports the reason.
    if (!log.ok() || !log.value().commits.empty()) tables.emplace_back(table);
  }
  return tables;
}

Result<lake::SnapshotPtr> SnapshotOf(const Options& options, Storage& storage,
                                     const std::string& table) {
  if (options.version >= 0)
    return lake::ReadSnapshotAt(storage, table, lake::Version{options.version});
  if (options.at.empty()) return lake::ReadSnapshot(storage, table);
  EventTime at;
  if (!ParseTime(options.at, TimeUnit::kMillis, &at))
    return Status::Stop(
        fmt::format("'{}' is not a time: write 2026-11-22T12:00:00Z or milliseconds", options.at));
  const Result<lake::Version> version = lake::VersionAt(storage, table, at.v);
  if (!version.ok()) return version.status();
  return lake::ReadSnapshotAt(storage, table, version.value());
}

int RunVerify(const Options& options, Storage& storage) {
  std::optional<ProgressLine> line(std::in_place);
  const Result<lake::VerifyReport> verified =
      lake::Verify(storage, [&](std::string_view table, int64_t done, int64_t total) {
        (*line)(fmt::format("{}: file", table), done, total);
      });
  line.reset();
  if (!verified.ok()) return Fail("verify", verified.status().message());
  const lake::VerifyReport& report = verified.value();
  std::vector<Row> rows;
  auto add = [&](std::string_view kind, const lake::Finding& finding) {
    rows.push_back({std::string(kind), finding.table, finding.object, finding.what});
  };
  for (const lake::VerifiedTable& table : report.tables)
    add(table.complete ? "ok" : "incomplete",
        {table.name, fmt::format("version {}", table.version),
         fmt::format("{} files, {} rows, {} bytes read", table.files, table.rows, table.bytes)});
  add(report.item_count == report.counted ? "ok" : "damage",
      {"", "sums", fmt::format("lake {} = ledger {}", report.item_count, report.counted)});
  if (report.lost > 0)
    add("note",
        {"ledger", "lost",
         fmt::format("{} offsets are lost here: retention had removed them, or the lake was "
                     "switched off",
                     report.lost)});
  for (const lake::Finding& note : report.notes) add("note", note);
  for (const lake::Finding& finding : report.findings) add("damage", finding);
  const int printed = Print("verify", options,
                            {{"kind", ColumnType::kText},
                             {"table", ColumnType::kText},
                             {"object", ColumnType::kText},
                             {"what", ColumnType::kText}},
                            std::move(rows));
  if (printed != 0) return printed;
  if (report.clean()) return 0;
  return Fail("verify", fmt::format("{} findings of damage", report.findings.size()));
}

std::string Seconds(int64_t ms) { return fmt::format("{}.{:03} s", ms / 1000, ms % 1000); }

// What other tools see of the newest version.
std::string LagText(const Result<lake::TableLag>& lag) {
  if (!lag.ok()) return "unknown: " + lag.status().message();
  std::string text = fmt::format("the newest version is {} old", Seconds(lag.value().age_ms));
  if (lag.value().interval_ms)
    text += fmt::format(", and there is one every {}", Seconds(*lag.value().interval_ms));
  return text;
}

int PrintSql(const Options& options, Storage& storage) {
  const lake::SqlDialect dialect = options.sql == "hive"    ? lake::SqlDialect::kHive
                                   : options.sql == "unity" ? lake::SqlDialect::kUnity
                                                            : lake::SqlDialect::kSpark;
  for (const std::string& table : TablesOf(options, storage)) {
    const Result<lake::SnapshotPtr> snapshot = SnapshotOf(options, storage, table);
    if (!snapshot.ok()) return Fail("describe", snapshot.status().message());
    if (snapshot.value()->version == lake::kNoVersion) continue;
    const Result<std::string> sql =
        lake::CreateTableSql(dialect, options.root, table, *snapshot.value());
    if (!sql.ok()) return Fail("describe", sql.status().message());
    fmt::print("{}\n", sql.value());
  }
  return std::fflush(stdout) == 0 ? 0 : Fail("describe", "cannot write to standard output");
}

int RunDescribe(const Options& options, Storage& storage) {
  if (!options.sql.empty()) return PrintSql(options, storage);
  const bool is_newest = options.version < 0 && options.at.empty();
  std::vector<Row> rows;
  for (const std::string& table : TablesOf(options, storage)) {
    const Result<lake::SnapshotPtr> snapshot = SnapshotOf(options, storage, table);
    if (!snapshot.ok()) return Fail("describe", snapshot.status().message());
    if (snapshot.value()->version == lake::kNoVersion) continue;
    const lake::TableDescription about = lake::Describe(table, *snapshot.value());
    auto add = [&](const std::string& name, std::string value) {
      rows.push_back({table, name, std::move(value)});
    };
    add("version", fmt::format("{}", about.version));
    add("committed", about.committed_ms == 0 ? "" : lake::TimeText(about.committed_ms));
    add("checkpoint", about.checkpoint < 0 ? "none" : fmt::format("{}", about.checkpoint));
    add("files", fmt::format("{}", about.files));
    add("rows", fmt::format("{}", about.rows));
    add("bytes", fmt::format("{}", about.bytes));
    add("bytes per file", fmt::format("{} to {}, median {}", about.smallest_bytes,
                                      about.largest_bytes, about.median_bytes));
    if (is_newest) add("lag", LagText(lake::LagOf(storage, table)));
    add("partitioned by", fmt::format("{}", fmt::join(about.partition_columns, ", ")));
    add("partitions", fmt::format("{}", about.partitions));
    if (!about.files_of_day.empty())
      add("days",
          fmt::format("{} from {} to {}", about.files_of_day.size(),
                      about.files_of_day.begin()->first, about.files_of_day.rbegin()->first));
    for (const auto& [id, version] : about.txns) add("txn " + id, fmt::format("{}", version));
    for (const auto& [name, value] : about.properties) add("property " + name, value);
  }
  return Print(
      "describe", options,
      {{"table", ColumnType::kText}, {"name", ColumnType::kText}, {"value", ColumnType::kText}},
      std::move(rows));
}

int RunHistory(const Options& options, Storage& storage) {
  std::vector<Row> rows;
  for (const std::string& table : TablesOf(options, storage)) {
    const auto history = lake::History(storage, table, options.limit);
    if (!history.ok()) return Fail("history", history.status().message());
    for (const lake::HistoryEntry& entry : history.value())
      rows.push_back({table, entry.version, Time(entry.timestamp_ms), entry.operation, entry.engine,
                      entry.files_added, entry.files_removed, entry.rows_added});
  }
  return Print("history", options,
               {{"table", ColumnType::kText},
                {"version", ColumnType::kInteger},
                {"time", ColumnType::kTimestamp},
                {"operation", ColumnType::kText},
                {"engine", ColumnType::kText},
                {"files_added", ColumnType::kInteger},
                {"files_removed", ColumnType::kInteger},
                {"rows_added", ColumnType::kInteger}},
               std::move(rows));
}

int RunFiles(const Options& options, Storage& storage) {
  std::vector<Row> rows;
  for (const std::string& table : TablesOf(options, storage)) {
    const Result<lake::SnapshotPtr> snapshot = SnapshotOf(options, storage, table);
    if (!snapshot.ok()) return Fail("files", snapshot.status().message());
    for (const lake::FileEntry& file : lake::ListFiles(table, *snapshot.value()))
      rows.push_back({file.path, file.rows < 0 ? Value() : Value(file.rows), file.size_bytes,
                      Time(file.modified_ms)});
  }
  return Print("files", options,
               {{"path", ColumnType::kText},
                {"rows", ColumnType::kInteger},
                {"bytes", ColumnType::kInteger},
                {"modified", ColumnType::kTimestamp}},
               std::move(rows));
}

int RunCompact(const Options& options, Storage& storage) {
  std::vector<Row> rows;
  ProgressLine line;
  for (const std::string& table : TablesOf(options, storage)) {
    if (table == lake::kLocationsTable) continue;
    const auto done = lake::Compact(storage, SystemClock(), table,
                                    {.all_days = options.all_days,
                                     .dry_run = options.dry_run,
                                     .progress = [&](int64_t part, int64_t all) {
                                       line(table + ": part", part, all);
                                       return true;
                                     }});
    if (!done.ok()) return Fail("compact", done.status().message());
    const lake::CompactResult& result = done.value();
    rows.push_back({table, result.partitions, result.files_before, result.files_after,
                    result.bytes_before, options.dry_run ? Value() : Value(result.bytes_after)});
  }
  return Print("compact", options,
               {{"table", ColumnType::kText},
                {"partitions", ColumnType::kInteger},
                {"files_before", ColumnType::kInteger},
                {"files_after", ColumnType::kInteger},
                {"bytes_before", ColumnType::kInteger},
                {"bytes_after", ColumnType::kInteger}},
               std::move(rows));
}

int RunRetain(const Options& options, Storage& storage) {
  ProgressLine line;
  const auto done = lake::RemoveOldDays(storage, SystemClock(), lake::kIncrementsTable,
                                        {.days = options.days,
                                         .dry_run = options.dry_run,
                                         .progress = [&](int64_t part, int64_t all) {
                                           line("file", part, all);
                                           return true;
                                         }});
  if (!done.ok()) return Fail("retain", done.status().message());
  std::vector<Row> rows;
  for (const std::string& day : done.value().days)
    rows.push_back({day, std::string(options.dry_run ? "would go" : "removed")});
  return Print("retain", options, {{"day", ColumnType::kText}, {"what", ColumnType::kText}},
               std::move(rows));
}

int RunVacuum(const Options& options, Storage& storage) {
  const Result<Millis> retention = ParseDuration(options.retention);
  if (!retention.ok()) return Fail("vacuum", "--retention: " + retention.status().message());
  std::vector<Row> rows;
  ProgressLine line;
  for (const std::string& table : TablesOf(options, storage)) {
    const auto done = lake::Vacuum(storage, table,
                                   {.retention = retention.value(),
                                    .dry_run = options.dry_run,
                                    .progress = [&](int64_t part, int64_t all) {
                                      line(table + ": file", part, all);
                                      return true;
                                    }});
    if (!done.ok()) return Fail("vacuum", done.status().message());
    rows.push_back({table, done.value().files, done.value().bytes, done.value().kept});
  }
  return Print("vacuum", options,
               {{"table", ColumnType::kText},
                {options.dry_run ? "would_delete" : "deleted", ColumnType::kInteger},
                {"bytes", ColumnType::kInteger},
                {"kept_young", ColumnType::kInteger}},
               std::move(rows));
}

std::string Versions(const lake::RepairResult& repair) {
  return repair.missing_first == repair.missing_last
             ? fmt::format("version {}", repair.missing_first.v)
             : fmt::format("versions {} to {}", repair.missing_first.v, repair.missing_last.v);
}

// What is missing, what is done about it, and what that means, as rows of a table.
void Explain(const std::string& table, const lake::RepairResult& repair, bool dry_run,
             std::vector<Row>& rows) {
  const auto add = [&](std::string kind, std::string what) {
    rows.push_back({table, std::move(kind), std::move(what)});
  };
  if (repair.missing_first == lake::kNoVersion)
    return add("ok", fmt::format("the log is whole up to version {}", repair.newest.v));
  add("gap", fmt::format("{} missing, the newest is {}", Versions(repair), repair.newest.v));
  add(dry_run ? "would set aside" : "set aside",
      fmt::format("{} files of the log, into '{}'", repair.set_aside.size(), repair.folder));
  if (repair.kept == repair.newest)
    return add("kept",
               "everything: reading begins at a checkpoint behind the gap; versions before "
               "it can be read no more");
  add("kept", fmt::format("version {}", repair.kept.v));
  add("lost", fmt::format("what the missing commits added, and {} rows in {} files behind them; "
                          "these files stay on disk",
                          repair.rows, repair.files));
  for (const auto& [app, versions] : repair.txns)
    if (!app.ends_with("/owner") && versions.first != versions.second)
      add("offset", fmt::format("{} falls back from {} to {}", app, versions.first,
                                versions.second < 0 ? "none" : std::to_string(versions.second)));
}

constexpr const char* kRepairFooter =
    "Example:\n"
    "  sightline lake repair --data /srv/sightline --dry-run\n\n"
    "It prints what is missing, what is done about it, and what to do then.";
constexpr const char* kRepairAdvice =
    "First look for the missing commits: if the lake's file system was not mounted for a while,\n"
    "they and their data files may lie on the mount point, below the mounted file system. Copied\n"
    "back, they are all that is needed, and nothing is lost. Otherwise stop everything that "
    "writes\n"
    "this lake, and repair it. Offsets that fall back are counted into the lake again from the\n"
    "log of detections, as far as that has them: remove the folder `checkpoints` before the next\n"
    "start (docs/LAKE.md, \"Damage\").\n";

int RunRepair(const Options& options, Storage& storage) {
  std::vector<Row> rows;
  bool gap = false;
  for (const std::string& table : TablesOf(options, storage)) {
    const auto repaired = lake::Repair(storage, SystemClock(), table, options.dry_run);
    if (!repaired.ok()) return Fail("repair", repaired.status().message());
    gap = gap || repaired.value().missing_first != lake::kNoVersion;
    Explain(table, repaired.value(), options.dry_run, rows);
  }
  const int printed = Print(
      "repair", options,
      {{"table", ColumnType::kText}, {"kind", ColumnType::kText}, {"what", ColumnType::kText}},
      std::move(rows));
  if (printed == 0 && gap) fmt::print(stderr, "{}", kRepairAdvice);
  return printed;
}

int RunCopy(const Options& options, Storage& storage) {
  const std::string to = AbsoluteStorageUrl(options.to);
  const Result<std::unique_ptr<Storage>> target = OpenStorage(to, options.storage);
  if (!target.ok()) return Fail("copy", "--to: " + target.status().message());
  std::optional<ProgressLine> line(std::in_place);
  const auto copied =
      lake::CopyLake(storage, *target.value(), SystemClock(),
                     {.from = options.root,
                      .to = to,
                      .progress = [&](std::string_view table, int64_t done, int64_t total) {
                        (*line)(fmt::format("{}: file", table), done, total);
                      }});
  line.reset();
  if (!copied.ok()) return Fail("copy", copied.status().message());
  std::vector<Row> rows;
  for (const lake::CopiedTable& table : copied.value())
    rows.push_back({table.name, table.version, table.files, table.bytes, table.copied});
  const int printed = Print("copy", options,
                            {{"table", ColumnType::kText},
                             {"version", ColumnType::kInteger},
                             {"files", ColumnType::kInteger},
                             {"bytes", ColumnType::kInteger},
                             {"copied_now", ColumnType::kInteger}},
                            std::move(rows));
  if (printed == 0)
    fmt::print(
        stderr,
        "The lake is written at '{}' from now on: set lake.dir to it, and start what writes\n"
        "it again. Nothing writes '{}' any more; it may be read as before.\n",
        to, options.root);
  return printed;
}

Result<bool> HasTable(Storage& storage) {
  for (const std::string_view table :
       {lake::kIncrementsTable, lake::kLedgerTable, lake::kLocationsTable}) {
    const Result<std::vector<FileInfo>> log = storage.List(lake::LogDirectory(table));
    if (!log.ok()) return log.status();
    if (!log.value().empty()) return true;
  }
  return false;
}

int Run(std::string_view command, const Options& options, int (*run)(const Options&, Storage&)) {
  const Result<LakePlace> place = FindLake(options.place);
  if (!place.ok()) return Fail(command, place.status().message());
  const std::string& root = place.value().lake;
  const Result<std::unique_ptr<Storage>> storage =
      OpenStorage(AbsoluteStorageUrl(root), place.value().storage);
  if (!storage.ok()) return Fail(command, storage.status().message());
  const Result<bool> found = HasTable(*storage.value());
  if (!found.ok()) return Fail(command, found.status().message());
  if (!found.value())
    return Fail(command, fmt::format("there is no lake in '{}': give --data (a data folder of "
                                     "`sightline up`), --config (its configuration file) or --lake",
                                     root));
  Options found_options = options;
  found_options.root = AbsoluteStorageUrl(root);
  found_options.storage = place.value().storage;
  return run(found_options, *storage.value());
}

void AddSql(CLI::App* describe, Options* options) {
  describe->footer(
      "Examples:\n"
      "  sightline lake describe --data /srv/sightline\n"
      "  sightline lake describe --table ledger --at 2026-11-22T12:00:00Z\n"
      "  sightline lake describe --lake hdfs://prod/sightline/lake --sql spark\n\n"
      "To ask the storage for its time, an empty file is put into it, and deleted again.");
  describe
      ->add_option("--sql", options->sql,
                   "Print CREATE TABLE statements instead, for the catalog hive (metastore), unity "
                   "or spark.")
      ->check(CLI::IsMember({"hive", "unity", "spark"}));
}

void AddCopy(CLI::App* copy, Options* options) {
  copy->add_option("--to", options->to,
                   "Where the lake goes: an empty folder, or hdfs://NAME/path.")
      ->required();
  copy->footer(
      "Example:\n"
      "  sightline lake copy --data /srv/sightline --to hdfs://prod/sightline/lake\n\n"
      "The newest versions are copied, and every file is read back. Then the lake is written at\n"
      "the new place only: its writers are refused here, and say so. What was interrupted goes on\n"
      "where it ended if the command is given again.");
}

}  // namespace

void AddLakeCommands(CLI::App& app, int* result) {
  auto options = std::make_shared<Options>();
  CLI::App* lake = app.add_subcommand("lake", "Inspect and maintain the lake (Delta tables)");
  lake->require_subcommand(1);
  auto add = [&](const char* name, const char* help, int (*run)(const Options&, Storage&)) {
    CLI::App* command = lake->add_subcommand(name, help);
    AddLakePlace(command, &options->place);
    command
        ->add_option("--format", options->format,
                     "The format of the output: table, csv, excel-csv, json, ndjson or parquet.")
        ->capture_default_str();
    command->callback([name, options, run, result] { *result = Run(name, *options, run); });
    return command;
  };
  auto table = [&](CLI::App* command) {
    command
        ->add_option("--table", options->table,
                     "The table: item_count_increments, ledger or locations. The default is all of "
                     "them.")
        ->check(CLI::IsMember({"item_count_increments", "ledger", "locations"}));
  };
  auto dry_run = [&](CLI::App* command) {
    command->add_flag("--dry-run", options->dry_run,
                      "Print what would be done, and change nothing.");
  };
  CLI::App* verify =
      add("verify", "Read everything and prove that the lake equals the ledger", RunVerify);
  verify->footer(
      "Examples:\n"
      "  sightline lake verify --data /srv/sightline\n"
      "  sightline lake verify --lake /backup/lake --format json\n\n"
      "The exit code is 1 if anything is damaged; each finding names the damaged object. `verify`\n"
      "cannot notice that the newest commits of a table were deleted, because the rest is an\n"
      "intact lake of an earlier moment (docs/LAKE.md, \"Damage\").");
  CLI::App* describe =
      add("describe", "Print version, files, rows and days of each table", RunDescribe);
  AddSql(describe, options.get());
  CLI::App* history = add("history", "List the newest commits of each table", RunHistory);
  history->footer("Example:\n  sightline lake history --table ledger --limit 5");
  history->add_option("--limit", options->limit, "The maximum number of commits per table.")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  CLI::App* files = add("files", "List the data files of a version", RunFiles);
  files->footer(
      "Examples:\n"
      "  sightline lake files --version 12\n"
      "  sightline lake files --at 2026-11-22T12:00:00Z --format csv");
  for (CLI::App* command : {describe, files}) {
    command->add_option("--version", options->version,
                        "The version to read. The default is the newest.");
    command->add_option("--at", options->at,
                        "Read the version that was the newest at this time, RFC 3339 or Unix ms.");
  }
  CLI::App* compact =
      add("compact", "Pack each past day into one file per location, and what is many of today",
          RunCompact);
  compact->add_flag("--all-days", options->all_days, "Pack the current day as if it were over.");
  compact->footer("Example:\n  sightline lake compact --data /srv/sightline --dry-run");
  CLI::App* retain = add("retain", "Remove the oldest days from the counts", RunRetain);
  retain->add_option("--days", options->days, "The number of days that stay, at least 1.")
      ->required();
  retain->footer("Example:\n  sightline lake retain --days 365 --dry-run");
  CLI::App* vacuum = add("vacuum", "Delete files that no version needs", RunVacuum);
  vacuum
      ->add_option("--retention", options->retention,
                   "The time for which files that have left the tables stay on disk, such as 7d.")
      ->capture_default_str();
  vacuum->footer("Example:\n  sightline lake vacuum --retention 7d --dry-run");
  CLI::App* repair = add("repair", "Make a table whose log has a gap usable again", RunRepair);
  repair->footer(kRepairFooter);
  AddCopy(add("copy", "Move the lake to another place", RunCopy), options.get());
  for (CLI::App* command : {describe, history, files, compact, vacuum, repair}) table(command);
  for (CLI::App* command : {compact, retain, vacuum, repair}) dry_run(command);
  lake->footer(
      "Examples:\n"
      "  sightline lake verify --data /srv/sightline\n"
      "  sightline lake compact --dry-run\n"
      "  sightline lake files --at 2026-11-22T12:00:00Z --format csv");
}

}  // namespace sightline
