#include "query/query_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <stop_token>
#include <thread>
#include <tuple>

#include "query/duck_memory.h"
#include "query/test_lake.h"

namespace sightline {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

template <typename T>
auto Shared(std::vector<T> rows) {
  return std::make_shared<const std::vector<T>>(std::move(rows));
}
constexpr int64_t kDay = 24 * 60;  // minutes
Window Days(int64_t first, int64_t end) {
  return {{kNewYear.v + first * kDayMs}, {kNewYear.v + end * kDayMs}};
}
Scope Only(int64_t location) { return {std::set{LocationId{location}}}; }

class QueryEngineTest : public testing::Test {
 protected:
  QueryEngineTest() {
    lake->WriteCounts({Increment(1, "bus", 0, 5), Increment(1, "car", 0, 7),
                       Increment(1, "bus", kDay, 1), Increment(2, "bus", 3, 100)});
    lake->state.pending_counts =
        Shared<CountIncrement>({Increment(1, "bus", 0, 2), Increment(3, "cat", 1, 4)});
    lake->state.locations = Shared<Location>({{{1}, "Gate"}, {{2}, "Hall"}, {{9}, "Empty"}});
    engine = Engine(lake);
  }
  std::string Sql(std::string_view sql, const Scope& scope = Scope::All(),
                  const QueryLimits& limits = {}) {
    return Written(engine->Run(sql, scope, limits));
  }
  int64_t FilesOf(std::string_view sql, const Scope& scope = Scope::All()) {
    const int64_t before = engine->files_selected();
    EXPECT_THAT(Sql(sql, scope), Not(StartsWith("error")));
    return engine->files_selected() - before;
  }

  std::shared_ptr<TestLake> lake = std::make_shared<TestLake>();
  std::unique_ptr<QueryEngine> engine;
};

TEST_F(QueryEngineTest, SumsLakeAndPendingUnderCurrentNames) {
  EXPECT_EQ(Sql("SELECT geographical_location_oid, geographical_location, item_name, window_start, "
                "item_count, last_detected FROM item_counts ORDER BY ALL LIMIT 1"),
            R"({"geographical_location_oid":"1","geographical_location":"Gate","item_name":"bus",)"
            R"("window_start":"2026-01-01T00:00:00.000Z","item_count":7,)"
            R"("last_detected":"2026-01-01T00:00:59.999Z"})"
            "\n");
  EXPECT_EQ(Sql("SELECT sum(item_count) AS n, count(*) AS r FROM item_count_increments"),
            "{\"n\":119,\"r\":6}\n");
  EXPECT_EQ(Sql("SELECT count(*) AS n FROM item_counts WHERE geographical_location IS NULL"),
            "{\"n\":1}\n");
  EXPECT_EQ(Sql("FROM locations SELECT geographical_location ORDER BY 1 DESC LIMIT 1;  -- end"),
            "{\"geographical_location\":\"Hall\"}\n");
}

TEST_F(QueryEngineTest, CorrectionsBringAWindowBackToNothing) {
  lake->state.pending_counts = Shared<CountIncrement>({Increment(2, "bus", 3, -100)});
  EXPECT_EQ(Sql("SELECT count(*) AS n FROM item_counts WHERE geographical_location_oid = 2"),
            "{\"n\":0}\n");
}

TEST_F(QueryEngineTest, AScopeHidesTheRest) {
  EXPECT_EQ(Sql("SELECT DISTINCT geographical_location_oid AS oid FROM item_counts", Only(2)),
            "{\"oid\":\"2\"}\n");
  EXPECT_EQ(Sql("SELECT geographical_location_oid AS oid FROM locations", Only(2)),
            "{\"oid\":\"2\"}\n");
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts", Only(2)), 1);
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts", Scope{std::set<LocationId>{}}), 0);
  EXPECT_EQ(
      Sql("SELECT count(*) AS n FROM item_counts WHERE geographical_location_oid = 1", Only(2)),
      "{\"n\":0}\n");
  EXPECT_EQ(Written(engine->Top(Only(2), {.location = LocationId{1}, .range = Days(0, 9)})), "");
  EXPECT_EQ(Written(engine->Top(Scope{std::set<LocationId>{}}, {.range = Days(0, 9)})), "");
  // The same where the files hold many locations.
  lake->state.counts_files = FileList(lake->state.counts_files.root(), {});
  lake->WriteCounts({Increment(1, "bus", 0, 5), Increment(2, "car", 0, 7)}, /*bucketed=*/true);
  EXPECT_EQ(Sql("SELECT item_name FROM item_counts", Only(2)), "{\"item_name\":\"car\"}\n");
  EXPECT_EQ(Sql("SELECT item_name FROM item_count_increments WHERE date = '2026-01-01'", Only(2)),
            "{\"item_name\":\"car\"}\n");
}

TEST_F(QueryEngineTest, ReadsOnlyTheFilesThatWhereLeaves) {
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts"), 3);
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts WHERE geographical_location_oid = 1"), 2);
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts WHERE 2 = Geographical_Location_Oid"), 1);
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts WHERE geographical_location_oid IN (1, 2)"), 3);
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts WHERE geographical_location_oid NOT IN (1)"), 3);
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts WHERE date = DATE '2026-01-02'"), 1);
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts WHERE date BETWEEN '2026-01-02' AND '2026-02-02' "
                    "AND geographical_location_oid = 2"),
            0);
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts WHERE window_start >= '2026-01-02 00:00:00'"), 1);
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts WHERE window_start < TIMESTAMPTZ '2026-01-01'"), 2);
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts WHERE geographical_location_oid = 1 OR date = "
                    "'2026-01-01'"),
            3);
  EXPECT_EQ(
      FilesOf("SELECT * FROM item_counts c JOIN locations l USING (geographical_location_oid) "
              "WHERE c.geographical_location_oid = 2"),
      1);
  // Two readers of one view: what either wants.
  EXPECT_EQ(FilesOf("SELECT * FROM item_counts WHERE geographical_location_oid = 2 UNION ALL "
                    "SELECT * FROM item_counts WHERE geographical_location_oid = 2"),
            1);
  EXPECT_EQ(
      FilesOf("SELECT * FROM item_counts WHERE geographical_location_oid = 2 AND item_count < "
              "(SELECT sum(item_count) FROM item_counts)"),
      3);
  EXPECT_EQ(FilesOf("SELECT 1"), 0);
}

