// Source: the port through which a task reads one source partition.
//
// An instance belongs to one task, is used by the thread that steps the task, and is discarded with
// it. A failed read says kRetry and has changed nothing.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

struct Record {
  Offset offset;
  AppendTime append_time = kNoAppendTime;
  std::string_view payload;  // kDecodePadding (operators/decode.h) bytes behind it are readable
};

// The records of [first, next). Offsets may have holes. `storage` keeps the payloads alive.
struct Batch {
  Offset first, next;
  std::vector<Record> records;
  std::shared_ptr<const void> storage;  // shared: one stored block may serve several batches
};

class Source {
 public:
  virtual ~Source() = default;
  virtual Result<Offset> Earliest() = 0;
  // Continues at `next`. kStop if retention has passed `next`, or if `next` lies beyond the end of
  // the log. Earliest() then tells which: its answer is the one on which the refusal was based, or
  // a newer one.
  virtual Status Seek(Offset next) = 0;
  // Reads without waiting. first == next: there is nothing to read now. Returns at most records_max
  // records, and at least one stored batch if there is any. kStop, on every call, if retention has
  // passed the position: then Earliest() lies behind it, and reading can continue there after a
  // Seek().
  virtual Result<Batch> Poll(int64_t records_max) = 0;
};

}  // namespace sightline
