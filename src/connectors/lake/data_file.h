// Data files: Parquet files with statistics. They are written whole, and read back as our columns.
//
// Internal to this room: it exposes Arrow.
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

// Files that maintenance reads at once: a store elsewhere answers each one late.
constexpr size_t kReadsAtOnce = 8;

std::shared_ptr<arrow::Schema> FileSchema(const TableSpec& spec);

// A file's statistics as the log stores them: numRecords, minValues, maxValues, nullCount. Times
// are cut to milliseconds; the greatest is rounded up.
std::string StatsJson(const arrow::Table& table);
// numRecords of the statistics; -1 if they have none.
int64_t RowsOf(const AddFile& file);

// Whether a file may have values in columns that others have added. Nothing of ours can rewrite it
// then, since it would lose them.
bool MayHaveForeignValues(const TableSpec& spec, const AddFile& file);

// Encodes rows (of FileSchema, at least one) as a new file of the partition, without putting it
// anywhere. Its path consists of integers, dates and a random id only.
struct NewDataFile {
  AddFile add;
  std::string bytes;
};
Result<NewDataFile> EncodeDataFile(const Clock& clock, const TableSpec& spec,
                                   const PartitionValues& partition, const arrow::Table& rows);
// Puts the files. All are durable when it returns kOk; after a failure none is left.
Status PutDataFiles(Storage& storage, const TableSpec& spec, const std::vector<NewDataFile>& files);
// Encodes and puts one file.
Result<AddFile> WriteDataFile(Storage& storage, const Clock& clock, const TableSpec& spec,
                              const PartitionValues& partition, const arrow::Table& rows);

// Reads a live file's rows in FileSchema's columns, whoever wrote it. kStop, naming the file, if it
// is gone or damaged.
Result<std::shared_ptr<arrow::Table>> ReadDataFile(Storage& storage, const TableSpec& spec,
                                                   const AddFile& file);
// The same for bytes that were read already.
Result<std::shared_ptr<arrow::Table>> DecodeDataFile(std::string bytes, const TableSpec& spec,
                                                     const AddFile& file);

// A file's path in the storage. kStop if it lies outside the table (an absolute URI).
Result<std::string> StoragePath(const TableSpec& spec, const std::string& path);

// Deletes files that are known not to be in the table. What cannot be deleted is left to vacuum.
void DeleteUncommitted(Storage& storage, const TableSpec& spec, const std::vector<AddFile>& files);

// Sorts rows by the spec's sort columns.
Result<std::shared_ptr<arrow::Table>> Sorted(const TableSpec& spec,
                                             std::shared_ptr<arrow::Table> rows);

}  // namespace sightline::lake
