// What a suite needs of an implementation besides its port: a home that outlives the instances.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "connectors/storage/storage.h"
#include "engine/checkpoint_store.h"
#include "engine/sink.h"
#include "engine/source.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline::conformance {

// A log with two partitions. Its sources must be gone before Reopen().
class SourceHarness {
 public:
  virtual ~SourceHarness() = default;
  virtual std::unique_ptr<Source> Open(int32_t partition) = 0;
  // Appends the payloads as one stored batch, which is durable when it returns.
  virtual void Append(int32_t partition, const std::vector<std::string>& payloads) = 0;
  virtual void SetClock(int64_t now_ms) = 0;
  // Removes the stored batches that were appended before `time`.
  virtual void Retain(AppendTime time) = 0;
  // Acts as if the process had ended and started again.
  virtual void Reopen() = 0;
  // True if SetClock() sets the clock of the records' append times; false if that clock is a
  // server's own.
  virtual bool clock_is_ours() const { return true; }
};

// What a sink has stored, summed up over everything that it ever committed for a partition.
struct Stored {
  std::vector<CountRow> counts;
  std::vector<LedgerRow> ledger;
  std::vector<DeadLetter> dead_letters;  // by offset
  friend bool operator==(const Stored&, const Stored&) = default;
};

class SinkHarness {
 public:
  virtual ~SinkHarness() = default;
  virtual std::unique_ptr<Sink> Open() = 0;
  virtual Stored Read(const SourcePartition& partition) = 0;
  virtual void Reopen() = 0;
  // The part of `all` that a sink keeps: not every sink keeps every part of a segment.
  virtual Stored Kept(Stored all) const { return all; }
};

class StoreHarness {
 public:
  virtual ~StoreHarness() = default;
  virtual std::unique_ptr<CheckpointStore> Open() = 0;
};

// A place without files.
class StorageHarness {
 public:
  virtual ~StorageHarness() = default;
  virtual std::unique_ptr<Storage> Open() = 0;
};

template <typename Harness>
struct Implementation {
  std::string name;
  std::function<std::unique_ptr<Harness>()> make;
  friend void PrintTo(const Implementation& implementation, std::ostream* out) {
    *out << implementation.name;
  }
};

// Repeats a call as long as it says kRetry.
template <typename Call>
auto Ask(const Call& call) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (true) {
    auto answer = call();
    StatusCode code;
    if constexpr (std::is_same_v<decltype(answer), Status>) {
      code = answer.code();
    } else {
      code = answer.status().code();
    }
    if (code != StatusCode::kRetry || std::chrono::steady_clock::now() > deadline) return answer;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

// The implementations that a program of the suites tests: implementations.cc, kafka.cc,
// hdfs.cc, s3.cc.
std::vector<Implementation<SourceHarness>> Sources();
std::vector<Implementation<SinkHarness>> Sinks();
std::vector<Implementation<StorageHarness>> Storages();
// Beside those that lie on a storage.
std::vector<Implementation<StoreHarness>> Stores();

std::unique_ptr<SourceHarness> MakeMemorySource();
std::unique_ptr<SinkHarness> MakeMemorySink();
std::unique_ptr<StoreHarness> MakeMemoryStore();
// Reads the end of a partition from memory, or everything from the file.
std::unique_ptr<SourceHarness> MakeEmbeddedSource();
std::unique_ptr<SourceHarness> MakeEmbeddedSourceWithoutTail();
std::unique_ptr<SinkHarness> MakeEmbeddedSink();
// One sink per table. Together they store what a segment contains, except the dead letters.
std::unique_ptr<SinkHarness> MakeLakeIncrementsSink();
std::unique_ptr<SinkHarness> MakeLakeLedgerSink();
std::unique_ptr<StorageHarness> MakeLocalStorage();
// Local storage that is slow, refuses, tears what it writes and loses its answers.
std::unique_ptr<StorageHarness> MakeFaultyStorage();

}  // namespace sightline::conformance
