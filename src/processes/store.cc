#include "processes/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "base/log.h"
#include "config/data_folder.h"
#include "connectors/kafka/counts_fold.h"
#include "engine/sink.h"
#include "processes/component_options.h"

namespace sightline {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int64_t kRecordsMax = 1'024;  // per Step(), so that it is short on a busy machine, too
// Reading stops while this many rows wait for the lake.
constexpr int64_t kWaitingRowsMax = 262'144;
constexpr size_t kSinks = 2;  // the tables of counts and of the ledger

}  // namespace

class Store::Writing final : public PartitionStep {
 public:
  Writing(Store& store, int32_t partition, std::function<void()> wake)
      : store_(store), partition_(partition), wake_(std::move(wake)) {}

  Status Step(bool draining) override {
    if (!sought_) RETURN_IF_ERROR(Seek());
    figures_.running = true;
    bool more = false;
    if (!draining && waiting_rows_ < kWaitingRowsMax) {
      const Result<Batch> batch = source_->Poll(kRecordsMax);
      if (!batch.ok() && batch.status().code() != StatusCode::kRetry) return batch.status();
      if (batch.ok()) {
        for (const Record& record : batch.value().records) RETURN_IF_ERROR(Take(record));
        more = batch.value().next > batch.value().first;
        if (more) figures_.next = batch.value().next;
      }
    }
    const bool due =
        draining || waiting_rows_ >= kWaitingRowsMax ||
        SteadyClock::now() - oldest_ > std::chrono::milliseconds(store_.lake_->roll_interval().v);
    for (auto& [from, stored] : sources_) RETURN_IF_ERROR(Write(from, stored, due));
    return more ? Status::Ok() : Status::Retry("");
  }

  bool drained() const override {
    return std::ranges::all_of(sources_,
                               [](const auto& source) { return source.second.waiting.empty(); });
  }

  StepFigures figures() const override {
    StepFigures figures = figures_;
    figures.end = store_.reader_->EndOf(store_.from_.id, partition_).next;
    return figures;
  }

 private:
  struct LakeTable {
    std::unique_ptr<Sink> sink;
    bool fenced = false;
    Offset committed;
    bool writing = false;
  };
  struct Stored {
    kafka::CountsFold fold;
    std::vector<Segment> waiting;
    std::vector<Offset> ends;  // for each, the offset of the record that ended it
    std::array<LakeTable, kSinks> tables;
    bool began = false;  // the first segment has been checked by Begin()
  };

  Status Seek() {
    if (source_ == nullptr) {
      source_ = store_.reader_->OpenSource(store_.from_, partition_, wake_);
    }
    if (!from_start_ && !hinted_) {
      const Result<std::optional<Offset>> hint = store_.hint_(partition_);
      if (!hint.ok()) return hint.status();
      begin_ = hint.value();
      hinted_ = true;
    }
    const Result<Offset> earliest = source_->Earliest();
    if (!earliest.ok()) return earliest.status();
    // Retention may have passed the group's offset since it was stored.
    if (begin_ && *begin_ < earliest.value()) begin_.reset();
    RETURN_IF_ERROR(source_->Seek(begin_.value_or(earliest.value())));
    figures_.next = begin_.value_or(earliest.value());
    sought_ = true;
    LogInfo(fmt::format("partition {} of '{}' runs from offset {}", partition_, store_.from_.name,
                        figures_.next.v));
    return Status::Ok();
  }

  Status Take(const Record& record) {
    Result<kafka::CountsRecord> parsed = kafka::ParseCountsRecord(record.payload);
    if (!parsed.ok()) {
      ++figures_.refused;
      return Status::Ok();
    }
    kafka::CountsRecord& counts = parsed.value();
    if (counts.total && counts.location && !counts.location->name.empty())
      store_.Learn(counts.total->key.location, counts.location->name);
    const SourcePartition from = counts.from;
    Stored& stored = sources_[from];
    std::optional<kafka::CountsFold::Commit> commit = stored.fold.Take(std::move(counts));
    if (!commit) return Status::Ok();
    if (drained()) oldest_ = SteadyClock::now();
    waiting_rows_ += static_cast<int64_t>(commit->segment.rows());
    stored.waiting.push_back(std::move(commit->segment));
    stored.ends.push_back(record.offset);
    return Status::Ok();
  }

  Status Write(const SourcePartition& from, Stored& stored, bool due) {
    if (stored.waiting.empty()) return Status::Ok();
    for (size_t i = 0; i < kSinks; ++i) RETURN_IF_ERROR(Open(from, stored.tables[i], i == 0));
    for (const LakeTable& table : stored.tables)
      if (!table.fenced) return Status::Ok();
    if (!stored.began) RETURN_IF_ERROR(Begin(from, stored));
    for (LakeTable& table : stored.tables)
      if (due || table.writing) RETURN_IF_ERROR(Commit(from, stored, table));
    Forget(stored);
    return Status::Ok();
  }

  // Fences a table. While the fence is under way, the table stays unfenced and this says kOk.
  Status Open(const SourcePartition& from, LakeTable& table, bool counts) {
    if (table.fenced) return Status::Ok();
    if (table.sink == nullptr)
      table.sink =
          counts ? store_.lake_->OpenCountsSink(wake_) : store_.lake_->OpenLedgerSink(wake_);
    const Status fenced = table.sink->Fence(from, Epoch{0});
    if (fenced.code() == StatusCode::kRetry) return Status::Ok();
    RETURN_IF_ERROR(fenced);
    const Result<Offset> committed = table.sink->Committed(from);
    if (committed.status().code() == StatusCode::kRetry) return Status::Ok();
    if (!committed.ok()) return committed.status();
    table.committed = committed.value();
    table.fenced = true;
    return Status::Ok();
  }

