#include "server/memory_budget.h"

namespace sightline {

bool MemoryBudget::Take(int64_t bytes) {
  int64_t used = bytes_.load(std::memory_order_relaxed);
  do {
    if (bytes > bytes_max_ - used) return false;
  } while (!bytes_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  return true;
}

void MemoryBudget::Give(int64_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }

bool MemoryClaim::Resize(int64_t bytes) {
  if (budget_ != nullptr) {
    if (bytes > bytes_ && !budget_->Take(bytes - bytes_)) return false;
    if (bytes < bytes_) budget_->Give(bytes_ - bytes);
  }
  bytes_ = bytes;
  return true;
}

}  // namespace sightline
