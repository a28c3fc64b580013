// CopyInput: one partition that is copied into a topic: its records in order, with their keys. Used
// by one thread. A failed read says kRetry and has changed nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

struct CopyRecord {
  Offset offset;
  AppendTime time = kNoAppendTime;
  std::optional<std::string> key;
  std::string_view value;  // kDecodePadding (operators/decode.h) bytes behind it are readable
  bool has_value = true;   // false: a tombstone
};

// `storage` keeps the values alive. The next record lies at `next` or behind it.
struct CopyBatch {
  Offset next;
  std::vector<CopyRecord> records;
  std::shared_ptr<const void> storage;  // shared: one stored block may serve several batches
};

class CopyInput {
 public:
  virtual ~CopyInput() = default;
  // Call it before the first Poll(). kRetry until it is known whether the partition has `next`;
  // kStop if it does not.
  virtual Status Seek(Offset next) = 0;
  // Reads without waiting. No records: there is nothing to read now.
  virtual Result<CopyBatch> Poll(int64_t records_max) = 0;
  // The end of the partition as far as is known. Valid after Seek().
  virtual Offset end() const = 0;
};

}  // namespace sightline
