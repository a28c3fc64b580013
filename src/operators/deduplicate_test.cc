#include "operators/deduplicate.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>

#include "operators/count_operator.h"

namespace sightline {
namespace {

PipelineSpec Spec() {
  PipelineSpec spec;
  spec.out_of_orderness = {10};
  spec.dedup_horizon = {100};
  spec.future_tolerance = {30};
  spec.max_age = Millis{1'000};
  spec.camera_ttl = {1'100};
  return spec;
}
Event Detection(int64_t camera, int64_t id, int64_t time, std::string_view item = "car") {
  return {.camera = {camera}, .location = {1}, .id = {id}, .item = item, .time = {time}};
}
Event Heartbeat(int64_t camera, int64_t time) {
  return {.kind = Event::Kind::kHeartbeat, .camera = {camera}, .location = {1}, .time = {time}};
}
constexpr auto kCounted = Outcome::kCounted;
constexpr auto kDuplicate = Outcome::kDuplicate;

TEST(Deduplicate, ACopyIsADuplicateAndAnotherStoryAConflict) {
  Deduplicate d(Spec());
  EXPECT_EQ(d.Decide(Detection(1, 7, 500), {500}).outcome, kCounted);
  const Decision copy = d.Decide(Detection(1, 7, 500), {501});
  EXPECT_EQ(copy.outcome, kDuplicate);
  EXPECT_FALSE(copy.conflict);
  EXPECT_TRUE(d.Decide(Detection(1, 7, 500, "bus"), {502}).conflict);
  EXPECT_TRUE(d.Decide(Detection(2, 7, 500), {503}).conflict);
}

TEST(Deduplicate, AnIdIsForgottenExactlyBehindTheHorizonAndCopiesRefreshIt) {
  for (const bool refreshed : {false, true}) {
    Deduplicate d(Spec());
    EXPECT_EQ(d.Decide(Detection(1, 7, 500), {500}).outcome, kCounted);
    if (refreshed) {
      EXPECT_EQ(d.Decide(Detection(1, 7, 501), {501}).outcome, kDuplicate);
    }
    d.Decide(Heartbeat(1, 611), {611});  // watermark 601: 500 is behind 601 - 100, 501 is not
    EXPECT_EQ(d.Decide(Detection(1, 7, 505), {612}).outcome, refreshed ? kDuplicate : kCounted);
  }
}

TEST(Deduplicate, LatenessIsTheCamerasOwn) {
  Deduplicate d(Spec());
  d.Decide(Detection(1, 1, 900), {900});
  EXPECT_EQ(d.Decide(Detection(2, 2, 500), {901}).outcome, kCounted);
  EXPECT_EQ(d.Decide(Detection(1, 3, 789), {902}).outcome, Outcome::kTooLate);
  EXPECT_EQ(d.Decide(Detection(1, 4, 790), {903}).outcome, kCounted);
  EXPECT_EQ(d.Decide(Detection(3, 5, -98), {903}).outcome, Outcome::kTooLate);  // max_age
}

TEST(Deduplicate, TheFutureMovesNoWatermark) {
  Deduplicate d(Spec());
  EXPECT_EQ(d.Decide(Detection(1, 1, 531), {500}).outcome, Outcome::kFuture);
  EXPECT_FALSE(d.Decide(Heartbeat(1, 5'000), {500}).outcome.has_value());
  EXPECT_EQ(d.watermark(), kBeforeAllTime);
  EXPECT_EQ(d.Decide(Detection(1, 1, 530), {500}).outcome, kCounted);
  EXPECT_EQ(d.watermark().v, 520);
}

TEST(Deduplicate, ASilentCamerasIdsAreForgotten) {
  for (const int64_t back : {1'600, 1'601}) {
    Deduplicate d(Spec());
    d.Decide(Detection(1, 7, 500), {500});
    Event copy = Detection(2, 7, back);
    EXPECT_EQ(d.Decide(copy, {back}).outcome, back == 1'600 ? kDuplicate : kCounted) << back;
    Deduplicate e(Spec());
    e.Decide(Detection(1, 7, 500), {500});
    e.Decide(Heartbeat(1, 500), {back});  // the camera itself returns
    EXPECT_EQ(e.Decide(Detection(2, 7, back), {back}).outcome,
              back == 1'600 ? kDuplicate : kCounted);
  }
}

// Append times go back when a broker's clock is set, or a leader with another clock takes over.
TEST(Deduplicate, WhatIsForgottenStaysForgottenWhenAppendTimesGoBack) {
  PipelineSpec spec = Spec();
  spec.max_age.reset();
  Deduplicate d(spec);
  EXPECT_EQ(d.Decide(Detection(1, 7, 500), {500}).outcome, kCounted);
  EXPECT_EQ(d.Decide(Detection(2, 8, 500), {500}).outcome, kCounted);
  // Back by a little: nothing is forgotten.
  EXPECT_EQ(d.Decide(Detection(2, 8, 500), {475}).outcome, kDuplicate);
  // Another camera's record comes beyond camera_ttl, and the clock is set right again.
  EXPECT_EQ(d.Decide(Detection(3, 9, 500), {500 + 1'101}).outcome, kCounted);
  EXPECT_EQ(d.Decide(Detection(1, 7, 500), {510}).outcome, kCounted) << "it was forgotten";
  EXPECT_EQ(d.Decide(Detection(1, 7, 500), {511}).outcome, kDuplicate) << "once";
  EXPECT_EQ(d.Decide(Detection(3, 8, 500), {512}).outcome, kCounted) << "camera 2 was silent";
  // The same from a checkpoint in between.
  std::string state;
  d.Save([&](std::string_view piece) { state += piece; });
  Deduplicate loaded(spec);
  ByteReader in(state);
  ASSERT_TRUE(loaded.Load(in).ok());
  EXPECT_EQ(loaded.Decide(Detection(1, 7, 500), {520}).outcome, kDuplicate);
  EXPECT_EQ(loaded.Decide(Detection(2, 10, 500), {520}).outcome, kCounted);
  EXPECT_EQ(loaded.Decide(Detection(2, 10, 500), {521}).outcome, kDuplicate);
}

TEST(Deduplicate, OutsideIsRememberedButNotCounted) {
  PipelineSpec spec = Spec();
  spec.count_from = {500};
  Deduplicate d(spec);
  EXPECT_EQ(d.Decide(Detection(1, 7, 499), {499}).outcome, Outcome::kOutside);
  EXPECT_EQ(d.Decide(Detection(1, 7, 500), {500}).outcome, kDuplicate);
  EXPECT_EQ(d.Decide(Detection(1, 8, 500), {500}).outcome, kCounted);
}

TEST(Deduplicate, IdentityOfCameraAndDetection) {
  PipelineSpec spec = Spec();
  spec.identity = Identity::kCameraAndDetection;
  Deduplicate d(spec);
  EXPECT_EQ(d.Decide(Detection(1, 7, 500), {500}).outcome, kCounted);
  EXPECT_EQ(d.Decide(Detection(2, 7, 500), {500}).outcome, kCounted);
  EXPECT_EQ(d.Decide(Detection(2, 7, 500), {500}).outcome, kDuplicate);
  EXPECT_FALSE(d.Decide(Detection(1, 7, 500), {500}).conflict);
}

// The longest memory that is allowed: a fact's times need more than half of their 32 bits.
TEST(Deduplicate, TheLongestHorizonStaysExact) {
  constexpr int64_t kDay = 86'400'000;
  PipelineSpec spec;
  spec.dedup_horizon = {40 * kDay - spec.out_of_orderness.v};
  spec.max_age.reset();
  ASSERT_TRUE(spec.Validate().ok()) << spec.Validate().message();
  Deduplicate d(spec);
  for (int64_t day = 0; day <= 200; day += 8) {
    EXPECT_EQ(d.Decide(Detection(1, day, day * kDay), kNoAppendTime).outcome, kCounted);
    for (int64_t old = std::max<int64_t>(0, day - 32); old <= day; old += 8) {
      EXPECT_EQ(d.Decide(Detection(1, old, old * kDay), kNoAppendTime).outcome, kDuplicate)
          << old << " on day " << day;
    }
  }
}

TEST(Deduplicate, TimesFarApartInOneCameraStayExact) {
  PipelineSpec spec = Spec();
  spec.max_age.reset();
  Deduplicate d(spec);
  // Each jump is more than 2^32 ms. A copy from a camera that is far ahead moves the memory with
  // it.
  const int64_t jump = int64_t{1} << 33;
  EXPECT_EQ(d.Decide(Detection(1, 1, 0), kNoAppendTime).outcome, kCounted);
  EXPECT_EQ(d.Decide(Detection(2, 1, 3 * jump), kNoAppendTime).outcome, kDuplicate);
  EXPECT_EQ(d.Decide(Detection(1, 2, jump), kNoAppendTime).outcome, kCounted);
  EXPECT_EQ(d.Decide(Detection(1, 1, jump), kNoAppendTime).outcome, kDuplicate);
  EXPECT_EQ(d.Decide(Detection(1, 3, 4 * jump), kNoAppendTime).outcome, kCounted);
  EXPECT_EQ(d.Decide(Detection(1, 1, 4 * jump), kNoAppendTime).outcome, kCounted);
  EXPECT_EQ(d.Decide(Detection(1, 2, 4 * jump), kNoAppendTime).outcome, kCounted);
}

// The same decisions by the simplest means: a map from each id to its first camera and newest time.
struct Naive {
  struct Seen {
    Event first;
    int64_t newest;
  };
  PipelineSpec spec;
  std::map<int64_t, Seen> seen;
  std::map<int64_t, int64_t> greatest;
  Outcome Decide(const Event& e) {
    auto watermark = [&](int64_t camera) {
      return greatest.contains(camera) ? greatest[camera] - spec.out_of_orderness.v
                                       : kBeforeAllTime.v;
    };
    if (e.time.v < watermark(e.camera.v) - spec.dedup_horizon.v) return Outcome::kTooLate;
    auto it = seen.find(e.id.v);
    const bool known =
        it != seen.end() &&
        it->second.newest >= watermark(it->second.first.camera.v) - spec.dedup_horizon.v;
    if (known) {
      it->second.newest = std::max(it->second.newest, e.time.v);
    } else {
      seen[e.id.v] = {e, e.time.v};
    }
    auto [g, fresh] = greatest.try_emplace(e.camera.v, e.time.v);
    if (!fresh) g->second = std::max(g->second, e.time.v);
    return known ? kDuplicate : kCounted;
  }
};

TEST(Deduplicate, EqualsTheNaiveModelAlsoAcrossSaveAndLoad) {
  std::mt19937_64 random(5);
  PipelineSpec spec = Spec();
  spec.max_age.reset();
  spec.dedup_horizon = {20'000};
  Naive naive{.spec = spec};
  auto d = std::make_unique<Deduplicate>(spec);
  int64_t now = 0;
  std::map<Outcome, int64_t> reached;
  for (int i = 0; i < 300'000; ++i) {
    now += static_cast<int64_t>(random() % 3);
    const auto camera = static_cast<int64_t>(random() % 7);
    const int64_t id = random() % 3 != 0 ? i : i - static_cast<int64_t>(random() % 60'000);
    const int64_t late = random() % 50 == 0 ? 40'000 : 30;
    const Event e =
        Detection(camera, id, now - static_cast<int64_t>(random() % static_cast<uint64_t>(late)),
                  i % 11 == 0 ? "bus" : "car");
    const Outcome expected = naive.Decide(e);
    ASSERT_EQ(*d->Decide(e, kNoAppendTime).outcome, expected) << i;
    ++reached[expected];
    if (i % 60'000 == 59'999) {
      std::string bytes;
      d->Save([&](std::string_view piece) { bytes += piece; });
      d = std::make_unique<Deduplicate>(spec);
      ByteReader in(bytes);
      ASSERT_TRUE(d->Load(in).ok());
    }
  }
  for (Outcome outcome : {kCounted, kDuplicate, Outcome::kTooLate})
    EXPECT_GT(reached[outcome], 500);
  EXPECT_LT(d->remembered_ids(), 100'000) << "forgotten ids are swept";
}

TEST(Deduplicate, ADamagedCheckpointIsToldAndNeverCrashes) {
  CountOperator op(Spec());
  const std::vector<Event> events = {Detection(1, 1, 500), Detection(2, 2, 510, "bus")};
  op.OnEvents({0}, {500}, events);
  (void)op.TakeSegment({0}, {1});
  std::string bytes;
  op.Save([&](std::string_view piece) { bytes += piece; });
  {
    CountOperator whole(Spec());
    EXPECT_TRUE(whole.Load(bytes).ok());
    EXPECT_EQ(whole.remembered_ids(), 2);
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    CountOperator cut(Spec());
    EXPECT_EQ(cut.Load(std::string_view(bytes).substr(0, size)).code(), StatusCode::kStop) << size;
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0xff);
    CountOperator odd(Spec());
    (void)odd.Load(flipped);  // the checkpoint has a checksum, so damage may go unnoticed here, but
                              // must not crash
  }
  PipelineSpec other = Spec();
  other.window_size = {120'000};
  CountOperator refused(other);
  EXPECT_NE(refused.Load(bytes).message().find("settings"), std::string::npos);
}

// The hand-over: the memory does not depend on the range. So the state continues under another
// range as long as no decision would have been different.
TEST(CountOperator, TheRangeMayChangeAheadOfAllEvents) {
  CountOperator op(Spec());
  op.OnEvents({0}, {500}, std::vector<Event>{Detection(1, 1, 500), Detection(2, 2, 510, "bus")});
  (void)op.TakeSegment({0}, {1});
  std::string state;
  op.Save([&](std::string_view piece) { state += piece; });
  const auto load = [&](int64_t from, int64_t until, const std::string& bytes) {
    PipelineSpec spec = Spec();
    spec.count_from = {from};
    spec.count_until = {until};
    CountOperator loaded(spec);
    const Status status = loaded.Load(bytes);
    EXPECT_EQ(loaded.range_changed(), from != kBeforeAllTime.v || until != kAfterAllTime.v);
    return status;
  };
  EXPECT_TRUE(load(kBeforeAllTime.v, kAfterAllTime.v, state).ok());
  EXPECT_TRUE(load(kBeforeAllTime.v, 511, state).ok());
  EXPECT_NE(load(kBeforeAllTime.v, 510, state).message().find("count_until"), std::string::npos);
  EXPECT_NE(load(0, kAfterAllTime.v, state).message().find("count_from"), std::string::npos);
  std::string empty;
  CountOperator(Spec()).Save([&](std::string_view piece) { empty += piece; });
  EXPECT_TRUE(load(0, 510, empty).ok()) << "nothing is decided yet";

  // Under the new range it continues like a pipeline that never had another one. Events beyond the
  // range are outside, and are remembered. After that, the range cannot be taken back.
  PipelineSpec until = Spec();
  until.count_until = {520};
  CountOperator changed(until);
  ASSERT_TRUE(changed.Load(state).ok());
  changed.OnEvents({1}, {600}, std::vector<Event>{Detection(1, 1, 515), Detection(1, 3, 520)});
  const Segment segment = changed.TakeSegment({1}, {2});
  EXPECT_EQ(segment.Total().of(kDuplicate), 1);
  EXPECT_EQ(segment.Total().of(Outcome::kOutside), 1);
  std::string after;
  changed.Save([&](std::string_view piece) { after += piece; });
  CountOperator back(Spec());
  EXPECT_EQ(back.Load(after).code(), StatusCode::kStop);
  ASSERT_TRUE(CountOperator::RangeOf(after));
  EXPECT_EQ(CountOperator::RangeOf(after)->until, EventTime{520});
  EXPECT_FALSE(CountOperator::RangeOf(after.substr(0, 9)));
}

TEST(CountOperator, OutcomesDoNotDependOnTheHashSeedAndTheStateKeepsIt) {
  auto count = [](CountOperator& op, int64_t from) {
    std::vector<Event> events;
    for (int64_t i = 0; i < 300; ++i) events.push_back(Detection(i % 7, (from + i) % 200, 500));
    op.OnEvents({from}, {500}, events);
    return op.TakeSegment({from}, {from + 1});
  };
  CountOperator plain(Spec()), seeded(Spec(), 0x123456789abcdefull);
  EXPECT_EQ(count(plain, 0), count(seeded, 0));
  std::string state;
  seeded.Save([&](std::string_view piece) { state += piece; });
  CountOperator loaded(Spec(), 42);
  ASSERT_TRUE(loaded.Load(state).ok());
  const Segment again = count(loaded, 1);
  EXPECT_EQ(again, count(plain, 1));
  EXPECT_EQ(again.Total().of(kDuplicate), 300);
}

}  // namespace
}  // namespace sightline
