#include "monitor/alerts.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace sightline {
namespace {

constexpr int64_t kWall = 1'763'800'000'000;

// A process that is sampled once a second; each test changes what it needs.
class Alerts : public testing::Test {
 protected:
  // `seconds` samples. What started and ended in them: "+rule subject", "-rule subject".
  std::vector<std::string> Pass(int64_t seconds) {
    std::vector<std::string> reported;
    for (int64_t i = 0; i < seconds; ++i) {
      now_ms += 1'000;
      sample.now_ms = now_ms;
      sample.wall_ms = kWall + now_ms;
      each_second();
      for (const AlertChange& change : rules.Evaluate(sample)) {
        reported.push_back(fmt::format("{}{} {}", change.started ? '+' : '-',
                                       ToString(change.alert.rule), change.alert.subject));
        EXPECT_FALSE(change.alert.text.empty()) << reported.back();
        EXPECT_EQ(change.started, change.alert.until_ms == 0) << reported.back();
        last = change.alert;
      }
    }
    return reported;
  }
  void See(int64_t camera) {
    for (CameraSample& known : sample.cameras)
      if (known.camera.v == camera) known.last_seen_ms = now_ms;
  }
  Ledger& ledger() {
    if (!sample.ledger) sample.ledger.emplace();
    return *sample.ledger;
  }
  void Receive(Outcome outcome, int64_t events) {
    ledger().received += events;
    ledger().outcomes[static_cast<size_t>(outcome)] += events;
  }

