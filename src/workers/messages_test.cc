#include "workers/messages.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace sightline {
namespace {

const std::vector<Question>& Questions() {
  static const std::vector<Question> questions = {
      {.request = SqlRequest{"SELECT '\xff'"}, .scope = Scope::All()},
      {.request = TopRequest{.location = LocationId{-7}, .range = {{-5}, {9}}, .limit = 3},
       .scope = {std::set<LocationId>{}},
       .format = ResultFormat::kCsv},
      {.request = CountsRequest{.location = {}, .item = "", .range = {{1}, {2}}, .step = {60'000}},
       .scope = {std::set<LocationId>{{INT64_MIN}, {0}, {INT64_MAX}}},
       .format = ResultFormat::kParquet},
      {.request = ItemsRequest{.location = LocationId{0}, .range = {{1}, {2}}, .limit = 1'000}},
      {.request =
           LedgerRequest{.location = {}, .hours = Window{{3}, {4}}, .group = LedgerGroup::kSource}},
      {.request = LocationsRequest{{{5}, {6}}}},
  };
  return questions;
}

TEST(Messages, AQuestionComesAsItWasSent) {
  for (const Question& question : Questions()) {
    const std::string sent = Encode(AskMessage{question, Millis{1'234}, 99});
    const Result<AskMessage> came = DecodeAsk(sent);
    ASSERT_TRUE(came.ok());
    EXPECT_EQ(Encode(came.value()), sent);
    EXPECT_EQ(came.value().question.request.index(), question.request.index());
    EXPECT_EQ(came.value().question.scope, question.scope);
    EXPECT_EQ(came.value().question.format, question.format);
    EXPECT_EQ(came.value().time.v, 1'234);
    EXPECT_EQ(came.value().rows_max, 99);
  }
  const auto counts = std::get<CountsRequest>(
      DecodeAsk(Encode(AskMessage{Questions()[2], {}, 0})).value().question.request);
  EXPECT_EQ(counts.item, std::optional<std::string>(""));
  EXPECT_EQ(counts.step.v, 60'000);
}

TEST(Messages, WhatAQuestionNeedsComesAsItWasSent) {
  ViewBounds views;
  views["ledger"] = {};
  views["item_counts"] = {.locations = std::set<LocationId>{{3}, {-3}},
                          .first_day = {-1},
                          .end_day = {20'000},
                          .first_append = {5},
                          .end_append = {6}};
  EXPECT_EQ(DecodeNeeds(EncodeNeeds(views)).value(), views);
  EXPECT_EQ(DecodeNeeds(EncodeNeeds({})).value(), ViewBounds());
}

TEST(Messages, AStateComesAsItWasSent) {
  StateMessage state{.counts_version = 3, .ledger_version = -1, .has_ledger = true};
  state.counts_files = {{.path = "date=2026-01-01/x.parquet",
                         .rows = 5,
                         .bytes = 6,
                         .location = LocationId{-1},
                         .day = Day{20'000},
                         .bucket = 15,
                         .window_start_min = EventTime{1},
                         .window_start_max = EventTime{2}},
                        {.path = "y"}};
  state.ledger_files = {{.path = "z",
                         .append_hour_min = EventTime{-3},
                         .append_hour_max = EventTime{4},
                         .has_lost = true}};
  state.parts = {"", "reference"};
  const Result<StateMessage> came = DecodeState(Encode(state));
  ASSERT_TRUE(came.ok());
  EXPECT_EQ(came.value().counts_files, state.counts_files);
  EXPECT_EQ(came.value().ledger_files, state.ledger_files);
  EXPECT_EQ(came.value().parts, state.parts);
  EXPECT_EQ(Encode(came.value()), Encode(state));
  const Status refused =
      DecodeState(Encode(StateMessage{.status = Status::Retry("not yet")})).value().status;
  EXPECT_EQ(refused.code(), StatusCode::kRetry);
  EXPECT_EQ(refused.message(), "not yet");
}

TEST(Messages, AnEndComesAsItWasSent) {
  const EndMessage end{.status = Status::Stop("no"),
                       .limit = QueryLimit::kMemory,
                       .truncated = true,
                       .unreadable_files = {{"a", "b"}, {"c", ""}},
                       .unreadable_parts = {0, 7}};
  const Result<EndMessage> came = DecodeEnd(Encode(end));
  ASSERT_TRUE(came.ok());
  EXPECT_EQ(came.value().unreadable_files, end.unreadable_files);
  EXPECT_EQ(Encode(came.value()), Encode(end));
}

// A worker may send anything. What is cut or goes on is refused; nothing is read behind the end.
TEST(Messages, WhatIsNoMessageIsRefused) {
  const std::string end = Encode(EndMessage{.status = Status::Stop("no"), .unreadable_parts = {7}});
  const std::string needs = EncodeNeeds({{"ledger", {.locations = std::set<LocationId>{{1}}}}});
  for (size_t size = 0; size < end.size(); ++size)
    EXPECT_FALSE(DecodeEnd(std::string_view(end).substr(0, size)).ok()) << size;
  for (size_t size = 0; size < needs.size(); ++size)
    EXPECT_FALSE(DecodeNeeds(std::string_view(needs).substr(0, size)).ok()) << size;
  EXPECT_FALSE(DecodeEnd(end + "x").ok());
  EXPECT_FALSE(DecodeNeeds(needs + "x").ok());
  std::string limit = Encode(EndMessage{});
  limit[2] = 77;
  EXPECT_FALSE(DecodeEnd(limit).ok());
}

TEST(Messages, ASetupComesAsItWasSent) {
  const WorkerSetup setup{.root = "/lake",
                          .read = {"/pins"},
                          .memory_bytes_max = 1LL << 40,
                          .answer_bytes_max = 5,
                          .threads = 3,
                          .window_size = {45'000}};
  EXPECT_EQ(Encode(DecodeSetup(Encode(setup)).value()), Encode(setup));
}

}  // namespace
}  // namespace sightline