// What DuckDB understands in its own way leaves out no file: its answer must not depend on ours.
TEST_F(QueryEngineTest, OnlyPlainComparisonsLeaveOutFiles) {
  constexpr int64_t kAll = 3;
  auto files = [&](const std::string& condition) {
    return FilesOf("SELECT * FROM item_counts WHERE " + condition);
  };
  for (const char* oid : {"2.0", "2.4", "2e0", "' 2'", "'2.0'", "'02'", "'+2'", "2::DOUBLE",
                          "CAST('2' AS BIGINT)", "abs(2)", "NULL", "9223372036854775808"}) {
    EXPECT_EQ(files(fmt::format("geographical_location_oid = {}", oid)), kAll) << oid;
    EXPECT_EQ(files(fmt::format("geographical_location_oid IN (2, {})", oid)), kAll) << oid;
  }
  EXPECT_EQ(files("geographical_location_oid = '2'"), 1);
  EXPECT_EQ(files("geographical_location_oid = -2"), 0);
  for (const char* day : {"'2026-01-02 (BC)'", "' 2026-01-02'", "'2026-01-02x'", "'12026-01-02'",
                          "'infinity'", "'2026-01-02 12:00:00'", "TIMESTAMP '2026-01-02'",
                          "DATE '2026-01-02' + 0", "NULL", "DATE '2026-01-02 00:00:00'"}) {
    EXPECT_EQ(files(fmt::format("date >= {}", day)), kAll) << day;
  }
  for (const char* time :
       {"'2026-01-02 (BC)'", "'2026-01-02 24:00:00'", "'2026-01-02 00:00:00+99'",
        "'2026-01-02 00:00:00.0000001'", "'2026-01-02 00:00:00 Europe/Berlin'", "'epoch'"}) {
    EXPECT_EQ(files(fmt::format("window_start >= {}", time)), kAll) << time;
  }
  EXPECT_EQ(files("window_start >= '2026-01-03 00:00:00+09:30'"), 1) << "a zone moves it";
  EXPECT_EQ(files("window_start >= TIMESTAMPTZ '2026-01-03T00:00:00.5Z'"), 0);
  EXPECT_EQ(files("window_start >= DATE '2026-01-02'"), 1);
  EXPECT_EQ(files("date + 0 >= '2026-01-02'"), kAll);
  EXPECT_EQ(Sql("SELECT sum(item_count)::BIGINT AS n FROM item_counts "
                "WHERE geographical_location_oid IN (2.0, 3)"),
            "{\"n\":104}\n");
}

