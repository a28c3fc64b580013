// What a suite needs of an implementation beside its port: somewhere that outlives the instances.
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

#include "engine/checkpoint_store.h"
#include "engine/sink.h"
#include "engine/source.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline::conformance {

// A log of two partitions. Its sources are gone before Reopen().
class SourceHarness {
 public:
  virtual ~SourceHarness() = default;
  virtual std::unique_ptr<Source> Open(int32_t partition) = 0;
  // As one stored batch, durable when it returns.
  virtual void Append(int32_t partition, const std::vector<std::string>& payloads) = 0;
  virtual void SetClock(int64_t now_ms) = 0;
  // Removes the stored batches that were appended before `time`.
  virtual void Retain(AppendTime time) = 0;
  // As if the process had ended and begun again.
  virtual void Reopen() = 0;
  // SetClock() sets the clock of the records' append times; otherwise it is a server's own.
  virtual bool clock_is_ours() const { return true; }
};

// What a sink has, summed up over everything that it has ever committed for a partition.
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
  // What a sink keeps of `all`: not every sink keeps every part of a segment.
  virtual Stored Kept(Stored all) const { return all; }
};

class StoreHarness {
 public:
  virtual ~StoreHarness() = default;
  virtual std::unique_ptr<CheckpointStore> Open() = 0;
};

template <typename Harness>
struct Implementation {
  std::string name;
  std::function<std::unique_ptr<Harness>()> make;
  friend void PrintTo(const Implementation& implementation, std::ostream* out) {
    *out << implementation.name;
  }
};

// A call that is under way says kRetry: ask again.
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

// What a program of the suites is about: implementations.cc, kafka.cc.
std::vector<Implementation<SourceHarness>> Sources();
std::vector<Implementation<SinkHarness>> Sinks();

std::unique_ptr<SourceHarness> MakeMemorySource();
std::unique_ptr<SinkHarness> MakeMemorySink();
std::unique_ptr<StoreHarness> MakeMemoryStore();
// Reads the end of a partition from memory, or everything from the file.
std::unique_ptr<SourceHarness> MakeEmbeddedSource();
std::unique_ptr<SourceHarness> MakeEmbeddedSourceWithoutTail();
std::unique_ptr<SinkHarness> MakeEmbeddedSink();
// One sink a table: together they have what a segment has, but for the events set aside.
std::unique_ptr<SinkHarness> MakeLakeIncrementsSink();
std::unique_ptr<SinkHarness> MakeLakeLedgerSink();

}  // namespace sightline::conformance
