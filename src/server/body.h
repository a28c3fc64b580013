// Body: the bytes of one POST, decompressed while they arrive, within fixed bounds.
//
// The owner reads from its connection into Prepare() and reports by Commit() how much came. gzip
// (RFC 1952, also several members, and zeros behind the last) is decompressed at once, so that the
// compressed and the decompressed body are never both in memory. All bodies in progress share one
// MemoryBudget. Each takes memory from it before it uses it, and takes it kBodyCopies times,
// because the records that are made from a body are as large as the body. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "server/memory_budget.h"

namespace sightline {

// A body larger than the budget divided by this could never be accepted.
constexpr int64_t kBodyCopies = 2;

class Body {
 public:
  enum class Encoding : uint8_t { kPlain, kGzip };
  enum class Outcome : uint8_t {
    kOk,
    kTooLarge,  // decompressed, it exceeds bytes_max
    kNoMemory,  // the other bodies use up the budget: it may fit later
    kBroken,    // not gzip, cut off, or followed by something else
  };

  // `memory` must outlive the body.
  Body(Encoding encoding, int64_t bytes_max, MemoryBudget* memory);
  ~Body();
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  // Takes the memory for a body whose sender has announced its length.
  Outcome Expect(int64_t bytes);
  // The buffer for the next bytes: at least one and at most `bytes_max`. Empty: kNoMemory.
  std::span<char> Prepare(size_t bytes_max);
  // The owner has filled the first `bytes` of the last Prepare().
  Outcome Commit(size_t bytes);
  // The body is complete: nothing more will come.
  Outcome Finish();
  // Valid after Finish(): the decompressed body, with kDecodePadding readable bytes after it.
  std::string_view text() const { return {text_.data(), size_}; }

 private:
  struct Inflater;
  Outcome Inflate(std::string_view packed);
  void SkipPadding();
  Outcome Grow(int64_t capacity);
  Outcome GrowIfFull();

  const int64_t bytes_max_;
  MemoryBudget* const memory_;
  std::unique_ptr<Inflater> inflater_;  // only with kGzip
  size_t capacity_ = 0;                 // memory_ has given kBodyCopies times this
  size_t size_ = 0;                     // decompressed so far; capacity_ + 1: it is too large
  std::string text_;                    // of capacity_ bytes, and kDecodePadding after them
};

}  // namespace sightline