TEST_F(QueryEngineTest, ATableWhoseOtherRowsMatterIsReadWhole) {
  constexpr int64_t kAll = 3;
  auto joined = [&](const std::string& join, const std::string& on, const std::string& where) {
    return FilesOf(
        fmt::format("SELECT 1 FROM locations a {} item_counts b {} WHERE {}", join, on, where));
  };
  const std::string on = "ON a.geographical_location_oid = b.geographical_location_oid";
  const std::string two = "b.geographical_location_oid = 2";
  for (const char* kind : {"JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"})
    EXPECT_EQ(joined(kind, on, two), 1) << kind;
  EXPECT_EQ(joined("CROSS JOIN", "", two), 1);
  EXPECT_EQ(joined("POSITIONAL JOIN", "", two), kAll);
  const std::string as_of = "ON a.geographical_location_oid >= b.geographical_location_oid";
  EXPECT_EQ(joined("ASOF JOIN", as_of, two), kAll);
  EXPECT_EQ(FilesOf("SELECT 1 FROM item_counts b ASOF JOIN locations a ON "
                    "b.geographical_location_oid >= a.geographical_location_oid WHERE " +
                    two),
            1);
  // An outer `b`, because that of a semi join is not visible.
  EXPECT_EQ(FilesOf("SELECT (SELECT count(*) FROM locations a SEMI JOIN item_counts b " + on +
                    " WHERE b.geographical_location_oid = 2) FROM locations b"),
            kAll);
  EXPECT_EQ(FilesOf("SELECT 1 FROM item_counts TABLESAMPLE 5 ROWS WHERE date = '2026-01-02'"),
            kAll);
  EXPECT_EQ(FilesOf("SELECT 1 FROM item_counts WHERE date = '2026-01-02' USING SAMPLE 5 ROWS"),
            kAll);
  EXPECT_EQ(FilesOf("SELECT 1 FROM item_counts b, ledger b WHERE b.date = '2026-01-02'"), kAll);
  // The last row before a time, of which a bound on the right side would leave nothing.
  EXPECT_EQ(Sql("SELECT count(*) AS n FROM item_counts a ASOF JOIN item_counts b ON "
                "a.geographical_location_oid = b.geographical_location_oid AND "
                "a.item_name = b.item_name AND a.window_start >= b.window_start "
                "WHERE b.date = '2026-01-01'"),
            "{\"n\":4}\n");
}

TEST_F(QueryEngineTest, TopRanksByCountThenBytes) {
  lake->state.pending_counts = Shared<CountIncrement>(
      {Increment(5, "b", 0, 3), Increment(5, "a", 0, 3), Increment(5, "\xC3\xA4", 0, 3),
       Increment(5, "Z", 0, 3), Increment(5, "most", 0, 4), Increment(5, "least", 0, 1)});
  EXPECT_EQ(Written(engine->Top(Scope::All(), {.location = LocationId{5}, .range = Days(0, 1)}),
                    ResultFormat::kCsv),
            "position,rank,item_name,item_count\r\n1,1,most,4\r\n2,2,Z,3\r\n3,2,a,3\r\n4,2,b,3\r\n"
            "5,2,\xC3\xA4,3\r\n6,6,least,1\r\n");
  EXPECT_EQ(Written(engine->Top(Scope::All(), {.range = Days(0, 2), .limit = 1})),
            "{\"position\":1,\"rank\":1,\"item_name\":\"bus\",\"item_count\":106}\n");
}

TEST_F(QueryEngineTest, CountsFillStepsWithoutAny) {
  EXPECT_EQ(Written(engine->Counts(Scope::All(), {.location = LocationId{1},
                                                  .item = "bus",
                                                  .range = Days(0, 3),
                                                  .step = {kDayMs}}),
                    ResultFormat::kCsv),
            "step_start,item_count\r\n2026-01-01T00:00:00.000Z,7\r\n2026-01-02T00:00:00.000Z,1\r\n"
            "2026-01-03T00:00:00.000Z,0\r\n");
  // A range that begins inside a step, and inside a window: the step is whole all the same.
  for (const int64_t inside : {int64_t{1}, kMinuteMs, kDayMs - 1}) {
    Window range = Days(0, 2);
    range.start.v += inside;
    EXPECT_EQ(
        Written(engine->Counts(
                    Scope::All(),
                    {.location = LocationId{1}, .item = "bus", .range = range, .step = {kDayMs}}),
                ResultFormat::kCsv),
        "step_start,item_count\r\n2026-01-01T00:00:00.000Z,7\r\n"
        "2026-01-02T00:00:00.000Z,1\r\n")
        << inside;
  }
  EXPECT_THAT(Written(engine->Counts(Scope::All(), {.range = Days(-100, 3), .step = {kMinuteMs}})),
              HasSubstr("more than 100000 steps"));
  for (const int64_t step : {int64_t{0}, int64_t{1}, kMinuteMs / 2, kMinuteMs + 1})
    EXPECT_THAT(Written(engine->Counts(Scope::All(), {.range = Days(0, 1), .step = {step}})),
                HasSubstr("the smallest is 1m"))
        << step;
}

