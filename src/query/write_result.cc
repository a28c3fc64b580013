#include "query/write_result.h"

#include <fmt/format.h>

#include "query/value_text.h"
#include "query/write_parquet.h"
#include "query/write_table.h"

namespace sightline {
namespace {

constexpr size_t kSinkBytes = 64 * 1024;

// Collects small pieces, so that the sink is not called for every row.
class Buffer {
 public:
  explicit Buffer(const ResultSink& sink) : sink_(sink) {}
  std::string& text() { return text_; }
  Status Pass() { return text_.size() < kSinkBytes ? Status::Ok() : Flush(); }
  Status Flush() {
    if (text_.empty()) return Status::Ok();
    Status status = sink_(text_);
    text_.clear();
    return status;
  }

 private:
  const ResultSink& sink_;
  std::string text_;
};

void AppendField(std::string_view text, bool is_null, std::string& out) {
  const bool plain = !text.empty() && text.find_first_of("\",\r\n") == std::string_view::npos;
  if (plain || is_null) {
    out += text;
    return;
  }
  out += '"';
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

Status WriteCsv(ResultTable& table, const ResultSink& sink) {
  Buffer buffer(sink);
  const std::vector<Column>& columns = table.columns();
  for (size_t i = 0; i < columns.size(); ++i) {
    if (i > 0) buffer.text() += ',';
    AppendField(columns[i].name, /*is_null=*/false, buffer.text());
  }
  buffer.text() += "\r\n";
  while (true) {
    Result<const Row*> row = table.Next();
    if (!row.ok()) return row.status();
    if (row.value() == nullptr) return buffer.Flush();
    for (size_t i = 0; i < columns.size(); ++i) {
      const Value& value = (*row.value())[i];
      if (i > 0) buffer.text() += ',';
      AppendField(PlainText(columns[i], value), std::holds_alternative<std::monostate>(value),
                  buffer.text());
    }
    buffer.text() += "\r\n";
    RETURN_IF_ERROR(buffer.Pass());
  }
}

Status WriteJson(ResultTable& table, const ResultSink& sink, ResultFormat format) {
  const bool is_array = format == ResultFormat::kJson;
  Buffer buffer(sink);
  const std::vector<Column>& columns = table.columns();
  std::vector<std::string> keys;
  for (const std::string& name : UniqueNames(columns)) {
    keys.emplace_back(keys.empty() ? "{" : ",");
    AppendJsonString(name, keys.back());
    keys.back() += ':';
  }
  if (is_array) buffer.text() += '[';
  for (bool first = true;; first = false) {
    Result<const Row*> row = table.Next();
    if (!row.ok()) return row.status();
    if (row.value() == nullptr) break;
    if (is_array) buffer.text() += first ? "\n" : ",\n";
    for (size_t i = 0; i < columns.size(); ++i) {
      buffer.text() += keys[i];
      AppendJson(columns[i], (*row.value())[i], buffer.text());
    }
    buffer.text() += is_array ? "}" : "}\n";
    RETURN_IF_ERROR(buffer.Pass());
  }
  if (is_array) buffer.text() += "\n]\n";
  return buffer.Flush();
}

}  // namespace

Result<ResultFormat> ParseResultFormat(std::string_view text) {
  if (text == "table") return ResultFormat::kTable;
  if (text == "csv") return ResultFormat::kCsv;
  if (text == "json") return ResultFormat::kJson;
  if (text == "ndjson") return ResultFormat::kNdjson;
  if (text == "parquet") return ResultFormat::kParquet;
  return Status::Stop(
      fmt::format("'{}' is not a format: use table, csv, json, ndjson or parquet", text));
}

std::string_view ContentType(ResultFormat format) {
  switch (format) {
    case ResultFormat::kTable:
      return "text/plain; charset=utf-8";
    case ResultFormat::kCsv:
      return "text/csv; charset=utf-8; header=present";
    case ResultFormat::kJson:
      return "application/json";
    case ResultFormat::kNdjson:
      return "application/x-ndjson";
    case ResultFormat::kParquet:
      return "application/vnd.apache.parquet";
  }
  return "application/octet-stream";
}

Status WriteResult(ResultTable& table, ResultFormat format, const ResultSink& sink) {
  switch (format) {
    case ResultFormat::kTable:
      return WriteTable(table, sink);
    case ResultFormat::kCsv:
      return WriteCsv(table, sink);
    case ResultFormat::kJson:
    case ResultFormat::kNdjson:
      return WriteJson(table, sink, format);
    case ResultFormat::kParquet:
      return WriteParquet(table, sink);
  }
  return Status::Stop("the result format is unknown");
}

}  // namespace sightline
