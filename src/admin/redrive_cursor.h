// RedriveCursor: which records of dead_letters and late_detections have been sent again.
//
// Sets of offsets, not one offset a partition: a run may be for some hours only, and the next one
// for all. One file in the data folder, `redrive.json`, replaced whole with each Save():
//
//   {"log": "<log id>", "sent": {"dead_letters/0": [[first, next], ...], ...}}
//
// That of another log is as good as none. One process at a time: Open() holds a lock.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

// Offsets as ranges [first, next) that neither overlap nor touch.
class OffsetSet {
 public:
  void Add(Offset first, Offset next);
  bool Contains(Offset offset) const;
  const std::map<int64_t, int64_t>& ranges() const { return ranges_; }  // first -> next

 private:
  std::map<int64_t, int64_t> ranges_;
};

class RedriveCursor {
 public:
  // kStop: the file is damaged, or another redrive runs. `dry_run`: neither locks nor writes.
  static Result<RedriveCursor> Open(const std::string& data, const std::string& log_id,
                                    bool dry_run);
  ~RedriveCursor();
  RedriveCursor(RedriveCursor&& other) noexcept;
  RedriveCursor& operator=(RedriveCursor&&) = delete;

  OffsetSet& Of(std::string_view topic, int32_t partition);
  Status Save() const;

 private:
  RedriveCursor() = default;
  std::string path_, log_id_;
  int lock_ = -1;
  std::map<std::string, OffsetSet> sent_;  // by "topic/partition"
};

}  // namespace sightline
