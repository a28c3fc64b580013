// CREATE TABLE statements that make a table of the lake known to a catalog.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "connectors/lake/snapshot.h"

namespace sightline::lake {

enum class SqlDialect : uint8_t {
  kHive,   // Hive metastore, with Delta's storage handler
  kUnity,  // Unity Catalog
  kSpark,  // Spark's own catalog
};

// The statement, with a semicolon and a line's end, for the table in the lake at `url` (a path or a
// URL). Spark and Unity compare its columns with those of the table's log, so they have the
// comments of the log only; ours stand behind the columns. kStop if a column of another program has
// a composite type.
Result<std::string> CreateTableSql(SqlDialect dialect, std::string_view url, std::string_view table,
                                   const Snapshot& snapshot);

}  // namespace sightline::lake
