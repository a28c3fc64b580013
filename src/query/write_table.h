// The format "table" of write_result.h. Internal to this room.
#pragma once

#include "query/write_result.h"

namespace sightline {

// Writes the column names, a rule, and the rows. Control characters become \n, \t or \u001b, bytes
// that are not UTF-8 become U+FFFD, null becomes "-".
Status WriteTable(ResultTable& table, const ResultSink& sink);

}  // namespace sightline
