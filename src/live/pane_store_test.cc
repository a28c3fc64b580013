#include "live/pane_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

namespace sightline {
namespace {

constexpr int64_t kSecond = 1'000, kMinute = 60'000, kHour = 3'600'000;
// 2026-11-22 12:00:03 UTC.
constexpr EventTime kNow{1'795'348'803'000};

CountRow Row(EventTime pane, int64_t location, std::string item, int64_t count) {
  return {.key = {.pane_start = WindowStart(pane, {10 * kSecond}),
                  .location = {location},
                  .item = std::move(item)},
          .count = count};
}

// Every row ever added; answers by looking at each of the window's.
class Naive {
 public:
  void Add(const CountRow& row) { rows_.emplace(row.key.pane_start, row); }
  Top TopOf(const std::set<int64_t>& locations, Window window, int32_t limit,
            Watermark complete_until) const {
    std::map<std::string, std::pair<int64_t, int64_t>> counts;
    const auto end = rows_.lower_bound(window.end);
    for (auto it = rows_.lower_bound(window.start); it != end; ++it) {
      const auto& [start, row] = *it;
      if (!locations.empty() && !locations.contains(row.key.location.v)) continue;
      counts[row.key.item].first += row.count;
      if (start + Millis{10 * kSecond} > complete_until) counts[row.key.item].second += row.count;
    }
    std::vector<std::pair<std::string, std::pair<int64_t, int64_t>>> sorted(counts.begin(),
                                                                            counts.end());
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const auto& a, const auto& b) { return a.second.first > b.second.first; });
    Top top;
    top.items = static_cast<int32_t>(sorted.size());
    for (const auto& [item, count] : sorted) {
      top.total += count.first;
      const auto position = static_cast<int32_t>(top.rows.size()) + 1;
      if (position > limit) {
        top.other += count.first;
        continue;
      }
      const bool tied = position > 1 && top.rows.back().count == count.first;
      top.rows.push_back(
          {position, tied ? top.rows.back().rank : position, item, count.first, count.second});
    }
    return top;
  }

 private:
  std::multimap<EventTime, CountRow> rows_;
};

void ExpectSame(const Top& top, const Top& expected) {
  EXPECT_EQ(top.total, expected.total);
  EXPECT_EQ(top.other, expected.other);
  EXPECT_EQ(top.items, expected.items);
  ASSERT_EQ(top.rows.size(), expected.rows.size());
  for (size_t i = 0; i < top.rows.size(); ++i) {
    EXPECT_EQ(top.rows[i], expected.rows[i])
        << i << ": " << top.rows[i].item << " " << top.rows[i].count << "/"
        << top.rows[i].provisional << ", expected " << expected.rows[i].item << " "
        << expected.rows[i].count << "/" << expected.rows[i].provisional;
  }
}

// Adds, late corrections, a clock that goes on, jumps and steps back, readers that come and go:
// every answer is that of a recomputation.
class PaneStoreRandom : public testing::TestWithParam<int> {
 protected:
  static constexpr int64_t kLocations = 6;

  void AddSome() {
    std::vector<CountRow> rows;
    const bool far = random_() % 20 == 0;
    const int n = static_cast<int>(random_() % 12) + 1;
    for (int i = 0; i < n; ++i) {
      // Mostly of the last half minute, some late, few very late or from a clock that is fast.
      const uint32_t dice = random_() % 100;
      const int64_t age = dice < 70   ? random_() % (30 * kSecond)
                          : dice < 90 ? random_() % (2 * kHour)
                          : far       ? random_() % (28 * kHour)
                                      : -static_cast<int64_t>(random_() % (50 * kSecond));
      rows.push_back(Row(now_ - Millis{age}, random_() % kLocations,
                         "item" + std::to_string(random_() % items_), random_() % 4 + 1));
    }
    std::sort(rows.begin(), rows.end(),
              [](const CountRow& a, const CountRow& b) { return a.key < b.key; });
    for (const CountRow& row : rows) {
      if (row.key.pane_start >= store_.oldest()) naive_.Add(row);
    }
    store_.Add(rows, now_);
  }

  void MoveClock() {
    const uint32_t dice = random_() % 100;
    if (dice < 60) {
      now_ = now_ + Millis{static_cast<int64_t>(random_() % (15 * kSecond))};
    } else if (dice < 75) {
      now_ = now_ + Millis{static_cast<int64_t>(random_() % (40 * kMinute))};
    } else if (dice < 85) {
      now_ = now_ - Millis{static_cast<int64_t>(random_() % (3 * kMinute))};
    } else if (dice == 85) {
      now_ = now_ - Millis{static_cast<int64_t>(random_() % (5 * kHour))};
    } else if (dice == 86) {
      now_ = now_ + Millis{static_cast<int64_t>(random_() % (20 * kHour))};
    }
    if (random_() % 5 == 0) items_ = random_() % 40 + 1;
    if (random_() % 10 == 0) {
      const PaneStore::Index index = random_() % store_.size();
      store_.SetZone(index, zones_[random_() % zones_.size()]);
    }
  }

