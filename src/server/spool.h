// Spool: the bytes of one answer, from the moment they are made until they are sent. The first ones
// lie in memory, the rest in a file without a name, which the system removes with the process.
//
// So an answer is made at full speed, whatever its reader does, and may be read again.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/status.h"
#include "server/memory_budget.h"

namespace sightline {

// What all answers together may take. Thread-safe.
struct SpoolBudget {
  SpoolBudget(int64_t memory_bytes_max, int64_t disk_bytes_max)
      : memory(memory_bytes_max), disk(disk_bytes_max), answer_bytes_max(disk_bytes_max / 2) {}
  MemoryBudget memory, disk;
  const int64_t answer_bytes_max;  // of one answer
};

// One thread at a time.
class Spool {
 public:
  static constexpr int64_t kMemoryBytesMax = 1 << 20;
  // Without a budget, all is in memory and nothing is limited. `budget` must outlive the spool.
  explicit Spool(SpoolBudget* budget);

  // kRetry: all answers together take too much, or the disk is full. kStop: this one is too large.
  Status Append(std::string_view bytes);
  void Clear();
  int64_t size() const { return static_cast<int64_t>(memory_.size()) + file_bytes_; }
  // Reads the bytes from `offset` on and returns how many; 0 at the end.
  Result<size_t> Read(int64_t offset, std::span<char> into) const;
  // Whether Append() has failed because this answer is too large.
  bool too_large() const { return too_large_; }

 private:
  Status AppendToFile(std::string_view bytes);

  SpoolBudget* const budget_;
  MemoryClaim memory_claim_, disk_claim_;
  std::string memory_;
  std::unique_ptr<const File> file_;  // null: nothing is on disk
  int64_t file_bytes_ = 0;
  bool too_large_ = false;
};

}  // namespace sightline
