#include "model/segment.h"

#include <gtest/gtest.h>

#include <random>

namespace sightline {
namespace {

CountRow Count(int64_t pane, int64_t location, std::string item, int64_t n) {
  return {.key = {{pane}, {location}, std::move(item)},
          .count = n,
          .first_detected = {pane + 1},
          .last_detected = {pane + 2}};
}
LedgerRow Row(int64_t camera, int64_t counted, int64_t duplicate) {
  LedgerRow row{.key = {.location = {1}, .camera = {camera}, .hour = {0}}};
  row.ledger.received = counted + duplicate;
  row.ledger.outcomes = {counted, duplicate};
  return row;
}
Segment Example() {
  Segment segment{.first = {3}, .next = {9}, .watermark = {-5}};
  segment.counts = {Count(-10'000, -7, "bus", 2), Count(0, INT64_MIN, "a", 1),
                    Count(0, 1, "car", INT64_MAX)};
  segment.counts[1].key.kind = CountKind::kCorrection;
  segment.ledger = {Row(1, 2, 3), Row(2, 0, 1)};
  segment.dead_letters = {{.outcome = Outcome::kTooLate,
                           .offset = {4},
                           .index = 2,
                           .append_time = {77},
                           .bytes = std::string("\0x", 2)}};
  return segment;
}

TEST(Ledger, EncodesAndDecodesTheSame) {
  const Ledger ledger{.received = 21,
                      .outcomes = {1, 2, 3, 4, 5, 6},
                      .conflicts = 7,
                      .heartbeats = int64_t{1} << 53};
  ByteWriter out;
  ledger.Encode(out);
  ByteReader in(out.bytes());
  const Result<Ledger> read = Ledger::Decode(in);
  ASSERT_TRUE(read.ok());
  EXPECT_TRUE(in.done());
  EXPECT_EQ(read.value(), ledger);
}

// So a program that reads one form never misreads the other.
TEST(Ledger, WhatIsLostComesFirstAndOnlyIfThereIsSome) {
  const Ledger ledger{.received = 3, .outcomes = {1, 2}, .heartbeats = 4, .lost = 1'000};
  ByteWriter out, without;
  ledger.Encode(out);
  Ledger{.received = 3, .outcomes = {1, 2}, .heartbeats = 4}.Encode(without);
  EXPECT_EQ(without.bytes(), std::string("\1\2\0\0\0\0\0\4", 8));
  ByteReader in(out.bytes());
  EXPECT_EQ(in.Varint(), uint64_t{1} << 63);  // more than a program that knows no losses accepts
  EXPECT_EQ(in.Varint(), 1'000u);
  EXPECT_EQ(in.Raw(in.remaining()), without.bytes());
  ByteReader whole(out.bytes());
  const Result<Ledger> read = Ledger::Decode(whole);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read.value(), ledger);
  EXPECT_TRUE(read.value().Balanced());
}

TEST(Segment, AGapSaysHowMuchIsLost) {
  const Segment gap = GapSegment({5}, {12}, {70});
  EXPECT_TRUE(gap.IsGap());
  EXPECT_EQ(gap.Total(), Ledger{.lost = 7});
  EXPECT_EQ(gap.watermark, Watermark{70});
  EXPECT_FALSE((Segment{.first = {5}, .next = {12}}).IsGap());
}

TEST(Ledger, RefusesWhatIsCutOrCouldOverflow) {
  ByteWriter out;
  Ledger{.heartbeats = (int64_t{1} << 53) + 1}.Encode(out);
  ByteReader large(out.bytes());
  EXPECT_FALSE(Ledger::Decode(large).ok());
  ByteReader cut(std::string_view("\1\1\1\1\1\1\1"));
  EXPECT_FALSE(Ledger::Decode(cut).ok());
}

TEST(Segment, EncodesAndDecodesTheSame) {
  ByteWriter out;
  Example().Encode(out);
  ByteReader in(out.bytes());
  const Result<Segment> read = Segment::Decode(in);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value(), Example());
  EXPECT_TRUE(in.done());
}

TEST(Segment, DamageIsToldAndNeverCrashes) {
  ByteWriter out;
  Example().Encode(out);
  const std::string bytes = out.bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    ByteReader in(std::string_view(bytes).substr(0, size));
    EXPECT_FALSE(Segment::Decode(in).ok()) << size;
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string damaged = bytes;
    damaged[random() % damaged.size()] = static_cast<char>(random());
    damaged[random() % damaged.size()] = static_cast<char>(random());
    ByteReader in(damaged);
    (void)Segment::Decode(in);
  }
}

TEST(Segment, RowsAreSortedAndThoseOfOneKeyAddedUp) {
  std::vector<CountRow> counts;
  SortCounts(counts);
  EXPECT_TRUE(counts.empty());
  counts = {Count(10, 1, "a", 1), Count(0, 2, "a", 2), Count(0, 1, "b", 4), Count(0, 2, "a", 8),
            Count(0, 1, "a", 16)};
  counts[3].first_detected = {-1};
  CountRow both = Count(0, 2, "a", 10);
  both.first_detected = {-1};
  SortCounts(counts);
  EXPECT_EQ(counts, (std::vector<CountRow>{Count(0, 1, "a", 16), Count(0, 1, "b", 4), both,
                                           Count(10, 1, "a", 1)}));
  std::vector<LedgerRow> ledger = {Row(3, 0, 1), Row(1, 3, 0), Row(3, 2, 0), Row(3, 0, 1)};
  SortLedger(ledger);
  EXPECT_EQ(ledger, (std::vector<LedgerRow>{Row(1, 3, 0), Row(3, 2, 2)}));
}

TEST(Segment, MergeAddsUpRowsOfOneKeyAndKeepsTheOrder) {
  Segment a{.first = {0}, .next = {5}, .watermark = {1}};
  a.counts = {Count(0, 1, "a", 1), Count(0, 1, "c", 2)};
  a.ledger = {Row(1, 3, 0)};
  Segment b{.first = {5}, .next = {7}, .watermark = {2}};
  b.counts = {Count(0, 1, "b", 4), Count(0, 1, "c", 3)};
  b.counts[1].first_detected = {-1};
  b.ledger = {Row(1, 7, 2), Row(3, 0, 1)};
  a.Merge(std::move(b));
  EXPECT_EQ(a.next.v, 7);
  EXPECT_EQ(a.watermark.v, 2);
  ASSERT_EQ(a.counts.size(), 3u);
  EXPECT_EQ(a.counts[1].key.item, "b");
  EXPECT_EQ(a.counts[2].count, 5);
  EXPECT_EQ(a.counts[2].first_detected.v, -1);
  EXPECT_EQ(a.Total().received, 13);
  EXPECT_TRUE(a.Total().Balanced());
}

}  // namespace
}  // namespace sightline
