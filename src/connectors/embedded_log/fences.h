// Fences: who may commit the counts of a source partition, which is the last owner that came.
//
// In memory only: the data directory has one owner, so every older instance lives in this process.
// Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

#include "model/types.h"

namespace sightline::embedded_log {

class Fences {
 public:
  // Returns a new token, whose holder is the owner from now on.
  int64_t Take(const SourcePartition& partition) {
    const std::lock_guard lock(mutex_);
    return owners_[partition] = ++last_token_;
  }
  bool Owns(const SourcePartition& partition, int64_t token) const {
    const std::lock_guard lock(mutex_);
    const auto owner = owners_.find(partition);
    return owner != owners_.end() && owner->second == token;
  }

 private:
  mutable std::mutex mutex_;
  std::map<SourcePartition, int64_t> owners_;
  int64_t last_token_ = 0;
};

}  // namespace sightline::embedded_log
