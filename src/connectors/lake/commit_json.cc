#include "connectors/lake/commit_json.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <utility>

#include "connectors/lake/json_text.h"

namespace sightline::lake {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::string_view kHashField = "sightlineBodyHash";

template <typename Map>
std::string StringMap(const Map& map) {
  std::string out;
  for (const auto& [key, value] : map)
    out += (out.empty() ? "" : ",") + Quoted(key) + ":" + Quoted(value);
  return "{" + out + "}";
}

std::string PartitionJson(const PartitionValues& values) {
  std::string out;
  for (const PartitionValue& value : values)
    out += fmt::format("{}{}:{}", out.empty() ? "" : ",", Quoted(value.column),
                       value.value.has_value() ? Quoted(*value.value) : "null");
  return "{" + out + "}";
}

std::string AddJson(const AddFile& file, bool data_change) {
  std::string out = fmt::format(
      R"({{"add":{{"path":{},"partitionValues":{},"size":{},"modificationTime":{},"dataChange":{})",
      Quoted(file.path), PartitionJson(file.partition_values), file.size_bytes, file.modified_ms,
      data_change);
  if (!file.stats.empty()) out += ",\"stats\":" + Quoted(file.stats);
  if (!file.tags.empty()) out += ",\"tags\":" + StringMap(file.tags);
  return out + "}}\n";
}

std::string RemoveJson(const AddFile& file, const Change& change) {
  return fmt::format(
      R"({{"remove":{{"path":{},"deletionTimestamp":{},"dataChange":{},"extendedFileMetadata":true,"partitionValues":{},"size":{}}}}})"
      "\n",
      Quoted(file.path), change.removed_ms, change.data_change,
      PartitionJson(file.partition_values), file.size_bytes);
}

std::string MetadataJson(const Metadata& metadata) {
  std::string columns;
  for (const std::string& column : metadata.partition_columns)
    columns += (columns.empty() ? "" : ",") + Quoted(column);
  const auto text = [](std::string_view field, const std::string& value) {
    return value.empty() ? std::string() : fmt::format(R"("{}":{},)", field, Quoted(value));
  };
  return fmt::format(
      R"({{"metaData":{{"id":{},{}{}"format":{{"provider":"parquet","options":{{}}}},"schemaString":{},"partitionColumns":[{}],"configuration":{},"createdTime":{}}}}})"
      "\n",
      Quoted(metadata.id), text("name", metadata.name), text("description", metadata.description),
      Quoted(metadata.schema_json), columns, StringMap(metadata.configuration),
      metadata.created_ms);
}

// Missing fields read as empty, 0 or absent. The callers check those that the protocol requires.
std::string TextOf(element from, std::string_view field) {
  std::string_view text;
  if (from[field].get(text)) return {};
  return std::string(text);
}

int64_t NumberOf(element from, std::string_view field) {
  int64_t number = 0;
  if (from[field].get(number)) return 0;
  return number;
}

bool TruthOf(element from, std::string_view field, bool otherwise) {
  bool truth = otherwise;
  if (from[field].get(truth)) return otherwise;
  return truth;
}

bool Has(element from, std::string_view field) {
  element value;
  return !from[field].get(value) && !value.is_null();
}

PartitionValues PartitionsOf(element from) {
  PartitionValues values;
  object fields;
  if (from["partitionValues"].get(fields)) return values;
  for (const auto [column, value] : fields) {
    std::string_view text;
    // A value that is not a string is null: the partition value is unknown.
    PartitionValue parsed{.column = std::string(column)};
    if (!value.get(text)) parsed.value = std::string(text);
    values.push_back(std::move(parsed));
  }
  std::sort(values.begin(), values.end());
  return values;
}

std::map<std::string, std::string> MapOf(element from, std::string_view field) {
  std::map<std::string, std::string> map;
  object fields;
  if (from[field].get(fields)) return map;
  for (const auto [key, value] : fields) {
    std::string_view text;
    if (!value.get(text)) map[std::string(key)] = std::string(text);
  }
  return map;
}

Status Damaged(std::string_view path, std::string_view what) {
  return Status::Stop(fmt::format(
      "commit file '{}' is damaged: {}; restore it from a copy: nothing after it can be trusted",
      path, what));
}

Metadata MetadataOf(element from) {
  Metadata metadata{.id = TextOf(from, "id"),
                    .name = TextOf(from, "name"),
                    .description = TextOf(from, "description"),
                    .schema_json = TextOf(from, "schemaString"),
                    .configuration = MapOf(from, "configuration"),
                    .created_ms = NumberOf(from, "createdTime")};
  simdjson::dom::array columns;
  if (from["partitionColumns"].get(columns)) return metadata;
  for (const element column : columns) {
    std::string_view name;
    if (!column.get(name)) metadata.partition_columns.emplace_back(name);
  }
  return metadata;
}

Status ReadAdd(element add, std::string_view path, Commit& commit) {
  if (Has(add, "deletionVector"))
    return Status::Stop(fmt::format(
        "commit file '{}' has a deletion vector, which this program cannot read: rewrite the table "
        "in the engine that made it (Spark: REORG TABLE ... APPLY (PURGE)) and set "
        "delta.enableDeletionVectors to false",
        path));
  AddFile file{.path = TextOf(add, "path"),
               .partition_values = PartitionsOf(add),
               .size_bytes = NumberOf(add, "size"),
               .modified_ms = NumberOf(add, "modificationTime"),
               .stats = TextOf(add, "stats"),
               .tags = MapOf(add, "tags"),
               .data_change = TruthOf(add, "dataChange", true)};
  if (file.path.empty()) return Damaged(path, "an 'add' has no path");
  commit.adds.push_back(std::move(file));
  return Status::Ok();
}

// Reads one line. Unknown actions (cdc, domainMetadata) belong to features that CheckReadable() has
// refused, or do not change which rows are in the table.
Status ReadAction(element line, std::string_view path, Commit& commit) {
  element action;
  if (!line["add"].get(action)) return ReadAdd(action, path, commit);
  if (!line["remove"].get(action)) {
    commit.removes.push_back({.path = TextOf(action, "path"),
                              .deleted_ms = NumberOf(action, "deletionTimestamp"),
                              .partition_values = PartitionsOf(action),
                              .size_bytes = NumberOf(action, "size"),
                              .data_change = TruthOf(action, "dataChange", true)});
    if (commit.removes.back().path.empty()) return Damaged(path, "a 'remove' has no path");
  } else if (!line["txn"].get(action)) {
    commit.txns.emplace_back(TextOf(action, "appId"), NumberOf(action, "version"));
    if (!Has(action, "appId") || !Has(action, "version"))
      return Damaged(path, "a 'txn' has no appId or version");
  } else if (!line["protocol"].get(action)) {
    commit.protocol =
        Protocol{NumberOf(action, "minReaderVersion"), NumberOf(action, "minWriterVersion")};
    return CheckReadable(*commit.protocol, path);
  } else if (!line["metaData"].get(action)) {
    commit.metadata = MetadataOf(action);
    if (commit.metadata->schema_json.empty()) return Damaged(path, "'metaData' has no schema");
  } else if (!line["commitInfo"].get(action)) {
    commit.info = {.timestamp_ms = NumberOf(action, "timestamp"),
                   .operation = TextOf(action, "operation"),
                   .engine = TextOf(action, "engineInfo"),
                   .id = TextOf(action, "txnId")};
  }
  return Status::Ok();
}

}  // namespace

