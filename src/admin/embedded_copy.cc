#include "admin/embedded_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "config/data_folder.h"
#include "connectors/checkpoint_files/checkpoint_place.h"
#include "connectors/embedded_log/dead_letter_reader.h"
#include "connectors/kafka/topic_copy.h"
#include "connectors/lake/log.h"
#include "connectors/lake/tables.h"
#include "connectors/storage/local_storage.h"
#include "engine/checkpoint.h"
#include "operators/count_operator.h"
#include "processes/raw_log.h"

namespace sightline {
namespace {

constexpr int64_t kSample = 1'000;  // records of a partition that are read for their average size
// Retention must not run, because it could remove the records to copy.
constexpr Millis kForEver{int64_t{100} * 365 * 86'400'000};

class EmbeddedInput final : public CopyInput {
 public:
  EmbeddedInput(std::unique_ptr<Source> source, Offset end)
      : source_(std::move(source)), end_(end) {}
  Status Seek(Offset next) override { return source_->Seek(next); }
  Result<CopyBatch> Poll(int64_t records_max) override {
    Result<Batch> polled = source_->Poll(records_max);
    if (!polled.ok()) return polled.status();
    Batch& batch = polled.value();
    CopyBatch copied{.next = batch.next, .records = {}, .storage = std::move(batch.storage)};
    copied.records.reserve(batch.records.size());
    for (const Record& record : batch.records)
      copied.records.push_back({.offset = record.offset,
                                .time = record.append_time,
                                .key = std::nullopt,
                                .value = record.payload});
    return copied;
  }
  Offset end() const override { return end_; }

