#include "connectors/storage/storage_metrics.h"

namespace sightline {
namespace {

constexpr const char* kOperations[] = {"read", "put", "list", "stat", "delete"};

constexpr auto kNoBytes = [](const auto&) { return int64_t{0}; };

bool Failed(const Status& status) { return !status.ok(); }
template <typename T>
bool Failed(const Result<T>& result) {
  return !result.ok();
}

// Makes the call and counts it. `bytes_of` says how many bytes of files a successful answer has.
template <typename Call, typename BytesOf>
auto Measured(StorageMetrics& metrics, StorageOperation operation, int64_t calls, const Call& call,
              const BytesOf& bytes_of) {
  const auto start = std::chrono::steady_clock::now();
  auto answer = call();
  const bool failed = Failed(answer);
  metrics.AddCalls(operation, calls, failed, failed ? 0 : bytes_of(answer),
                   std::chrono::steady_clock::now() - start);
  return answer;
}

}  // namespace

void StorageMetrics::AddCalls(StorageOperation operation, int64_t calls, bool failed, int64_t bytes,
                              std::chrono::nanoseconds took) {
  Counters& counters = counters_[static_cast<size_t>(operation)];
  counters.calls += calls;
  counters.failures += failed ? 1 : 0;
  counters.bytes += bytes;
  counters.microseconds += std::chrono::duration_cast<std::chrono::microseconds>(took).count();
}

void StorageMetrics::AddRetry(StorageOperation operation) {
  ++counters_[static_cast<size_t>(operation)].retries;
}

std::vector<Metric> StorageMetrics::Metrics() const {
  std::vector<Metric> metrics;
  const auto add = [&](const char* name, const char* help, double scale,
                       std::atomic<int64_t> Counters::*field) {
    for (size_t i = 0; i < counters_.size(); ++i) {
      Metric metric = Metric::Counter(name, help, 0);
      metric.value = static_cast<double>((counters_[i].*field).load()) * scale;
      metric.labels = {{"operation", kOperations[i]}};
      metrics.push_back(std::move(metric));
    }
  };
  add("sightline_lake_storage_calls_total", "Calls on the storage of the lake.", 1,
      &Counters::calls);
  add("sightline_lake_storage_failures_total", "Calls on the storage of the lake that failed.", 1,
      &Counters::failures);
  add("sightline_lake_storage_bytes_total", "Bytes of files read from or put to the lake.", 1,
      &Counters::bytes);
  add("sightline_lake_storage_seconds_total", "Seconds that calls on the lake's storage took.",
      1e-6, &Counters::microseconds);
  add("sightline_lake_storage_retries_total",
      "Requests that the storage of the lake repeated by itself.", 1, &Counters::retries);
  return metrics;
}

Result<std::optional<std::string>> MeteredStorage::Read(std::string_view path, ByteRange range) {
  return Measured(
      *metrics_, StorageOperation::kRead, 1, [&] { return storage_->Read(path, range); },
      [](const auto& read) {
        return read.value() ? static_cast<int64_t>(read.value()->size()) : int64_t{0};
      });
}

Result<PutOutcome> MeteredStorage::PutFiles(std::span<const NewFile> files, PutMode mode) {
  return Measured(
      *metrics_, StorageOperation::kPut, static_cast<int64_t>(files.size()),
      [&] { return storage_->PutFiles(files, mode); },
      [&](const Result<PutOutcome>& put) {
        int64_t bytes = 0;
        if (put.value() == PutOutcome::kWritten)
          for (const NewFile& file : files) bytes += file.content.size();
        return bytes;
      });
}

Result<std::vector<FileInfo>> MeteredStorage::List(std::string_view directory) {
  return Measured(
      *metrics_, StorageOperation::kList, 1, [&] { return storage_->List(directory); }, kNoBytes);
}

Result<std::optional<FileInfo>> MeteredStorage::Stat(std::string_view path) {
  return Measured(
      *metrics_, StorageOperation::kStat, 1, [&] { return storage_->Stat(path); }, kNoBytes);
}

Status MeteredStorage::Delete(std::string_view path) {
  return Measured(
      *metrics_, StorageOperation::kDelete, 1, [&] { return storage_->Delete(path); }, kNoBytes);
}

}  // namespace sightline