std::string EncodeCommit(const Change& change, int64_t now_ms, std::string_view id) {
  std::string body;
  if (change.protocol.has_value())
    body += fmt::format(R"({{"protocol":{{"minReaderVersion":{},"minWriterVersion":{}}}}})"
                        "\n",
                        change.protocol->reader, change.protocol->writer);
  if (change.metadata.has_value()) body += MetadataJson(*change.metadata);
  for (const auto& [app, version] : change.txns)
    body += fmt::format(R"({{"txn":{{"appId":{},"version":{},"lastUpdated":{}}}}})"
                        "\n",
                        Quoted(app), version, now_ms);
  for (const FilePtr& file : change.removes) body += RemoveJson(*file, change);
  for (const AddFile& file : change.adds) body += AddJson(file, change.data_change);
  return fmt::format(
             R"({{"commitInfo":{{"timestamp":{},"operation":{},"operationParameters":{{}},"isBlindAppend":{},"engineInfo":"{}","txnId":{},"{}":"{}"}}}})"
             "\n",
             now_ms, Quoted(change.operation), change.removes.empty(), kOurEngine, Quoted(id),
             kHashField, ContentHash(body)) +
         body;
}

Result<Commit> ParseCommit(std::string_view json, std::string_view path) {
  Commit commit;
  commit.mark = CommitMark(json);
  const simdjson::padded_string text(json);
  simdjson::dom::parser parser;
  int64_t number = 0;
  for (size_t start = 0; start < json.size();) {
    const size_t end = std::min(json.find('\n', start), json.size());
    ++number;
    element line;
    // The lines behind this one serve as its padding.
    if (end > start) {
      if (const auto error = parser.parse(text.data() + start, end - start, false).get(line))
        return Damaged(path, fmt::format("line {}: {}", number, simdjson::error_message(error)));
      RETURN_IF_ERROR(ReadAction(line, path, commit));
      std::string_view hash;
      // Only our own commits carry a hash. It covers everything behind the first line, which
      // contains it.
      if (number == 1 && !line["commitInfo"][kHashField].get(hash) &&
          hash != ContentHash(json.substr(std::min(end + 1, json.size()))))
        return Damaged(path, "it was altered: its content does not match its hash");
    }
    start = end + 1;
  }
  if (number == 0) return Damaged(path, "it is empty");
  return commit;
}

Status CheckReadable(const Protocol& protocol, std::string_view path) {
  if (protocol.reader <= 1) return Status::Ok();
  return Status::Stop(fmt::format(
      "'{}' requires Delta reader version {}, and this program implements version 1: another "
      "engine has enabled a table feature (deletion vectors, column mapping, v2 checkpoints); drop "
      "it there (ALTER TABLE ... DROP FEATURE) or write a new table",
      path, protocol.reader));
}

}  // namespace sightline::lake