TEST_F(QueryEngineTest, ItemsAndLocations) {
  EXPECT_EQ(Written(engine->Items(Scope::All(), {.location = LocationId{1}, .range = Days(0, 1)}),
                    ResultFormat::kCsv),
            "item_name,item_count,first_detected,last_detected\r\n"
            "bus,7,2026-01-01T00:00:00.001Z,2026-01-01T00:00:59.999Z\r\n"
            "car,7,2026-01-01T00:00:00.001Z,2026-01-01T00:00:59.999Z\r\n");
  EXPECT_EQ(Written(engine->Locations(Scope::All(), Days(0, 1)), ResultFormat::kTable),
            "geographical_location_oid  geographical_location  item_count  first_detected"
            "            last_detected\n"
            "-------------------------  ---------------------  ----------  ------------------------"
            "  ------------------------\n"
            "                        9  Empty                           0  -"
            "                         -\n"
            "                        1  Gate                           14  2026-01-01T00:00:00.001Z"
            "  2026-01-01T00:00:59.999Z\n"
            "                        2  Hall                          100  2026-01-01T00:03:00.001Z"
            "  2026-01-01T00:03:59.999Z\n"
            "                        3  -                               4  2026-01-01T00:01:00.001Z"
            "  2026-01-01T00:01:59.999Z\n");
}

TEST_F(QueryEngineTest, LedgerExplainsANumber) {
  auto row = [](int64_t location, bool known, int64_t counted, int64_t duplicate) {
    LedgerIncrement increment{.source = {"log", 0}};
    increment.row.key = {known, {location}, {70}, {kNewYear.v}};
    increment.row.ledger.received = counted + duplicate;
    increment.row.ledger.outcomes[0] = counted;
    increment.row.ledger.outcomes[1] = duplicate;
    return increment;
  };
  lake->WriteLedger({row(1, true, 10, 3), row(2, true, 5, 0)});
  lake->state.pending_ledger = Shared<LedgerIncrement>({row(1, true, 4, 1), row(0, false, 0, 2)});
  EXPECT_EQ(
      Written(engine->LedgerTotals(Scope::All(), {.location = LocationId{1}, .hours = Days(0, 1)})),
      "{\"received\":18,\"counted\":14,\"duplicate\":4,\"too_late\":0,\"future\":0,"
      "\"malformed\":0,\"outside\":0,\"conflicts\":0,\"heartbeats\":0,\"lost\":0}\n");
  const std::string by_location = Written(
      engine->LedgerTotals(Scope::All(), {.group = LedgerGroup::kLocation}), ResultFormat::kCsv);
  EXPECT_THAT(by_location, HasSubstr("\r\n1,18,14,4,"));
  EXPECT_THAT(by_location, HasSubstr("\r\n,2,0,2,"));
  EXPECT_EQ(Sql("SELECT sum(received) AS n FROM ledger", Only(2)), "{\"n\":5}\n");
}

// Files of programs that knew of no losses have no such column.
TEST_F(QueryEngineTest, LedgerFilesWithAndWithoutLostOffsets) {
  LedgerIncrement counted{.source = {"log", 0}};
  counted.row.key = {true, {1}, {70}, {kNewYear.v}};
  counted.row.ledger.received = counted.row.ledger.outcomes[0] = 10;
  LedgerIncrement gap{.source = {"log", 0}, .first = {10}, .next = {17}};
  gap.row = {.key = {.known = false, .hour = kNoAppendTime}, .ledger = {.lost = 7}};
  const std::string sums = "SELECT sum(received) AS received, sum(lost) AS lost FROM ledger";
  lake->WriteLedger({counted}, /*with_lost=*/false);
  EXPECT_EQ(Sql(sums), "{\"received\":10,\"lost\":null}\n");
  lake->state.pending_ledger = Shared<LedgerIncrement>({gap});
  EXPECT_EQ(Sql(sums), "{\"received\":10,\"lost\":7}\n");
  lake->WriteLedger({counted});
  lake->WriteLedger({counted, gap}, /*with_lost=*/true, /*has_statistics=*/false);
  EXPECT_EQ(Sql(sums), "{\"received\":30,\"lost\":14}\n");
  EXPECT_THAT(Written(engine->LedgerTotals(Scope::All(), {.group = LedgerGroup::kSource})),
              HasSubstr("\"lost\":14"));
  // What is lost belongs to no location.
  EXPECT_THAT(Written(engine->LedgerTotals(Only(1), {})), HasSubstr("\"lost\":0"));
}

