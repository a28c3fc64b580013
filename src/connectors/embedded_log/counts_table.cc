#include "connectors/embedded_log/counts_table.h"

#include <fmt/format.h>

#include <utility>

#include "connectors/embedded_log/block.h"

namespace sightline::embedded_log {
namespace {

// The checksums cover all other columns of a row, the key included, so that a row which damage has
// moved under another key is detected, too.
int64_t ProgressCrc(const SourcePartition& partition, Offset next, Watermark watermark,
                    std::string_view ledger) {
  ByteWriter columns;
  columns.String(partition.source);
  columns.Signed(partition.partition);
  columns.Signed(next.v);
  columns.Signed(watermark.v);
  return RowCrc(columns, ledger);
}

int64_t GroupCrc(const SourcePartition& partition, Offset first, Offset next, EventTime newest_pane,
                 std::string_view data) {
  ByteWriter columns;
  columns.String(partition.source);
  columns.Signed(partition.partition);
  columns.Signed(first.v);
  columns.Signed(next.v);
  columns.Signed(newest_pane.v);
  return RowCrc(columns, data);
}

Status Damaged(const SourcePartition& partition, std::string_view table, std::string_view what) {
  return Status::Stop(fmt::format(
      "the counts of '{}' partition {} in table '{}' of 'log.db' are damaged ({}); "
      "restore the data directory from a copy, or move it away and count from a new log",
      partition.source, partition.partition, table, what));
}

}  // namespace

Result<CountsTable> CountsTable::Create(Database& database) {
  CountsTable table;
  struct Prepared {
    Statement* into;
    std::string_view sql, doing;
  };
  const Prepared statements[] = {
      {&table.read_progress_,
       "SELECT next, watermark, ledger, crc FROM progress WHERE source = ? AND partition = ?",
       "read table 'progress'"},
      {&table.read_partitions_, "SELECT source, partition FROM progress ORDER BY source, partition",
       "read table 'progress'"},
      {&table.read_groups_,
       "SELECT first, next, newest_pane, crc, data FROM groups "
       "WHERE source = ? AND partition = ? AND newest_pane >= ? ORDER BY first",
       "read table 'groups'"},
      {&table.write_progress_,
       "INSERT OR REPLACE INTO progress(source, partition, next, watermark, ledger, crc) "
       "VALUES(?, ?, ?, ?, ?, ?)",
       "write table 'progress'"},
      {&table.write_group_,
       "INSERT INTO groups(source, partition, first, next, newest_pane, crc, data) "
       "VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(source, partition, first) DO UPDATE SET "
       "next = excluded.next, newest_pane = excluded.newest_pane, crc = excluded.crc, "
       "data = excluded.data",
       "write table 'groups'"},
      {&table.delete_groups_,
       "DELETE FROM groups WHERE source = ? AND partition = ? AND newest_pane < ?",
       "remove from table 'groups'"}};
  for (const Prepared& prepared : statements) {
    Result<Statement> statement = database.Prepare(prepared.sql, prepared.doing);
    if (!statement.ok()) return statement.status();
    *prepared.into = std::move(statement).value();
  }
  return table;
}

Result<std::optional<CountsProgress>> CountsTable::ReadProgress(const SourcePartition& partition) {
  const RowsOf reset(read_progress_);
  Statement& row =
      read_progress_.Bind(std::string_view(partition.source), int64_t{partition.partition});
  Result<bool> step = row.Step();
  if (!step.ok()) return step.status();
  if (!step.value()) return std::optional<CountsProgress>();
  CountsProgress progress{.next = {row.Int(0)}, .watermark = {row.Int(1)}};
  const std::string_view ledger = row.Blob(2);
  if (row.Int(3) != ProgressCrc(partition, progress.next, progress.watermark, ledger))
    return Damaged(partition, "progress", "wrong checksum");
  ByteReader in(ledger);
  const Result<Ledger> decoded = Ledger::Decode(in);
  // The checksum was right, so only a faulty writer can have caused what follows. It is still not
  // trusted.
  if (!decoded.ok() || !in.done()) return Damaged(partition, "progress", "bad ledger");
  progress.ledger = decoded.value();
  return std::optional(progress);
}

Status CountsTable::ReadGroups(const SourcePartition& partition, EventTime not_before,
                               const std::function<void(Segment&&)>& callback) {
  const RowsOf reset(read_groups_);
  Statement& row = read_groups_.Bind(std::string_view(partition.source),
                                     int64_t{partition.partition}, not_before.v);
  while (true) {
    Result<bool> step = row.Step();
    if (!step.ok()) return step.status();
    if (!step.value()) return Status::Ok();
    const Offset first{row.Int(0)}, next{row.Int(1)};
    const std::string_view data = row.Blob(4);
    if (row.Int(3) != GroupCrc(partition, first, next, {row.Int(2)}, data))
      return Damaged(partition, "groups",
                     fmt::format("wrong checksum of offsets [{}, {})", first.v, next.v));
    ByteReader in(data);
    Result<Segment> segment = Segment::Decode(in);
    if (!segment.ok() || !in.done() || segment.value().first != first ||
        segment.value().next != next)
      return Damaged(partition, "groups",
                     fmt::format("bad segment of offsets [{}, {})", first.v, next.v));
    // Called while the statement runs, so that only one group is in memory at a time.
    callback(std::move(segment).value());
  }
}

Result<std::vector<SourcePartition>> CountsTable::ReadPartitions() {
  const RowsOf reset(read_partitions_);
  std::vector<SourcePartition> partitions;
  while (true) {
    const Result<bool> step = read_partitions_.Step();
    if (!step.ok()) return step.status();
    if (!step.value()) return partitions;
    partitions.push_back(
        {std::string(read_partitions_.Blob(0)), static_cast<int32_t>(read_partitions_.Int(1))});
  }
}

Status CountsTable::WriteProgress(const SourcePartition& partition,
                                  const CountsProgress& progress) {
  ByteWriter out;
  progress.ledger.Encode(out);
  const std::string ledger = out.Take();
  return write_progress_
      .Bind(std::string_view(partition.source), int64_t{partition.partition}, progress.next.v,
            progress.watermark.v, Bytes{ledger},
            ProgressCrc(partition, progress.next, progress.watermark, ledger))
      .Run();
}

Status CountsTable::WriteGroup(const SourcePartition& partition, const EncodedGroup& group) {
  return write_group_
      .Bind(std::string_view(partition.source), int64_t{partition.partition}, group.first.v,
            group.next.v, group.newest_pane.v,
            GroupCrc(partition, group.first, group.next, group.newest_pane, group.data),
            Bytes{group.data})
      .Run();
}

Status CountsTable::DeleteGroups(const SourcePartition& partition, EventTime newest_pane_before) {
  return delete_groups_
      .Bind(std::string_view(partition.source), int64_t{partition.partition}, newest_pane_before.v)
      .Run();
}

}  // namespace sightline::embedded_log
