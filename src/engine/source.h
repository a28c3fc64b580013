// Source: the port through which a task reads one source partition.
//
// An instance belongs to one task, is used by the thread that steps the task, and is thrown away
// with it. A failed read has changed nothing: kRetry.
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
  std::string_view payload;  // kDecodePadding (operators/decode.h) readable bytes behind it
};

// Records of [first, next); offsets may have holes. `storage` keeps the payloads alive.
struct Batch {
  Offset first, next;
  std::vector<Record> records;
  std::shared_ptr<const void> storage;  // shared: one stored block may serve several batches
};

class Source {
 public:
  virtual ~Source() = default;
  virtual Result<Offset> Earliest() = 0;
  // kStop if retention has passed `next`, or `next` lies beyond the end of the log. Which of the
  // two it was tells Earliest() afterwards: it is what the refusal went by, or newer.
  virtual Status Seek(Offset next) = 0;
  // Never waits. first == next: nothing to read now. At most records_max records, and at least one
  // stored batch if there is any. kStop, again and again, if retention has passed what comes next:
  // then Earliest() lies behind it, and Seek() goes on there.
  virtual Result<Batch> Poll(int64_t records_max) = 0;
};

}  // namespace sightline