 private:
  const std::unique_ptr<Source> source_;
  const Offset end_;
};

// Returns the count_until under which the newest checkpoint was written. Nothing: it is not known.
Result<std::optional<EventTime>> CountUntilOf(const std::string& folder,
                                              const SourcePartition& partition) {
  Result<CheckpointFiles> files = OpenCheckpointFiles(folder);
  if (!files.ok()) return files.status();
  const Result<StoredCheckpoint> stored = files.value().Latest(partition);
  if (!stored.ok()) return stored.status();
  if (!stored.value().checkpoint) return std::optional<EventTime>();
  const Result<Checkpoint> checkpoint = ReadCheckpoint(*stored.value().checkpoint);
  if (!checkpoint.ok()) return checkpoint.status();
  const std::optional<CountRange> range = CountOperator::RangeOf(checkpoint.value().state);
  return range ? std::optional(range->until) : std::nullopt;
}

}  // namespace

Result<Offset> FindAppendTime(Source& source, Offset earliest, Offset end, AppendTime start) {
  int64_t before = earliest.v, after = end.v;  // the answer lies in [before, after]
  while (before < after) {
    const int64_t middle = before + (after - before) / 2;
    RETURN_IF_ERROR(source.Seek({middle}));
    const Result<Batch> batch = source.Poll(1);
    if (!batch.ok()) return batch.status();
    if (batch.value().records.empty() || batch.value().records.front().append_time >= start) {
      after = middle;
    } else {
      before = middle + 1;
    }
  }
  return Offset{before};
}

Result<std::unique_ptr<EmbeddedCopy>> EmbeddedCopy::Open(const Settings& options) {
  int32_t partitions = 0;
  {
    const auto file = DeadLetterReader::Open(options.data);  // opens only a log that exists
    if (!file.ok()) return file.status();
    partitions = file.value()->partitions();
  }
  std::unique_ptr<EmbeddedCopy> copy(new EmbeddedCopy(options));
  Result<std::unique_ptr<EmbeddedLog>> log = EmbeddedLog::Open({.dir = options.data,
                                                                .partitions = partitions,
                                                                .clock = &copy->time_,
                                                                .retention_age = kForEver,
                                                                .retention_bytes = INT64_MAX});
  if (!log.ok())
    return Status::Stop(log.status().message() +
                        ": stop the server of the data folder with SIGTERM");
  copy->log_ = std::move(log).value();
  return copy;
}

std::string EmbeddedCopy::source_name() const { return log_->SourceName(kRawTopic); }

Status EmbeddedCopy::Look(AppendTime start, HandoverFacts& facts) {
  for (int32_t p = 0; p < partitions(); ++p) {
    Result<HandoverPartition> partition = LookAt(p, start, facts);
    if (!partition.ok()) return partition.status();
    facts.partitions.push_back(std::move(partition).value());
  }
  return options_.lake.enabled ? LookAtLake(facts) : Status::Ok();
}

Result<HandoverPartition> EmbeddedCopy::LookAt(int32_t partition, AppendTime start,
                                               HandoverFacts& facts) {
  const SourcePartition id{source_name(), partition};
  const LogEnd end = log_->EndOf(kRawTopic, partition);
  const std::unique_ptr<Source> source = log_->OpenSource(kRawTopic, partition);
  const Result<Offset> earliest = source->Earliest();
  if (!earliest.ok()) return earliest.status();
  HandoverPartition found{.earliest = earliest.value(), .end = end.next};
  const Result<Offset> from = FindAppendTime(*source, found.earliest, found.end, start);
  if (!from.ok()) return from.status();
  found.from = from.value();
  if (found.earliest < found.end) {
    RETURN_IF_ERROR(source->Seek(found.earliest));
    const Result<Batch> batch = source->Poll(kSample);
    if (!batch.ok()) return batch.status();
    found.oldest = batch.value().records.front().append_time;
    found.newest = end.newest;
    int64_t bytes = 0;
    for (const Record& record : batch.value().records)
      bytes += static_cast<int64_t>(record.payload.size());
    facts.bytes_a_record =
        std::max<int64_t>(facts.bytes_a_record, bytes / std::ssize(batch.value().records));
  }
  const Result<std::optional<CountsProgress>> progress = log_->Progress(id);
  if (!progress.ok()) return progress.status();
  if (!progress.value()) return found;
  found.counted = progress.value()->next;
  found.watermark = progress.value()->watermark;
  const Result<std::optional<EventTime>> until =
      CountUntilOf(DataFolder(options_.data).checkpoints(), id);
  if (!until.ok()) return until.status();
  // If partitions differ, the one that is not T is reported.
  if (until.value() && facts.count_until.value_or(facts.at) == facts.at)
    facts.count_until = until.value();
  return found;
}

// Notes what the lake lacks. Only the old pipeline's checkpoints have it, and nobody reads those
// after the hand-over.
Status EmbeddedCopy::LookAtLake(HandoverFacts& facts) const {
  const std::string folder =
      options_.lake.dir.empty() ? DataFolder(options_.data).lake() : options_.lake.dir;
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) return Status::Ok();
  LocalStorage storage(folder);
  for (const std::string_view table : {lake::kIncrementsTable, lake::kLedgerTable}) {
    const Result<lake::SnapshotPtr> snapshot = lake::ReadSnapshot(storage, table);
    if (!snapshot.ok()) return snapshot.status();
    for (size_t p = 0; p < facts.partitions.size(); ++p) {
      HandoverPartition& partition = facts.partitions[p];
      const int64_t next =
          snapshot.value()
              ->Txn(lake::OffsetTxn(table, {source_name(), static_cast<int32_t>(p)}))
              .value_or(partition.earliest.v);
      if (partition.counted && next < partition.counted->v)
        partition.lacking = fmt::format("the lake's table '{}' lacks the offsets [{}, {})", table,
                                        next, partition.counted->v);
    }
  }
  return Status::Ok();
}

Result<std::unique_ptr<KafkaCopy>> EmbeddedCopy::OpenCopy(KafkaCopyOptions options,
                                                          AppendTime start,
                                                          const std::atomic<bool>& stop) {
  auto copy = std::make_unique<KafkaCopy>(options, stop);
  RETURN_IF_ERROR(copy->Fence());
  const auto known = copy->Positions(partitions());
  if (!known.ok()) return known.status();
  if (known.value().empty()) RETURN_IF_ERROR(CheckEmpty(options.kafka, options.to));
  std::vector<std::unique_ptr<CopyInput>> inputs;
  std::vector<Offset> from, until;
  for (int32_t p = 0; p < partitions(); ++p) {
    std::unique_ptr<Source> source = log_->OpenSource(kRawTopic, p);
    const Result<Offset> earliest = source->Earliest();
    if (!earliest.ok()) return earliest.status();
    until.push_back(log_->EndOf(kRawTopic, p).next);
    if (const auto stored = known.value().find(p); stored != known.value().end()) {
      from.push_back(stored->second);
    } else {
      const Result<Offset> first = FindAppendTime(*source, earliest.value(), until.back(), start);
      if (!first.ok()) return first.status();
      from.push_back(first.value());
    }
    inputs.push_back(std::make_unique<EmbeddedInput>(std::move(source), until.back()));
  }
  RETURN_IF_ERROR(copy->Begin(std::move(inputs), from, until));
  return copy;
}

}  // namespace sightline
