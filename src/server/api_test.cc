#include "server/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <thread>

#include "query/test_lake_source.h"

namespace sightline {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr int64_t kNowMs = kNewYearMs + 10 * kMinuteMs;
// The two minutes in which something was counted.
constexpr std::string_view kRange = "from=1767225600000&to=2026-01-01T00:02:00Z";

class ApiTest : public testing::Test {
 protected:
  // With the body in `body`.
  Response Ask(const ApiCall& call, SpoolBudget* budget = nullptr) {
    Response response = AnswerFromLake(call, *queries_, kNowMs, budget);
    const Result<std::string> body = BodyOf(response);
    EXPECT_TRUE(body.ok()) << body.status().message();
    response.body = body.ok() ? body.value() : "";
    return response;
  }
  Response Get(Route route, std::string query, Scope scope = Scope::All()) {
    return Ask({.route = route, .query = std::move(query), .body = {}, .scope = std::move(scope)});
  }
  Response Post(std::string body, Scope scope = Scope::All()) {
    return Ask(
        {.route = Route::kQuery, .query = {}, .body = std::move(body), .scope = std::move(scope)});
  }
  // With the range, as NDJSON.
  std::string Rows(Route route, const std::string& query, Scope scope = Scope::All()) {
    const Response response =
        Get(route, std::string(kRange) + "&format=ndjson" + query, std::move(scope));
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(response.content_type, "application/x-ndjson");
    return response.body;
  }
  static std::string_view Header(const Response& response, std::string_view wanted) {
    for (const auto& [name, value] : response.headers)
      if (name == wanted) return value;
    return "";
  }

