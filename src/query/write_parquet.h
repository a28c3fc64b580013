// The format "parquet" of write_result.h. Internal to this room.
#pragma once

#include "query/write_result.h"

namespace sightline {

Status WriteParquet(ResultTable& table, const ResultSink& sink);

}  // namespace sightline