TEST_F(QueryEngineTest, ReadsOnlyTheLedgerFilesOfTheTime) {
  constexpr int64_t kHourMs = 3'600'000;
  auto row = [](AppendTime hour, int64_t received) {
    LedgerRow row{.key = {.location = {1}, .camera = {1}, .hour = hour}};
    row.ledger.received = received;
    return LedgerIncrement{.source = {"log", 0}, .row = row};
  };
  auto at = [](int64_t hour) { return AppendTime{kNewYear.v + hour * kHourMs}; };
  // Files of hours 0..2, 2..23 and 24, one with an hour and none, one without any.
  lake->WriteLedger({row(at(0), 1), row(at(2), 2)});
  lake->WriteLedger({row(at(2), 4), row(at(23), 8)});
  lake->WriteLedger({row(at(24), 16)});
  lake->WriteLedger({row(at(30), 32), row(kNoAppendTime, 64)});
  lake->WriteLedger({row(kNoAppendTime, 128)});
  auto ask = [&](std::optional<Window> hours, int64_t received, int64_t files) {
    const int64_t before = engine->files_selected();
    EXPECT_THAT(Written(engine->LedgerTotals(Scope::All(), {.hours = hours})),
                HasSubstr(fmt::format("\"received\":{},", received)));
    EXPECT_EQ(engine->files_selected() - before, files);
  };
  auto hours = [&](int64_t first, int64_t end) { return Window{{at(first).v}, {at(end).v}}; };
  ask(std::nullopt, 255, 5);
  ask(hours(0, 1), 1, 2);  // what has no statistics may have anything
  ask(hours(2, 3), 6, 3);
  ask(hours(3, 23), 0, 2);
  ask(hours(23, 24), 8, 2);
  ask(hours(24, 31), 48, 3);
  ask(hours(-5, 0), 0, 1);
  ask(Window{{at(0).v - 1}, {at(0).v + 1}}, 1, 2);
  ask(Window{{at(2).v + 1}, {at(2).v + 2}}, 0, 2);  // the file of 2..23
  EXPECT_EQ(FilesOf("SELECT * FROM ledger"), 5);
  EXPECT_EQ(FilesOf("SELECT * FROM ledger WHERE append_hour >= '2026-01-02 00:00:00'"), 3);
  EXPECT_EQ(FilesOf("SELECT * FROM ledger WHERE append_hour < '2026-01-01'"), 3);
  EXPECT_EQ(FilesOf("SELECT * FROM ledger WHERE append_hour BETWEEN '2026-01-02' AND '2026-01-03' "
                    "AND geographical_location_oid = 1"),
            3);
  EXPECT_EQ(FilesOf("SELECT * FROM ledger WHERE append_hour IS NULL"), 5);
  EXPECT_EQ(FilesOf("SELECT * FROM ledger WHERE append_hour > '2027-01-01' OR received = 1"), 5);
  EXPECT_EQ(Sql("SELECT sum(received) AS n FROM ledger WHERE append_hour >= '2026-01-02'"),
            "{\"n\":48}\n");
}

TEST_F(QueryEngineTest, ReadsEveryType) {
  EXPECT_EQ(
      Sql("SELECT true AS a, 1.5::DECIMAL(4, 2) AS b, 2^70 AS c, [1, NULL] AS d, "
          "{'x': 'y\"'} AS e, INTERVAL 1 DAY AS f, 18446744073709551615 AS g, 'NaN'::DOUBLE AS "
          "h, DATE '2026-01-05' AS i, 'infinity'::TIMESTAMP AS j, NULL AS k, 'a' AS \"q\"\"t\", "
          "-5::TINYINT AS l, 0.1::FLOAT > 0 AS m -- done"),
      "{\"a\":true,\"b\":1.50,\"c\":1.1805916207174113e+21,\"d\":[1,null],\"e\":{\"x\":\"y\\\"\"},"
      "\"f\":\"1 day\",\"g\":18446744073709551615,\"h\":null,\"i\":\"2026-01-05\",\"j\":"
      "\"infinity\",\"k\":null,\"q\\\"t\":\"a\",\"l\":-5,\"m\":true}\n");
}

TEST_F(QueryEngineTest, StopsAtTheRowLimitAndSaysSo) {
  Result<ResultTable> table =
      engine->Run("FROM range(1000000000000)", Scope::All(), {.rows_max = 5000});
  ASSERT_TRUE(table.ok());
  Result<std::vector<Row>> rows = ReadAll(table.value());
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(rows.value().size(), 5000u);
  EXPECT_TRUE(table.value().truncated());
}

TEST_F(QueryEngineTest, StopsWhatRunsOn) {
  QueryLimit reached = QueryLimit::kNone;
  const QueryLimits limits{.time = {300}, .reached = &reached};
  for (const char* sql :
       {"SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
        "SELECT count(*) FROM range(100000000000) t(i) WHERE hash(i) = 5"}) {
    const auto start = std::chrono::steady_clock::now();
    reached = QueryLimit::kNone;
    EXPECT_THAT(Sql(sql, Scope::All(), limits),
                StartsWith("error: the query took longer than 300 ms and was stopped"));
    EXPECT_EQ(reached, QueryLimit::kTime);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << sql;
  }
  // Reading is part of the time.
  Result<ResultTable> slow =
      engine->Run("FROM range(100000000000)", Scope::All(), {.time = {300}, .rows_max = INT64_MAX});
  ASSERT_TRUE(slow.ok());
  Result<const Row*> row = slow.value().Next();
  while (row.ok() && row.value() != nullptr) row = slow.value().Next();
  EXPECT_THAT(row.status().message(), StartsWith("the query took longer than 300 ms"));
}

