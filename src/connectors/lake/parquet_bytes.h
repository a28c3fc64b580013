// Reads Parquet files from memory. Internal to this room: it exposes Arrow.
#pragma once

#include <arrow/result.h>
#include <parquet/arrow/reader.h>

#include <memory>
#include <string>

namespace sightline::lake {

// Opens a reader of `bytes` that verifies the checksums of pages, if there are any.
arrow::Result<std::unique_ptr<parquet::arrow::FileReader>> OpenParquet(std::string bytes);

}  // namespace sightline::lake
