// Parquet files that are in memory. Internal to this room: it shows Arrow.
#pragma once

#include <arrow/result.h>
#include <parquet/arrow/reader.h>

#include <memory>
#include <string>

namespace sightline::lake {

// A reader of `bytes` that looks at the checksums of pages, where there are any.
arrow::Result<std::unique_ptr<parquet::arrow::FileReader>> OpenParquet(std::string bytes);

}  // namespace sightline::lake
