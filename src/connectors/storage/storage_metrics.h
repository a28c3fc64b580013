// StorageMetrics: what a storage was asked for, by operation. MeteredStorage counts it for any
// storage. Both are thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/metric.h"
#include "connectors/storage/storage.h"

namespace sightline {

// Put counts for each of its files.
enum class StorageOperation : uint8_t { kRead, kPut, kList, kStat, kDelete };

class StorageMetrics {
 public:
  // `bytes` are those of the files, read or put.
  void AddCalls(StorageOperation operation, int64_t calls, bool failed, int64_t bytes,
                std::chrono::nanoseconds took);
  // A request to the server that was repeated inside of a call.
  void AddRetry(StorageOperation operation);

  std::vector<Metric> Metrics() const;

 private:
  struct Counters {
    std::atomic<int64_t> calls = 0, failures = 0, bytes = 0, microseconds = 0, retries = 0;
  };
  std::array<Counters, 5> counters_;  // by operation
};

class MeteredStorage final : public Storage {
 public:
  // `metrics` must outlive the storage.
  MeteredStorage(std::unique_ptr<Storage> storage, StorageMetrics* metrics)
      : storage_(std::move(storage)), metrics_(metrics) {}

  Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) override;
  Result<PutOutcome> PutFiles(std::span<const NewFile> files, PutMode mode) override;
  Result<std::vector<FileInfo>> List(std::string_view directory) override;
  Result<std::optional<FileInfo>> Stat(std::string_view path) override;
  Status Delete(std::string_view path) override;

 private:
  const std::unique_ptr<Storage> storage_;
  StorageMetrics* const metrics_;
};

}  // namespace sightline
