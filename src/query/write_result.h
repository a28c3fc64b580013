// WriteResult: writes a ResultTable as text or Parquet, the same way for HTTP and every command.
//
//   table      aligned columns, numbers to the right; the whole result is held in memory
//   csv        RFC 4180 with a header line and CRLF; null is an empty field, empty text is ""
//   excel-csv  csv with a byte order mark, and values as Excel reads them: see ExcelText()
//   json       one array of objects
//   ndjson     one object per line
//   parquet    written by DuckDB; lists, structs and maps become JSON text, and numbers that do not
//              fit 64 bits become doubles
//
// Times are RFC 3339 in UTC with milliseconds; a local time, whose zone is not known, has no "Z".
// Days are "2026-01-05". Of columns of one name, JSON and Parquet call the second `name_1`; table
// and both CSV, whose columns have a place, repeat the name. In JSON, integer columns whose name is
// "oid" or ends with "_oid" are strings, as in docs/PROTOCOL.md. NaN and infinity, which JSON
// cannot express, are null. Safe on any thread; one thread per table.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "query/result_table.h"

namespace sightline {

enum class ResultFormat { kTable, kCsv, kExcelCsv, kJson, kNdjson, kParquet };
// The names of all formats, for a message.
inline constexpr std::string_view kResultFormats = "table, csv, excel-csv, json, ndjson or parquet";
// kStop: the text is none of them; the message lists them.
Result<ResultFormat> ParseResultFormat(std::string_view text);
// The name of the format, for example "excel-csv".
std::string_view NameOf(ResultFormat format);
// The HTTP content type, for example "text/csv; charset=utf-8; header=present".
std::string_view ContentType(ResultFormat format);

// Takes the next bytes; a failure ends the writing and is returned.
using ResultSink = std::function<Status(std::string_view)>;

// Reads `table` to its end. kStop when the query fails on the way: then the sink has only a part of
// the answer.
Status WriteResult(ResultTable& table, ResultFormat format, const ResultSink& sink);

}  // namespace sightline