  std::shared_ptr<TestLakeSource> lake_ = std::make_shared<TestLakeSource>();
  std::unique_ptr<LocalQueries> queries_ = TestQueries(lake_);
};

TEST(Api, WhatAsksTheLake) {
  for (const Route route : {Route::kCounts, Route::kItems, Route::kQuery})
    EXPECT_TRUE(IsLakeRequest(route, ""));
  for (const Route route : {Route::kTop, Route::kLocations}) {
    for (const std::string_view query :
         {"from=1", "limit=1&from=1", "to=1", "format=csv", "%66rom=1", "from", "&&from="})
      EXPECT_TRUE(IsLakeRequest(route, query)) << query;
    for (const std::string_view query :
         {"", "window=5m", "at=1", "xfrom=1", "window=from", "from2="})
      EXPECT_FALSE(IsLakeRequest(route, query)) << query;
  }
  EXPECT_FALSE(IsLakeRequest(Route::kLedger, ""));
  EXPECT_TRUE(IsLakeRequest(Route::kLedger, "group=none"));
  for (const Route route : {Route::kDetections, Route::kStream, Route::kHealth, Route::kMetrics,
                            Route::kPage, Route::kOther})
    EXPECT_FALSE(IsLakeRequest(route, "from=1"));
}

TEST_F(ApiTest, Top) {
  EXPECT_EQ(
      Rows(Route::kTop, ""),
      "{\"position\":1,\"rank\":1,\"item_name\":\"bus\",\"item_count\":13}\n"
      "{\"position\":2,\"rank\":2,\"item_name\":\"car\",\"item_count\":5}\n"
      "{\"position\":3,\"rank\":3,\"item_name\":\"o'clock, \\\"quoted\\\"\",\"item_count\":1}\n");
  EXPECT_EQ(Rows(Route::kTop, "&location=2"),
            "{\"position\":1,\"rank\":1,\"item_name\":\"bus\",\"item_count\":3}\n");
  EXPECT_EQ(Rows(Route::kTop, "&location=all&limit=1"),
            "{\"position\":1,\"rank\":1,\"item_name\":\"bus\",\"item_count\":13}\n");
  EXPECT_EQ(Rows(Route::kTop, "&location=99"), "");
}

TEST_F(ApiTest, TopOfAWindow) {
  const auto top = [this](const std::string& query) {
    return Get(Route::kTop, "format=csv&limit=1&" + query).body;
  };
  const std::string head = "position,rank,item_name,item_count\r\n";
  EXPECT_EQ(top("window=10m"), head + "1,1,bus,13\r\n") << "now is ten minutes after midnight";
  EXPECT_EQ(top("window=9m"), head + "1,1,car,5\r\n");
  EXPECT_EQ(top("window=8m"), head);
  EXPECT_EQ(top("window=1m&at=1767225660000"), head + "1,1,bus,10\r\n") << "the minute that ends";
  EXPECT_EQ(top("at=1767225660001&window=1m"), head + "1,1,car,5\r\n") << "and the one after it";
  EXPECT_EQ(top("at=1767225660000"), head + "1,1,bus,10\r\n") << "5m, as live";
  EXPECT_EQ(top("window=today"), head + "1,1,bus,13\r\n");
  EXPECT_EQ(top("window=today&at=1767225600000"), head) << "all of the day before";
}

// Now is 05:40 in Delhi, 16:10 of the day before in Los Angeles and 01:10 in Berlin.
TEST_F(ApiTest, TodayIsTheDayOfTheLocation) {
  const auto top = [this](std::string_view zone, const std::string& query) {
    lake_->SetTimeZone({1}, std::string(zone));
    return Get(Route::kTop, "format=ndjson&limit=1&window=today&" + query).body;
  };
  const std::string ten = "{\"position\":1,\"rank\":1,\"item_name\":\"bus\",\"item_count\":10}\n";
  EXPECT_EQ(top("Asia/Kolkata", "location=1"), ten);
  EXPECT_EQ(top("Europe/Berlin", "location=1&at=1767309600000"), "") << "00:20 in Berlin";
  EXPECT_EQ(top("UTC", "location=1&at=1767309600000"), ten) << "23:20 in Greenwich";
  EXPECT_EQ(top("No/Where", "location=1&at=1767309600000"), ten) << "unknown: UTC";
  EXPECT_EQ(top("America/Los_Angeles", "location=1&at=1767252600000"), ten) << "23:30 there";
  EXPECT_EQ(top("America/Los_Angeles", "location=1&at=1767258000000"), "") << "01:00 there";
  EXPECT_THAT(top("Europe/Berlin", "at=1767309600000"), HasSubstr("13")) << "all: UTC";
}

TEST_F(ApiTest, Items) {
  EXPECT_EQ(Rows(Route::kItems, "&location=1&limit=1"),
            "{\"item_name\":\"bus\",\"item_count\":10,"
            "\"first_detected\":\"2026-01-01T00:00:00.001Z\","
            "\"last_detected\":\"2026-01-01T00:00:00.002Z\"}\n");
  EXPECT_THAT(Rows(Route::kItems, ""), HasSubstr("\"bus\",\"item_count\":13"));
}

TEST_F(ApiTest, Counts) {
  EXPECT_EQ(Rows(Route::kCounts, ""),
            "{\"step_start\":\"2026-01-01T00:00:00.000Z\",\"item_count\":11}\n"
            "{\"step_start\":\"2026-01-01T00:01:00.000Z\",\"item_count\":8}\n");
  EXPECT_EQ(Rows(Route::kCounts, "&step=1h&location=1&item=car"),
            "{\"step_start\":\"2026-01-01T00:00:00.000Z\",\"item_count\":5}\n");
  EXPECT_EQ(Rows(Route::kCounts, "&step=24h&item=o%27clock%2c+%22quoted%22"),
            "{\"step_start\":\"2026-01-01T00:00:00.000Z\",\"item_count\":1}\n");
  EXPECT_EQ(Rows(Route::kCounts, "&step=24h&item="),
            "{\"step_start\":\"2026-01-01T00:00:00.000Z\",\"item_count\":0}\n");
}

TEST_F(ApiTest, Locations) {
  const std::string rows = Rows(Route::kLocations, "");
  EXPECT_THAT(rows, StartsWith("{\"geographical_location_oid\":\"1\",\"geographical_location\":"
                               "\"Gate\",\"item_count\":15,"));
  EXPECT_THAT(rows, HasSubstr("{\"geographical_location_oid\":\"2\",\"geographical_location\":"
                              "\"Plaza\",\"item_count\":3,"));
  EXPECT_THAT(rows, HasSubstr("{\"geographical_location_oid\":\"3\",\"geographical_location\":null,"
                              "\"item_count\":1,"));
}

TEST_F(ApiTest, Ledger) {
  EXPECT_EQ(Get(Route::kLedger, "format=ndjson").body,
            "{\"received\":19,\"counted\":19,\"duplicate\":0,\"too_late\":0,\"future\":0,"
            "\"malformed\":0,\"outside\":0,\"conflicts\":0,\"heartbeats\":0,\"lost\":0}\n");
  EXPECT_THAT(Get(Route::kLedger, "location=2").body, HasSubstr("{\"received\":3,\"counted\":3,"));
  EXPECT_THAT(Get(Route::kLedger, "group=location&format=csv").body,
              HasSubstr("geographical_location_oid,received,"));
  for (const std::string_view group : {"none", "location", "camera", "hour", "source"})
    EXPECT_EQ(Get(Route::kLedger, "group=" + std::string(group)).status, 200) << group;
  // Their hour of append time is the first of 1970.
  EXPECT_THAT(Get(Route::kLedger, "from=0&to=1").body, HasSubstr("\"received\":19,"));
  EXPECT_THAT(Get(Route::kLedger, "from=1").body, HasSubstr("\"received\":0,"));
}

TEST_F(ApiTest, WithoutARangeItIsTheHourBeforeNow) {
  EXPECT_THAT(Get(Route::kTop, "").body, HasSubstr("\"item_count\":13"));
  EXPECT_THAT(Get(Route::kTop, "from=2026-01-01T00:01:00Z").body, HasSubstr("\"item_count\":3"));
  EXPECT_THAT(Get(Route::kTop, "to=2026-01-01T00:01:00Z").body, HasSubstr("\"item_count\":10"));
  EXPECT_EQ(Get(Route::kTop, "to=2025-12-31T23:00:00Z").body, "[\n]\n");
  EXPECT_EQ(Get(Route::kTop, "from=2026-01-01T00:01:00.001Z&to=2026-01-02T00:00:00Z").body,
            "[\n]\n");  // windows that begin in the range
}

TEST_F(ApiTest, Formats) {
  for (const auto& [format, type, begin] : std::vector<std::array<std::string, 3>>{
           {"json", "application/json", "[\n{\"position\":1,"},
           {"ndjson", "application/x-ndjson", "{\"position\":1,"},
           {"csv", "text/csv; charset=utf-8; header=present",
            "position,rank,item_name,item_count\r\n1,1,bus,13\r\n"},
           {"excel-csv", "text/csv; charset=utf-8; header=present",
            "\xEF\xBB\xBFposition,rank,item_name,item_count\r\n1,1,bus,13\r\n"},
           {"table", "text/plain; charset=utf-8", "position  rank  item_name"},
           {"parquet", "application/vnd.apache.parquet", "PAR1"}}) {
    const Response response = Get(Route::kTop, std::string(kRange) + "&format=" + format);
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(response.content_type, type);
    EXPECT_THAT(response.body, StartsWith(begin));
    const Response query = Post(R"({"sql":"SELECT 1 AS position","format":")" + format + "\"}");
    EXPECT_EQ(query.status, 200) << query.body;
    EXPECT_EQ(query.content_type, type);
  }
}