TEST_F(QueryEngineTest, WaitingIsPartOfTheTime) {
  using std::chrono::milliseconds;
  const auto now = std::chrono::steady_clock::now();
  Result<ResultTable> late =
      engine->Run("SELECT 1", Scope::All(), {.time = {300}, .start = now - milliseconds(300)});
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.status().code(), StatusCode::kRetry);
  const std::string said =
      Sql("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b", Scope::All(),
          {.time = {30'000}, .start = now - milliseconds(29'800)});
  EXPECT_THAT(said, StartsWith("error: the query took longer than 30000 ms"));
  EXPECT_LT(std::chrono::steady_clock::now() - now, std::chrono::seconds(5));
}

TEST_F(QueryEngineTest, WhatNobodyWaitsForEnds) {
  std::stop_source abandoned;
  QueryLimit reached = QueryLimit::kNone;
  std::thread leave([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    abandoned.request_stop();
  });
  const auto start = std::chrono::steady_clock::now();
  const QueryLimits limits{.abandoned = abandoned.get_token(), .reached = &reached};
  EXPECT_EQ(Sql("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b",
                Scope::All(), limits),
            "error: nobody waits for the answer any more");
  leave.join();
  EXPECT_EQ(Sql("SELECT 1", Scope::All(), limits), "error: nobody waits for the answer any more");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_EQ(reached, QueryLimit::kNone);
}

