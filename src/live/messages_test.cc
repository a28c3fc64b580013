#include "live/messages.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace sightline {
namespace {

namespace json = boost::json;

json::value DataOf(const std::string& event) {
  const size_t start = event.find("\ndata: ") + 7;
  return json::parse(event.substr(start, event.size() - start - 2));
}

TEST(Messages, TopAsTheProtocolHasIt) {
  Top top;
  top.window = {{1763799730000}, {1763800030000}};
  top.complete_until = {1763800010000};
  top.total = 170;
  top.other = 30;
  top.items = 12;
  top.rows = {{1, 1, "bus", 140, 3}};
  EXPECT_EQ(ToJson(top),
            R"({"start":1763799730000,"end":1763800030000,"complete_until":1763800010000,)"
            R"("total":170,"other":30,"items":12,)"
            R"("rows":[{"position":1,"rank":1,"item":"bus","count":140,"provisional":3}]})");
}

TEST(Messages, NothingCompleteIsZero) {
  EXPECT_EQ(json::parse(ToJson(Top{})).at("complete_until").as_int64(), 0);
}

TEST(Messages, OidsAreStringsOfAll64Bits) {
  const std::vector<LocationTotal> locations = {{{INT64_MAX}, "Gate 4", 412, "bus"},
                                                {{INT64_MIN}, "", 0, ""}};
  EXPECT_EQ(ToJson(std::span(locations)),
            R"([{"oid":"9223372036854775807","name":"Gate 4","total":412,"top":"bus"},)"
            R"({"oid":"-9223372036854775808","name":"","total":0,"top":""}])");
  EXPECT_EQ(ViewJson(LocationId{7001}, WindowChoice{}, 10),
            R"({"location":"7001","window":"5m","limit":10})");
  EXPECT_EQ(ViewJson(std::nullopt, WindowChoice{.today = true}, 5),
            R"({"location":"all","window":"today","limit":5})");
}

TEST(Messages, HostileStringsStayText) {
  std::string hostile =
      "a\"b\\c\n\r\n\ndata: x\n\nevent: change\n</script>\x01\x7f\xe2\x80\xa8\xf0\x9f\x9a\x8c";
  hostile += '\0';
  Top top;
  top.rows = {{1, 1, hostile, 1, 0}};
  const std::vector<LocationTotal> locations = {{{1}, hostile, 1, hostile}};
  const std::vector<Move> moves = {{hostile, Move::Kind::kEntered, 0, 1}};
  const std::string top_json = ToJson(top), locations_json = ToJson(std::span(locations)),
                    moves_json = ToJson(std::span(moves)), ledger_json = ToJson(Ledger{});
  const std::string event = SnapshotEvent({.boot = "b",
                                           .seq = 1,
                                           .view = "{}",
                                           .locations = locations_json,
                                           .top = top_json,
                                           .moves = moves_json,
                                           .ledger = ledger_json});
  // Three lines and an empty one: nothing of a string can begin a field of the event.
  EXPECT_EQ(std::count(event.begin(), event.end(), '\n'), 4);
  EXPECT_EQ(event.find('\r'), std::string::npos);
  const json::value data = DataOf(event);
  EXPECT_EQ(data.at_pointer("/top/rows/0/item").as_string(), hostile);
  EXPECT_EQ(data.at_pointer("/locations/0/name").as_string(), hostile);
  EXPECT_EQ(data.at_pointer("/moves/0/item").as_string(), hostile);
}

TEST(Messages, MovesHaveOnlyWhatTheyKnow) {
  const std::vector<Move> moves = {{"a", Move::Kind::kEntered, 0, 2},
                                   {"b", Move::Kind::kMoved, 3, 1},
                                   {"c", Move::Kind::kLeft, 10, 0}};
  EXPECT_EQ(ToJson(std::span(moves)),
            R"([{"item":"a","move":"entered","to":2},{"item":"b","move":"moved","from":3,"to":1},)"
            R"({"item":"c","move":"left","from":10}])");
}

TEST(Messages, EventsHaveIdAndKind) {
  StreamState state{.boot = "k3x9",
                    .seq = 41,
                    .now_ms = 5,
                    .changed_at_ms = 4,
                    .pane_size = {10'000},
                    .view = "{}",
                    .locations = "[]",
                    .top = "{}",
                    .moves = "[]",
                    .ledger = "{}",
                    .complete_until = {3}};
  EXPECT_EQ(ChangeEvent(state),
            "id: k3x9-41\nevent: change\ndata: "
            R"({"boot":"k3x9","seq":41,"now":5,"changed_at":4,"pane":10000,"view":{},)"
            R"("locations":[],"top":{},"moves":[],"ledger":{}})"
            "\n\n");
  EXPECT_TRUE(SnapshotEvent(state).starts_with("id: k3x9-41\nevent: snapshot\ndata: {"));
  EXPECT_EQ(HeartbeatEvent(state),
            "id: k3x9-41\nevent: heartbeat\ndata: "
            R"({"boot":"k3x9","seq":41,"now":5,"complete_until":3,"ledger":{},"top":{}})"
            "\n\n");
  state.alerts_version = 3;
  EXPECT_TRUE(HeartbeatEvent(state).ends_with("\"top\":{},\"alerts_version\":3}\n\n"));
}

TEST(Messages, LedgerNames) {
  Ledger ledger{
      .received = 21, .outcomes = {1, 2, 3, 4, 5, 6}, .conflicts = 7, .heartbeats = 8, .lost = 9};
  EXPECT_EQ(ToJson(ledger),
            R"({"received":21,"counted":1,"duplicate":2,"too_late":3,"future":4,"malformed":5,)"
            R"("outside":6,"conflicts":7,"heartbeats":8,"lost":9})");
}

TEST(Messages, IdsOfOthersAreIgnored) {
  EXPECT_EQ(SeqOfId("k3x9-41", "k3x9"), 41);
  EXPECT_EQ(SeqOfId("k3x9-9223372036854775807", "k3x9"), INT64_MAX);
  for (const char* id : {"", "k3x9", "k3x9-", "k3x9--1", "k3x9-+1", "k3x9- 1", "k3x9-1 ", "k3x9-1x",
                         "K3X9-1", "k3x8-1", "k3x91-1", "k3x9-9223372036854775808",
                         "k3x9-99999999999999999999999", "-41", "41", "k3x9-0x29"}) {
    EXPECT_EQ(SeqOfId(id, "k3x9"), std::nullopt) << id;
  }
  EXPECT_EQ(SeqOfId(std::string(1 << 20, '9'), "k3x9"), std::nullopt);
}

}  // namespace
}  // namespace sightline
