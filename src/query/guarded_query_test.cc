#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "query/test_lake.h"
#include "sql/sql_guard.h"

namespace sightline {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class SqlGuardTest : public testing::Test {
 protected:
  std::string Run(std::string_view sql) {
    return Written(engine->Run(sql, Scope::All(), {.time = {20'000}}));
  }
  std::shared_ptr<TestLake> lake = std::make_shared<TestLake>();
  std::unique_ptr<QueryEngine> engine = Engine(lake);
};

TEST_F(SqlGuardTest, LetsReadersRead) {
  for (const char* sql :
       {"SELECT 1", "VALUES (1)", "FROM item_counts", "FROM range(3)", "  select 1 ; ",
        "/* x */ SELECT 1 -- y", "WITH a AS (SELECT 1) SELECT * FROM a",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 9) FROM r",
        "DESCRIBE item_counts", "DESCRIBE SELECT 1 AS x", "TABLE ledger",
        "SELECT * FROM item_counts PIVOT (sum(item_count) FOR item_name IN ('a', 'b'))",
        "SELECT * FROM (SELECT unnest([1, 2])) x, LATERAL (SELECT 1) y",
        "SELECT date_trunc('hour', window_start), now(), random() > 2 FROM item_counts",
        "SELECT replace(item_name, 'a', 'b'), replace(item_name, 'aa', '') FROM item_counts",
        "SELECT regexp_replace(item_name, '[0-9]+', '', 'g') FROM item_counts",
        "SELECT count(*) FROM generate_series(1, 5)", "SELECT ITEM_NAME FROM Item_Counts",
        "SELECT l.* FROM locations l LEFT JOIN item_counts c USING (geographical_location_oid)"}) {
    EXPECT_THAT(Run(sql), Not(StartsWith("error"))) << sql;
  }
}

constexpr const char* kRefused[] = {
    "",
    ";",
    "-- nothing",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE x",
    "SELECT 1 /* ; */; SET x=1",
    "COPY (SELECT 1) TO '/tmp/sightline_evil'",
    "COPY item_counts TO STDOUT",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/sightline_evil'",
    "EXPLAIN SELECT 1",
    "ATTACH '/tmp/x.db'",
    "DETACH memory",
    "USE temp",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "PRAGMA version",
    "SET threads = 9",
    "RESET threads",
    "SET VARIABLE x = 1",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "EXPORT DATABASE '/tmp/x'",
    "CREATE TABLE x (i INT)",
    "CREATE TEMP VIEW item_counts AS SELECT 1",
    "CREATE MACRO f() AS 1",
    "INSERT INTO item_counts VALUES (1)",
    "DELETE FROM ledger",
    "UPDATE ledger SET received = 0",
    "DROP VIEW item_counts",
    "BEGIN",
    "COMMIT",
    "PREPARE p AS SELECT 1",
    "SUMMARIZE item_counts",
    "EXECUTE p",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SHOW DATABASES",
    "WITH d AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM d",
    "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
    "PIVOT range(3) ON range",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_parquet('x')",
    "SELECT * FROM parquet_metadata('x')",
    "SELECT * FROM sniff_csv('x')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM '/tmp/x.csv'",
    "SELECT * FROM \"x.parquet\"",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM duckdb_settings()",
    "FROM duckdb_views",
    "FROM duckdb_variables()",
    "FROM duckdb_secrets()",
    "FROM pg_catalog.pg_views",
    "FROM information_schema.tables",
    "FROM sqlite_master",
    "FROM pragma_database_list",
    "FROM query('SELECT 1')",
    "FROM query_table('item_counts')",
    "FROM sightline_rows(1::UBIGINT)",
    "FROM temp.item_counts",
    "FROM main.item_counts",
    "FROM json_execute_serialized_sql('{}')",
    "SELECT getenv('HOME')",
    "SELECT GetVariable('sightline_files_1')",
    "SELECT current_query()",
    "SELECT current_setting('memory_limit')",
    "SELECT 'memory_limit'.current_setting()",
    "SELECT main.current_setting('threads')",
    "SELECT pg_get_viewdef(1)",
    "SELECT write_log('x')",
    "SELECT sleep_ms(10)",
    "SELECT nextval('s')",
    "SELECT length(repeat('x', 4000000000))",
    "SELECT lpad('', 2000000000, 'x')",
    "SELECT translate('a', 'a', 'b')",
    "SELECT damerau_levenshtein(item_name, item_name) FROM item_counts",
    "SELECT levenshtein(item_name, 'bus') FROM item_counts",
    "SELECT jaro_similarity(item_name, 'bus') FROM item_counts",
    "SELECT strip_accents(item_name) FROM item_counts",
    "SELECT replace(replace(replace('aaaa', 'a', 'aaaa'), 'a', 'aaaa'), 'a', 'aaaa')",
    "SELECT replace(repeat('a', 1000), 'a', 'b')",
    "SELECT rpad(rpad('', 1000, 'x'), 1000000, 'y')",
    "SELECT replace(item_name, 'a', 'bb') FROM item_counts",
    "SELECT replace(item_name, 'a', item_name) FROM item_counts",
    "SELECT replace(item_name, item_name, '') FROM item_counts",
    "SELECT item_name.replace('a', 'bb') FROM item_counts",
    "SELECT list_transform(['a'], x -> replace(x, 'a', 'bb'))",
    "SELECT regexp_replace(item_name, '', 'x', 'g') FROM item_counts",
    "SELECT regexp_replace(item_name, 'a', item_name) FROM item_counts",
    "SELECT ?",
    "SELECT $1",
    "SELECT (SELECT max(content) FROM read_text('/etc/passwd'))",
    "SELECT * FROM item_counts WHERE EXISTS (FROM glob('/*'))",
    "SELECT * FROM item_counts ORDER BY (SELECT count(*) FROM glob('/*'))",
    "WITH \"/etc/passwd\" AS (SELECT 1) SELECT * FROM '/etc/passwd'",
    "WITH duckdb_views AS (SELECT * FROM duckdb_views) SELECT * FROM duckdb_views",
    "WITH tables AS (SELECT 1) SELECT * FROM tables",
    "SELECT list_transform([1], x -> getenv('HOME'))",
    "SELECT * FROM item_counts TABLESAMPLE 5 ROWS, duckdb_tables()",
    "SELECT [getvariable(x) FOR x IN ['a']]",
    "FROM test_all_types()",
    "SELECT len(range(2000000000))",
    "FROM unnest(range(2000000000))",
    "SELECT count(*) FILTER (WHERE current_setting('threads') = 2) FROM item_counts"};

TEST_F(SqlGuardTest, RefusesEverythingElse) {
  for (const char* sql : kRefused) {
    EXPECT_THAT(Run(sql), StartsWith("error")) << sql;
  }
  EXPECT_FALSE(std::filesystem::exists("/tmp/sightline_evil"));
}

TEST_F(SqlGuardTest, SaysWhereAndWhat) {
  EXPECT_EQ(Run("SELECT 1,\n  FROM FROM x"),
            "error: line 2, column 8: syntax error at or near \"FROM\"");
  EXPECT_EQ(Run("SELECT *\nFROM counts"),
            "error: line 2, column 6: there is no table 'counts'; the tables are "
            "item_count_increments, item_counts, ledger, locations");
  EXPECT_EQ(Run("SELECT getenv('HOME')"),
            "error: line 1, column 8: the function 'getenv' is not allowed");
  EXPECT_EQ(Run("SELECT 1; SELECT 2"), "error: exactly one statement is allowed");
  EXPECT_EQ(Run("DROP TABLE x"),
            "error: only one SELECT is allowed (also WITH, VALUES, FROM, DESCRIBE)");
  EXPECT_THAT(Run("SELECT item_nam FROM item_counts"), HasSubstr("item_name"));
  EXPECT_THAT(Run("SELECT\n item_nam FROM item_counts"), HasSubstr("LINE 2"));
}

TEST_F(SqlGuardTest, TextThatIsNoSql) {
  EXPECT_EQ(Run(std::string("SELECT 1\0; DROP TABLE x", 22)), "error: the SQL text contains a NUL");
  EXPECT_EQ(Run("SELECT '\xff'"), "error: the SQL text is not UTF-8");
  EXPECT_THAT(Run(std::string(1 << 20, ' ')), HasSubstr("at most 65536 are allowed"));
  for (const auto& [head, piece, tail] :
       {std::tuple("SELECT ", "(", ""), std::tuple("SELECT 1", "+1", ""),
        std::tuple("SELECT ", "-", "1"), std::tuple("", "SELECT * FROM (", "SELECT 1"),
        std::tuple("SELECT ", "[", "")}) {
    std::string sql = head;
    while (sql.size() < kSqlBytesMax - 20) sql += piece;
    EXPECT_THAT(Run(sql + tail), StartsWith("error")) << piece;
  }
  std::string chain = "SELECT 1 AS n WHERE true";
  while (chain.size() < kSqlBytesMax - 20) chain += " AND true";
  EXPECT_EQ(Run(chain), "{\"n\":1}\n");
}

}  // namespace
}  // namespace sightline
