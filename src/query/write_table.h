// The format "table" of write_result.h. Seen by this room only.
#pragma once

#include "query/write_result.h"

namespace sightline {

// Column names, a line under them, the rows; control characters as \n, \t or \u001b, what is not
// UTF-8 as U+FFFD; null as "-".
Status WriteTable(ResultTable& table, const ByteSink& sink, const WriteOptions& options);

}  // namespace sightline
