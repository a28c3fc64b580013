#include "server/body.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace sightline {
namespace {

std::string Gzip(std::string_view text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

// Feeds `bytes` in pieces of `piece` and finishes.
Body::Outcome Feed(Body& body, std::string_view bytes, size_t piece) {
  while (!bytes.empty()) {
    const std::span<char> room = body.Prepare(std::min(piece, bytes.size()));
    if (room.empty()) return Body::Outcome::kNoMemory;
    std::memcpy(room.data(), bytes.data(), room.size());
    bytes.remove_prefix(room.size());
    const Body::Outcome outcome = body.Commit(room.size());
    if (outcome != Body::Outcome::kOk) return outcome;
  }
  return body.Finish();
}

std::string Lines(size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) text += "line " + std::to_string(i) + "\n";
  return text;
}

TEST(Body, Plain) {
  MemoryBudget memory(1 << 20);
  const std::string text = Lines(100'000);
  for (const size_t piece : {size_t{1'000}, text.size()}) {
    for (const bool expected : {false, true}) {
      Body body(Body::Encoding::kPlain, 200'000, &memory);
      const auto size = static_cast<int64_t>(text.size());
      EXPECT_EQ(body.Expect(expected ? size : 0), Body::Outcome::kOk);
      EXPECT_EQ(Feed(body, text, piece), Body::Outcome::kOk);
      EXPECT_EQ(body.text(), text);
      EXPECT_GE(memory.bytes(), static_cast<int64_t>(text.size()));
    }
  }
  EXPECT_EQ(memory.bytes(), 0);
}

TEST(Body, GzipInAnyPiecesAndSeveralMembers) {
  MemoryBudget memory(1 << 20);
  const std::string first = Lines(70'000), second = Lines(30'000);
  const std::string packed = Gzip(first) + Gzip("") + Gzip(second);
  for (const size_t piece : {size_t{1}, size_t{777}, packed.size()}) {
    Body body(Body::Encoding::kGzip, 200'000, &memory);
    EXPECT_EQ(Feed(body, packed, piece), Body::Outcome::kOk);
    EXPECT_EQ(body.text(), first + second);
  }
  EXPECT_EQ(memory.bytes(), 0);
}

// Programs that write whole blocks fill the last one with zeros (gzip(1), "trailing zero bytes").
TEST(Body, ZerosBehindGzipAreIgnored) {
  MemoryBudget memory(1 << 20);
  const std::string text = Lines(10'000);
  const std::string padded = Gzip(text) + std::string(1'000, '\0');
  for (const size_t piece : {size_t{1}, size_t{777}, padded.size()}) {
    Body body(Body::Encoding::kGzip, 200'000, &memory);
    EXPECT_EQ(Feed(body, padded, piece), Body::Outcome::kOk) << piece;
    EXPECT_EQ(body.text(), text);
    Body more(Body::Encoding::kGzip, 200'000, &memory);
    EXPECT_EQ(Feed(more, padded + Gzip(text), piece), Body::Outcome::kBroken) << piece;
  }
  Body zeros(Body::Encoding::kGzip, 200'000, &memory);
  EXPECT_EQ(Feed(zeros, std::string(100, '\0'), 100), Body::Outcome::kBroken);
}

TEST(Body, BrokenGzip) {
  MemoryBudget memory(1 << 20);
  const std::string packed = Gzip(Lines(10'000));
  std::string flipped = packed;
  flipped[flipped.size() / 2] ^= 0x55;
  std::string bad_sum = packed;
  bad_sum[bad_sum.size() - 6] ^= 1;
  for (const std::string& bytes :
       {std::string(), packed.substr(0, 5), packed.substr(0, packed.size() - 1),
        packed + "trailing", packed + packed.substr(0, 20), std::string("hello"), flipped,
        bad_sum}) {
    Body body(Body::Encoding::kGzip, 200'000, &memory);
    EXPECT_EQ(Feed(body, bytes, 100), Body::Outcome::kBroken) << bytes.size();
  }
}

TEST(Body, ABombIsRefusedWithoutBeingUnpacked) {
  MemoryBudget memory(64 << 20);
  const std::string bomb = Gzip(std::string(50 << 20, 'x'));
  EXPECT_LT(bomb.size(), 100'000u);
  Body body(Body::Encoding::kGzip, 1 << 20, &memory);
  EXPECT_EQ(Feed(body, bomb, 10'000), Body::Outcome::kTooLarge);
  EXPECT_LE(memory.bytes(), kBodyCopies * (1 << 20));
}

TEST(Body, TooLarge) {
  MemoryBudget memory(1 << 20);
  Body exact(Body::Encoding::kPlain, 1'000, &memory);
  EXPECT_EQ(Feed(exact, std::string(1'000, 'x'), 300), Body::Outcome::kOk);
  Body more(Body::Encoding::kPlain, 1'000, &memory);
  EXPECT_EQ(Feed(more, std::string(1'001, 'x'), 300), Body::Outcome::kTooLarge);
  Body told(Body::Encoding::kPlain, 1'000, &memory);
  EXPECT_EQ(told.Expect(1'001), Body::Outcome::kTooLarge);
}

TEST(Body, TheLargestBodyNeedsNoMoreThanItsShare) {
  MemoryBudget memory(kBodyCopies * 100'000);
  const std::string text = std::string(100'000, 'x');
  for (const auto encoding : {Body::Encoding::kPlain, Body::Encoding::kGzip}) {
    const bool gzip = encoding == Body::Encoding::kGzip;
    Body exact(encoding, 100'000, &memory);
    EXPECT_EQ(Feed(exact, gzip ? Gzip(text) : text, 700), Body::Outcome::kOk);
    EXPECT_EQ(exact.text(), text);
  }
  Body more(Body::Encoding::kGzip, 100'000, &memory);
  EXPECT_EQ(Feed(more, Gzip(text + "x"), 700), Body::Outcome::kTooLarge);
}

TEST(Body, AllBodiesShareOneBudget) {
  MemoryBudget memory(kBodyCopies * 100'000);
  Body first(Body::Encoding::kPlain, 80'000, &memory);
  EXPECT_EQ(first.Expect(80'000), Body::Outcome::kOk);
  {
    Body second(Body::Encoding::kPlain, 80'000, &memory);
    EXPECT_EQ(second.Expect(30'000), Body::Outcome::kNoMemory);
    EXPECT_EQ(Feed(second, Lines(30'000), 1'000), Body::Outcome::kNoMemory);
    Body packed(Body::Encoding::kGzip, 80'000, &memory);
    EXPECT_EQ(Feed(packed, Gzip(Lines(30'000)), 1'000), Body::Outcome::kNoMemory);
  }
  EXPECT_EQ(memory.bytes(), kBodyCopies * 80'000);
}

}  // namespace
}  // namespace sightline