  using Reported = std::vector<std::string>;
  int64_t now_ms = 5'000;
  MonitorSample sample;
  AlertRules rules{AlertOptions{}};
  std::function<void()> each_second = [] {};
  Alert last;
};

TEST_F(Alerts, NothingIsSaidOfAnEmptyOrHealthyProcess) {
  EXPECT_EQ(Pass(100), Reported());
  sample.cameras = {{.camera = {1}, .location = {7}, .last_seen_ms = now_ms}};
  sample.partitions = {{.partition = 0, .running = true, .position = {0}, .end = {0}}};
  each_second = [this] {
    See(1);
    Receive(Outcome::kCounted, 1'000);
    Receive(Outcome::kDuplicate, 90);
    Receive(Outcome::kMalformed, 2);
    PartitionSample& partition = sample.partitions[0];
    partition.position.v += 1'000;
    partition.end = partition.position;
    partition.watermark = Watermark{partition.watermark.value_or(Watermark{}).v + 1'000};
    partition.sinks = {{.name = "counts", .committed = {partition.position.v - 500}}};
  };
  EXPECT_EQ(Pass(1'000), Reported());
  EXPECT_TRUE(rules.Active().empty());
}

TEST_F(Alerts, ACameraIsSilentUntilItsNextWord) {
  sample.cameras = {{.camera = {71}, .location = {7}, .last_seen_ms = now_ms}};
  EXPECT_EQ(Pass(299), Reported());
  EXPECT_EQ(Pass(1), Reported{"+camera_silent camera 71"});
  EXPECT_EQ(last.location, LocationId{7});
  EXPECT_EQ(last.since_ms, kWall + now_ms);
  EXPECT_EQ(Pass(1'000), Reported());
  ASSERT_EQ(rules.Active().size(), 1);
  EXPECT_EQ(rules.Active()[0].facts[0], std::pair(std::string("silent_ms"), int64_t{1'300'000}));
  See(71);
  EXPECT_EQ(Pass(1), Reported{"-camera_silent camera 71"});
  EXPECT_EQ(last.until_ms, kWall + now_ms);
  EXPECT_LT(last.since_ms, last.until_ms);
  EXPECT_TRUE(rules.Active().empty());
}

TEST_F(Alerts, WhatIsNotInTheSampleAnyMoreHasEnded) {
  sample.cameras = {{.camera = {71}, .location = {7}, .last_seen_ms = now_ms}};
  sample.locations = {{.location = {7}, .last_seen_ms = now_ms}};
  EXPECT_EQ(Pass(600), (Reported{"+camera_silent camera 71", "+location_silent location 7"}));
  sample.cameras.clear();
  EXPECT_EQ(Pass(1), Reported{"-camera_silent camera 71"});
  sample.locations.clear();
  EXPECT_EQ(Pass(1), Reported{"-location_silent location 7"});
}

TEST_F(Alerts, ARateStartsAfterAWhileAndEndsBelowALowerThreshold) {
  int64_t malformed = 10;
  each_second = [&] {
    Receive(Outcome::kCounted, 100 - malformed);
    Receive(Outcome::kMalformed, malformed);
  };
  // The first sample only says where the numbers begin.
  EXPECT_EQ(Pass(11), Reported());
  EXPECT_EQ(Pass(1), Reported{"+dead_letter_rate all"});
  EXPECT_TRUE(last.of_process);
  malformed = 4;  // below the threshold of 5 %, not below half of it
  EXPECT_EQ(Pass(300), Reported());
  malformed = 6;
  EXPECT_EQ(Pass(300), Reported());
  malformed = 2;
  EXPECT_EQ(Pass(300), Reported{"-dead_letter_rate all"});
  malformed = 4;  // the same share that held it up does not start it
  EXPECT_EQ(Pass(300), Reported());
}

TEST_F(Alerts, AShortPeakIsNone) {
  Receive(Outcome::kCounted, 0);
  EXPECT_EQ(Pass(100), Reported());
  each_second = [&] { Receive(Outcome::kCounted, 1'000); };
  EXPECT_EQ(Pass(60), Reported());
  Receive(Outcome::kMalformed, 4'000);  // 6 % of a window, for as long as it is young
  EXPECT_EQ(Pass(60), Reported{"+dead_letter_rate all"});
  EXPECT_EQ(Pass(100), Reported{"-dead_letter_rate all"});
  AlertOptions patient;
  patient.start_after = Millis{61'000};
  rules = AlertRules(patient);
  EXPECT_EQ(Pass(60), Reported());
  Receive(Outcome::kMalformed, 4'000);
  EXPECT_EQ(Pass(200), Reported());
}

TEST_F(Alerts, AStormNeedsAShareAndANumber) {
  int64_t copies = 99;  // of 100, a second: 99 %, but not 100 a second
  each_second = [&] {
    Receive(Outcome::kCounted, 1);
    Receive(Outcome::kDuplicate, copies);
  };
  EXPECT_EQ(Pass(200), Reported());
  copies = 300;
  EXPECT_EQ(Pass(60), Reported{"+duplicate_storm all"});
  copies = 10;
  EXPECT_EQ(Pass(200), Reported{"-duplicate_storm all"});
}

TEST_F(Alerts, FewEventsSayNothing) {
  each_second = [&] {
    if (now_ms % 5'000 == 0) Receive(Outcome::kMalformed, 1);  // 12 a window, all of them bad
  };
  EXPECT_EQ(Pass(1'000), Reported());
  ledger() = {};
  each_second = [&] { Receive(Outcome::kTooLate, 1); };
  EXPECT_EQ(Pass(100), Reported{"+too_late_rate all"});
}

TEST_F(Alerts, NumbersThatGoDownBeginAnew) {
  each_second = [&] { Receive(Outcome::kCounted, 100); };
  ledger().received = ledger().outcomes[0] = 1'000'000;
  EXPECT_EQ(Pass(60), Reported());
  ledger() = {};  // a restart; a difference would be far below 0
  Receive(Outcome::kMalformed, 50);
  EXPECT_EQ(Pass(300), Reported());
  each_second = [&] { Receive(Outcome::kMalformed, 100); };
  EXPECT_EQ(Pass(60), Reported{"+dead_letter_rate all"});
  ledger() = {};
  each_second = [&] { Receive(Outcome::kCounted, 100); };
  EXPECT_EQ(Pass(60), Reported{"-dead_letter_rate all"});
}

TEST_F(Alerts, AClockIsTheCamerasOwn) {
  sample.cameras = {{.camera = {1}, .location = {7}}, {.camera = {2}, .location = {8}}};
  CameraSample &good = sample.cameras[0], &bad = sample.cameras[1];
  each_second = [&] {
    See(1);
    See(2);
    good.received += 10;
    bad.received += 10;
  };
  EXPECT_EQ(Pass(600), Reported());
  const auto right = each_second;
  each_second = [&] {
    right();
    bad.future += 9;
  };
  EXPECT_EQ(Pass(60), Reported{"+clock_ahead camera 2"});
  EXPECT_EQ(last.location, LocationId{8});
  each_second = [&] {
    right();
    bad.too_late += 9;
  };
  EXPECT_EQ(Pass(120), (Reported{"+clock_behind camera 2", "-clock_ahead camera 2"}));
  each_second = right;
  EXPECT_EQ(Pass(200), Reported{"-clock_behind camera 2"});
}

TEST_F(Alerts, AJumpIsToldAtOnceUntilItsWindowIsOver) {
  sample.partitions = {{.partition = 4, .running = true}, {.partition = 5, .running = true}};
  EXPECT_EQ(Pass(100), Reported());
  sample.partitions[0].clock_jumps = 1;
  sample.partitions[0].jumped_camera = {71};
  EXPECT_EQ(Pass(1), Reported{"+clock_jump partition 4"});
  EXPECT_TRUE(last.text.find("camera 71") != std::string::npos) << last.text;
  EXPECT_EQ(last.facts[0], std::pair(std::string("jumps"), int64_t{1}));
  EXPECT_EQ(Pass(59), Reported());
  EXPECT_EQ(Pass(40), Reported{"-clock_jump partition 4"});
  EXPECT_TRUE(last.text.find("camera 71") != std::string::npos) << last.text;
  // A task that was built again counts from 0, and may find the same jump again.
  sample.partitions[0].clock_jumps = 0;
  EXPECT_EQ(Pass(10), Reported());
  sample.partitions[0].clock_jumps = 1;
  EXPECT_EQ(Pass(1), Reported{"+clock_jump partition 4"});
}

TEST_F(Alerts, AJumpBeforeTheFirstSampleIsToldToo) {
  sample.partitions = {{.partition = 4, .running = true, .clock_jumps = 3}};
  EXPECT_EQ(Pass(1), Reported{"+clock_jump partition 4"});
}

TEST_F(Alerts, OfManyJumpsTheCommonOnesMayBeAllowed) {
  AlertOptions some;
  some.clock_jumps = 10;
  rules = AlertRules(some);
  sample.partitions = {{.partition = 4, .running = true}};
  each_second = [this] { sample.partitions[0].clock_jumps += now_ms / 1'000 % 10 == 0; };
  EXPECT_EQ(Pass(300), Reported());
  each_second = [this] { ++sample.partitions[0].clock_jumps; };
  EXPECT_EQ(Pass(10), Reported{"+clock_jump partition 4"});
}

TEST_F(Alerts, CamerasWithTheSameIdsAreNamedWithTheRemedy) {
  sample.partitions = {{.partition = 4, .running = true}};
  auto& conflicts = sample.partitions[0].id_conflicts;
  conflicts = {{{10}, {20}, 9}};
  EXPECT_EQ(Pass(100), Reported()) << "a handful";
  conflicts[0].count = 10;
  EXPECT_EQ(Pass(1), Reported{"+id_conflict cameras 10 and 20"});
  EXPECT_EQ(last.text,
            "cameras 10 and 20 send the same detection_oid for different detections (10 in the "
            "last 3600 s), and only the first counts: set pipeline.identity = "
            "camera_and_detection in a new pipeline (a new data folder, or sightline handover)");
  const std::vector<std::pair<std::string, int64_t>> facts = {
      {"conflicts", 10}, {"first_camera", 10}, {"second_camera", 20}};
  EXPECT_EQ(last.facts, facts);
  // It lasts until its last conflict is behind the window, or a sixth of it more.
  EXPECT_EQ(Pass(3'400), Reported());
  EXPECT_EQ(Pass(900), Reported{"-id_conflict cameras 10 and 20"});
  conflicts[0].count = 19;
  EXPECT_EQ(Pass(60), Reported()) << "what is behind the window counts no more";
}

TEST_F(Alerts, ManyPairsWithAConflictEachAreAddedUp) {
  int64_t camera = 0;
  sample.partitions = {{.partition = 4, .running = true}, {.partition = 5, .running = true}};
  each_second = [&] {  // the partition keeps its newest pair only
    ++camera;
    sample.partitions[camera % 2].id_conflicts = {{{0}, {camera}, 1}};
  };
  EXPECT_EQ(Pass(9), Reported());
  EXPECT_EQ(Pass(1).size(), 10);
  const Reported reported = Pass(1'200);
  EXPECT_EQ(std::ranges::count(reported, "+id_conflict others"), 1);
  EXPECT_LE(rules.Active().size(), 21);
}

TEST_F(Alerts, APairOfSeveralPartitionsIsOneAlert) {
  sample.partitions = {{.partition = 4, .running = true, .id_conflicts = {{{10}, {20}, 5}}},
                       {.partition = 5, .running = true, .id_conflicts = {{{10}, {20}, 5}}}};
  EXPECT_EQ(Pass(60), Reported{"+id_conflict cameras 10 and 20"});
}

TEST_F(Alerts, ATrackerThatStartsAgainIsNamedAndRenamedItemsAreNot) {
  sample.partitions = {{.partition = 4, .running = true}};
  auto& conflicts = sample.partitions[0].id_conflicts;
  for (int64_t camera = 1; camera <= 15; ++camera) conflicts.push_back({{camera}, {camera}, 9});
  EXPECT_EQ(Pass(60), Reported());
  conflicts.back().count = 10;
  EXPECT_EQ(Pass(60), Reported{"+id_conflict camera 15"});
  EXPECT_EQ(last.text,
            "the tracker of camera 15 gives the same detection_oid again for another item or "
            "location (10 in the last 3600 s), and only the first counts: make its ids go on over "
            "restarts, for example with the time of its start in front");
}

TEST_F(Alerts, ATaskThatWasBuiltAgainTellsOnlyWhatIsNew) {
  sample.partitions = {{.partition = 4, .running = true, .id_conflicts = {{{10}, {20}, 8}}}};
  EXPECT_EQ(Pass(10), Reported());
  sample.partitions[0].id_conflicts.clear();
  EXPECT_EQ(Pass(10), Reported());
  sample.partitions[0].id_conflicts = {{{10}, {20}, 1}};
  EXPECT_EQ(Pass(10), Reported());
  sample.partitions[0].id_conflicts[0].count = 2;
  EXPECT_EQ(Pass(1), Reported{"+id_conflict cameras 10 and 20"});
}

TEST_F(Alerts, LagGrows) {
  sample.partitions = {{.partition = 0, .running = true}, {.partition = 1, .running = true}};
  each_second = [&] { sample.partitions[1].end.v += 500; };
  EXPECT_EQ(Pass(20), Reported());
  EXPECT_EQ(Pass(20), Reported{"+lag_growing all"});
  each_second = [] {};  // a lag that does not grow is being worked off, or is what a pause left
  EXPECT_EQ(Pass(100), Reported{"-lag_growing all"});
}

TEST_F(Alerts, AWatermarkStandsThoughRecordsCome) {
  sample.partitions = {{.partition = 3, .running = true, .watermark = Watermark{1'000}}};
  EXPECT_EQ(Pass(500), Reported());  // nothing comes: nothing stands
  each_second = [&] { ++sample.partitions[0].position.v; };
  EXPECT_EQ(Pass(100), Reported());
  EXPECT_EQ(Pass(50), Reported{"+watermark_stalled partition 3"});
  sample.partitions[0].watermark = Watermark{2'000};
  EXPECT_EQ(Pass(1), Reported{"-watermark_stalled partition 3"});
  // The last records of a day, in disorder: then nothing comes.
  each_second = [] {};
  sample.partitions[0].position.v += 1'000;
  EXPECT_EQ(Pass(500), Reported());
  // A copy of one of them, much later.
  sample.partitions[0].position.v += 1;
  EXPECT_EQ(Pass(100), Reported());
  // A step that has no watermark.
  sample.partitions[0].watermark.reset();
  each_second = [&] { ++sample.partitions[0].position.v; };
  EXPECT_EQ(Pass(500), Reported());
}

TEST_F(Alerts, ASinkThatTakesNothingFails) {
  sample.partitions = {{.partition = 0,
                        .running = true,
                        .sinks = {{.name = "lake", .interval = {60'000}}, {.name = "counts"}}}};
  PartitionSample& partition = sample.partitions[0];
  each_second = [&] {
    partition.position.v += 10;
    partition.sinks[1].committed = partition.position;
    if (now_ms % 60'000 == 0) partition.sinks[0].committed = partition.position;
  };
  EXPECT_EQ(Pass(600), Reported());
  each_second = [&] { partition.sinks[1].committed = partition.position; };
  EXPECT_EQ(Pass(170), Reported());
  EXPECT_EQ(Pass(60), Reported{"+sink_failing lake"});
  partition.sinks[0].committed = partition.position;
  EXPECT_EQ(Pass(1), Reported{"-sink_failing lake"});
  // What a port says of itself.
  sample.troubles = {{"brokers", "Kafka does not answer"}};
  EXPECT_EQ(Pass(30), Reported{"+sink_failing brokers"});
  sample.troubles[0].reason.clear();
  EXPECT_EQ(Pass(100), Reported{"-sink_failing brokers"});
}

TEST_F(Alerts, ASinkWithoutAnythingToTakeDoesNotFail) {
  sample.partitions = {{.partition = 0, .running = true, .sinks = {{.name = "lake"}}}};
  EXPECT_EQ(Pass(600), Reported());
  sample.partitions[0].position = {1};
  EXPECT_EQ(Pass(90), Reported{"+sink_failing lake"});
}

TEST_F(Alerts, AClockThatWasSetIsToldAtOnce) {
  sample.server_clock = {"the machine's clock is 8 d ahead of the log's time", 691'200'000};
  EXPECT_EQ(Pass(1), Reported{"+server_clock all"});
  EXPECT_EQ(last.text, sample.server_clock.reason);
  EXPECT_EQ(last.facts.front(), (std::pair<std::string, int64_t>{"wall_ahead_ms", 691'200'000}));
  sample.broker_clock = {"a broker's clock is ahead", -7'200'000};
  EXPECT_EQ(Pass(1), Reported{"+server_clock brokers"});
  sample.server_clock = sample.broker_clock = {};
  EXPECT_EQ(Pass(1), (Reported{"-server_clock all", "-server_clock brokers"}));
}

TEST_F(Alerts, LimitsClocksAndPartitions) {
  sample.limits = {{"spill", 91, 100}, {"none", 5, 0}};
  EXPECT_EQ(Pass(20), Reported{"+state_near_limit spill"});
  sample.limits[0].used = 86;
  EXPECT_EQ(Pass(100), Reported());
  sample.limits[0].used = 84;
  EXPECT_EQ(Pass(100), Reported{"-state_near_limit spill"});
  sample.clock_unguarded = "the topic has the senders' times";
  EXPECT_EQ(Pass(1), Reported{"+clock_unguarded all"});
  EXPECT_EQ(last.text, sample.clock_unguarded);
  sample.partitions = {{.partition = 4, .running = false, .reason = "it cannot claim"}};
  EXPECT_EQ(Pass(5), Reported());
  EXPECT_EQ(Pass(10), Reported{"+degraded partition 4"});
  sample.partitions[0] = {.partition = 4, .running = true};
  EXPECT_EQ(Pass(60), Reported{"-degraded partition 4"});
  sample.partitions[0].degraded = true;
  EXPECT_EQ(Pass(1), Reported{"+degraded partition 4"});
}

TEST_F(Alerts, LostRecordsAreToldAtOnceAndUntilTheyAreOld) {
  sample.partitions = {{.partition = 4, .running = true, .lost_first = {10}, .lost_next = {30}}};
  EXPECT_EQ(Pass(1), Reported{"+records_lost partition 4"});
  EXPECT_EQ(last.text,
            "20 offsets of partition 4 are lost: retention had removed [10, 30) before they were "
            "counted; the ledger counts them as lost");
  EXPECT_EQ(last.facts[0], std::pair(std::string("lost"), int64_t{20}));
  EXPECT_EQ(Pass(600), Reported());
  sample.partitions[0] = {.partition = 4, .running = true};
  EXPECT_EQ(Pass(60), Reported{"-records_lost partition 4"});
  EXPECT_TRUE(last.text.starts_with("20 offsets")) << last.text;
  sample.partitions[0] = {.partition = 4, .lost_first = {30}, .lost_next = {31}, .reason = "x"};
  EXPECT_EQ(Pass(1), Reported{"+records_lost partition 4"});
  EXPECT_TRUE(last.text.ends_with("it waits for a decision (engine.on_gap)")) << last.text;
}

TEST_F(Alerts, ThousandsAreOneMore) {
  for (int64_t camera = 0; camera < 5'000; ++camera)
    sample.cameras.push_back({.camera = {camera}, .location = {7}, .last_seen_ms = now_ms});
  Reported reported = Pass(300);
  ASSERT_EQ(reported.size(), 21);
  EXPECT_EQ(reported.back(), "+camera_silent others");
  EXPECT_EQ(last.facts[0], std::pair(std::string("subjects"), int64_t{4'980}));
  EXPECT_EQ(rules.Active().size(), 21);
  EXPECT_EQ(Pass(600), Reported());
  for (CameraSample& camera : sample.cameras) camera.last_seen_ms = now_ms;
  reported = Pass(40);
  ASSERT_EQ(reported.size(), 21);
  EXPECT_EQ(reported.back(), "-camera_silent others");
  EXPECT_TRUE(rules.Active().empty());
}

TEST_F(Alerts, WhatComesAndGoesIsNoFloodEither) {
  AlertOptions quick;
  quick.camera_silent = Millis{1'000};
  rules = AlertRules(quick);
  // Each second another hundred cameras falls silent, and those before speak again.
  int64_t reported = 0;
  for (int64_t second = 0; second < 120; ++second) {
    sample.cameras.clear();
    for (int64_t camera = 0; camera < 100; ++camera)
      sample.cameras.push_back({.camera = {second * 100 + camera}, .last_seen_ms = now_ms - 5'000});
    reported += static_cast<int64_t>(Pass(1).size());
  }
  // Each of 20 starts and ends a minute, for two minutes and their edges, and the others once.
  EXPECT_LE(reported, 3 * 2 * 20 + 2);
  EXPECT_GE(reported, 2 * 20);
}

TEST_F(Alerts, ZeroSwitchesARuleOff) {
  AlertOptions off;
  off.camera_silent = off.location_silent = off.watermark_stalled = off.sink_stalled = {};
  off.duplicate_percent = off.dead_letter_percent = off.too_late_percent = 0;
  off.clock_percent = off.clock_jumps = off.lag_min = off.state_percent = off.id_conflicts = 0;
  rules = AlertRules(off);
  sample.cameras = {{.camera = {1}, .received = 100, .future = 90}};
  sample.locations = {{.location = {7}}};
  sample.limits = {{"spill", 100, 100}};
  sample.troubles = {{"brokers", "away"}};
  sample.partitions = {{.partition = 0, .running = true, .sinks = {{.name = "lake"}}}};
  each_second = [&] {
    Receive(Outcome::kDuplicate, 1'000);
    Receive(Outcome::kMalformed, 1'000);
    Receive(Outcome::kTooLate, 1'000);
    ++sample.partitions[0].clock_jumps;
    sample.partitions[0].id_conflicts = {{{1}, {2}, now_ms}};
    sample.partitions[0].position.v += 1'000;
    sample.partitions[0].end.v += 1'000'000;
  };
  EXPECT_EQ(Pass(1'000), Reported());
}

}  // namespace
}  // namespace sightline
