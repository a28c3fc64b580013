#include "connectors/kafka/records.h"

#include <gtest/gtest.h>

namespace sightline::kafka {
namespace {

const SourcePartition kRecordFrom{"kafka:cluster/raw/id", 3};
const Provenance kRecordProvenance{kRecordFrom, "00000000000000ff"};

TEST(KafkaRecords, KeysAreTheSameBytesForTheSameThing) {
  const CountKey key{.pane_start = {60'000}, .location = {-7}, .item = "a \"b\"\n\u00e9"};
  EXPECT_EQ(CountKeyJson(kRecordFrom, {5}, key, {10'000}),
            R"({"source":"kafka:cluster/raw/id","source_partition":3,"first_offset":5,)"
            R"("window_start":60000,"window_end":70000,"geographical_location_oid":-7,)"
            "\"item_name\":\"a \\\"b\\\"\\n\u00e9\",\"kind\":\"count\"}");
  EXPECT_EQ(ProgressKeyJson(kRecordFrom),
            R"({"source":"kafka:cluster/raw/id","source_partition":3})");
  const std::string progress = ProgressKeyJson(kRecordFrom);
  EXPECT_TRUE(IsOfPartition(progress, progress));
  EXPECT_TRUE(IsOfPartition(CountKeyJson(kRecordFrom, {5}, key, {10'000}), progress));
  EXPECT_TRUE(IsOfPartition(LedgerKeyJson(kRecordFrom, {5}, {}), progress));
  EXPECT_FALSE(IsOfPartition(ProgressKeyJson({kRecordFrom.source, 31}), progress));
  EXPECT_FALSE(IsOfPartition(ProgressKeyJson({kRecordFrom.source + "x", 3}), progress));
  EXPECT_FALSE(IsOfPartition("", progress));
}

TEST(KafkaRecords, KindsOfOneCellHaveTheirOwnKeys) {
  CountKey key{.pane_start = {0}, .location = {1}, .item = "bus"};
  const std::string count = CountKeyJson(kRecordFrom, {0}, key, {10'000});
  key.kind = CountKind::kCorrection;
  EXPECT_NE(CountKeyJson(kRecordFrom, {0}, key, {10'000}), count);
}

TEST(KafkaRecords, AValueSaysWhatItsOffsetsAdd) {
  const CountRow row{.key = {.pane_start = {-10'000}, .location = {INT64_MIN}, .item = "bus"},
                     .count = 4,
                     .first_detected = {-9'000},
                     .last_detected = {-1}};
  const LocationName name{.name = "Platz \"1\"", .version = 2};
  EXPECT_EQ(CountValueJson(kRecordProvenance, {5}, {9}, row, {10'000}, &name),
            R"({"schema_version":1,"spec_id":"00000000000000ff",)"
            R"("geographical_location_oid":-9223372036854775808,"item_name":"bus",)"
            R"("window_start":-10000,"window_end":0,"item_count":4,"first_detected":-9000,)"
            R"("last_detected":-1,"kind":"count","source":"kafka:cluster/raw/id",)"
            R"("source_partition":3,"first_offset":5,"next_offset":9,)"
            R"("geographical_location":"Platz \"1\"","locations_version":2})");
  const LocationName unknown{.name = "", .version = 2};
  EXPECT_TRUE(CountValueJson(kRecordProvenance, {5}, {9}, row, {10'000}, &unknown)
                  .ends_with(R"("geographical_location":null,"locations_version":2})"));
  EXPECT_TRUE(CountValueJson(kRecordProvenance, {5}, {9}, row, {10'000}, nullptr)
                  .ends_with(R"("next_offset":9})"));
}

Progress SomeProgress() {
  Progress progress{.next = {INT64_MAX}, .watermark = {-5}, .ledger = {}};
  progress.ledger.received = 21;
  for (size_t i = 0; i < kOutcomes; ++i) progress.ledger.outcomes[i] = static_cast<int64_t>(i) + 1;
  progress.ledger.conflicts = 1;
  progress.ledger.heartbeats = 8;
  progress.ledger.lost = 9;
  return progress;
}

TEST(KafkaRecords, ProgressComesBack) {
  Progress progress = SomeProgress();
  EXPECT_EQ(ParseProgress(ProgressValueJson(kRecordProvenance, progress)).value(), progress);
  progress.watermark = kBeforeAllTime;
  const std::string text = ProgressValueJson(kRecordProvenance, progress);
  EXPECT_NE(text.find(R"("watermark":null)"), std::string::npos) << text;
  EXPECT_EQ(ParseProgress(text).value(), progress);
}

// Written by a program that did not know it.
TEST(KafkaRecords, WhatSaysNothingOfLossesHasNone) {
  std::string text = ProgressValueJson(kRecordProvenance, SomeProgress());
  const std::string lost = ",\"lost\":9";
  ASSERT_NE(text.find(lost), std::string::npos) << text;
  text.erase(text.find(lost), lost.size());
  Progress progress = SomeProgress();
  progress.ledger.lost = 0;
  EXPECT_EQ(ParseProgress(text).value(), progress);
}

TEST(KafkaRecords, ProgressThatIsNoneIsRefused) {
  const std::string good = ProgressValueJson(kRecordProvenance, SomeProgress());
  const auto without = [&good](std::string_view from, std::string_view to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const std::string& bad :
       {std::string(), std::string("17"), good.substr(0, good.size() - 1),
        without("\"schema_version\":1", "\"schema_version\":2"),
        without("\"next_offset\"", "\"x\""),
        without("\"next_offset\":9223372036854775807", "\"next_offset\":\"1\""),
        without("\"received\":21", "\"received\":22"), without("\"ledger\":{", "\"l\":{")})
    EXPECT_EQ(ParseProgress(bad).status().code(), StatusCode::kStop) << bad;
}

TEST(KafkaRecords, DeadLetterKeepsItsBytes) {
  const DeadLetter event{.outcome = Outcome::kMalformed,
                         .reason = MalformedReason::kItemName,
                         .offset = {12},
                         .index = 3,
                         .append_time = {77},
                         .bytes = std::string("\xff\0{", 3)};
  const Message message = DeadLetterMessage("dead_letters", kRecordFrom, event);
  EXPECT_EQ(message.key,
            R"({"source":"kafka:cluster/raw/id","source_partition":3,"offset":12,"index":3})");
  EXPECT_EQ(message.value, event.bytes);
  const decltype(message.headers) headers = {{"sightline.schema_version", "1"},
                                             {"sightline.outcome", "malformed"},
                                             {"sightline.reason", "item_name"},
                                             {"sightline.append_time", "77"}};
  EXPECT_EQ(message.headers, headers);
}

}  // namespace
}  // namespace sightline::kafka
