#include "connectors/lake/parquet_bytes.h"

#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <parquet/file_reader.h>

#include <utility>

namespace sightline::lake {

arrow::Result<std::unique_ptr<parquet::arrow::FileReader>> OpenParquet(std::string bytes) {
  auto input =
      std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(bytes)));
  auto properties = parquet::default_reader_properties();
  properties.set_page_checksum_verification(true);
  parquet::arrow::FileReaderBuilder builder;
  ARROW_RETURN_NOT_OK(builder.Open(std::move(input), properties));
  return builder.Build();
}

}  // namespace sightline::lake