  // Checks the first segment that was read. Nothing is known of what lies before it, so each table
  // must have that already, or the segment must be the very first of its source partition.
  Status Begin(const SourcePartition& from, Stored& stored) {
    const Segment& first = stored.waiting.front();
    for (const LakeTable& table : stored.tables) {
      if (table.committed >= first.next) continue;
      if (begin_ && !from_start_) {
        LogWarning(
            fmt::format("partition {} of '{}' is read from its beginning: the lake lacks what the "
                        "group '{}' "
                        "has as stored",
                        partition_, store_.from_.name, store_.group_));
        return StartOver();
      }
      int64_t sum = 0;
      for (const CountRow& row : first.counts) sum += row.count;
      if (table.committed != kNoneCommitted || sum != first.Total().of(Outcome::kCounted))
        return Status::Stop(fmt::format(
            "topic '{}' partition {} no longer has the offsets before {} of '{}' partition {}, and "
            "the lake does not have them",
            store_.from_.name, partition_, first.next.v, from.source, from.partition));
    }
    stored.began = true;
    return Status::Ok();
  }

  Status StartOver() {
    from_start_ = true;
    begin_.reset();
    sources_.clear();
    waiting_rows_ = 0;
    source_ = nullptr;
    sought_ = false;
    return Status::Retry("reading begins again");
  }

  Status Commit(const SourcePartition& from, Stored& stored, LakeTable& table) {
    const auto lacking = std::ranges::find_if(
        stored.waiting, [&](const Segment& segment) { return segment.next > table.committed; });
    if (lacking == stored.waiting.end()) return Status::Ok();
    if (lacking->first < table.committed)
      return Status::Stop(fmt::format(
          "the lake has '{}' partition {} up to {}, inside of the segment [{}, {}): it "
          "was written by another step",
          from.source, from.partition, table.committed.v, lacking->first.v, lacking->next.v));
    const Result<Offset> committed = table.sink->Commit(from, {lacking, stored.waiting.end()});
    table.writing = committed.status().code() == StatusCode::kRetry;
    if (table.writing) return Status::Ok();
    if (!committed.ok()) return committed.status();
    table.committed = committed.value();
    ++figures_.commits;
    return Status::Ok();
  }

  // Drops the waiting segments that both tables have.
  void Forget(Stored& stored) {
    size_t had = 0;
    for (; had < stored.waiting.size(); ++had) {
      const Segment& segment = stored.waiting[had];
      if (std::ranges::any_of(stored.tables, [&](const LakeTable& table) {
            return table.committed < segment.next;
          }))
        break;
      figures_.written += static_cast<int64_t>(segment.rows());
      waiting_rows_ -= static_cast<int64_t>(segment.rows());
    }
    if (had == 0) return;
    const Offset end = stored.ends[had - 1];
    stored.waiting.erase(stored.waiting.begin(),
                         stored.waiting.begin() + static_cast<int64_t>(had));
    stored.ends.erase(stored.ends.begin(), stored.ends.begin() + static_cast<int64_t>(had));
    oldest_ = SteadyClock::now();
    // Only if no segment of another source waits: its records lie before this offset.
    if (drained()) figures_.done = std::max(figures_.done, end);
  }

  Store& store_;
  const int32_t partition_;
  const std::function<void()> wake_;
  std::unique_ptr<Source> source_;
  std::optional<Offset> begin_;  // nothing: the earliest
  bool hinted_ = false, from_start_ = false;
  bool sought_ = false;
  std::map<SourcePartition, Stored> sources_;
  int64_t waiting_rows_ = 0;
  SteadyClock::time_point oldest_ = SteadyClock::now();  // when the oldest waiting segment came
  StepFigures figures_;
};

Result<std::unique_ptr<Store>> Store::Open(const Settings& settings, const LogClock& clock,
                                           const KafkaOptions& kafka, const KafkaTopic& from,
                                           std::vector<Location> locations, StoredHint hint) {
  std::unique_ptr<Store> store(
      new Store(fmt::format("{}-store", settings.kafka.deployment), from, std::move(hint)));
  LakeServiceOptions options = LakeOptionsOf(settings, settings.lake.dir);
  options.known_tables = DataFolder(settings.data).known_tables("store");
  options.renew = fmt::format("remove '{}' while no `store` runs", options.known_tables);
  options.location_name = [s = store.get()](LocationId location) { return s->NameOf(location); };
  Result<std::unique_ptr<LakeService>> lake =
      LakeService::Open(options, clock, std::move(locations));
  if (!lake.ok()) return lake.status();
  store->lake_ = std::move(lake).value();
  Result<std::unique_ptr<KafkaReader>> reader = KafkaReader::Open(kafka);
  if (!reader.ok()) return reader.status();
  store->reader_ = std::move(reader).value();
  return store;
}

std::unique_ptr<PartitionStep> Store::OpenPartition(int32_t partition, std::function<void()> wake) {
  return std::make_unique<Writing>(*this, partition, std::move(wake));
}

std::string Store::NameOf(LocationId location) const {
  const std::lock_guard lock(mutex_);
  const auto name = names_.find(location);
  return name == names_.end() ? "" : name->second;
}

void Store::Learn(LocationId location, const std::string& name) {
  const std::lock_guard lock(mutex_);
  names_[location] = name;
}

}  // namespace sightline
