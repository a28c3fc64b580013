#include "operators/deduplicate.h"

#include <fmt/format.h>
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

// "cameras first-second: count", the newest last.
std::string Pairs(const Deduplicate& d) {
  std::string text;
  for (const IdConflicts::Pair& pair : d.id_conflicts().pairs())
    text += fmt::format("{}-{}: {}\n", pair.first.v, pair.second.v, pair.count);
  return text;
}

TEST(Deduplicate, ConflictsNameTheirCameras) {
  Deduplicate d(Spec());
  for (int64_t id = 1; id <= 50; ++id) d.Decide(Detection(10, id, 500), {500});
  EXPECT_EQ(Pairs(d), "");
  for (int64_t id = 1; id <= 50; ++id)
    EXPECT_EQ(d.Decide(Detection(20, id, 500), {500}).outcome, kDuplicate);
  EXPECT_EQ(Pairs(d), "10-20: 50\n");
  for (int64_t id = 1; id <= 30; ++id) d.Decide(Detection(10, id, 500), {500});
  EXPECT_EQ(Pairs(d), "10-20: 50\n") << "true copies";
  for (int64_t id = 1; id <= 30; ++id) d.Decide(Detection(10, id, 500, "bus"), {500});
  EXPECT_EQ(Pairs(d), "10-20: 50\n10-10: 30\n");
  d.Decide(Detection(9, 60, 500), {500});
  d.Decide(Detection(7, 60, 500), {500});
  d.Decide(Detection(20, 50, 500, "bus"), {500});
  EXPECT_EQ(Pairs(d), "10-10: 30\n7-9: 1\n10-20: 50\n") << "the newest id is not counted again";
  d.ForgetIdConflicts();
  EXPECT_EQ(Pairs(d), "");
}

TEST(Deduplicate, ADetectionInManyFramesIsOneConflict) {
  Deduplicate d(Spec());
  for (int64_t id = 0; id < 8; ++id) d.Decide(Detection(1, id, 500), {500});
  for (int64_t frame = 0; frame < 100; ++frame)
    for (int64_t id = 0; id < 8; ++id) d.Decide(Detection(2, id, 500 + frame), {500 + frame});
  EXPECT_EQ(Pairs(d), "1-2: 8\n");
}

