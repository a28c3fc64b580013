// WriteResult: a ResultTable as text or Parquet, the same for every command.
//
//   table   aligned columns, numbers to the right; the whole result is held in memory
//   csv     RFC 4180 with a header line and CRLF; null is an empty field, empty text is ""
//   json    one array of objects
//   ndjson  one object a line
//   parquet written by DuckDB; lists, structs and maps as JSON text, numbers too large for 64 bits
//   as
//           double
//
// Times are RFC 3339 in UTC with milliseconds, days are "2026-01-05". In JSON, integer columns
// whose name is "oid" or ends with "_oid" are strings, as in docs/PROTOCOL.md; what JSON has no
// number for (NaN, infinity) is null.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "query/result_table.h"

namespace sightline {

enum class ResultFormat { kTable, kCsv, kJson, kNdjson, kParquet };
// "table" "csv" "json" "ndjson" "parquet"; kStop names them.
Result<ResultFormat> ParseResultFormat(std::string_view text);
// For HTTP: "text/csv; charset=utf-8; header=present" and the like.
std::string_view ContentType(ResultFormat format);

// Takes the next bytes; a failure ends the writing and is returned.
using ByteSink = std::function<Status(std::string_view)>;

struct WriteOptions {
  // Where a Parquet file is made before its bytes go to the sink; only this process can read it.
  std::string temporary_directory = "/tmp";
  // Asked before a table, which has to be held as a whole, holds so many bytes more; a failure ends
  // the writing and is returned.
  std::function<Status(int64_t bytes)> reserve;
};

// Reads `table` to its end. kStop when the query fails on the way: what the sink has then is not
// whole.
Status WriteResult(ResultTable& table, ResultFormat format, const ByteSink& sink,
                   const WriteOptions& options = {});

}  // namespace sightline
