// Body: the bytes of one POST, unpacked while they arrive, never larger than their bounds.
//
// The owner reads from its connection into Prepare() and says how much came; gzip (RFC 1952,
// several members too) is unpacked at once, so that the packed and the unpacked bytes are never
// both held. All bodies in work share one MemoryBudget, from which space is taken before it is
// used, kBodyCopies times: the records that are made of a body are as large as itself. One thread
// at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "server/memory_budget.h"

namespace sightline {

// A larger body than this part of the budget could never be let in.
constexpr int64_t kBodyCopies = 2;

class Body {
 public:
  enum class Encoding : uint8_t { kPlain, kGzip };
  enum class Outcome : uint8_t {
    kOk,
    kTooLarge,  // beyond bytes_max, unpacked
    kNoMemory,  // the budget of all bodies is used up: later
    kBroken,    // not gzip, cut off, or followed by something else
  };

  // `memory` must outlive the body.
  Body(Encoding encoding, int64_t bytes_max, MemoryBudget* memory);
  ~Body();
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  // How many bytes will come, where the sender has said so: their space is taken at once.
  Outcome Expect(int64_t bytes);
  // Where the next bytes go, at least one and at most `bytes_max`. Empty: kNoMemory.
  std::span<char> Prepare(size_t bytes_max);
  // `bytes` of the last Prepare() were filled.
  Outcome Commit(size_t bytes);
  // Nothing more will come.
  Outcome Finish();
  // After Finish(): the unpacked body, with kDecodePadding readable bytes behind it.
  std::string_view text() const { return {text_.data(), size_}; }

 private:
  struct Inflater;
  Outcome Inflate(std::string_view packed);
  Outcome Grow(int64_t capacity);
  Outcome GrowIfFull();

  const int64_t bytes_max_;
  MemoryBudget* const memory_;
  std::unique_ptr<Inflater> inflater_;  // of kGzip
  size_t capacity_ = 0;                 // kBodyCopies of it are taken from memory_
  size_t size_ = 0;                     // of what has come, unpacked; capacity_ + 1: too much
  std::string text_;                    // capacity_, and kDecodePadding behind it
};

}  // namespace sightline
