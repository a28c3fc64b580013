#include "connectors/embedded_log/dead_letter_reader.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "base/bytes.h"
#include "connectors/embedded_log/batch_table.h"
#include "connectors/embedded_log/layout.h"
#include "connectors/embedded_log/sqlite.h"
#include "connectors/embedded_log/tail.h"

namespace sightline {

using namespace embedded_log;  // NOLINT: the room's own names

namespace {
constexpr int64_t kReadBytes = 1 << 20;
}  // namespace

struct DeadLetterReader::File {
  Database database;  // declared before its statements, which must go first
  BatchReader batches;
  Statement held;
};

DeadLetterReader::DeadLetterReader(std::unique_ptr<File> file) : file_(std::move(file)) {}
DeadLetterReader::~DeadLetterReader() = default;

Result<std::unique_ptr<DeadLetterReader>> DeadLetterReader::Open(const std::string& dir) {
  const std::string path = (std::filesystem::path(dir) / "log.db").string();
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    return Status::Stop(
        fmt::format("there is no log in '{}': name the data folder of `sightline up`", dir));
  Result<Database> database = OpenForReading(path);
  if (!database.ok()) return database.status();
  auto file = std::make_unique<File>();
  file->database = std::move(database).value();
  const auto format = file->database.ReadInt("PRAGMA user_version", "read the header");
  if (!format.ok()) return format.status();
  if (format.value() != kFormatVersion)
    return Status::Stop(fmt::format("'{}' has data format {}, and this program reads format {}",
                                    path, format.value(), kFormatVersion));
  const auto id =
      file->database.ReadText("SELECT value FROM meta WHERE key='log_id'", "read table 'meta'");
  if (!id.ok()) return id.status();
  const auto partitions =
      file->database.ReadInt("SELECT value FROM meta WHERE key='partitions'", "read table 'meta'");
  if (!partitions.ok()) return partitions.status();
  Result<BatchReader> batches = BatchReader::Create(file->database);
  if (!batches.ok()) return batches.status();
  file->batches = std::move(batches).value();
  Result<Statement> held = file->database.Prepare(
      "SELECT oldest, next FROM streams WHERE topic = ? AND partition = ?", "read table 'streams'");
  if (!held.ok()) return held.status();
  file->held = std::move(held).value();
  std::unique_ptr<DeadLetterReader> reader(new DeadLetterReader(std::move(file)));
  reader->log_id_ = id.value();
  reader->partitions_ = static_cast<int32_t>(partitions.value());
  return reader;
}

Result<DeadLetterReader::Held> DeadLetterReader::Look(std::string_view topic, int32_t partition) {
  const RowsOf reset(file_->held);
  const Result<bool> row = file_->held.Bind(topic, int64_t{partition}).Step();
  if (!row.ok()) return row.status();
  if (!row.value()) return Held{};
  return Held{{file_->held.Int(0)}, {file_->held.Int(1)}};
}

Result<std::vector<DeadLetterReader::Entry>> DeadLetterReader::Read(std::string_view topic,
                                                                    int32_t partition, Offset from,
                                                                    Offset end) {
  const Stream stream{.topic = std::string(topic), .partition = partition};
  auto blocks = file_->batches.Read(stream, from, end, kReadBytes);
  if (!blocks.ok()) return blocks.status();
  std::vector<Entry> entries;
  for (const auto& block : blocks.value()) {
    ByteReader in(block->records());
    // A block may begin before `from` and reach beyond `end`: a block is read whole, and the rest
    // skipped.
    for (Offset at = block->first; at < block->next && at < end; at.v += 1) {
      const std::string_view bytes = in.String();
      if (at < from) continue;
      Result<DeadLetterRecord> record = DecodeDeadLetter(bytes);
      if (!record.ok())
        return Status::Stop(fmt::format("topic '{}' partition {} offset {}: {}", topic, partition,
                                        at.v, record.status().message()));
      entries.push_back({at, std::move(record).value()});
    }
  }
  return entries;
}

}  // namespace sightline