  void FollowSome() {
    const WindowChoice choice = choices_[random_() % choices_.size()];
    if (choice.end) return;
    if (followed_.contains(choice)) {
      store_.Unfollow(choice);
      followed_.erase(choice);
    } else if (store_.Follow(choice)) {
      followed_.insert(choice);
    }
  }

  void Check() {
    WindowChoice choice = choices_[random_() % choices_.size()];
    if (random_() % 5 == 0)
      choice.end = now_ - Millis{static_cast<int64_t>(random_() % (3 * kHour))};
    const auto limit = static_cast<int32_t>(random_() % 8);
    const Watermark complete_until =
        random_() % 4 == 0 ? kBeforeAllTime
                           : now_ - Millis{static_cast<int64_t>(random_() % (100 * kSecond))};
    const auto index = static_cast<PaneStore::Index>(random_() % store_.size());
    const int64_t oid = store_.location(index).v;
    Top top = store_.TopOf(index, choice, limit, now_, complete_until);
    if (top.window.start < store_.oldest()) return;
    ExpectSame(top, naive_.TopOf({oid}, top.window, limit, complete_until));
    EXPECT_EQ(top.window, store_.WindowOf(choice, index, now_));

    const PaneStore::Total total = store_.TotalOf(index, choice, now_);
    const Top one = naive_.TopOf({oid}, top.window, 1, complete_until);
    EXPECT_EQ(total.total, one.total);
    EXPECT_EQ(total.first == nullptr ? "" : *total.first, one.total == 0 ? "" : one.rows[0].item);

    top = store_.TopOf(std::nullopt, choice, limit, now_, complete_until);
    if (top.window.start < store_.oldest()) return;
    ExpectSame(top, naive_.TopOf({}, top.window, limit, complete_until));

    std::set<int64_t> oids;
    std::vector<PaneStore::Index> indices;
    for (PaneStore::Index i = 0; i < store_.size(); ++i) {
      if (i != 0 && random_() % 2 == 0) continue;
      indices.push_back(i);
      oids.insert(store_.location(i).v);
    }
    top = store_.TopOfSeveral(indices, choice, limit, now_, complete_until);
    ExpectSame(top, naive_.TopOf(oids, top.window, limit, complete_until));
  }

  std::mt19937 random_;
  EventTime now_ = kNow;
  uint32_t items_ = 10;
  PaneStore store_{PaneGrid({10 * kSecond}, {kMinute}), {24 * kHour}};
  Naive naive_;
  std::set<WindowChoice> followed_;
  const std::vector<TimeZone> zones_ = {TimeZone{}, TimeZone::Find("Asia/Kolkata").value(),
                                        TimeZone::Find("America/New_York").value()};
  const std::vector<WindowChoice> choices_ = {{.length = {kMinute}},    {.length = {5 * kMinute}},
                                              {.length = {kHour}},      {.length = {90 * kSecond}},
                                              {.length = {24 * kHour}}, {.today = true}};
};