TEST_F(QueryEngineTest, WhoWaitsForAPlaceCanLeave) {
  Result<ResultTable> first = engine->Run("FROM range(10)", Scope::All(), {});
  Result<ResultTable> second = engine->Run("FROM range(10)", Scope::All(), {});
  std::stop_source abandoned;
  std::thread leave([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    abandoned.request_stop();
  });
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(
      engine->Run("FROM range(10)", Scope::All(), {.abandoned = abandoned.get_token()}).ok());
  leave.join();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST_F(QueryEngineTest, StopsWhatEatsMemory) {
  for (const char* sql :
       {"SELECT count(*) FROM (SELECT DISTINCT range, hash(range) FROM range(50000000))",
        "SELECT len(list(i)) FROM range(200000000) t(i)"}) {
    QueryLimit reached = QueryLimit::kNone;
    EXPECT_THAT(Sql(sql, Scope::All(), {.reached = &reached}),
                StartsWith("error: out of memory: the query needs more than"));
    EXPECT_EQ(reached, QueryLimit::kMemory);
  }
  EXPECT_EQ(Sql("SELECT 1 AS n"), "{\"n\":1}\n");
}

#ifndef SIGHTLINE_SANITIZED  // a sanitizer's own memory is part of the process's
// What DuckDB does not count: values that functions make, and what lies outside of its allocator.
// docs/SQL.md: memory_bytes_max (256 MiB), kUncountedBytesMax in DuckDB's allocator, and
// kUncountedBytesMax elsewhere, which one step of an aggregate may double before the watchdog
// looks. One more for a watchdog that a busy machine wakes late: without any of this it is GiB.
TEST_F(QueryEngineTest, StopsValuesThatEatMemory) {
  constexpr int64_t kBytesMax = (256LL << 20) + 4 * kUncountedBytesMax;
  std::string doubled = "WITH c0 AS (SELECT '" + std::string(10'000, 'x') + "' AS s)";
  for (int i = 1; i <= 6; ++i) {
    doubled += fmt::format(", c{} AS (SELECT s||s||s||s||s||s||s||s AS s FROM c{})", i, i - 1);
  }
  std::string wide = "SELECT length(s";
  for (int i = 0; i < 500; ++i) wide += "||s";
  wide += ") FROM (SELECT string_agg(i::VARCHAR, ',') AS s FROM range(1000000) t(i))";
  const std::string joined = "string_agg('" + std::string(1'000, 'x') + "', '')";
  const int64_t before = ResidentBytes();
  int64_t most = 0;
  std::atomic<bool> done = false;
  std::thread look([&] {
    while (!done) {
      most = std::max(most, ResidentBytes() - before);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  for (const std::string& sql :
       {doubled + " SELECT length(s) FROM c6", wide,
        "SELECT length(" + joined + ") FROM range(10000000)",
        "SELECT length(list_aggregate(list(s), 'string_agg', '" + std::string(1'000, 'x') +
            "')) FROM (SELECT '" + std::string(100, 'y') + "' AS s FROM range(1000000))",
        std::string("SELECT len(list_transform(list(i), x -> list_transform([1,2,3,4,5,6,7,8,9],"
                    " y -> x::VARCHAR || 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'))) "
                    "FROM range(10000000) t(i)"),
        std::string("SELECT cardinality(histogram(i)) FROM range(100000000) t(i)"),
        std::string("SELECT median(i) FROM range(1000000000) t(i)"),
        std::string("SELECT mode(i) FROM range(1000000000) t(i)"),
        std::string("SELECT string_agg(i::VARCHAR, ',') OVER (ORDER BY i) FROM range(100000) "
                    "t(i)")}) {
    QueryLimit reached = QueryLimit::kNone;
    const std::string said = Sql(sql, Scope::All(), {.reached = &reached});
    EXPECT_THAT(said, StartsWith("error: ")) << sql.substr(0, 100) << said.substr(0, 100);
    EXPECT_EQ(reached, QueryLimit::kMemory) << sql.substr(0, 100) << said.substr(0, 100);
    EXPECT_LT(most, kBytesMax) << sql.substr(0, 100);
  }
  done = true;
  look.join();
  RecordProperty("megabytes", static_cast<int>(most >> 20));
  EXPECT_EQ(Sql("SELECT 1 AS n"), "{\"n\":1}\n");
  // What was used up is there again.
  EXPECT_EQ(Sql("SELECT count(*) AS n FROM (SELECT DISTINCT range, hash(range) FROM "
                "range(2000000))"),
            "{\"n\":2000000}\n");
}
#endif

TEST_F(QueryEngineTest, ARowHasABound) {
  EXPECT_THAT(Sql("SELECT string_agg('" + std::string(1'000, 'x') + "', '') FROM range(20000)"),
              HasSubstr("more than 16 MiB of text"));
}

TEST_F(QueryEngineTest, TopAndItemsSayThatTheyWereCut) {
  for (const int32_t limit : {1, 2, 3, 4}) {
    for (const bool top : {true, false}) {
      Result<ResultTable> table =
          top ? engine->Top(Scope::All(), {.range = Days(0, 2), .limit = limit})
              : engine->Items(Scope::All(), {.range = Days(0, 2), .limit = limit});
      ASSERT_TRUE(table.ok());
      EXPECT_EQ(ReadAll(table.value()).value().size(), std::min<size_t>(limit, 3));
      EXPECT_EQ(table.value().truncated(), limit < 3) << limit;
    }
  }
}

TEST_F(QueryEngineTest, RunsAFewAtATime) {
  Result<ResultTable> first = engine->Run("FROM range(10)", Scope::All(), {});
  Result<ResultTable> second = engine->Run("FROM range(10)", Scope::All(), {});
  Result<ResultTable> third = engine->Run("FROM range(10)", Scope::All(), {.time = {50}});
  ASSERT_FALSE(third.ok());
  EXPECT_EQ(third.status().code(), StatusCode::kRetry);
  ASSERT_TRUE(ReadAll(second.value()).ok());  // read to its end: its slot is free
  EXPECT_EQ(Sql("SELECT 1 AS n"), "{\"n\":1}\n");
  engine.reset();  // an answer outlives the engine
  EXPECT_EQ(ReadAll(first.value()).value().size(), 10u);
}

TEST_F(QueryEngineTest, AQueryKeepsTheStateThatItBeganWith) {
  Result<ResultTable> table = engine->Run("SELECT item_name FROM item_counts", Scope::All(), {});
  ASSERT_TRUE(table.ok());
  lake->state.pending_counts = nullptr;
  lake->state.locations = nullptr;
  EXPECT_EQ(ReadAll(table.value()).value().size(), 5u);
}

TEST_F(QueryEngineTest, HostileItemNames) {
  const std::string name = "x'); DROP TABLE t; --\"\n\x1b[2J,\xE7\x8C\xAB";
  lake->state.pending_counts = Shared<CountIncrement>({Increment(7, name, 0, 1)});
  lake->WriteCounts({Increment(7, name, 0, 1)});
  EXPECT_EQ(
      Written(engine->Counts(Scope::All(), {.item = name, .range = Days(0, 1), .step = {kDayMs}}),
              ResultFormat::kCsv),
      "step_start,item_count\r\n2026-01-01T00:00:00.000Z,2\r\n");
  EXPECT_EQ(Written(engine->Items(Scope::All(), {.location = LocationId{7}, .range = Days(0, 1)}),
                    ResultFormat::kTable)
                .find('\x1b'),
            std::string::npos);
}

// Against sums in memory: any rows, anywhere, in files of both layouts and pending.
TEST_F(QueryEngineTest, EqualsAReferenceInMemory) {
  for (uint32_t seed = 1; seed <= 12; ++seed) {
    std::mt19937 random(seed);
    auto pick = [&](int64_t n) {
      return static_cast<int64_t>(random() % static_cast<uint32_t>(n));
    };
    lake->state.counts_files = FileList(lake->state.counts_files.root(), {});
    std::map<std::tuple<int64_t, std::string, int64_t>, int64_t> windows;
    std::vector<std::vector<CountIncrement>> parts(4);
    for (int i = 0; i < 600; ++i) {
      CountIncrement row =
          Increment(pick(5), "item" + std::to_string(pick(6)), pick(4 * kDay) - kDay, pick(9) - 2);
      windows[{row.location.v, row.item, row.window.start.v}] += row.count;
      parts[static_cast<size_t>(pick(4))].push_back(std::move(row));
    }
    lake->WriteCounts(parts[0]);
    lake->WriteCounts(parts[1], /*bucketed=*/true);
    lake->WriteCounts(parts[2]);
    lake->state.pending_counts = Shared(parts[3]);

    std::map<std::string, int64_t> items;
    const int64_t location = pick(5), first = pick(3) - 1, end = first + 1 + pick(2);
    int64_t cells = 0, total = 0;
    for (const auto& [key, count] : windows) {
      const auto& [oid, item, start] = key;
      cells += count != 0;
      total += count;
      if (oid == location && start >= Days(first, end).start.v && start < Days(first, end).end.v) {
        items[item] += count;
      }
    }
    std::erase_if(items, [](const auto& item) { return item.second == 0; });
    std::string expected = "item_name,item_count\r\n";
    for (const auto& [item, count] : items) expected += fmt::format("{},{}\r\n", item, count);
    const std::string sql = fmt::format(
        "SELECT item_name, sum(item_count)::BIGINT AS item_count FROM item_counts WHERE "
        "geographical_location_oid = {} AND date >= '{}' AND date < '{}' GROUP BY item_name HAVING "
        "sum(item_count) <> 0 ORDER BY item_name",
        location, FormatDay(DayOf(Days(first, end).start)), FormatDay(DayOf(Days(first, end).end)));
    EXPECT_EQ(Written(engine->Run(sql, Scope::All(), {}), ResultFormat::kCsv), expected) << seed;
    Result<ResultTable> found =
        engine->Items(Scope::All(), {.location = LocationId{location}, .range = Days(first, end)});
    ASSERT_TRUE(found.ok());
    std::map<std::string, int64_t> rows;
    const std::vector<Row> answer = ReadAll(found.value()).value();
    for (const Row& row : answer) {
      rows[std::get<std::string>(row[0])] = std::get<int64_t>(row[1]);
    }
    EXPECT_EQ(rows, items) << seed;
    EXPECT_EQ(Sql("SELECT count(*) AS n, sum(item_count)::BIGINT AS s FROM item_counts"),
              fmt::format("{{\"n\":{},\"s\":{}}}\n", cells, total))
        << seed;
  }
}

// Every query that needs such a file fails until somebody repairs it.
TEST(QueryEngine, AFileThatCannotBeReadIsKnownUntilItCan) {
  const auto lake = std::make_shared<TestLake>();
  lake->WriteCounts({Increment(7001, "bus", 0, 3)});
  const auto engine = Engine(lake);
  const std::string sum = "SELECT sum(item_count) FROM item_counts";
  const auto ask = [&] { return Written(engine->Run(sum, Scope::All(), {})); };
  const std::string whole = ask();
  EXPECT_EQ(engine->trouble(), "");
  const LakeFile file = *lake->state.counts_files.Select({}).front();
  const std::string path = lake->state.counts_files.AbsolutePath(file);
  const std::string kept = lake->directory() + "/kept";
  std::filesystem::copy_file(path, kept);
  const auto repair = [&] {
    std::filesystem::copy_file(kept, path, std::filesystem::copy_options::overwrite_existing);
  };
  for (const uint64_t size : {uint64_t{0}, uint64_t{30}}) {
    std::filesystem::resize_file(path, size);
    EXPECT_THAT(ask(), testing::StartsWith("error: "));
    EXPECT_THAT(engine->trouble(), testing::HasSubstr(path));
    EXPECT_THAT(engine->trouble(), testing::HasSubstr(path)) << "it stays";
    repair();
    EXPECT_EQ(engine->trouble(), "");
    EXPECT_EQ(ask(), whole);
  }
  std::filesystem::remove(path);
  EXPECT_THAT(Written(engine->Top(Scope::All(), {.range = {kNewYear, {kNewYear.v + 60'000}}})),
              testing::StartsWith("error: "));
  EXPECT_THAT(engine->trouble(), testing::HasSubstr(path));
  // A file that has left the lake fails no query.
  lake->state.counts_files = lake->state.counts_files.With({}, {{file}});
  EXPECT_EQ(engine->trouble(), "");
}

TEST(QueryEngine, AMessageThatNamesAFileProvesNothing) {
  const auto lake = std::make_shared<TestLake>();
  lake->WriteCounts({Increment(7001, "bus", 0, 3)});
  const auto engine = Engine(lake);
  const std::string path =
      lake->state.counts_files.AbsolutePath(*lake->state.counts_files.Select({}).front());
  EXPECT_THAT(
      Written(engine->Run(
          fmt::format("SELECT CAST('\"{}\"' AS INTEGER) + item_count FROM item_counts", path),
          Scope::All(), {})),
      testing::HasSubstr(path));
  EXPECT_EQ(engine->trouble(), "");
}

}  // namespace
}  // namespace sightline
