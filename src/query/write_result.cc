#include "query/write_result.h"

#include <fmt/format.h>

#include "query/value_text.h"
#include "query/write_parquet.h"
#include "query/write_table.h"

namespace sightline {
namespace {

constexpr size_t kSinkBytes = 64 * 1024;
// Without it, Excel takes a CSV file for one in the code page of its machine.
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr ResultFormat kFormats[] = {ResultFormat::kTable,    ResultFormat::kCsv,
                                     ResultFormat::kExcelCsv, ResultFormat::kJson,
                                     ResultFormat::kNdjson,   ResultFormat::kParquet};

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

// `to_text` makes the text of a value, and of a name, which is a text.
Status WriteCsv(ResultTable& table, const ResultSink& sink,
                std::string (*to_text)(const Column&, const Value&)) {
  Buffer buffer(sink);
  if (to_text == ExcelText) buffer.text() += kByteOrderMark;
  const std::vector<Column>& columns = table.columns();
  for (size_t i = 0; i < columns.size(); ++i) {
    if (i > 0) buffer.text() += ',';
    AppendField(to_text({}, columns[i].name), /*is_null=*/false, buffer.text());
  }
  buffer.text() += "\r\n";
  while (true) {
    Result<const Row*> row = table.Next();
    if (!row.ok()) return row.status();
    if (row.value() == nullptr) return buffer.Flush();
    for (size_t i = 0; i < columns.size(); ++i) {
      const Value& value = (*row.value())[i];
      if (i > 0) buffer.text() += ',';
      AppendField(to_text(columns[i], value), std::holds_alternative<std::monostate>(value),
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
  for (const ResultFormat format : kFormats)
    if (text == NameOf(format)) return format;
  return Status::Stop(fmt::format("'{}' is not a format: use {}", text, kResultFormats));
}

std::string_view NameOf(ResultFormat format) {
  switch (format) {
    case ResultFormat::kTable:
      return "table";
    case ResultFormat::kCsv:
      return "csv";
    case ResultFormat::kExcelCsv:
      return "excel-csv";
    case ResultFormat::kJson:
      return "json";
    case ResultFormat::kNdjson:
      return "ndjson";
    case ResultFormat::kParquet:
      return "parquet";
  }
  return "";
}

std::string_view ContentType(ResultFormat format) {
  switch (format) {
    case ResultFormat::kTable:
      return "text/plain; charset=utf-8";
    case ResultFormat::kCsv:
    case ResultFormat::kExcelCsv:
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
      return WriteCsv(table, sink, PlainText);
    case ResultFormat::kExcelCsv:
      return WriteCsv(table, sink, ExcelText);
    case ResultFormat::kJson:
    case ResultFormat::kNdjson:
      return WriteJson(table, sink, format);
    case ResultFormat::kParquet:
      return WriteParquet(table, sink);
  }
  return Status::Stop("the result format is unknown");
}

}  // namespace sightline
