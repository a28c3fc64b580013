#include "connectors/lake/tables.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "connectors/lake/checkpoint.h"
#include "connectors/lake/committer.h"
#include "connectors/lake/json_text.h"
#include "connectors/lake/log.h"

namespace sightline::lake {
namespace {

constexpr int64_t kDayMs = 86'400'000;

std::string FieldJson(const Column& column) {
  return fmt::format(R"({{"name":{},"type":"{}","nullable":{},"metadata":{{}}}})",
                     Quoted(column.name), column.type, column.nullable);
}

std::string SchemaJson(const std::vector<std::string>& fields) {
  return fmt::format(R"({{"type":"struct","fields":[{}]}})", fmt::join(fields, ","));
}

// A column as the table has it.
struct Field {
  TableColumn column;
  std::string json;
  bool has_invariant = false;  // a condition that values must meet

  bool TakesNull() const { return column.nullable && !has_invariant; }
};

Result<std::vector<Field>> ParseSchema(const std::string& json, std::string_view table) {
  simdjson::dom::parser parser;
  simdjson::dom::array elements;
  if (parser.parse(json)["fields"].get(elements))
    return Status::Stop(
        fmt::format("the schema of table '{}' cannot be read; restore its log from a copy", table));
  std::vector<Field> fields;
  for (const simdjson::dom::element element : elements) {
    std::string_view name, comment, type = kNestedType;
    bool nullable = true;
    simdjson::dom::element invariants;
    if (element["name"].get(name)) continue;
    if (element["type"].get(type)) type = kNestedType;
    if (element["metadata"]["comment"].get(comment)) comment = "";
    if (element["nullable"].get(nullable)) nullable = true;
    fields.push_back(
        {.column = {{std::string(name), std::string(type), nullable}, std::string(comment)},
         .json = simdjson::minify(element),
         .has_invariant = !element["metadata"]["delta.invariants"].get(invariants)});
  }
  return fields;
}

const Field* FindField(const std::vector<Field>& fields, std::string_view name) {
  const auto found =
      std::ranges::find(fields, name, [](const Field& field) { return field.column.name; });
  return found == fields.end() ? nullptr : &*found;
}

bool IsAdded(std::string_view column) {
  return std::ranges::find(kAddedColumns, column) != std::end(kAddedColumns);
}

Status CheckColumns(const TableSpec& spec, const std::vector<Field>& actual) {
  const auto refuse = [&](const std::string& what) {
    return Status::Stop(
        fmt::format("table '{}' {}; use the program that wrote it, or count into another lake",
                    spec.name, what));
  };
  for (const Column& column : spec.columns) {
    const Field* found = FindField(actual, column.name);
    // An earlier program created the table: the column is missing until the first row needs it.
    if (found == nullptr && IsAdded(column.name)) continue;
    if (found == nullptr) return refuse(fmt::format("has no column '{}'", column.name));
    if (found->column.type != column.type)
      return refuse(fmt::format("has column '{}' of type {}, not {}", column.name,
                                found->column.type, column.type));
  }
  // A column that others have added stays, and our rows have null in it.
  for (const Field& field : actual)
    if (!field.TakesNull())
      return refuse(fmt::format(
          "has a column '{}' that must not be null, or has an invariant, which this program cannot "
          "see to",
          field.column.name));
  return Status::Ok();
}

std::vector<Column> ProvenanceColumns() {
  return {{"source", "string"},
          {"source_partition", "integer"},
          {"first_offset", "long"},
          {"next_offset", "long"}};
}

Result<SnapshotPtr> Create(Storage& storage, const Clock& clock, const TableSpec& spec,
                           SnapshotPtr none) {
  const auto create = [&](const Snapshot& now) -> Result<Change> {
    if (now.version != kNoVersion) return Status::Retry("the table was created meanwhile");
    // Features that we cannot read are switched off explicitly, because an engine may enable them
    // by default on tables that it writes to.
    return Change{
        .operation = "CREATE TABLE",
        .metadata = Metadata{.id = RandomId(),
                             .name = spec.name,
                             .schema_json = WithSpec({}, spec).schema_json,
                             .partition_columns = spec.partition_columns,
                             .configuration = {{"delta.enableDeletionVectors", "false"},
                                               {"delta.checkpointPolicy", "classic"},
                                               {"delta.deletedFileRetentionDuration",
                                                fmt::format("interval {} days",
                                                            kTombstoneRetentionMs / kDayMs)}},
                             .created_ms = clock.NowMs()},
        .protocol = Protocol{}};
  };
  CommitResult created = CommitChange(storage, clock, spec.name, std::move(none), create);
  if (created.status.ok()) return created.snapshot;
  // Another process created the table first. That is as good.
  if (created.snapshot->version != kNoVersion) return created.snapshot;
  return created.status;
}

}  // namespace

bool TableSpec::Has(std::string_view column) const {
  return std::ranges::find(columns, column, &Column::name) != columns.end();
}

bool TableSpec::IsPartition(std::string_view column) const {
  return std::find(partition_columns.begin(), partition_columns.end(), column) !=
         partition_columns.end();
}

std::vector<Column> TableSpec::file_columns() const {
  std::vector<Column> in_files;
  for (const Column& column : columns)
    if (!IsPartition(column.name)) in_files.push_back(column);
  return in_files;
}

Layout LayoutOf(const Snapshot& snapshot) {
  return snapshot.metadata->partition_columns == IncrementsSpec(Layout::kByBucket).partition_columns
             ? Layout::kByBucket
             : Layout::kByLocation;
}

TableSpec IncrementsSpec(Layout layout) {
  TableSpec spec{.name = std::string(kIncrementsTable),
                 .columns = {{"geographical_location_oid", "long"},
                             {"date", "date"},
                             {"geographical_location", "string"},
                             {"item_name", "string"},
                             {"window_start", "timestamp"},
                             {"window_end", "timestamp"},
                             {"item_count", "long"},
                             {"first_detected", "timestamp"},
                             {"last_detected", "timestamp"},
                             {"kind", "string"},
                             {"engine", "string"}},
                 .partition_columns = {"geographical_location_oid", "date"},
                 .sort_columns = {"geographical_location_oid", "window_start", "item_name"}};
  for (Column& column : ProvenanceColumns()) spec.columns.push_back(std::move(column));
  if (layout == Layout::kByBucket) {
    spec.columns.push_back({"bucket", "integer"});
    spec.partition_columns = {"date", "bucket"};
  }
  return spec;
}

TableSpec LedgerSpec() {
  TableSpec spec{.name = std::string(kLedgerTable),
                 .partition_columns = {"date"},
                 .sort_columns = {"source", "source_partition", "first_offset"}};
  spec.columns = ProvenanceColumns();
  for (const char* name : {"geographical_location_oid", "video_camera_oid"})
    spec.columns.push_back({name, "long"});
  spec.columns.push_back({"append_hour", "timestamp"});
  for (const char* name : {"received", "counted", "duplicate", "too_late", "future", "malformed",
                           "outside", "conflicts", "heartbeats", "lost"})
    spec.columns.push_back({name, "long"});
  spec.columns.push_back({"coverage", "boolean"});
  spec.columns.push_back({"date", "date"});
  return spec;
}

TableSpec LocationsSpec() {
  return {.name = std::string(kLocationsTable),
          .columns = {{"geographical_location_oid", "long"},
                      {"geographical_location", "string"},
                      {"latitude", "double"},
                      {"longitude", "double"},
                      {"time_zone", "string"},
                      {"parent", "long"}},
          .sort_columns = {"geographical_location_oid"}};
}

Result<std::vector<TableColumn>> ColumnsOf(std::string_view table, const Snapshot& snapshot) {
  const Result<std::vector<Field>> fields = ParseSchema(snapshot.metadata->schema_json, table);
  if (!fields.ok()) return fields.status();
  std::vector<TableColumn> columns;
  for (const Field& field : fields.value()) columns.push_back(field.column);
  return columns;
}

Result<TableSpec> SpecOf(std::string_view table, const Snapshot& snapshot) {
  TableSpec spec = table == kLedgerTable ? LedgerSpec() : LocationsSpec();
  if (table == kIncrementsTable) spec = IncrementsSpec(LayoutOf(snapshot));
  const Result<std::vector<Field>> actual = ParseSchema(snapshot.metadata->schema_json, table);
  if (!actual.ok()) return actual.status();
  RETURN_IF_ERROR(CheckColumns(spec, actual.value()));
  if (snapshot.metadata->partition_columns != spec.partition_columns)
    return Status::Stop(
        fmt::format("table '{}' is partitioned by ({}), not by ({}); use the program that wrote "
                    "it, or count into another lake",
                    table, fmt::join(snapshot.metadata->partition_columns, ", "),
                    fmt::join(spec.partition_columns, ", ")));
  for (const Field& field : actual.value())
    if (!spec.Has(field.column.name)) spec.foreign_columns.push_back(field.column.name);
  std::erase_if(spec.columns, [&](const Column& column) {
    return FindField(actual.value(), column.name) == nullptr;
  });
  return spec;
}

bool HoldsRowsOf(const std::string& schema_json, const std::string& earlier) {
  if (schema_json == earlier) return true;
  const Result<std::vector<Field>> before = ParseSchema(earlier, ""),
                                   now = ParseSchema(schema_json, "");
  if (!before.ok() || !now.ok()) return false;
  const auto is_kept = [&](const Field& field) {
    const Field* found = FindField(now.value(), field.column.name);
    const Column& column = field.column;
    return found != nullptr && static_cast<const Column&>(found->column) == column;
  };
  const auto may_lack = [&](const Field& field) {
    return FindField(before.value(), field.column.name) != nullptr || field.TakesNull();
  };
  return std::ranges::all_of(before.value(), is_kept) && std::ranges::all_of(now.value(), may_lack);
}

Metadata WithSpec(Metadata metadata, const TableSpec& spec) {
  std::vector<std::string> fields;
  const Result<std::vector<Field>> there = ParseSchema(metadata.schema_json, spec.name);
  if (there.ok())
    for (const Field& field : there.value()) fields.push_back(field.json);
  for (const Column& column : spec.columns)
    if (!there.ok() || FindField(there.value(), column.name) == nullptr)
      fields.push_back(FieldJson(column));
  metadata.schema_json = SchemaJson(fields);
  metadata.partition_columns = spec.partition_columns;
  return metadata;
}

// Changes only the metadata: the files stay as they are, and read as null in the new columns.
Result<SnapshotPtr> AddColumns(Storage& storage, const Clock& clock, SnapshotPtr snapshot,
                               const TableSpec& spec) {
  const auto lacks = [&](const Snapshot& now) {
    const Result<TableSpec> actual = SpecOf(spec.name, now);
    return actual.ok() && actual.value().columns.size() < spec.columns.size();
  };
  if (!lacks(*snapshot)) return snapshot;
  const auto add = [&](const Snapshot& now) -> Result<Change> {
    if (!lacks(now)) return Status::Retry("the columns were added meanwhile");
    return Change{.operation = "ADD COLUMNS", .metadata = WithSpec(*now.metadata, spec)};
  };
  CommitResult added = CommitChange(storage, clock, spec.name, snapshot, add);
  // If another writer added them first, that is as good.
  if (added.status.ok() || !lacks(*added.snapshot)) return added.snapshot;
  return added.status;
}

Result<SnapshotPtr> OpenOrCreate(Storage& storage, const Clock& clock, const TableSpec& spec,
                                 KnownTables* known) {
  Result<SnapshotPtr> snapshot = ReadSnapshot(storage, spec.name);
  if (!snapshot.ok()) return snapshot;
  if (known != nullptr) RETURN_IF_ERROR(known->Check(spec.name, *snapshot.value()));
  if (snapshot.value()->version == kNoVersion)
    snapshot = Create(storage, clock, spec, std::move(snapshot).value());
  if (snapshot.ok() && known != nullptr) RETURN_IF_ERROR(known->Add(spec.name, *snapshot.value()));
  return snapshot;
}

Day DayOf(EventTime time) { return {WindowStart(time, {kDayMs}).v / kDayMs}; }

std::string DayText(Day day) {
  const std::chrono::year_month_day date{
      std::chrono::sys_days{std::chrono::days{static_cast<int>(day.v)}}};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

Result<Day> ParseDay(std::string_view text) {
  int year = 0;
  unsigned month = 0, day = 0;
  const auto number = [&](size_t first, size_t next, auto& value) {
    return text.size() == 10 &&
           std::from_chars(text.data() + first, text.data() + next, value).ptr ==
               text.data() + next;
  };
  const bool parsed = number(0, 4, year) && number(5, 7, month) && number(8, 10, day) &&
                      text[4] == '-' && text[7] == '-';
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                         std::chrono::day(day)};
  if (!parsed || year < 1 || !date.ok())
    return Status::Stop(fmt::format("'{}' is not a date: write it like 2026-11-22", text));
  return Day{std::chrono::sys_days{date}.time_since_epoch().count()};
}

std::string TimeText(int64_t ms) {
  const Day day = DayOf({ms});
  const int64_t in_day = ms - day.v * kDayMs;
  return fmt::format("{}T{:02}:{:02}:{:02}.{:03}Z", DayText(day), in_day / 3'600'000,
                     in_day / 60'000 % 60, in_day / 1000 % 60, in_day % 1000);
}

std::string OffsetTxn(std::string_view table, const SourcePartition& partition) {
  return fmt::format("sightline/{}/{}/{}", table, partition.source, partition.partition);
}

std::string OwnerTxn(std::string_view table, const SourcePartition& partition) {
  return OffsetTxn(table, partition) + "/owner";
}

std::optional<SourcePartition> ParseOffsetTxn(std::string_view table, std::string_view app) {
  const std::string prefix = fmt::format("sightline/{}/", table);
  if (!app.starts_with(prefix)) return std::nullopt;
  const std::string_view rest = app.substr(prefix.size());
  const size_t slash = rest.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  SourcePartition partition{.source = std::string(rest.substr(0, slash))};
  const char* end = rest.data() + rest.size();
  const auto [stopped, error] = std::from_chars(rest.data() + slash + 1, end, partition.partition);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return partition;
}

}  // namespace sightline::lake
