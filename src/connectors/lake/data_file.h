// Data files: Parquet with statistics, written whole, read back as our columns.
//
// Internal to this room: it shows Arrow.
#pragma once

#include <arrow/table.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/lake/actions.h"
#include "connectors/lake/tables.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

constexpr char kContentHashTag[] = "sightline.contentHash";

std::shared_ptr<arrow::Schema> FileSchema(const TableSpec& spec);

// The statistics of a file as the log has them: numRecords, minValues, maxValues, nullCount. Times
// are cut to milliseconds, the greatest upwards.
std::string StatsJson(const arrow::Table& table);
// numRecords of them; -1 if they do not say.
int64_t RowsOf(const AddFile& file);

// The rows (of FileSchema, at least one) as a new file of the partition, not yet put anywhere. Its
// path is made of integers, dates and a random id only.
struct NewDataFile {
  AddFile add;
  std::string bytes;
};
Result<NewDataFile> EncodeDataFile(const Clock& clock, const TableSpec& spec,
                                   const PartitionValues& partition, const arrow::Table& rows);
// Puts them, all durable when it returns kOk; on failure none is left.
Status PutDataFiles(Storage& storage, const TableSpec& spec, std::vector<NewDataFile> files);
// Both, for one file.
Result<AddFile> WriteDataFile(Storage& storage, const Clock& clock, const TableSpec& spec,
                              const PartitionValues& partition, const arrow::Table& rows);

// The rows of a live file in FileSchema's columns, whoever wrote it. kStop, naming it, if it is
// gone or damaged.
Result<std::shared_ptr<arrow::Table>> ReadDataFile(Storage& storage, const TableSpec& spec,
                                                   const AddFile& file);
// The same of bytes that were read already.
Result<std::shared_ptr<arrow::Table>> DecodeDataFile(std::string bytes, const TableSpec& spec,
                                                     const AddFile& file);

// The path in the storage. kStop for one outside of the table (an absolute URI).
Result<std::string> StoragePath(const TableSpec& spec, const std::string& path);

// Deletes files that are known not to be in the table. What cannot be deleted is left to vacuum.
void DeleteUncommitted(Storage& storage, const TableSpec& spec, const std::vector<AddFile>& files);

// Sorted by the spec's sort columns.
Result<std::shared_ptr<arrow::Table>> Sorted(const TableSpec& spec,
                                             std::shared_ptr<arrow::Table> rows);

}  // namespace sightline::lake
