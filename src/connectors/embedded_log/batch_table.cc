#include "connectors/embedded_log/batch_table.h"

#include <fmt/format.h>

#include <utility>

namespace sightline::embedded_log {
namespace {

uint32_t BatchCrc(const Stream& stream, const Block& block) {
  ByteWriter columns;
  columns.String(stream.topic);
  columns.Signed(stream.partition);
  columns.Signed(block.first.v);
  columns.Signed(block.next.v);
  columns.Signed(block.append_time.v);
  return RowCrc(columns, block.records());
}

Status Damaged(const Stream& stream, Offset first, Offset next, std::string_view what) {
  return Status::Stop(fmt::format(
      "records [{}, {}) of topic '{}' partition {} in table 'batches' of 'log.db' {}; restore the "
      "data directory from a copy, or move it away and count from a new log",
      first.v, next.v, stream.topic, stream.partition, what));
}

// Prepares a statement into `into`, or returns why that failed.
Status PrepareInto(Database& database, Statement& into, std::string_view sql,
                   std::string_view doing) {
  Result<Statement> statement = database.Prepare(sql, doing);
  if (!statement.ok()) return statement.status();
  into = std::move(statement).value();
  return Status::Ok();
}

}  // namespace

Result<BatchWriter> BatchWriter::Create(Database& database) {
  BatchWriter writer;
  RETURN_IF_ERROR(PrepareInto(database, writer.insert_,
                              "INSERT INTO batches(topic, partition, first, next, append_time, "
                              "crc, data) VALUES(?, ?, ?, ?, ?, ?, ?)",
                              "append to table 'batches'"));
  RETURN_IF_ERROR(PrepareInto(database, writer.write_position_,
                              "INSERT OR REPLACE INTO streams(topic, partition, oldest, next, "
                              "append_time, bytes) VALUES(?, ?, ?, ?, ?, ?)",
                              "write table 'streams'"));
  RETURN_IF_ERROR(PrepareInto(database, writer.write_clock_,
                              "INSERT OR REPLACE INTO meta VALUES('clock', ?)",
                              "write table 'meta'"));
  // length() of a blob reads only the row's header, not the blob.
  RETURN_IF_ERROR(PrepareInto(database, writer.oldest_,
                              "SELECT id, topic, partition, first, next, append_time, "
                              "length(data) FROM batches ORDER BY id LIMIT ?",
                              "read table 'batches'"));
  RETURN_IF_ERROR(PrepareInto(database, writer.delete_, "DELETE FROM batches WHERE id = ?",
                              "remove from table 'batches'"));
  return writer;
}

Status BatchWriter::LoadPositions(Database& database, Tail& tail) {
  Result<Statement> rows = database.Prepare(
      "SELECT topic, partition, oldest, next, append_time, bytes,"
      " (SELECT first FROM batches b WHERE b.topic = s.topic AND b.partition = s.partition"
      "  ORDER BY first LIMIT 1),"
      " (SELECT next FROM batches b WHERE b.topic = s.topic AND b.partition = s.partition"
      "  ORDER BY first DESC LIMIT 1), "
      " EXISTS(SELECT 1 FROM batches b WHERE b.topic = s.topic AND b.partition = s.partition) "
      "FROM streams s",
      "read table 'streams'");
  if (!rows.ok()) return rows.status();
  Statement& row = rows.value();
  std::vector<Tail::Change> changes;
  while (true) {
    Result<bool> step = row.Step();
    if (!step.ok()) return step.status();
    if (!step.value()) break;
    if (row.Int(1) < 0 || row.Int(1) >= tail.partitions())
      return Status::Stop(
          fmt::format("table 'streams' of 'log.db' is damaged: it names partition {} of a log with "
                      "{} partitions; restore the data directory from a copy",
                      row.Int(1), tail.partitions()));
    Stream& stream = tail.Get(row.Blob(0), static_cast<int32_t>(row.Int(1)));
    const Stream::Position position{{row.Int(2)}, {row.Int(3)}, {row.Int(4)}, row.Int(5)};
    const bool any = row.Int(8) != 0;
    // A stream without batches is empty: it must begin where it ends.
    const Offset first{any ? row.Int(6) : position.next.v};
    const Offset next{any ? row.Int(7) : position.next.v};
    if (first != position.oldest || next != position.next)
      return Damaged(stream, position.oldest, position.next,
                     fmt::format("exist only as [{}, {})", first.v, next.v));
    changes.push_back({.stream = &stream, .position = position});
  }
  tail.Publish(std::move(changes));
  return Status::Ok();
}

Status BatchWriter::Insert(const Stream& stream, const Block& block) {
  return insert_
      .Bind(std::string_view(stream.topic), int64_t{stream.partition}, block.first.v, block.next.v,
            block.append_time.v, int64_t{BatchCrc(stream, block)}, Bytes{block.records()})
      .Run();
}

Status BatchWriter::WriteClock(const LogClock::Anchor& anchor) {
  const std::string text = anchor.ToText();
  return write_clock_.Bind(std::string_view(text)).Run();
}

Result<std::optional<LogClock::Anchor>> BatchWriter::ReadClock(Database& database) {
  const Result<std::string> text =
      database.ReadText("SELECT value FROM meta WHERE key='clock'", "read table 'meta'");
  if (!text.ok()) return text.status();
  return LogClock::Anchor::Parse(text.value());
}

Status BatchWriter::WritePosition(const Stream& stream, const Stream::Position& position) {
  return write_position_
      .Bind(std::string_view(stream.topic), int64_t{stream.partition}, position.oldest.v,
            position.next.v, position.append_time.v, position.bytes)
      .Run();
}

Result<std::vector<BatchWriter::Stored>> BatchWriter::Oldest(int64_t rows_max) {
  std::vector<Stored> found;
  const RowsOf reset(oldest_);
  oldest_.Bind(rows_max);
  while (true) {
    Result<bool> step = oldest_.Step();
    if (!step.ok()) return step.status();
    if (!step.value()) return found;
    found.push_back({.id = oldest_.Int(0),
                     .topic = std::string(oldest_.Blob(1)),
                     .partition = static_cast<int32_t>(oldest_.Int(2)),
                     .first = {oldest_.Int(3)},
                     .next = {oldest_.Int(4)},
                     .append_time = {oldest_.Int(5)},
                     .bytes = oldest_.Int(6)});
  }
}

Status BatchWriter::Delete(int64_t id) { return delete_.Bind(id).Run(); }

Result<BatchReader> BatchReader::Create(Database& database) {
  BatchReader reader;
  RETURN_IF_ERROR(PrepareInto(
      database, reader.read_,
      "SELECT first, next, append_time, crc, data FROM batches "
      "WHERE topic = ?1 AND partition = ?2 AND first < ?4 AND first >= "
      "(SELECT max(first) FROM batches WHERE topic = ?1 AND partition = ?2 AND first <= ?3) "
      "ORDER BY first",
      "read table 'batches'"));
  return reader;
}

Result<std::vector<std::shared_ptr<const Block>>> BatchReader::Read(const Stream& stream,
                                                                    Offset from, Offset end,
                                                                    int64_t bytes_max) {
  std::vector<std::shared_ptr<const Block>> blocks;
  const RowsOf reset(read_);
  read_.Bind(std::string_view(stream.topic), int64_t{stream.partition}, from.v, end.v);
  int64_t bytes = 0;
  while (bytes < bytes_max) {
    Result<bool> step = read_.Step();
    if (!step.ok())
      return step.status().code() == StatusCode::kStop
                 ? Damaged(stream, from, end,
                           fmt::format("cannot be read ({})", step.status().message()))
                 : step.status();
    if (!step.value()) break;
    auto block = std::make_shared<Block>();  // shared by reader, tail and the batches handed out
    block->first = {read_.Int(0)};
    block->next = {read_.Int(1)};
    block->append_time = {read_.Int(2)};
    const std::string_view data = read_.Blob(4);
    block->bytes.reserve(data.size() + kPadding);
    block->bytes.append(data).append(kPadding, '\0');
    if (BatchCrc(stream, *block) != static_cast<uint32_t>(read_.Int(3)))
      return Damaged(stream, block->first, block->next, "do not match their checksum");
    const Offset expected = blocks.empty() ? from : blocks.back()->next;
    // The first block must hold `from`, and each further one must begin where the last one ended.
    // If not even the first one does, retention has removed it while this reader looked.
    if (blocks.empty() ? block->next <= expected : block->first != expected) {
      if (blocks.empty()) return blocks;
      return Damaged(stream, expected, block->first, "are missing");
    }
    bytes += block->memory();
    blocks.push_back(std::move(block));
  }
  return blocks;
}

}  // namespace sightline::embedded_log
