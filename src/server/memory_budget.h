// MemoryBudget: a number of bytes that many users share and take before they use them.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace sightline {

// Thread-safe.
class MemoryBudget {
 public:
  explicit MemoryBudget(int64_t bytes_max) : bytes_max_(bytes_max) {}
  // False: less than that is left, and nothing was taken.
  bool Take(int64_t bytes);
  void Give(int64_t bytes);
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  const int64_t bytes_max_;
  std::atomic<int64_t> bytes_ = 0;
};

// A share of a budget, which the destructor gives back. One thread at a time.
class MemoryClaim {
 public:
  MemoryClaim() = default;  // without a budget, and so without a bound
  // `budget` must outlive it.
  explicit MemoryClaim(MemoryBudget* budget) : budget_(budget) {}
  MemoryClaim(MemoryClaim&& other) noexcept { *this = std::move(other); }
  MemoryClaim& operator=(MemoryClaim&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MemoryClaim() {
    if (budget_ != nullptr) budget_->Give(bytes_);
  }
  // Changes the share to `bytes` in total. False: less than that is left, and nothing changed.
  bool Resize(int64_t bytes);

 private:
  MemoryBudget* budget_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace sightline
