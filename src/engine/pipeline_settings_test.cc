#include "engine/pipeline_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/checkpoint.h"
#include "operators/count_operator.h"
#include "pipeline/settings_text.h"

namespace sightline {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const SourcePartition kFirst{"raw", 0}, kSecond{"raw", 1};

class Store final : public SettingsStore {
 public:
  Result<std::optional<std::string>> Settings() override {
    ++asked;
    return settings;
  }
  Status PutSettingsIfAbsent(std::string_view text) override {
    if (faster) settings = faster;
    if (put_answer) return *put_answer;
    if (!settings) settings = std::string(text);
    return Status::Ok();
  }
  Result<std::vector<SourcePartition>> Partitions() override {
    std::vector<SourcePartition> partitions;
    for (const auto& [partition, bytes] : checkpoints) partitions.push_back(partition);
    return partitions;
  }
  Result<std::optional<std::string>> NewestCheckpoint(const SourcePartition& partition) override {
    ++read;
    return checkpoints.at(partition);
  }

  std::optional<std::string> settings, faster;  // `faster`: what another process puts first
  std::optional<Status> put_answer;
  std::map<SourcePartition, std::optional<std::string>> checkpoints;
  int asked = 0, read = 0;
};

PipelineSpec Wider() {
  PipelineSpec spec;
  spec.window_size = {300'000};
  return spec;
}
std::string CheckpointUnder(const PipelineSpec& spec) {
  const CountOperator counting(spec);
  std::string bytes;
  WriteCheckpoint(
      {}, {}, {}, [&](const ByteSink& out) { counting.Save(out); },
      [&](std::string_view piece) { bytes += piece; });
  return bytes;
}

TEST(PipelineSettings, TheFirstStartStoresThem) {
  Store store;
  EXPECT_TRUE(ClaimPipelineSettings({}, store).ok());
  EXPECT_EQ(store.settings, SettingsText({}));
  EXPECT_TRUE(ClaimPipelineSettings({}, store).ok());
}

TEST(PipelineSettings, OtherSettingsAreRefusedAndTheWayIsTold) {
  Store store;
  EXPECT_TRUE(ClaimPipelineSettings({}, store).ok());
  const Status status = ClaimPipelineSettings(Wider(), store);
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("pipeline.window_size was 60000 ms and is 300000 ms now"),
                    HasSubstr("Restore the settings"), HasSubstr("sightline handover")));
  EXPECT_EQ(store.settings, SettingsText({}));
  EXPECT_TRUE(ClaimPipelineSettings({}, store).ok()) << "and back";
}

TEST(PipelineSettings, TheRangeMayChange) {
  Store store;
  PipelineSpec spec;
  EXPECT_TRUE(ClaimPipelineSettings(spec, store).ok());
  spec.count_until = {1'000'000};
  EXPECT_TRUE(ClaimPipelineSettings(spec, store).ok());
}

TEST(PipelineSettings, OfTwoFirstStartsOneWins) {
  Store store;
  store.faster = SettingsText(Wider());
  EXPECT_EQ(ClaimPipelineSettings({}, store).code(), StatusCode::kStop);
  EXPECT_EQ(store.settings, SettingsText(Wider()));
}

TEST(PipelineSettings, AnOldFolderTakesThoseOfItsCheckpoints) {
  Store store;
  store.checkpoints = {{kFirst, std::nullopt}, {kSecond, CheckpointUnder({})}};
  const Status status = ClaimPipelineSettings(Wider(), store);
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("'raw' partition 1"), HasSubstr("other pipeline settings")));
  EXPECT_FALSE(store.settings);
  EXPECT_TRUE(ClaimPipelineSettings({}, store).ok());
  EXPECT_EQ(store.settings, SettingsText({}));
  // From then on the checkpoints are not read any more.
  store.read = 0;
  EXPECT_TRUE(ClaimPipelineSettings({}, store).ok());
  EXPECT_EQ(store.read, 0);
}

// Two checkpoints of different settings: what a start with another option has left behind. No
// settings are right for both.
TEST(PipelineSettings, AFolderThatIsSplitAlreadyIsRefused) {
  Store store;
  store.checkpoints = {{kFirst, CheckpointUnder(Wider())}, {kSecond, CheckpointUnder({})}};
  EXPECT_FALSE(ClaimPipelineSettings({}, store).ok());
  EXPECT_FALSE(ClaimPipelineSettings(Wider(), store).ok());
}

TEST(PipelineSettings, ADamagedCheckpointIsItsPartitionsTrouble) {
  Store store;
  store.checkpoints = {{kFirst, "damaged"}};
  EXPECT_TRUE(ClaimPipelineSettings({}, store).ok());
}

PipelineSpec Oldest() {
  PipelineSpec spec;
  spec.decode = kOldestRules;
  return spec;
}

DecodeRules Adopted(Store& store, const ChosenRules& chosen = {}) {
  PipelineSpec spec;
  EXPECT_TRUE(AdoptStoredRules(store, chosen, &spec).ok());
  return spec.decode;
}

TEST(PipelineSettings, RulesThatNobodyHasChosenAreThoseOfThePipeline) {
  Store older, newer;
  older.settings = SettingsText(Oldest());
  newer.settings = SettingsText({});
  EXPECT_EQ(Adopted(older).version, Decoding::kFirst);
  EXPECT_EQ(Adopted(older).detection_ids, DetectionIds::kInteger);
  EXPECT_EQ(Adopted(newer).version, Decoding::kSecond);
  EXPECT_EQ(Adopted(newer).detection_ids, DetectionIds::kAny);
  EXPECT_EQ(Adopted(older, {.decoding = true}).version, Decoding::kSecond) << "chosen";
  EXPECT_EQ(Adopted(older, {.decoding = true}).detection_ids, DetectionIds::kInteger);
}

TEST(PipelineSettings, WithoutSettingsTheCheckpointsTellTheRules) {
  Store older, newer;
  older.checkpoints = {{kFirst, CheckpointUnder(Oldest())}};
  newer.checkpoints = {{kFirst, CheckpointUnder({})}};
  EXPECT_EQ(Adopted(older).version, Decoding::kFirst);
  EXPECT_EQ(Adopted(newer).version, Decoding::kSecond);
}

TEST(PipelineSettings, APipelineThatHasCountedButLostItsRulesMustBeTold) {
  Store store;
  EXPECT_EQ(Adopted(store).version, Decoding::kSecond) << "a new one has the newest";
  EXPECT_EQ(RequireKnownRules(store, {}).code(), StatusCode::kStop);
  EXPECT_EQ(RequireKnownRules(store, {.decoding = true}).code(), StatusCode::kStop);
  EXPECT_TRUE(RequireKnownRules(store, {.detection_ids = true, .decoding = true}).ok());
  store.settings = SettingsText({});
  EXPECT_TRUE(RequireKnownRules(store, {}).ok());
}

TEST(PipelineSettings, NothingStartsWithoutThem) {
  Store store;
  store.put_answer = Status::Retry("the disk is full");
  const Status status = ClaimPipelineSettings({}, store);
  EXPECT_EQ(status.code(), StatusCode::kRetry);
  EXPECT_EQ(status.message(), "the disk is full");
}

}  // namespace
}  // namespace sightline
