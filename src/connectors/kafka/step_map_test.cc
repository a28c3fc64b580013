#include "connectors/kafka/step_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "connectors/kafka/counts_fold.h"
#include "connectors/kafka/join_map.h"
#include "connectors/kafka/seal_map.h"

namespace sightline::kafka {
namespace {

using ::testing::HasSubstr;

const Provenance kOrigin{{"kafka:c/raw/id", 2}, "spec"};
constexpr Millis kStepPane{10'000};

struct Written {
  std::string key, value;
};

Ledger CountedLedger(int64_t n) {
  Ledger ledger{.received = n};
  ledger.outcomes[0] = n;
  return ledger;
}

// A writer of counts as CountsSink is one: groups of running totals, and what they came from.
class Writer {
 public:
  explicit Writer(unsigned seed) : random_(seed) {}

  // The records of one transaction.
  std::vector<Written> Commit() {
    if (Die(4)) {
      first_ = next_;
      totals_.clear();
      ledger_.clear();
    }
    const auto offsets = static_cast<int64_t>(1 + random_() % 5);
    next_ += offsets;
    progress_.next = {next_};
    if (Die(6)) return Gap(offsets);
    std::vector<Written> records;
    const LocationName name{.name = "Harbour", .version = 1};
    int64_t counted = 0;
    for (const char* item : {"bus", "car", "dog"}) {
      if (Die(2)) continue;
      const auto more = static_cast<int64_t>(1 + random_() % 4);
      counted += more;
      CountRow& row = totals_[item];
      row.key = {.pane_start = {0}, .location = {7}, .item = item};
      row.count += more;
      truth_[item] += more;
      records.push_back({CountKeyJson(kOrigin.from, {first_}, row.key, kStepPane),
                         CountValueJson(kOrigin, {first_}, {next_}, row, kStepPane, &name)});
    }
    progress_.watermark = {next_ * 10};
    progress_.ledger.Add(CountedLedger(counted));
    const LedgerKey camera{.location = {7}, .camera = {next_ % 3}, .hour = {0}};
    records.push_back(Row(camera, CountedLedger(counted)));
    records.push_back({ProgressKeyJson(kOrigin.from), ProgressValueJson(kOrigin, progress_)});
    return records;
  }
  // Retention had removed them.
  std::vector<Written> Gap(int64_t offsets) {
    progress_.ledger.lost += offsets;
    return {Row({.known = false, .hour = kNoAppendTime}, {.lost = offsets}),
            {ProgressKeyJson(kOrigin.from), ProgressValueJson(kOrigin, progress_)}};
  }
  size_t Draw(size_t sides) { return random_() % sides; }
  bool Die(unsigned sides) { return Draw(sides) == 0; }

  std::map<std::string, int64_t> truth_;
  std::map<LedgerKey, Ledger> cameras_;
  Progress progress_;

 private:
  Written Row(const LedgerKey& key, const Ledger& more) {
    ledger_[key].Add(more);
    cameras_[key].Add(more);
    return {LedgerKeyJson(kOrigin.from, {first_}, key),
            LedgerValueJson(kOrigin, {first_}, {next_}, {key, ledger_[key]})};
  }

  std::mt19937 random_;
  int64_t first_ = 0, next_ = 0;
  std::map<std::string, CountRow> totals_;
  std::map<LedgerKey, Ledger> ledger_;
};

// What a reader of segments adds up, and that they follow each other.
class Reader {
 public:
  void Take(const std::vector<Message>& messages) {
    for (const Message& message : messages) {
      const CountsRecord record = ParseCountsRecord(message.value).value();
      if (record.total) {
        EXPECT_EQ(record.location->name, "Harbour");
      }
      const auto commit = fold_.Take(record);
      if (!commit) continue;
      EXPECT_EQ(commit->segment.first, next_);
      next_ = commit->segment.next;
      int64_t sum = 0;
      for (const CountRow& row : commit->segment.counts) {
        sum_[row.key.item] += row.count;
        sum += row.count;
      }
      EXPECT_EQ(sum, commit->segment.Total().of(Outcome::kCounted));
      for (const LedgerRow& row : commit->segment.ledger) cameras_[row.key].Add(row.ledger);
      ++segments_;
    }
  }
  std::map<std::string, int64_t> sum_;
  std::map<LedgerKey, Ledger> cameras_;
  Offset next_{0};
  int segments_ = 0;

 private:
  CountsFold fold_;
};

SealMap NewSeal() { return SealMap({.topic_id = "in", .to = "lake_rows"}); }

// Killed at any moment, on a topic that is compacted behind it, or with groups that go on after
// they were sealed for their age: what is sealed is what was counted.
TEST(SealMap, SealsExactlyWhatWasCountedWhateverDies) {
  int segments = 0, restarts = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    Writer writer(seed);
    std::vector<Written> topic;
    Reader reader;
    StepPosition position{.topic_id = "in", .next = {0}, .done = {}};
    auto now = StepClock::time_point();
    auto map = std::make_unique<SealMap>(SealOptions{.topic_id = "in", .to = "lake_rows"});
    size_t at = 0;
    for (int commit = 0; commit < 60; ++commit) {
      for (Written& record : writer.Commit()) topic.push_back(std::move(record));
      if (writer.Die(3)) continue;  // it reads several commits together
      for (; at < topic.size(); ++at)
        ASSERT_TRUE(map->Take({static_cast<int64_t>(at)}, topic[at].value, now).ok());
      const bool ages = seed % 2 == 1;
      if (ages && writer.Die(4)) now += std::chrono::seconds(100);
      const StepCommit given = map->NextCommit(now).value();
      if (!given.messages.empty() && !writer.Die(5)) {
        reader.Take(given.messages);
        position = ParseStepPosition(given.messages.back().headers.back().second).value();
        EXPECT_EQ(position, given.position);
      } else if (given.messages.empty() && !writer.Die(5)) {
        continue;
      }
      ++restarts;  // also after a transaction that was not committed
      map = std::make_unique<SealMap>(SealOptions{.topic_id = "in", .to = "lake_rows"});
      map->Resume(ParseStepPosition(StepPositionJson(position)).value());
      at = static_cast<size_t>(position.next.v);
      // Up to some place the newest record of every key stays.
      const size_t compacted = ages ? 0 : at + writer.Draw(topic.size() - at + 1);
      std::map<std::string, size_t> newest;
      for (size_t i = 0; i < compacted; ++i) newest[topic[i].key] = i;
      for (; at < topic.size(); ++at)
        if (at >= compacted || newest[topic[at].key] == at) {
          ASSERT_TRUE(map->Take({static_cast<int64_t>(at)}, topic[at].value, now).ok()) << seed;
        }
    }
    for (; at < topic.size(); ++at)
      ASSERT_TRUE(map->Take({static_cast<int64_t>(at)}, topic[at].value, now).ok());
    // The last group ends by its age.
    now += std::chrono::seconds(100);
    reader.Take(map->NextCommit(now).value().messages);
    EXPECT_EQ(reader.sum_, writer.truth_) << seed;
    EXPECT_EQ(reader.cameras_, writer.cameras_) << seed;
    EXPECT_EQ(reader.next_, writer.progress_.next) << seed;
    segments += reader.segments_;
  }
  EXPECT_GT(segments, 1'000);
  EXPECT_GT(restarts, 1'000);
}

TEST(SealMap, AGroupThatGoesOnAfterAllAddsWhatItIsMore) {
  const CountRow bus{.key = {.pane_start = {0}, .location = {7}, .item = "bus"}, .count = 3};
  CountRow more = bus;
  more.count = 5;
  const LocationName name{.name = "Harbour", .version = 1};
  const auto total = [&](const CountRow& row, int64_t next) {
    return CountValueJson(kOrigin, {0}, {next}, row, kStepPane, &name);
  };
  const auto done = [](int64_t next, int64_t counted) {
    return ProgressValueJson(kOrigin,
                             {.next = {next}, .watermark = {0}, .ledger = CountedLedger(counted)});
  };
  const auto now = StepClock::time_point() + std::chrono::hours(1);
  SealMap map = NewSeal();
  ASSERT_TRUE(map.Take({10}, total(bus, 5), now).ok());
  ASSERT_TRUE(map.Take({11}, done(5, 3), now).ok());
  EXPECT_TRUE(map.NextCommit(now).value().messages.empty());
  Reader reader;
  const StepCommit aged = map.NextCommit(now + std::chrono::seconds(91)).value();
  reader.Take(aged.messages);
  EXPECT_EQ(reader.sum_["bus"], 3);
  EXPECT_EQ(aged.position.next, Offset{10});  // it may go on

  SealMap again = NewSeal();
  again.Resume(aged.position);
  ASSERT_TRUE(again.Take({10}, total(bus, 5), now).ok());
  ASSERT_TRUE(again.Take({11}, done(5, 3), now).ok());
  ASSERT_TRUE(again.Take({14}, total(more, 9), now).ok());
  ASSERT_TRUE(again.Take({15}, done(9, 5), now).ok());
  reader.Take(again.NextCommit(now + std::chrono::seconds(91)).value().messages);
  EXPECT_EQ(reader.sum_["bus"], 5);
}

// What retention would else take, of the topic that is written and of the place in it.
TEST(SealMap, ProgressThatIsSaidAgainIsHandedOn) {
  const CountRow bus{.key = {.pane_start = {0}, .location = {7}, .item = "bus"}, .count = 3};
  const LocationName name{.name = "Harbour", .version = 1};
  const std::string done =
      ProgressValueJson(kOrigin, {.next = {5}, .watermark = {0}, .ledger = CountedLedger(3)});
  auto now = StepClock::time_point() + std::chrono::hours(1);
  SealMap map = NewSeal();
  ASSERT_TRUE(map.Take({10}, CountValueJson(kOrigin, {0}, {5}, bus, kStepPane, &name), now).ok());
  ASSERT_TRUE(map.Take({11}, done, now).ok());
  ASSERT_TRUE(map.Take({12}, done, now).ok());  // of what is not sealed yet
  Reader reader;
  now += std::chrono::seconds(91);
  const StepCommit sealed = map.NextCommit(now).value();
  reader.Take(sealed.messages);
  EXPECT_EQ(sealed.position.next, Offset{10});
  now += std::chrono::hours(24);
  ASSERT_TRUE(map.Take({13}, done, now).ok());
  const StepCommit again = map.NextCommit(now).value();
  ASSERT_EQ(again.messages.size(), 1);
  EXPECT_EQ(again.messages[0].key, sealed.messages.back().key);
  EXPECT_EQ(again.messages[0].value, sealed.messages.back().value);
  EXPECT_EQ(again.position.next, Offset{14});
  EXPECT_EQ(ParseStepPosition(again.messages[0].headers.back().second).value(), again.position);
  reader.Take(again.messages);
  EXPECT_EQ(reader.sum_["bus"], 3);
  // Begun again on what retention has left.
  SealMap left = NewSeal();
  left.Resume(again.position);
  ASSERT_TRUE(left.Take({14}, done, now).ok());
  EXPECT_EQ(left.NextCommit(now).value().messages.size(), 1);
}

TEST(SealMap, ATopicThatHasLostRecordsIsSaid) {
  SealMap map = NewSeal();
  const auto now = StepClock::time_point();
  ASSERT_TRUE(map.Take({0},
                       ProgressValueJson(
                           kOrigin, {.next = {5}, .watermark = {0}, .ledger = CountedLedger(3)}),
                       now)
                  .ok());
  const Result<StepCommit> given = map.NextCommit(now + std::chrono::seconds(91));
  ASSERT_FALSE(given.ok());
  EXPECT_EQ(given.status().code(), StatusCode::kStop);
  EXPECT_THAT(given.status().message(), HasSubstr("lost records"));
}

TEST(JoinMap, KeepsKeysAndTotalsAndPutsNames) {
  std::string name = "Harbour";
  JoinMap map("in", "located", [&](LocationId location) {
    return LocationName{.name = location == LocationId{7} ? name : "", .version = 4};
  });
  Writer writer(3);
  std::vector<Written> records;
  while (records.size() < 20)
    for (Written& record : writer.Commit()) records.push_back(std::move(record));
  const auto now = StepClock::time_point();
  const size_t last = records.size() - 1;  // a progress record, that comes later
  for (size_t i = 0; i < last; ++i)
    ASSERT_TRUE(map.Take({static_cast<int64_t>(i) + 100}, records[i].value, now).ok());
  ASSERT_TRUE(map.Take({99}, "a foreign record", now).ok());
  EXPECT_EQ(map.refused(), 1);
  std::vector<Message> messages = map.NextCommit(now).value().messages;
  ASSERT_LT(messages.size(), last);
  EXPECT_EQ(messages.back().key, ProgressKeyJson(kOrigin.from));
  ASSERT_TRUE(map.Take({static_cast<int64_t>(last) + 100}, records[last].value, now).ok());
  const StepCommit rest = map.NextCommit(now).value();
  EXPECT_EQ(rest.position.next, Offset{static_cast<int64_t>(last) + 101});
  for (const Message& message : rest.messages) messages.push_back(message);
  ASSERT_EQ(messages.size(), records.size());
  for (size_t i = 0; i < messages.size(); ++i) {
    EXPECT_EQ(messages[i].key, records[i].key);
    CountsRecord was = ParseCountsRecord(records[i].value).value();
    const CountsRecord is = ParseCountsRecord(messages[i].value).value();
    EXPECT_EQ(is.total, was.total);
    EXPECT_EQ(is.ledger, was.ledger);
    EXPECT_EQ(is.progress, was.progress);
    EXPECT_EQ(is.next, was.next);
    if (is.total) {
      EXPECT_EQ(is.location->name, "Harbour");
      EXPECT_EQ(is.location->version, 4);
    }
  }
  EXPECT_TRUE(map.NextCommit(now).value().messages.empty());
}

TEST(StepPosition, IsNoneOfOurs) {
  for (const char* text : {"", "{}", "[]", R"({"schema_version":1})",
                           R"({"schema_version":1,"topic_id":"a","next_offset":1,"done":[1]})",
                           R"({"schema_version":2,"topic_id":"a","next_offset":1,"done":[]})"})
    EXPECT_FALSE(ParseStepPosition(text).ok()) << text;
  EXPECT_TRUE(
      ParseStepPosition(R"({"schema_version":1,"topic_id":"a","next_offset":1,"done":[]})").ok());
}

}  // namespace
}  // namespace sightline::kafka