TEST_F(ApiTest, BadParametersAreNamed) {
  const std::vector<std::pair<Route, std::vector<std::string>>> bad = {
      {Route::kTop,
       {"window=5x",
        "window=30s",
        "window=25h",
        "at=yesterday",
        "at=253402300800000",
        "window=5m&from=1",
        "window=5m&to=1",
        "location=Gate",
        "location=",
        "location=1.5",
        "location=9223372036854775808",
        "from=yesterday",
        "from=",
        "to=2026-13-01T00:00:00Z",
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "format=xml",
        "format=",
        "from=1&from=2"}},
      {Route::kItems, {"limit=0", "limit=1001", "item=bus", "step=1m", "format=JSON"}},
      {Route::kCounts,
       {"step=today", "step=0s", "step=25h", "step=1", "limit=1", "item=%ff", "item=a%00b"}},
      {Route::kLocations, {"location=1", "limit=1", "window=1m"}},
      {Route::kLedger, {"group=item", "group=", "limit=1", "window=5m", "item=bus"}},
  };
  for (const auto& [route, queries] : bad) {
    for (const std::string& query : queries) {
      const Response response = Get(route, query);
      EXPECT_EQ(response.status, 400) << query;
      EXPECT_EQ(response.content_type, "application/problem+json");
      EXPECT_THAT(response.body,
                  HasSubstr("parameter \\\"" + query.substr(0, query.find('=')) + "\\\""))
          << query;
    }
  }
}

