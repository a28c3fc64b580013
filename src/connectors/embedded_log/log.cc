#include "connectors/embedded_log/log.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "connectors/embedded_log/block.h"
#include "connectors/embedded_log/counts_sink.h"
#include "connectors/embedded_log/directory_lock.h"
#include "connectors/embedded_log/embedded_source.h"
#include "connectors/embedded_log/fences.h"
#include "connectors/embedded_log/layout.h"
#include "connectors/embedded_log/readers.h"
#include "connectors/embedded_log/tail.h"
#include "connectors/embedded_log/watches.h"
#include "connectors/embedded_log/writer.h"

namespace sightline {

using embedded_log::Readers;

// The members are destroyed in reverse order: first the readers, then the writer's connection,
// which as the last one leaves the file without a write-ahead log, and finally the lock.
struct embedded_log::Parts {
  Parts(DirectoryLock&& taken, Identity&& is, const EmbeddedLogOptions& options, std::string path)
      : lock(std::move(taken)),
        identity(std::move(is)),
        clock(*options.clock),
        tail(identity.partitions, options.tail_bytes_max),
        readers(std::move(path)) {}

  const DirectoryLock lock;
  const Identity identity;
  const Clock& clock;
  Tail tail;
  Watches watches;
  Fences fences;
  std::unique_ptr<Writer> writer;
  Readers readers;
};

AppendWatch::~AppendWatch() { watches_.Remove(id_); }

EmbeddedLog::EmbeddedLog(std::unique_ptr<embedded_log::Parts> parts) : parts_(std::move(parts)) {}
EmbeddedLog::~EmbeddedLog() { Close(); }

Result<std::unique_ptr<EmbeddedLog>> EmbeddedLog::Open(EmbeddedLogOptions options) {
  CHECK(options.clock != nullptr && options.row_bytes_max > 0);
  if (options.partitions < 1)
    return Status::Stop(
        fmt::format("a log needs at least 1 partition, not {}", options.partitions));
  Result<embedded_log::DirectoryLock> lock = embedded_log::DirectoryLock::Take(options.dir);
  // The lock comes first: nobody may even look at the file while another process owns it.
  if (!lock.ok()) return lock.status();
  const std::string path = options.dir + "/log.db";
  Result<embedded_log::OpenedFile> file = embedded_log::OpenForWriting(path, options.partitions);
  if (!file.ok()) return file.status();
  auto parts = std::make_unique<embedded_log::Parts>(
      std::move(lock).value(), std::move(file.value().identity), options, path);
  Result<std::unique_ptr<embedded_log::Writer>> writer = embedded_log::Writer::Start(
      std::move(file.value().database), options, parts->tail, parts->watches);
  if (!writer.ok()) return writer.status();
  parts->writer = std::move(writer).value();
  return std::unique_ptr<EmbeddedLog>(new EmbeddedLog(std::move(parts)));
}

void EmbeddedLog::Close() { parts_->writer->Close(); }

const std::string& EmbeddedLog::id() const { return parts_->identity.log_id; }
int32_t EmbeddedLog::partitions() const { return parts_->identity.partitions; }
std::string EmbeddedLog::SourceName(std::string_view topic) const {
  return fmt::format("embedded:{}/{}", id(), topic);
}

bool EmbeddedLog::Append(std::string_view topic, std::vector<PackedRecords> records,
                         std::function<void(Status)> done) {
  // Wrongly packed records could be stored but never read, so they are stopped here.
  for (const PackedRecords& packed : records) {
    CHECK(packed.partition >= 0 && packed.partition < partitions());
    CHECK(embedded_log::CountPacked(packed.bytes) == packed.count);
  }
  return parts_->writer->Append(std::string(topic), std::move(records), std::move(done));
}

std::unique_ptr<AppendWatch> EmbeddedLog::OnAppend(std::string_view topic,
                                                   std::function<void(int32_t)> callback) {
  const int64_t id = parts_->watches.Add(topic, std::move(callback));
  return std::make_unique<AppendWatch>(parts_->watches, id);
}

LogEnd EmbeddedLog::EndOf(std::string_view topic, int32_t partition) const {
  const embedded_log::Stream& stream = parts_->tail.Get(topic, partition);
  const embedded_log::Stream::Position position = parts_->tail.Look(stream, {}).position;
  return {.next = position.next, .newest = position.append_time};
}

std::unique_ptr<Source> EmbeddedLog::OpenSource(std::string_view topic, int32_t partition) {
  return std::make_unique<embedded_log::EmbeddedSource>(
      parts_->tail, parts_->tail.Get(topic, partition), parts_->readers);
}

std::unique_ptr<Sink> EmbeddedLog::OpenCountsSink(CountsSinkOptions options) {
  return std::make_unique<embedded_log::CountsSink>(*parts_->writer, parts_->readers,
                                                    parts_->fences, parts_->clock, partitions(),
                                                    std::move(options));
}

Result<std::optional<CountsProgress>> EmbeddedLog::Progress(const SourcePartition& partition) {
  Result<Readers::Loan> reader = parts_->readers.Borrow();
  if (!reader.ok()) return reader.status();
  return reader.value()->counts.ReadProgress(partition);
}

Result<std::vector<SourcePartition>> EmbeddedLog::CountedPartitions() {
  Result<Readers::Loan> reader = parts_->readers.Borrow();
  if (!reader.ok()) return reader.status();
  return reader.value()->counts.ReadPartitions();
}

Status EmbeddedLog::ForEachGroup(const SourcePartition& partition, EventTime not_before,
                                 const std::function<void(Segment&&)>& callback) {
  Result<Readers::Loan> reader = parts_->readers.Borrow();
  if (!reader.ok()) return reader.status();
  return reader.value()->counts.ReadGroups(partition, not_before, callback);
}

EmbeddedLogStats EmbeddedLog::stats() const {
  EmbeddedLogStats stats;
  parts_->writer->ReadStats(stats);
  stats.tail_bytes = parts_->tail.bytes();
  parts_->tail.ForEach([&stats](const embedded_log::Stream& stream) {
    const embedded_log::Stream::Position& position = stream.position;
    stats.stored_bytes += position.bytes;
    stats.partitions.push_back({.topic = stream.topic,
                                .partition = stream.partition,
                                .oldest = position.oldest,
                                .next = position.next,
                                .bytes = position.bytes});
  });
  return stats;
}

Status EmbeddedLog::Health() const { return parts_->writer->Health(); }
Status EmbeddedLog::EnforceRetention() { return parts_->writer->EnforceRetention(); }

}  // namespace sightline