TEST_P(PaneStoreRandom, AlwaysAsRecomputed) {
  random_.seed(static_cast<uint32_t>(GetParam()));
  for (int64_t location = 0; location < kLocations / 2; ++location) store_.IndexOf({location});
  for (int step = 0; step < 1'200; ++step) {
    SCOPED_TRACE(step);
    AddSome();
    if (random_() % 2 == 0) MoveClock();
    if (random_() % 10 == 0) FollowSome();
    if (random_() % 3 == 0) Check();
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, PaneStoreRandom, testing::Range(1, 7));

class PaneStoreTest : public testing::Test {
 protected:
  PaneStore store_{PaneGrid({10 * kSecond}, {kMinute}), {24 * kHour}};
  void Add(EventTime time, int64_t location, std::string item, int64_t count, EventTime now) {
    store_.Add(std::vector{Row(time, location, std::move(item), count)}, now);
  }
  int64_t TotalAt(EventTime end, Millis length) {
    return store_.TopOf(std::nullopt, {.length = length, .end = end}, 1, end, kBeforeAllTime).total;
  }
};

TEST_F(PaneStoreTest, WindowIncludesThePaneOfNow) {
  const WindowChoice minute{.length = {kMinute}};
  EXPECT_EQ(store_.WindowOf(minute, std::nullopt, kNow),
            (Window{kNow - Millis{53 * kSecond}, kNow + Millis{7 * kSecond}}));
  // At a pane's first moment that pane is in, at the moment before it is not.
  const EventTime boundary = kNow + Millis{7 * kSecond};
  EXPECT_EQ(store_.WindowOf(minute, std::nullopt, boundary).end, boundary + Millis{10 * kSecond});
  EXPECT_EQ(store_.WindowOf(minute, std::nullopt, boundary - Millis{1}).end, boundary);
}

TEST_F(PaneStoreTest, EndInThePastIsRoundedDown) {
  const Window window =
      store_.WindowOf({.length = {kMinute}, .end = kNow}, std::nullopt, kNow + Millis{kHour});
  EXPECT_EQ(window, (Window{kNow - Millis{63 * kSecond}, kNow - Millis{3 * kSecond}}));
  // A hostile one overflows nothing.
  for (int64_t end : {INT64_MIN, INT64_MAX})
    EXPECT_EQ(store_.TopOf(std::nullopt, {.end = EventTime{end}}, 3, kNow, kNow).total, 0);
  EXPECT_EQ(store_.TopOf(std::nullopt, {.length = {INT64_MAX}}, 3, kNow, kNow).total, 0);
  EXPECT_EQ(store_.TopOf(std::nullopt, {.length = {-5}}, 3, kNow, kNow).total, 0);
}

TEST_F(PaneStoreTest, TodayIsOfTheLocationsZone) {
  const auto kolkata = store_.IndexOf({1});
  store_.SetZone(kolkata, TimeZone::Find("Asia/Kolkata").value());
  const WindowChoice today{.today = true};
  const EventTime noon = kNow - Millis{3 * kSecond};
  EXPECT_EQ(store_.WindowOf(today, kolkata, kNow).start, noon - Millis{17 * kHour + 30 * kMinute});
  EXPECT_EQ(store_.WindowOf(today, std::nullopt, kNow).start, noon - Millis{12 * kHour});
  // One that ends at midnight is of the day before.
  const EventTime midnight = noon - Millis{12 * kHour};
  EXPECT_EQ(store_.WindowOf({.today = true, .end = midnight}, std::nullopt, kNow),
            (Window{midnight - Millis{24 * kHour}, midnight}));
}

TEST_F(PaneStoreTest, TodayStartsAnewAtMidnight) {
  const auto index = store_.IndexOf({1});
  const EventTime midnight = kNow - Millis{12 * kHour + 3 * kSecond};
  ASSERT_TRUE(store_.Follow({.today = true}));
  const auto total = [&](EventTime now) {
    return store_.TotalOf(index, {.today = true}, now).total;
  };
  Add(midnight - Millis{1}, 1, "a", 5, midnight - Millis{1});
  EXPECT_EQ(total(midnight - Millis{1}), 5);
  EXPECT_EQ(total(midnight), 0);
  Add(midnight, 1, "a", 2, midnight);
  EXPECT_EQ(total(midnight), 2);
  EXPECT_EQ(total(midnight - Millis{1}), 5);  // the clock steps back
}

TEST_F(PaneStoreTest, BeyondTheRetentionTimeMovesInWindows) {
  const EventTime old = kNow - Millis{24 * kHour + 30 * kMinute};
  const EventTime step = WindowStart(old, {kMinute});
  Add(step, 1, "a", 1, kNow);
  Add(step + Millis{50 * kSecond}, 1, "a", 10, kNow);
  Add(step + Millis{kMinute}, 1, "a", 100, kNow);
  for (int i = 0; i < 3; ++i) Add(kNow, 1, "a", 1'000, kNow);  // folds
  Add(step + Millis{20 * kSecond}, 1, "a", 10'000, kNow);      // a correction of a downsampled step
  EXPECT_EQ(TotalAt(step + Millis{kMinute}, {10 * kSecond}), 10'011);
  EXPECT_EQ(TotalAt(step + Millis{110 * kSecond}, {10 * kSecond}), 10'011);
  EXPECT_EQ(TotalAt(step + Millis{2 * kMinute}, {2 * kMinute}), 10'111);
  const Window window = store_.WindowOf({.length = {90 * kSecond}, .end = step + Millis{125'000}},
                                        std::nullopt, kNow);
  EXPECT_EQ(window, (Window{step, step + Millis{2 * kMinute}}));
}

TEST_F(PaneStoreTest, WhatIsOlderIsDroppedWithItsItemsAndMemory) {
  for (int i = 0; i < 2'000; ++i)
    Add(kNow - Millis{(i % 60) * kMinute}, i % 7, "old" + std::to_string(i), 1, kNow);
  EXPECT_EQ(store_.items(), 2'000);
  const int64_t before = store_.memory_bytes();
  EXPECT_GT(before, 100'000);
  const EventTime later = kNow + Millis{27 * kHour};
  for (int i = 0; i < 20; ++i) Add(later, i % 7, "new", 1, later);
  EXPECT_EQ(store_.items(), 1);
  EXPECT_LT(store_.memory_bytes(), before / 4);
  EXPECT_EQ(store_.oldest(),
            WindowStart(later + Millis{7 * kSecond} - PaneStore::kKept, {600'000}));
  Add(kNow, 1, "old", 1, later);  // too old to be kept
  EXPECT_EQ(store_.items(), 1);
  EXPECT_TRUE(store_.counted(1));
}

TEST_F(PaneStoreTest, ClockThatJumpsAheadLosesNothing) {
  Add(kNow, 1, "a", 7, kNow);
  Add(kNow, 1, "a", 1, kNow + Millis{1'000 * kHour});
  EXPECT_EQ(TotalAt(kNow + Millis{10 * kSecond}, {kMinute}), 8);
}

TEST_F(PaneStoreTest, FarFutureIsNotKept) {
  Add(kLastEventTime, 1, "a", 1, kNow);
  EXPECT_EQ(store_.items(), 0);
  EXPECT_TRUE(store_.counted(0));
  Add(kNow + Millis{20 * kSecond}, 1, "a", 1, kNow);  // waits for its window
  EXPECT_EQ(store_.TopOf(std::nullopt, {}, 1, kNow, kNow).total, 0);
  EXPECT_EQ(store_.TopOf(std::nullopt, {}, 1, kNow + Millis{20 * kSecond}, kNow).total, 1);
}

TEST_F(PaneStoreTest, ReplayOfMonthsStaysSmall) {
  int64_t most = 0;
  EventTime time = kNow - Millis{60 * 24 * kHour};
  for (; time < kNow; time = time + Millis{6 * kHour}) {
    std::vector<CountRow> rows;
    for (int i = 0; i < 100; ++i)
      rows.push_back(Row(time + Millis{i * 3 * kMinute}, i % 5, "item" + std::to_string(i), 1));
    store_.Add(rows, kNow);
    most = std::max(most, store_.memory_bytes());
  }
  EXPECT_LT(most, 2'000'000);
}

TEST_F(PaneStoreTest, FollowedWindowsAreBounded) {
  for (int i = 1; i <= PaneStore::kFollowedMax; ++i)
    EXPECT_TRUE(store_.Follow({.length = {i * kMinute}}));
  EXPECT_TRUE(store_.Follow({.length = {kMinute}}));  // one that is followed already
  EXPECT_FALSE(store_.Follow({.length = {kHour}}));
  store_.Unfollow({.length = {kMinute}});
  EXPECT_FALSE(store_.Follow({.length = {kHour}}));
  store_.Unfollow({.length = {kMinute}});
  EXPECT_TRUE(store_.Follow({.length = {kHour}}));
}

TEST_F(PaneStoreTest, ChangedTellsWhatMayHaveChanged) {
  const auto a = store_.IndexOf({1}), b = store_.IndexOf({2});
  const WindowChoice choice{.length = {kMinute}};
  ASSERT_TRUE(store_.Follow(choice));
  Add(kNow, 1, "x", 1, kNow);
  Add(kNow, 2, "x", 1, kNow);
  store_.TotalOf(a, choice, kNow);
  const uint64_t read = store_.NextStamp();
  Add(kNow, 2, "x", 1, kNow);
  EXPECT_LE(store_.TotalOf(a, choice, kNow).changed, read);
  EXPECT_GT(store_.TotalOf(b, choice, kNow).changed, read);
  const uint64_t again = store_.NextStamp();
  // The window moves: nothing left it, then something.
  EXPECT_LE(store_.TotalOf(a, choice, kNow + Millis{10 * kSecond}).changed, again);
  EXPECT_GT(store_.TotalOf(a, choice, kNow + Millis{kMinute}).changed, again);
  EXPECT_EQ(store_.TotalOf(a, choice, kNow + Millis{kMinute}).total, 0);
}

TEST(PaneGrid, BlocksAreMultiplesOfWindows) {
  for (const auto& [pane, window] : {std::pair{10'000, 60'000},
                                     {1'000, 60'000},
                                     {10'000, 3'600'000},
                                     {60'000, 60'000},
                                     {7'000, 21'000},
                                     {1, 1}}) {
    const PaneGrid grid({pane}, {window});
    EXPECT_EQ(grid.block.v % grid.window.v, 0);
    EXPECT_GE(grid.block.v / grid.pane.v, 6);
  }
}

}  // namespace
}  // namespace sightline