TEST_F(ApiTest, BadRanges) {
  for (const std::string query :
       {"from=5&to=5", "from=6&to=5", "from=2999-01-01T00:00:00Z", "to=-62135596800000"})
    for (const Route route : {Route::kTop, Route::kItems, Route::kCounts, Route::kLocations})
      EXPECT_EQ(Get(route, query).status, 400) << query;
  const Response steps = Get(Route::kCounts, "from=0&step=1m");
  EXPECT_EQ(steps.status, 400);
  EXPECT_THAT(steps.body, HasSubstr("more than 100000 steps"));
}

TEST_F(ApiTest, EveryReadTakesTheScope) {
  const Scope scope{.locations = std::set<LocationId>{{2}}};
  EXPECT_EQ(Rows(Route::kTop, "", scope),
            "{\"position\":1,\"rank\":1,\"item_name\":\"bus\",\"item_count\":3}\n");
  EXPECT_EQ(Rows(Route::kTop, "&location=1", scope), "");
  EXPECT_THAT(Rows(Route::kItems, "", scope), HasSubstr("\"item_count\":3,"));
  EXPECT_EQ(Rows(Route::kCounts, "&step=24h", scope),
            "{\"step_start\":\"2026-01-01T00:00:00.000Z\",\"item_count\":3}\n");
  EXPECT_THAT(Rows(Route::kLocations, "", scope),
              StartsWith("{\"geographical_location_oid\":\"2\","));
  EXPECT_THAT(Get(Route::kLedger, "group=none", scope).body, HasSubstr("\"received\":3,"));
  EXPECT_EQ(
      Post(R"({"sql":"SELECT sum(item_count) AS n FROM item_counts","format":"ndjson"})", scope)
          .body,
      "{\"n\":3}\n");
}

TEST_F(ApiTest, Query) {
  const Response response =
      Post(R"({"sql":"SELECT geographical_location_oid, sum(item_count) AS n FROM item_counts )"
           R"(GROUP BY ALL ORDER BY n DESC","format":"ndjson","limit":2})");
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.body,
            "{\"geographical_location_oid\":\"1\",\"n\":15}\n"
            "{\"geographical_location_oid\":\"2\",\"n\":3}\n");
  EXPECT_EQ(Header(response, "X-Truncated"), "true");
  const Response whole = Post(R"({"limit":3,"sql":"FROM range(3) "})");
  EXPECT_EQ(whole.body, "[\n{\"range\":0},\n{\"range\":1},\n{\"range\":2}\n]\n");
  EXPECT_EQ(Header(whole, "X-Truncated"), "");
  const Response by_default = Post(R"({"sql":"FROM range(100001) ","format":"csv"})");
  EXPECT_EQ(Header(by_default, "X-Truncated"), "true");
  EXPECT_THAT(by_default.body, testing::EndsWith("\r\n99999\r\n"));
}

