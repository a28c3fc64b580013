// For tests of the embedded log: a directory, records and answers without ceremony.
#pragma once

#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "connectors/embedded_log/log.h"
#include "engine/sink.h"
#include "engine/source.h"
#include "ingest/detection_log.h"

namespace sightline::embedded_log_testing {

// Where a test's files lie: in memory if there is room, because what a test waits for most is
// fsync.
inline std::filesystem::path TestFiles() {
  const std::filesystem::path memory = "/dev/shm";
  std::error_code error;
  const bool room = std::filesystem::space(memory, error).available > (uintmax_t{512} << 20);
  return !error && room ? memory : std::filesystem::temp_directory_path();
}

// Gone at the end of its scope, with everything in it.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::filesystem::path& in = TestFiles()) {
    std::string name = (in / "sightline-XXXXXX").native();
    CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline PackedRecords Pack(int32_t partition, const std::vector<std::string>& records) {
  ByteWriter out;
  for (const std::string& record : records) out.String(record);
  return {
      .partition = partition, .count = static_cast<int64_t>(records.size()), .bytes = out.Take()};
}

// Waits for the answer. kRetry "full" if the queue was.
inline Status AppendAndWait(EmbeddedLog& log, std::string_view topic, int32_t partition,
                            const std::vector<std::string>& records) {
  auto answer = std::make_shared<std::promise<Status>>();
  std::vector<PackedRecords> packed;
  packed.push_back(Pack(partition, records));
  if (!log.Append(topic, std::move(packed), [answer](Status s) { answer->set_value(s); }))
    return Status::Retry("full");
  return answer->get_future().get();
}

// Holds up the log's thread from its construction until Release(): what is queued meanwhile stays
// queued.
class Stall {
 public:
  explicit Stall(EmbeddedLog& log) {
    auto stalled = std::make_shared<std::promise<void>>();
    CHECK(log.Append("stall", {}, [stalled, released = release_.get_future().share()](Status) {
      stalled->set_value();
      released.wait();
    }));
    stalled->get_future().wait();
  }
  ~Stall() { Release(); }
  void Release() {
    if (!std::exchange(released_, true)) release_.set_value();
  }

 private:
  std::promise<void> release_;
  bool released_ = false;
};

// Calls until there is another answer than kRetry "under way" or "waiting", at most some seconds.
template <typename Call>
auto Settle(const Call& call) {
  auto result = call();
  for (int i = 0; i < 20'000; ++i) {
    Status status = Status::Ok();
    if constexpr (std::is_same_v<decltype(result), Status>) {
      status = result;
    } else {
      status = result.status();
    }
    const bool waiting = status.message().find("under way") != std::string::npos ||
                         status.message().find("waiting") != std::string::npos;
    if (status.code() != StatusCode::kRetry || !waiting) break;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    result = call();
  }
  return result;
}

struct ReadRecord {
  Offset offset;
  AppendTime append_time;
  std::string payload;
};

// Everything from `from` to the end.
inline Result<std::vector<ReadRecord>> ReadAll(Source& source, Offset from,
                                               int64_t records_max = 100) {
  RETURN_IF_ERROR(source.Seek(from));
  std::vector<ReadRecord> records;
  while (true) {
    Result<Batch> batch = source.Poll(records_max);
    if (!batch.ok()) return batch.status();
    if (batch.value().first == batch.value().next) return records;
    for (const Record& record : batch.value().records)
      records.push_back({record.offset, record.append_time, std::string(record.payload)});
  }
}

}  // namespace sightline::embedded_log_testing