TEST(Deduplicate, OfManyCamerasInConflictTheNewestPairsAreKept) {
  Deduplicate d(Spec());
  for (int64_t camera = 0; camera < 1'000; ++camera) d.Decide(Detection(camera, 7, 500), {500});
  ASSERT_EQ(d.id_conflicts().pairs().size(), 16);
  EXPECT_EQ(d.id_conflicts().pairs().front().second, CameraId{984});
  EXPECT_EQ(d.id_conflicts().pairs().back().second, CameraId{999});
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
  EXPECT_EQ(Pairs(d), "");
  d.Decide(Detection(2, 7, 500, "bus"), {500});
  EXPECT_EQ(Pairs(d), "2-2: 1\n") << "a camera's own ids only";
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

constexpr int64_t kIn2099 = 4'070'908'800'000;

PipelineSpec Bounded() {
  PipelineSpec spec = Spec();
  spec.max_age.reset();
  spec.watermark_step = WatermarkStep::kBounded;
  return spec;
}

// What a pipeline with WatermarkStep::kBounded makes of records without append time.
class BoundedStep : public testing::Test {
 protected:
  std::optional<Outcome> Decide(const Event& event) {
    return d_.Decide(event, kNoAppendTime).outcome;
  }
  Deduplicate d_{Bounded()};
};

TEST_F(BoundedStep, AWrongTimeCostsNoOtherEvent) {
  for (int64_t i = 0; i < 1'000; ++i)
    EXPECT_EQ(Decide(Detection(1, i, i == 100 ? kIn2099 : i)), kCounted) << i;
  EXPECT_EQ(d_.watermark().v, 999 - 10);
  EXPECT_EQ(d_.clock_jumps().count, 1);
  EXPECT_EQ(d_.clock_jumps().camera, CameraId{1});
  // It is remembered as long as its own time asks for.
  EXPECT_EQ(Decide(Detection(1, 100, kIn2099)), kDuplicate);
  EXPECT_EQ(Decide(Detection(1, 999, 999)), kDuplicate);
}

TEST_F(BoundedStep, AWrongTimeMovesTheWatermarkByTheHorizonAtMost) {
  Decide(Detection(1, 1, 490));
  Decide(Detection(1, 2, 500));
  EXPECT_EQ(d_.watermark().v, 490);
  Decide(Detection(1, 3, kIn2099));
  EXPECT_EQ(d_.watermark().v, 590);
  EXPECT_EQ(Decide(Detection(1, 4, 490)), kCounted) << "590 - 100";
  EXPECT_EQ(Decide(Detection(1, 5, 489)), Outcome::kTooLate);
}

TEST_F(BoundedStep, TheFirstMomentMovesNothing) {
  EXPECT_EQ(Decide(Detection(1, 1, kIn2099)), kCounted);
  EXPECT_EQ(Decide(Detection(1, 1, kIn2099)), kDuplicate);
  EXPECT_EQ(d_.watermark(), kBeforeAllTime);
  EXPECT_EQ(Decide(Detection(1, 2, 500)), kCounted);
  EXPECT_EQ(d_.watermark().v, 490);
}

TEST_F(BoundedStep, CopiesAndDetectionsOfTheSameFrameConfirmNothing) {
  Decide(Detection(1, 1, 500));
  Decide(Detection(1, 2, kIn2099));
  EXPECT_EQ(Decide(Detection(1, 2, kIn2099)), kDuplicate);
  EXPECT_EQ(Decide(Detection(1, 2, kIn2099 + 5)), kDuplicate) << "another time, the same event";
  EXPECT_EQ(Decide(Detection(1, 3, kIn2099 + 5)), kCounted) << "another event, the same time";
  Decide(Heartbeat(1, kIn2099 + 5));
  EXPECT_EQ(d_.watermark().v, 590);
  EXPECT_EQ(Decide(Detection(1, 4, 501)), kCounted);
}

TEST_F(BoundedStep, TwoMomentsAreBelieved) {
  Decide(Detection(1, 1, 500));
  Decide(Detection(1, 2, kIn2099));
  Decide(Detection(1, 3, kIn2099 + 1));
  EXPECT_EQ(d_.watermark().v, kIn2099 + 1 - 10);
  EXPECT_EQ(Decide(Detection(1, 4, 501)), Outcome::kTooLate);
  EXPECT_EQ(d_.clock_jumps().count, 1) << "and told";
}

TEST_F(BoundedStep, HeartbeatsFollowOneAnother) {
  for (int64_t time = 500; time <= 1'000; time += 50) Decide(Heartbeat(1, time));
  EXPECT_EQ(d_.watermark().v, 990);
  Decide(Heartbeat(1, kIn2099));
  EXPECT_EQ(d_.watermark().v, 1'090);
  Decide(Heartbeat(1, 1'050));
  EXPECT_EQ(Decide(Detection(1, 1, 1'060)), kCounted);
}

// A clock that was believed costs the camera the events until now is past it. What is refused
// meanwhile still says that the clock was set right, or a second jump would be believed at once.
TEST_F(BoundedStep, ACameraWhoseClockWasWrongTwiceComesBack) {
  Decide(Detection(1, 1, 500));
  Decide(Detection(1, 2, 900));
  Decide(Detection(1, 3, 901));  // believed
  EXPECT_EQ(Decide(Detection(1, 4, 502)), Outcome::kTooLate);
  Decide(Detection(1, 5, kIn2099));
  EXPECT_EQ(Decide(Detection(1, 6, 503)), Outcome::kTooLate);
  Decide(Detection(1, 7, kIn2099 + 1));
  EXPECT_EQ(Decide(Detection(1, 8, 790)), Outcome::kTooLate);
  EXPECT_EQ(Decide(Detection(1, 9, 791)), kCounted) << "901 - 10 - 100";
}

TEST_F(BoundedStep, ASilenceIsNoJump) {
  for (const int64_t time : {500, 501, 5'000, 5'001, 9'000}) Decide(Detection(1, time, time));
  EXPECT_EQ(d_.watermark().v, 5'101 - 10);
  EXPECT_EQ(d_.clock_jumps().count, 0);
}

TEST_F(BoundedStep, AppendTimesHaveTheirOwnGuard) {
  EXPECT_EQ(d_.Decide(Detection(1, 1, 500), {500}).outcome, kCounted);
  EXPECT_EQ(d_.watermark().v, 490);
  EXPECT_EQ(d_.Decide(Detection(1, 2, 5'000), {5'000}).outcome, kCounted);
  EXPECT_EQ(d_.watermark().v, 4'990);
  EXPECT_EQ(d_.Decide(Detection(1, 3, kIn2099), {5'000}).outcome, Outcome::kFuture);
}

// A burst of wrong camera ids costs memory for camera_ttl, and no longer.
TEST(Deduplicate, CamerasThatFellSilentAreForgotten) {
  PipelineSpec spec;
  Deduplicate d(spec);
  const int64_t start = 1'800'000'000'000;
  const int64_t ttl = spec.camera_ttl.v;
  constexpr int64_t kBurst = 100'000;
  for (int64_t i = 0; i < kBurst; ++i)
    EXPECT_EQ(d.Decide(Detection(i, i, start), {start}).outcome, kCounted);
  EXPECT_FALSE(d.CompactIfDue() && d.cameras() < kBurst);
  EXPECT_EQ(d.Decide(Detection(7, -1, start + ttl), {start + ttl}).outcome, kCounted);
  EXPECT_TRUE(d.CompactIfDue());
  EXPECT_EQ(d.cameras(), kBurst) << "a moment too early";
  const int64_t later = start + ttl + ttl / 4;
  EXPECT_EQ(d.Decide(Detection(7, -1, later), {later}).outcome, kDuplicate);
  EXPECT_TRUE(d.CompactIfDue());
  EXPECT_EQ(d.cameras(), 1);
  EXPECT_EQ(d.remembered_ids(), 1);
  EXPECT_FALSE(d.CompactIfDue());
  // What an old watermark would have refused, max_age refuses; the rest is as of a new camera.
  EXPECT_EQ(d.Decide(Detection(8, 8, start), {later}).outcome, Outcome::kTooLate);
  EXPECT_EQ(d.Decide(Detection(8, 8, later), {later}).outcome, kCounted);
  EXPECT_EQ(d.Decide(Detection(8, 8, later), {later}).outcome, kDuplicate);
  EXPECT_EQ(d.Decide(Detection(7, -1, later), {later}).outcome, kDuplicate);
}

// The same decisions by the simplest means: a map from each id to its first camera and newest time,
// and every record of each camera.
struct Naive {
  struct Seen {
    Event first;
    int64_t newest;
  };
  PipelineSpec spec;
  std::map<int64_t, Seen> seen;
  std::map<int64_t, int64_t> greatest;
  std::map<int64_t, std::vector<Event>> records;  // by camera
  // The time to which `e` moves its camera's watermark, before out_of_orderness is subtracted.
  std::optional<int64_t> Reach(const Event& e) {
    std::vector<Event>& all = records[e.camera.v];
    all.push_back(e);
    if (spec.watermark_step == WatermarkStep::kFree) return e.time.v;
    for (size_t i = all.size() - 1; i > 0; --i)
      if (all[i].time != all[i - 1].time && all[i].id != all[i - 1].id)
        return std::min(e.time.v, all[i - 1].time.v + spec.dedup_horizon.v);
    return std::nullopt;
  }
  Outcome Decide(const Event& e) {
    const std::optional<int64_t> reach = Reach(e);
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
    if (reach) {
      const auto g = greatest.try_emplace(e.camera.v, *reach).first;
      g->second = std::max(g->second, *reach);
    }
    return known ? kDuplicate : kCounted;
  }
};

void MustEqualTheNaiveModel(WatermarkStep step) {
  std::mt19937_64 random(5);
  PipelineSpec spec = Spec();
  spec.max_age.reset();
  spec.dedup_horizon = {20'000};
  spec.watermark_step = step;
  const bool bounded = step == WatermarkStep::kBounded;
  Naive naive{.spec = spec};
  auto d = std::make_unique<Deduplicate>(spec);
  int64_t now = 0;
  std::map<Outcome, int64_t> reached;
  for (int i = 0; i < 300'000; ++i) {
    now += static_cast<int64_t>(random() % 3);
    const auto camera = static_cast<int64_t>(random() % 7);
    const int64_t id = random() % 3 != 0 ? i : i - static_cast<int64_t>(random() % 60'000);
    const int64_t late = random() % 50 == 0 ? 40'000 : 30;
    Event e =
        Detection(camera, id, now - static_cast<int64_t>(random() % static_cast<uint64_t>(late)),
                  i % 11 == 0 ? "bus" : "car");
    if (bounded && random() % 100 == 0)
      e.time = random() % 2 == 0 ? EventTime{kIn2099} : e.time + Millis{30'000};
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

TEST(Deduplicate, EqualsTheNaiveModelAlsoAcrossSaveAndLoad) {
  MustEqualTheNaiveModel(WatermarkStep::kFree);
}

TEST(Deduplicate, EqualsTheNaiveModelWhereWatermarksAreBounded) {
  MustEqualTheNaiveModel(WatermarkStep::kBounded);
}

std::string StateOf(const PipelineSpec& spec, const std::vector<Event>& events,
                    AppendTime append_time) {
  CountOperator op(spec);
  op.OnEvents({0}, append_time, events);
  (void)op.TakeSegment({0}, {1});
  std::string bytes;
  op.Save([&](std::string_view piece) { bytes += piece; });
  return bytes;
}

void MustTellDamage(const PipelineSpec& spec, AppendTime append_time) {
  const std::string bytes = StateOf(
      spec, {Detection(1, 1, 500), Detection(2, 2, 510, "bus"), Heartbeat(2, 511)}, append_time);
  {
    CountOperator whole(spec);
    EXPECT_TRUE(whole.Load(bytes).ok());
    EXPECT_EQ(whole.remembered_ids(), 2);
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    CountOperator cut(spec);
    EXPECT_EQ(cut.Load(std::string_view(bytes).substr(0, size)).code(), StatusCode::kStop) << size;
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0xff);
    CountOperator odd(spec);
    (void)odd.Load(flipped);  // the checkpoint has a checksum, so damage may go unnoticed here, but
                              // must not crash
  }
  PipelineSpec other = spec;
  other.window_size = {120'000};
  CountOperator refused(other);
  EXPECT_NE(refused.Load(bytes).message().find("settings"), std::string::npos);
}

TEST(Deduplicate, ADamagedCheckpointIsToldAndNeverCrashes) {
  MustTellDamage(Spec(), {500});
  MustTellDamage(Bounded(), kNoAppendTime);
}

// A version that does not know WatermarkStep reads what a pipeline without it writes, and is told
// of another layout otherwise.
TEST(CountOperator, OnlyAPipelineWithClocksWritesTheirLayout) {
  PipelineSpec free = Bounded();
  free.watermark_step = WatermarkStep::kFree;
  const std::vector<Event> events = {Detection(1, 1, 500), Detection(1, 2, 510)};
  const std::string without = StateOf(free, events, kNoAppendTime);
  const std::string with = StateOf(Bounded(), events, kNoAppendTime);
  EXPECT_EQ(without[0], 3);
  EXPECT_EQ(with[0], 4);
  for (const auto& [spec, state] : {std::pair{free, with}, std::pair{Bounded(), without}}) {
    CountOperator other(spec);
    EXPECT_NE(other.Load(state).message().find("other pipeline settings"), std::string::npos);
    EXPECT_FALSE(CountOperator::CheckSettings(spec, state).ok());
  }
  EXPECT_EQ(CountOperator::RangeOf(with), CountRange{});
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

// The watermark does not say how far the events of a camera with a wrong clock go.
TEST(CountOperator, TheRangeMayNotChangeBehindAWrongTime) {
  const std::string state =
      StateOf(Bounded(), {Detection(1, 1, 500), Detection(1, 2, 2'000), Detection(1, 3, 501)},
              kNoAppendTime);
  PipelineSpec until = Bounded();
  until.count_until = {1'500};
  EXPECT_NE(CountOperator(until).Load(state).message().find("up to 2000 ms"), std::string::npos);
  until.count_until = {2'001};
  EXPECT_TRUE(CountOperator(until).Load(state).ok());
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
