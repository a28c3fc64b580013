#include "live/live.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <thread>

namespace sightline {
namespace {

constexpr int64_t kStartMs = 1'795'348'803'000;  // 2026-11-22 12:00:03 UTC
const SourcePartition kLeft{"log", 0}, kRight{"log", 1};
const WindowChoice kFive{};

struct Seen {
  int64_t location = 0;
  std::string item;
  int64_t count = 1;
  int64_t age_ms = 0;
};

// Counts and their ledger rows, as an engine's segment has them: a duplicate beside each count.
Segment SegmentOf(int64_t first, int64_t next, const std::vector<Seen>& all,
                  int64_t now_ms = kStartMs) {
  Segment segment{.first = {first}, .next = {next}, .watermark = {now_ms - 10'000}};
  for (const Seen& seen : all) {
    MergeCounts(segment.counts,
                {{.key = {.pane_start = WindowStart({now_ms - seen.age_ms}, {10'000}),
                          .location = {seen.location},
                          .item = seen.item},
                  .count = seen.count}});
    Ledger ledger{.received = seen.count + 1, .outcomes = {seen.count, 1}};
    MergeLedger(segment.ledger, {{.key = {.location = {seen.location}}, .ledger = ledger}});
  }
  return segment;
}

bool Apply(Live& live, const SourcePartition& partition, const Segment& segment) {
  return live.Apply(partition, std::span(&segment, 1));
}

std::vector<std::string> Items(const Top& top) {
  std::vector<std::string> items;
  for (const TopRow& row : top.rows) items.push_back(row.item);
  return items;
}

class LiveTest : public testing::Test {
 protected:
  ManualClock clock_{kStartMs};
  std::map<SourcePartition, LogEnd> ends_;
  Live live_{{.log_end = [this](const SourcePartition& name) { return ends_[name]; }}, &clock_};
  const Scope all_ = Scope::All();
};

TEST_F(LiveTest, EmptyAnswersEverything) {
  EXPECT_EQ(live_.Committed(kLeft), kNothingApplied);
  EXPECT_EQ(live_.CompleteUntil(), kBeforeAllTime);
  EXPECT_TRUE(live_.Locations(all_, kFive).empty());
  const Top top = live_.TopItems(all_, LocationId{1}, kFive, 10);
  EXPECT_EQ(top.location, LocationId{1});
  EXPECT_EQ(top.window, (Window{{kStartMs - 293'000}, {kStartMs + 7'000}}));
  EXPECT_EQ(top.total, 0);
  EXPECT_EQ(live_.LedgerTotal(all_), Ledger{});
  EXPECT_EQ(live_.changed_at_ms(), 0);
  EXPECT_GE(live_.memory_bytes(), 0);
}

TEST_F(LiveTest, ApplyIsCompareAndSet) {
  EXPECT_TRUE(live_.Apply(kLeft, {}));
  EXPECT_EQ(live_.Committed(kLeft), kNothingApplied);
  EXPECT_TRUE(
      Apply(live_, kLeft, SegmentOf(100, 110, {{1, "bus", 2}})));  // the first, whatever it is
  EXPECT_EQ(live_.Committed(kLeft), Offset{110});
  const uint64_t version = live_.version();
  EXPECT_FALSE(Apply(live_, kLeft, SegmentOf(100, 110, {{1, "bus", 2}})));
  EXPECT_FALSE(Apply(live_, kLeft, SegmentOf(111, 112, {{1, "bus", 2}})));
  const std::vector<Segment> hole = {SegmentOf(110, 120, {{1, "bus"}}), SegmentOf(121, 130, {})};
  EXPECT_FALSE(live_.Apply(kLeft, hole));
  EXPECT_EQ(live_.version(), version);
  EXPECT_EQ(live_.TopItems(all_, LocationId{1}, kFive, 10).total, 2);
  const std::vector<Segment> two = {SegmentOf(110, 120, {{1, "bus"}}),
                                    SegmentOf(120, 130, {{1, "car"}})};
  EXPECT_TRUE(live_.Apply(kLeft, two));
  EXPECT_TRUE(Apply(live_, kRight, SegmentOf(5, 6, {{1, "car", 9}})));
  EXPECT_EQ(live_.Committed(kLeft), Offset{130});
  EXPECT_EQ(live_.TopItems(all_, LocationId{1}, kFive, 10).total, 13);
  EXPECT_GT(live_.version(), version);
}

TEST_F(LiveTest, ProvisionalUntilEveryPartitionHasPassed) {
  Apply(live_, kLeft, SegmentOf(0, 1, {{1, "bus", 3, 40'000}, {1, "bus", 4}}));
  Top top = live_.TopItems(all_, LocationId{1}, kFive, 10);
  EXPECT_EQ(top.complete_until, Watermark{kStartMs - 10'000});
  EXPECT_EQ(top.rows[0].count, 7);
  EXPECT_EQ(top.rows[0].provisional, 4);
  ends_[kRight] = {{7}, {kStartMs}};
  live_.Load(kRight, {}, kNothingApplied, {});  // a partition that is behind: nothing is complete
  EXPECT_EQ(live_.TopItems(all_, LocationId{1}, kFive, 10).rows[0].provisional, 7);
  live_.Load(kRight, {}, {7}, {});
  clock_.Advance(30'000);  // kRight is idle: until kNow - 10 s
  EXPECT_EQ(live_.CompleteUntil(), Watermark{kStartMs - 10'000});
  EXPECT_EQ(live_.TopItems(all_, LocationId{1}, kFive, 10).rows[0].provisional, 4);
}

TEST_F(LiveTest, LateCorrectionIsVisibleAtOnceAndInThePast) {
  Apply(live_, kLeft, SegmentOf(0, 1, {{1, "bus", 3}}));
  const WindowChoice past{.length = {60'000}, .end = EventTime{kStartMs - 600'000}};
  EXPECT_EQ(live_.TopItems(all_, LocationId{1}, past, 10).total, 0);
  Apply(live_, kLeft, SegmentOf(1, 2, {{1, "car", 1, 610'000}}));
  EXPECT_EQ(Items(live_.TopItems(all_, LocationId{1}, past, 10)), std::vector<std::string>{"car"});
}

TEST_F(LiveTest, LocationsAreThoseCountedOrInTheTable) {
  Segment unseen = SegmentOf(0, 1, {{3, "bus", 2}, {1, "car"}});
  MergeLedger(unseen.ledger,
              {{.key = {.location = {9}}, .ledger = {.received = 1, .outcomes = {0, 0, 1}}}});
  Apply(live_, kLeft, unseen);  // location 9 had only a late event: it never counted
  EXPECT_EQ(live_.Locations(all_, kFive),
            (std::vector<LocationTotal>{{{1}, "", 1, "car"}, {{3}, "", 2, "bus"}}));
  live_.SetLocations({{.location = {2}, .name = "Gate 2", .time_zone = "Europe/Berlin"},
                      {.location = {3}, .name = "Gate 1", .time_zone = "No/Such"}});
  EXPECT_EQ(live_.Locations(all_, kFive),
            (std::vector<LocationTotal>{
                {{1}, "", 1, "car"}, {{3}, "Gate 1", 2, "bus"}, {{2}, "Gate 2", 0, ""}}));
  live_.SetLocations({});  // swapped whole
  EXPECT_EQ(live_.Locations(all_, kFive).size(), 2u);
  clock_.Advance(3'600'000);
  EXPECT_EQ(live_.Locations(all_, kFive).size(), 2u);  // ever counted
}

TEST_F(LiveTest, TodayIsEachLocationsOwn) {
  live_.SetLocations({{.location = {1}, .name = "Delhi", .time_zone = "Asia/Kolkata"},
                      {.location = {2}, .name = "London", .time_zone = "Europe/London"}});
  // 18:15 UTC yesterday is yesterday in both, 19:00 UTC is today in Delhi alone.
  Apply(live_, kLeft, SegmentOf(0, 1, {{1, "a", 1, 17'748'000}, {2, "a", 1, 17'748'000}}));
  Apply(live_, kLeft, SegmentOf(1, 2, {{1, "b", 10, 61'200'000}, {2, "b", 10, 61'200'000}}));
  Apply(live_, kLeft, SegmentOf(2, 3, {{1, "c", 100, 63'900'000}, {2, "c", 100, 63'900'000}}));
  const WindowChoice today{.today = true};
  EXPECT_EQ(live_.TopItems(all_, LocationId{1}, today, 10).total, 11);
  EXPECT_EQ(live_.TopItems(all_, LocationId{2}, today, 10).total, 1);
  EXPECT_EQ(live_.TopItems(all_, std::nullopt, today, 10).total, 2);  // UTC
  EXPECT_EQ(live_.Locations(all_, today)[0].total, 11);
}

TEST_F(LiveTest, ScopeHidesCountsLocationsAndLedger) {
  Segment segment = SegmentOf(0, 1, {{1, "bus", 5}, {2, "car", 7}, {3, "bus", 1}});
  MergeLedger(segment.ledger,
              {{.key = {.known = false}, .ledger = {.received = 1, .outcomes = {0, 0, 0, 0, 1}}}});
  Apply(live_, kLeft, segment);
  const Scope some{{{LocationId{1}, LocationId{3}, LocationId{77}}}};
  EXPECT_EQ(live_.TopItems(some, LocationId{2}, kFive, 10).total, 0);
  EXPECT_TRUE(live_.TopItems(some, LocationId{2}, kFive, 10).rows.empty());
  const Top top = live_.TopItems(some, std::nullopt, kFive, 10);
  EXPECT_EQ(Items(top), std::vector<std::string>{"bus"});
  EXPECT_EQ(top.total, 6);
  EXPECT_EQ(top.rows[0].provisional, 6);
  EXPECT_EQ(live_.Locations(some, kFive).size(), 2u);
  EXPECT_EQ(live_.LedgerTotal(some).of(Outcome::kCounted), 6);
  EXPECT_EQ(live_.LedgerTotal(some).of(Outcome::kMalformed), 0);
  EXPECT_EQ(live_.LedgerTotal(all_).of(Outcome::kMalformed), 1);
  EXPECT_EQ(live_.LedgerTotal(all_).received, 17);
  EXPECT_TRUE(live_.LedgerTotal(all_).Balanced());
  const Scope none{std::set<LocationId>{}};
  EXPECT_EQ(live_.TopItems(none, std::nullopt, kFive, 10).total, 0);
  EXPECT_EQ(live_.LedgerTotal(none), Ledger{});
  EXPECT_TRUE(live_.Locations(none, kFive).empty());
}

TEST_F(LiveTest, ReadGivesWhatMayHaveChangedSince) {
  const auto followed = live_.Follow(kFive);
  ASSERT_NE(followed, nullptr);
  Apply(live_, kLeft, SegmentOf(0, 1, {{1, "bus"}, {2, "bus"}}));
  const std::vector<TopQuery> queries = {{LocationId{1}, 1}, {std::nullopt, 5}, {LocationId{9}, 5}};
  Reading reading = live_.Read(all_, kFive, queries, 0);
  EXPECT_TRUE(reading.everything);
  EXPECT_EQ(reading.locations.size(), 2u);
  ASSERT_EQ(reading.tops.size(), 3u);
  EXPECT_EQ(reading.tops[1].total, 2);
  EXPECT_EQ(reading.changed_at_ms, kStartMs);
  EXPECT_EQ(reading.ledger, live_.LedgerTotal(all_));
  const auto next = [&] { return reading = live_.Read(all_, kFive, {}, reading.stamp); };
  EXPECT_TRUE(next().locations.empty());
  EXPECT_FALSE(reading.everything);
  Apply(live_, kLeft, SegmentOf(1, 2, {{2, "bus"}}));
  ASSERT_EQ(next().locations.size(), 1u);
  EXPECT_EQ(reading.locations[0], (LocationTotal{{2}, "", 2, "bus"}));
  Apply(live_, kLeft, SegmentOf(2, 3, {{2, "bus", 1, 3'600'000}}));  // outside the window
  EXPECT_TRUE(next().locations.empty());
  live_.SetLocations({{.location = {1}, .name = "Gate"}, {.location = {5}, .name = "New"}});
  EXPECT_EQ(next().locations.size(), 2u);
  EXPECT_FALSE(reading.everything);
  clock_.Advance(300'000);  // all counts leave the window
  EXPECT_EQ(next().locations.size(), 2u);
  live_.SetLocations({{.location = {1}, .name = "Gate"}});  // 5 goes away
  EXPECT_TRUE(next().everything);
  EXPECT_EQ(reading.locations.size(), 2u);
  live_.Load(kRight, {}, {7}, {});
  EXPECT_TRUE(next().everything);
}

TEST_F(LiveTest, LoadContinuesWhereTheDurableCountsEnd) {
  Segment old = SegmentOf(0, 50, {{1, "bus", 5, 60'000}});
  Ledger total = old.Total();
  total.received += 1'000;  // older segments are not at hand
  total.outcomes[0] += 1'000;
  live_.Load(kLeft, std::span(&old, 1), {50}, total);
  EXPECT_EQ(live_.Committed(kLeft), Offset{50});
  EXPECT_EQ(live_.LedgerTotal(all_), total);
  EXPECT_EQ(live_.LedgerTotal({{{LocationId{1}}}}), old.Total());
  EXPECT_FALSE(Apply(live_, kLeft, SegmentOf(0, 50, {{1, "bus", 5, 60'000}})));
  EXPECT_TRUE(Apply(live_, kLeft, SegmentOf(50, 60, {{1, "bus", 1}})));
  EXPECT_EQ(live_.TopItems(all_, LocationId{1}, kFive, 10).total, 6);
  live_.Load(kRight, {}, kNothingApplied, {});
  EXPECT_EQ(live_.Committed(kRight), kNothingApplied);
  EXPECT_TRUE(Apply(live_, kRight, SegmentOf(1'000, 1'001, {{1, "bus", 1}})));
}

// Cut anywhere by a restart, with late corrections and followed windows: the same in the end.
TEST_F(LiveTest, RestartGivesTheSameAnswers) {
  std::mt19937 random(11);
  ManualClock clock(kStartMs);
  auto live = std::make_unique<Live>(LiveOptions{}, &clock);
  Live never_stopped({}, &clock);
  std::vector<std::unique_ptr<Live::Followed>> followed;
  const std::vector<WindowChoice> windows = {
      {.length = {60'000}}, kFive, {.length = {3'600'000}}, {.today = true}};
  const auto always_followed = never_stopped.Follow(windows[1]);
  std::map<SourcePartition, std::vector<Segment>> durable;
  const std::vector<Location> table = {
      {.location = {1}, .name = "One", .time_zone = "Europe/Berlin"},
      {.location = {9}, .name = "Nine"}};
  live->SetLocations(table);
  never_stopped.SetLocations(table);
  for (int i = 0; i < 400; ++i) {
    const SourcePartition& partition = random() % 2 == 0 ? kLeft : kRight;
    auto& segments = durable[partition];
    std::vector<Seen> seen(random() % 6);
    for (Seen& one : seen) {
      const int64_t reach = random() % 4 == 0 ? 7'200'000 : 20'000;
      one.location = static_cast<int64_t>(random() % 5);
      one.item = "item" + std::to_string(random() % 9);
      one.count = static_cast<int64_t>(random() % 3) + 1;
      one.age_ms = static_cast<int64_t>(random() % reach);
    }
    const int64_t first = segments.empty() ? 0 : segments.back().next.v;
    segments.push_back(SegmentOf(first, first + 10, seen, clock.NowMs()));
    ASSERT_TRUE(Apply(*live, partition, segments.back()));
    ASSERT_TRUE(Apply(never_stopped, partition, segments.back()));
    clock.Advance(random() % 30'000);
    if (random() % 40 == 0) {
      followed.clear();
      live = std::make_unique<Live>(LiveOptions{}, &clock);
      live->SetLocations(table);
      for (const auto& [name, known] : durable) {
        Ledger total;
        for (const Segment& segment : known) total.Add(segment.Total());
        live->Load(name, known, known.back().next, total);
      }
    }
    if (random() % 10 == 0) followed.push_back(live->Follow(windows[random() % windows.size()]));
    for (const WindowChoice& window : windows) {
      EXPECT_EQ(live->Locations(all_, window), never_stopped.Locations(all_, window));
      const Top a = live->TopItems(all_, std::nullopt, window, 5);
      const Top b = never_stopped.TopItems(all_, std::nullopt, window, 5);
      EXPECT_EQ(a.total, b.total);
      EXPECT_EQ(Items(a), Items(b));
    }
    ASSERT_EQ(live->LedgerTotal(all_), never_stopped.LedgerTotal(all_));
    ASSERT_EQ(live->LedgerTotal({{{LocationId{1}}}}),
              never_stopped.LedgerTotal({{{LocationId{1}}}}));
    if (HasFailure()) return;
  }
}

TEST_F(LiveTest, OnChangeIsCalledAfterEachChange) {
  std::atomic<int> calls = 0;
  live_.OnChange([&] { ++calls; });
  live_.OnChange([&] { calls += 100; });
  Apply(live_, kLeft, SegmentOf(0, 1, {{1, "bus"}}));
  EXPECT_EQ(calls, 101);
  Apply(live_, kLeft, SegmentOf(0, 1, {{1, "bus"}}));  // refused
  EXPECT_EQ(calls, 101);
  live_.SetLocations({});
  EXPECT_EQ(calls, 202);
}

TEST_F(LiveTest, ConcurrentFeedersAndReaders) {
  constexpr int kSegments = 300;
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (int feeder = 0; feeder < 3; ++feeder) {
    threads.emplace_back([this, feeder] {
      const SourcePartition partition{"log", feeder};
      for (int i = 0; i < kSegments; ++i) {
        EXPECT_TRUE(Apply(live_, partition,
                          SegmentOf(i, i + 1, {{i % 7, "item" + std::to_string(i % 11), 2}})));
        if (i % 100 == 0)
          live_.SetLocations({{.location = {i % 5}, .name = "Gate", .time_zone = "Europe/Berlin"}});
      }
    });
  }
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([this, &done, reader] {
      std::unique_ptr<Live::Followed> followed;
      while (!done.load()) {
        followed = reader == 0 ? live_.Follow(kFive) : nullptr;
        const Reading reading =
            live_.Read(all_, kFive, std::vector<TopQuery>{{std::nullopt, 3}}, 0);
        int64_t sum = 0;
        for (const LocationTotal& location : reading.locations) sum += location.total;
        EXPECT_EQ(sum, reading.tops[0].total);
        EXPECT_EQ(sum, reading.ledger.of(Outcome::kCounted));
        live_.TopItems({{{LocationId{1}}}}, LocationId{1}, {.today = true}, 3);
        live_.CompleteUntil();
        live_.memory_bytes();
      }
    });
  }
  for (int feeder = 0; feeder < 3; ++feeder) threads[feeder].join();
  done = true;
  for (size_t i = 3; i < threads.size(); ++i) threads[i].join();
  EXPECT_EQ(live_.TopItems(all_, std::nullopt, kFive, 3).total, 3 * kSegments * 2);
}

}  // namespace
}  // namespace sightline
