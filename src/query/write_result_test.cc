#include "query/write_result.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "query/test_lake.h"

namespace sightline {
namespace {

ResultTable Sample() {
  return ResultTable::FromRows(
      {{"geographical_location_oid", ColumnType::kInteger},
       {"item \"x\"", ColumnType::kText},
       {"n", ColumnType::kNumber},
       {"at", ColumnType::kTimestamp},
       {"day", ColumnType::kDate},
       {"share", ColumnType::kDouble},
       {"list", ColumnType::kJson}},
      {{int64_t{9007199254740993}, std::string("a,\"b\"\n"), std::string("1.50"), int64_t{-1},
        int64_t{20458}, 0.1, std::string("[1,null]")},
       {std::monostate(), std::string(), std::monostate(), int64_t{1767225600123456},
        std::monostate(), std::monostate(), std::monostate()},
       {int64_t{1}, std::string("\xE7\x8C\xAB\x1b[2J"), std::string("7"), std::monostate(),
        int64_t{0}, -2e300, std::string("{}")}});
}

TEST(WriteResultTest, Csv) {
  EXPECT_EQ(Written(Sample(), ResultFormat::kCsv),
            "geographical_location_oid,\"item \"\"x\"\"\",n,at,day,share,list\r\n"
            "9007199254740993,\"a,\"\"b\"\"\n\",1.50,1969-12-31T23:59:59.999Z,2026-01-05,0.1,\"[1,"
            "null]\"\r\n"
            ",\"\",,2026-01-01T00:00:00.123Z,,,\r\n"
            "1,\xE7\x8C\xAB\x1b[2J,7,,1970-01-01,-2e+300,{}\r\n");
}

std::string ExcelCell(ColumnType type, Value value) {
  const std::string text =
      Written(ResultTable::FromRows({{"x", type}}, {{std::move(value)}}), ResultFormat::kExcelCsv);
  constexpr std::string_view kHead = "\xEF\xBB\xBFx\r\n";
  EXPECT_TRUE(text.starts_with(kHead) && text.ends_with("\r\n")) << text;
  return text.substr(kHead.size(), text.size() - kHead.size() - 2);
}

TEST(WriteResultTest, ExcelCsv) {
  EXPECT_EQ(
      Written(ResultTable::FromRows({{"=name", ColumnType::kText}, {"n", ColumnType::kInteger}},
                                    {{std::string("a,\"b\"\n"), int64_t{1}}}),
              ResultFormat::kExcelCsv),
      "\xEF\xBB\xBF'=name,n\r\n\"a,\"\"b\"\"\n\",1\r\n");
  const auto text = [](std::string value) {
    return ExcelCell(ColumnType::kText, std::move(value));
  };
  for (const char* executed : {"=1+1", "+1", "-7", "@SUM(A1)", "\t=1"})
    EXPECT_EQ(text(executed), std::string("'") + executed);
  EXPECT_EQ(text("\r=1"), "\"'\r=1\"");
  EXPECT_EQ(text("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
  for (const char* harmless : {"bus", "\xE7\x8C\xAB 5=5", "'=1", "a-b"})
    EXPECT_EQ(text(harmless), harmless);
  EXPECT_EQ(text(""), "\"\"");
  EXPECT_EQ(ExcelCell(ColumnType::kText, std::monostate()), "");
  EXPECT_EQ(ExcelCell(ColumnType::kBoolean, true), "true");
}

TEST(WriteResultTest, ExcelCsvKeepsAllDigits) {
  const auto oid = [](int64_t value) { return ExcelCell(ColumnType::kInteger, value); };
  EXPECT_EQ(oid(999'999'999'999'999), "999999999999999");
  EXPECT_EQ(oid(-999'999'999'999'999), "-999999999999999");
  EXPECT_EQ(oid(1'000'000'000'000'000), "\"=\"\"1000000000000000\"\"\"");
  EXPECT_EQ(oid(-9'007'199'254'740'993), "\"=\"\"-9007199254740993\"\"\"");
  EXPECT_EQ(ExcelCell(ColumnType::kText, std::string("9007199254740993")),
            "\"=\"\"9007199254740993\"\"\"");
  EXPECT_EQ(ExcelCell(ColumnType::kNumber, std::string("12345678901234567890")),
            "\"=\"\"12345678901234567890\"\"\"");
  EXPECT_EQ(ExcelCell(ColumnType::kNumber, std::string("-1.50")), "-1.50");
  EXPECT_EQ(ExcelCell(ColumnType::kDouble, -0.5), "-0.5");
  EXPECT_EQ(ExcelCell(ColumnType::kDouble, -std::numeric_limits<double>::infinity()), "'-inf");
}

TEST(WriteResultTest, ExcelCsvTimes) {
  EXPECT_EQ(ExcelCell(ColumnType::kTimestamp, int64_t{1767225600123456}),
            "2026-01-01 00:00:00.123");
  EXPECT_EQ(ExcelCell(ColumnType::kLocalTime, int64_t{0}), "1970-01-01 00:00:00.000");
  EXPECT_EQ(ExcelCell(ColumnType::kDate, int64_t{20458}), "2026-01-05");
  EXPECT_EQ(ExcelCell(ColumnType::kTimestamp, std::numeric_limits<int64_t>::min()), "'-infinity");
}

TEST(WriteResultTest, Json) {
  const std::string first =
      "{\"geographical_location_oid\":\"9007199254740993\",\"item "
      "\\\"x\\\"\":\"a,\\\"b\\\"\\n\",\"n\":1.50,"
      "\"at\":\"1969-12-31T23:59:59.999Z\",\"day\":\"2026-01-05\",\"share\":0.1,\"list\":[1,null]}";
  EXPECT_EQ(Written(Sample(), ResultFormat::kNdjson).substr(0, first.size() + 1), first + "\n");
  const std::string json = Written(Sample(), ResultFormat::kJson);
  EXPECT_EQ(json.substr(0, first.size() + 4), "[\n" + first + ",\n");
  EXPECT_EQ(json.substr(json.size() - 4), "}\n]\n");
  EXPECT_EQ(Written(ResultTable::FromRows({{"a"}}, {}), ResultFormat::kJson), "[\n]\n");
}

TEST(WriteResultTest, Table) {
  EXPECT_EQ(Written(ResultTable::FromRows({{"item"}, {"n", ColumnType::kInteger}},
                                          {{std::string("\xE7\x8C\xAB"), int64_t{5}},
                                           {std::string("a\nb\x1b"), int64_t{-12}},
                                           {std::string("\xC3\xA9\xff"), std::monostate()}}),
                    ResultFormat::kTable),
            "item          n\n----------  ---\n\xE7\x8C\xAB            5\na\\nb\\u001b  -12\n"
            "\xC3\xA9\xEF\xBF\xBD            -\n");
}

TEST(WriteResultTest, ParquetReadsBackTheSame) {
  const TestLake lake;
  const std::string path = lake.directory() + "/result.parquet";
  std::ofstream(path, std::ios::binary) << Written(Sample(), ResultFormat::kParquet);
  Result<duck::Database> database = duck::Open({});
  ASSERT_TRUE(database.ok());
  Result<duck::Connection> connection = duck::Connect(database.value());
  ASSERT_TRUE(connection.ok());
  Result<std::string> text =
      duck::QueryText(connection.value(),
                      "SELECT string_agg(x::VARCHAR, ' ') FROM (SELECT "
                      "{'o': geographical_location_oid, 'i': \"item "
                      "\"\"x\"\"\", 'n': n, 'a': epoch_us(\"at\"), 'd': day, "
                      "'s': share, 'l': list} AS x FROM read_parquet(?))",
                      path);
  ASSERT_TRUE(text.ok()) << text.status().message();
  EXPECT_EQ(text.value(),
            "{'o': 9007199254740993, 'i': 'a,\"b\"\n', 'n': 1.5, 'a': -1, 'd': 2026-01-05, 's': "
            "0.1, 'l': "
            "'[1,null]'} {'o': NULL, 'i': '', 'n': NULL, 'a': 1767225600123456, 'd': NULL, 's': "
            "NULL, 'l': "
            "NULL} {'o': 1, 'i': '\xE7\x8C\xAB\x1b[2J', 'n': 7.0, 'a': NULL, 'd': 1970-01-01, 's': "
            "-2e+300, 'l': '{}'}");
}

std::string TypesOf(const std::string& file) {
  Result<duck::Database> database = duck::Open({});
  Result<duck::Connection> connection = duck::Connect(database.value());
  return duck::QueryText(
             connection.value(),
             "SELECT string_agg(name || ' ' || coalesce(logical_type, type), ', ') FROM "
             "parquet_schema(?) WHERE type IS NOT NULL",
             file)
      .value();
}

// The clock on a wall in Berlin: an hour later than UTC in winter, and nobody may take it for UTC.
TEST(WriteResultTest, ALocalTimeHasNoZone) {
  auto lake = std::make_shared<TestLake>();
  auto engine = Engine(lake);
  const auto written = [&](std::string_view sql, ResultFormat format) {
    return Written(engine->Run(sql, Scope::All(), {}), format);
  };
  const std::string sql =
      "SELECT t AS utc, t AT TIME ZONE 'Europe/Berlin' AS berlin, "
      "(t AT TIME ZONE 'Europe/Berlin')::TIMESTAMP_NS AS ns, "
      "(t AT TIME ZONE 'Europe/Berlin')::TIMESTAMP_S AS s, 'infinity'::TIMESTAMP AS never "
      "FROM (SELECT TIMESTAMPTZ '2026-01-05 10:03:00.25+00' AS t)";
  EXPECT_EQ(written(sql, ResultFormat::kNdjson),
            "{\"utc\":\"2026-01-05T10:03:00.250Z\",\"berlin\":\"2026-01-05T11:03:00.250\","
            "\"ns\":\"2026-01-05T11:03:00.250\",\"s\":\"2026-01-05T11:03:00.000\","
            "\"never\":\"infinity\"}\n");
  EXPECT_EQ(written(sql, ResultFormat::kCsv),
            "utc,berlin,ns,s,never\r\n2026-01-05T10:03:00.250Z,2026-01-05T11:03:00.250,"
            "2026-01-05T11:03:00.250,2026-01-05T11:03:00.000,infinity\r\n");
  const std::string path = lake->directory() + "/local.parquet";
  std::ofstream(path, std::ios::binary) << written(sql, ResultFormat::kParquet);
  const std::string types = TypesOf(path);
  EXPECT_NE(types.find("utc TimestampType(isAdjustedToUTC=1"), std::string::npos) << types;
  for (const char* local : {"berlin", "ns", "s", "never"}) {
    EXPECT_NE(types.find(std::string(local) + " TimestampType(isAdjustedToUTC=0"),
              std::string::npos)
        << types;
  }
}

TEST(WriteResultTest, NamesThatAreReadAreThereOnce) {
  auto lake = std::make_shared<TestLake>();
  auto engine = Engine(lake);
  const auto written = [&](ResultFormat format) {
    return Written(engine->Run("SELECT 1 AS oid, 2 AS oid, 3 AS oid_1, 4 AS oid", Scope::All(), {}),
                   format);
  };
  EXPECT_EQ(written(ResultFormat::kNdjson),
            "{\"oid\":\"1\",\"oid_1\":\"2\",\"oid_1_1\":3,\"oid_2\":\"4\"}\n");
  EXPECT_EQ(written(ResultFormat::kCsv), "oid,oid,oid_1,oid\r\n1,2,3,4\r\n");
  const std::string path = lake->directory() + "/names.parquet";
  std::ofstream(path, std::ios::binary) << written(ResultFormat::kParquet);
  EXPECT_EQ(TypesOf(path), "oid INT64, oid_1 INT64, oid_1_1 INT64, oid_2 INT64");
}

TEST(WriteResultTest, AFullSinkStopsTheWriting) {
  for (const ResultFormat format :
       {ResultFormat::kTable, ResultFormat::kCsv, ResultFormat::kExcelCsv, ResultFormat::kJson,
        ResultFormat::kNdjson, ResultFormat::kParquet}) {
    EXPECT_EQ(ParseResultFormat(NameOf(format)).value(), format);
    ResultTable table = Sample();
    EXPECT_EQ(
        WriteResult(table, format, [](std::string_view) { return Status::Stop("full"); }).message(),
        "full");
  }
  EXPECT_FALSE(ParseResultFormat("xml").ok());
}

TEST(WriteResultTest, FailsWhereTheQueryFails) {
  auto lake = std::make_shared<TestLake>();
  auto engine = Engine(lake);
  const char* sql =
      "SELECT CASE WHEN i < 99000 THEN 1 ELSE error('enough') END FROM range(100000) t(i)";
  for (const ResultFormat format : {ResultFormat::kCsv, ResultFormat::kParquet}) {
    EXPECT_NE(Written(engine->Run(sql, Scope::All(), {}), format).find("enough"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace sightline
