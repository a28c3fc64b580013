// CopyInput: one partition that is copied into a topic: its records in order, with their keys.
// Used by one thread. A failed read has changed nothing: kRetry.
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
  std::string_view value;  // kDecodePadding (operators/decode.h) readable bytes behind it
  bool has_value = true;   // no tombstone
};

// `storage` keeps the values alive. What is read next lies at `next` or behind it.
struct CopyBatch {
  Offset next;
  std::vector<CopyRecord> records;
  std::shared_ptr<const void> storage;  // shared: one stored block may serve several batches
};

class CopyInput {
 public:
  virtual ~CopyInput() = default;
  // Before the first Poll(). kRetry until it is known whether `next` is there; kStop: it is not.
  virtual Status Seek(Offset next) = 0;
  // Never waits; no records: there is nothing to read now.
  virtual Result<CopyBatch> Poll(int64_t records_max) = 0;
  // Of the partition, as far as is known. After Seek().
  virtual Offset end() const = 0;
};

}  // namespace sightline
