// Body: whatever comes as gzip, in whatever pieces, stays within its bounds, gives its memory back
// and says the same. The first byte of an input chooses the size of the pieces.

#include "server/body.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "fuzz_input.h"

namespace sightline {
namespace {

constexpr int64_t kBodyBytesMax = 100'000;
constexpr int64_t kMemoryMax = 150'000;

std::pair<Body::Outcome, std::string> Run(Body::Encoding encoding, std::string_view bytes,
                                          size_t piece) {
  MemoryBudget memory(kMemoryMax);
  std::string text;
  Body::Outcome outcome = Body::Outcome::kOk;
  {
    Body body(encoding, kBodyBytesMax, &memory);
    while (!bytes.empty() && outcome == Body::Outcome::kOk) {
      const std::span<char> room = body.Prepare(std::min(piece, bytes.size()));
      CHECK(room.size() <= piece);
      if (room.empty()) {
        outcome = Body::Outcome::kNoMemory;
        break;
      }
      const size_t taken = std::min(room.size(), bytes.size());
      std::memcpy(room.data(), bytes.data(), taken);
      bytes.remove_prefix(taken);
      outcome = body.Commit(taken);
    }
    if (outcome == Body::Outcome::kOk) outcome = body.Finish();
    if (outcome == Body::Outcome::kOk) text = body.text();
    CHECK(memory.bytes() >= 0 && memory.bytes() <= kMemoryMax);
  }
  CHECK(memory.bytes() == 0);
  CHECK(static_cast<int64_t>(text.size()) <= kBodyBytesMax);
  return {outcome, text};
}

void Check(std::string_view input) {
  if (input.empty()) return;
  const size_t piece = static_cast<unsigned char>(input[0]) + size_t{1};
  const FuzzInput bytes(input.substr(1), 0, '\0');
  const auto gzip = Run(Body::Encoding::kGzip, bytes.view(), piece);
  CHECK(gzip == Run(Body::Encoding::kGzip, bytes.view(), 4'096));
  const auto plain = Run(Body::Encoding::kPlain, bytes.view(), piece);
  CHECK(plain.first != Body::Outcome::kOk || plain.second == bytes.view());
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size));
  return 0;
}