// As long as the engine counts every partition, no answer has the header.
TEST_F(ApiTest, AnAnswerNamesThePartitionsOfWhichItLacksSomething) {
  const auto ask = [this](Route route) {
    return route == Route::kQuery ? Post(R"({"sql":"SELECT sum(item_count) FROM item_counts"})")
                                  : Get(route, std::string(kRange));
  };
  constexpr Route kAll[] = {Route::kTop,       Route::kItems,  Route::kCounts,
                            Route::kLocations, Route::kLedger, Route::kQuery};
  std::map<Route, std::string> whole;
  for (const Route route : kAll) {
    const Response response = ask(route);
    EXPECT_EQ(Header(response, "X-Incomplete"), "");
    whole[route] = response.body;
  }
  lake_->incomplete = {{{"log", 3}, {100}, {150}, "\"stopped\"\nat M\xc3\xbcnster"}};
  for (const Route route : kAll) {
    const Response response = ask(route);
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(response.body, whole[route]);
    EXPECT_EQ(Header(response, "X-Incomplete"),
              R"([{"source":"log","partition":3,"first":100,"next":150,)"
              R"("reason":"\"stopped\"\u000aat M??nster"}])");
  }
  EXPECT_EQ(Header(Post(R"({"sql":"FROM range(3) "})"), "X-Incomplete"), "") << "not of the lake";
  for (int32_t p = 0; p < 100; ++p)
    lake_->incomplete.push_back({{"log", p}, {0}, {1}, std::string(1'000, 'x')});
  const std::string many(Header(ask(Route::kTop), "X-Incomplete"));
  EXPECT_LT(many.size(), 4'000u);
  EXPECT_THAT(many, testing::MatchesRegex(R"(\[.*,\{"more":[0-9]+\}\])"));
}

TEST_F(ApiTest, QueriesThatAreRefused) {
  for (const auto& [body, word] : std::vector<std::pair<std::string, std::string>>{
           {"", "not a JSON object"},
           {"SELECT 1", "not a JSON object"},
           {"[]", "not a JSON object"},
           {"{", "not a JSON object"},
           {"{\"sql\":\"\xff\"}", "not a JSON object"},
           {std::string(40, '[') + std::string(40, ']'), "not a JSON object"},
           {"{}", "\\\"sql\\\" is missing"},
           {R"({"sql":1})", "\\\"sql\\\" is unknown, or its type or range is wrong"},
           {R"({"sql":null})", "\\\"sql\\\""},
           {R"({"sql":"SELECT 1","Sql":"SELECT 1"})", "\\\"Sql\\\" is unknown"},
           {R"({"sql":"SELECT 1","format":"xml"})", "'xml' is not a format"},
           {R"({"sql":"SELECT 1","format":1})", "\\\"format\\\""},
           {R"({"sql":"SELECT 1","limit":0})", "\\\"limit\\\""},
           {R"({"sql":"SELECT 1","limit":1000001})", "\\\"limit\\\""},
           {R"({"sql":"SELECT 1","limit":"5"})", "\\\"limit\\\""},
           {R"({"sql":"SELECT 1","limit":1.5})", "\\\"limit\\\""},
           {R"({"sql":"SELECT 1; SELECT 2"})", "exactly one statement"},
           {R"({"sql":""})", "exactly one statement"},
           {R"({"sql":"SELEC 1"})", "line 1, column 1"},
           {R"({"sql":"SELECT 1\u0000"})", "NUL"},
           {R"({"sql":"SET threads = 1"})", "only one SELECT"},
           {R"({"sql":"COPY (SELECT 1) TO '/tmp/x'"})", "only one SELECT"},
           {R"({"sql":"DELETE FROM ledger"})", "only one SELECT"},
           {R"({"sql":"ATTACH 'x'"})", "only one SELECT"},
           {R"({"sql":"FROM '/etc/passwd'"})", ""},
           {R"({"sql":"SELECT * FROM read_text('/etc/passwd') "})", "read_text"},
           {R"({"sql":"SELECT getenv('HOME') "})", "getenv"},
           {R"({"sql":"SELECT nothing FROM ledger"})", "nothing"},
           {R"({"sql":"SELECT 1 / 'x'"})", ""}}) {
    const Response response = Post(body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(response.content_type, "application/problem+json") << body;
    EXPECT_THAT(response.body, HasSubstr(word)) << body;
  }
}

TEST_F(ApiTest, AllAnswersHaveABound) {
  SpoolBudget budget(4 << 20, 16 << 20);
  auto ask = [&](int64_t rows, const std::string& format = "csv") {
    const std::string body = R"({"sql":"SELECT range || ')" + std::string(1'000, 'x') +
                             "' AS wide FROM range(" + std::to_string(rows) + ") \",\"format\":\"" +
                             format + "\"}";
    Response response =
        Ask({.route = Route::kQuery, .query = {}, .body = body, .scope = Scope::All()}, &budget);
    if (response.status == 200) {
      EXPECT_GE(budget.memory.bytes() + budget.disk.bytes(), response.size());
    }
    return response;
  };
  {
    const Response first = ask(7'000), second = ask(7'000);
    EXPECT_EQ(first.status, 200);
    EXPECT_EQ(second.status, 200);
    EXPECT_EQ(first.body, second.body);
    for (const char* format : {"csv", "table"}) {
      const Response third = ask(7'000, format);  // it would fit alone
      EXPECT_EQ(third.status, 503) << format;
      EXPECT_EQ(Header(third, "Retry-After"), "1");
      EXPECT_THAT(third.body, HasSubstr("query.answer_disk_max"));
    }
    EXPECT_EQ(ask(1'000).status, 200);
  }
  EXPECT_EQ(budget.memory.bytes() + budget.disk.bytes(), 0);
  EXPECT_EQ(ask(7'000).status, 200);
  const Response large = ask(9'000);  // never fits
  EXPECT_EQ(large.status, 507);
  EXPECT_THAT(large.body, HasSubstr("larger than 8 MiB"));
  EXPECT_EQ(ask(9'000, "table").status, 507);
  EXPECT_EQ(budget.memory.bytes() + budget.disk.bytes(), 0);
}

TEST_F(ApiTest, LimitsAreNoMistakes) {
  using std::chrono::steady_clock;
  auto ask = [&](const std::string& sql, const std::string& format, std::chrono::seconds waited) {
    return Ask({.route = Route::kQuery,
                .query = {},
                .body = R"({"sql":")" + sql + R"(","format":")" + format + "\"}",
                .scope = Scope::All(),
                .start = steady_clock::now() - waited});
  };
  for (const std::string format : {"json", "table", "parquet"}) {
    const Response late =
        ask("SELECT sum(a.range * b.range) FROM range(10000000) a, "
            "range(10000000) b",
            format, std::chrono::seconds(29));
    EXPECT_EQ(late.status, 504) << format;
    EXPECT_THAT(late.body, HasSubstr("longer than 30000 ms"));
    const Response large =
        ask("SELECT len(list(i)) FROM range(200000000) t(i)", format, std::chrono::seconds(0));
    EXPECT_EQ(large.status, 507) << format;
    EXPECT_THAT(large.body, HasSubstr("query.memory_max, which is 256 MiB"));
    const Response never = ask("SELECT 1", format, std::chrono::seconds(30));
    EXPECT_EQ(never.status, 503) << format;
    EXPECT_EQ(Header(never, "Retry-After"), "1");
    EXPECT_EQ(ask("SELECT 1 +", format, std::chrono::seconds(0)).status, 400);
    EXPECT_EQ(ask("SELECT 'x'::INT", format, std::chrono::seconds(0)).status, 400);
  }
}

TEST_F(ApiTest, WhatIsCutSaysSo) {
  for (const Route route : {Route::kTop, Route::kItems}) {
    for (const std::string limit : {"1", "2", "3", "1000"}) {
      const Response response = Get(route, std::string(kRange) + "&limit=" + limit);
      EXPECT_EQ(response.status, 200);
      EXPECT_EQ(Header(response, "X-Truncated"), limit < "3" && limit != "1000" ? "true" : "");
    }
  }
}

TEST_F(ApiTest, StepsAreOfStoredWindows) {
  for (const std::string step : {"1s", "30s", "59s", "61s", "90s"}) {
    const Response response = Get(Route::kCounts, std::string(kRange) + "&step=" + step);
    EXPECT_EQ(response.status, 400) << step;
    EXPECT_THAT(response.body,
                HasSubstr("not a multiple of 1m, the length of the stored windows and "
                          "the smallest step"));
  }
  EXPECT_EQ(Get(Route::kCounts, std::string(kRange) + "&step=60s").status, 200);
  // Another pipeline.
  auto larger =
      LocalQueries::Create(lake_, {.directories = {"/nowhere"}, .window_size = Millis{45'000}});
  ASSERT_TRUE(larger.ok());
  queries_ = std::move(larger).value();
  EXPECT_THAT(Rows(Route::kCounts, ""), HasSubstr("00:01:30.000Z"));  // by default 90 s
  EXPECT_EQ(Get(Route::kCounts, "step=45s").status, 200);
  EXPECT_THAT(Get(Route::kCounts, "step=1m").body, HasSubstr("not a multiple of 45s"));
}

TEST_F(ApiTest, NotYetIsToComeAgain) {
  lake_->not_yet = true;
  for (const Response& response : {Get(Route::kTop, ""), Post(R"({"sql":"SELECT 1"})")}) {
    EXPECT_EQ(response.status, 503);
    EXPECT_EQ(Header(response, "Retry-After"), "1");
    EXPECT_THAT(response.body, HasSubstr("partition 0"));
  }
  lake_->not_yet = false;
  EXPECT_EQ(Get(Route::kTop, "").status, 200);
}

TEST_F(ApiTest, AnInterruptedEngineIsToComeAgain) {
  std::thread interrupt([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    queries_->Interrupt();
  });
  const auto start = std::chrono::steady_clock::now();
  const Response response =
      Post(R"({"sql":"SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b"})");
  interrupt.join();
  EXPECT_NE(response.status, 200);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  EXPECT_EQ(Get(Route::kTop, "").status, 503);
}

}  // namespace
}  // namespace sightline
