#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "query/parsed_sql.h"
#include "query/test_lake.h"
#include "query/views.h"
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

// What analysts write.
TEST_F(SqlGuardTest, LetsAnalystsWork) {
  for (const char* sql :
       {"FROM main.item_counts",
        "FROM MAIN.Locations",
        "SELECT main.upper('a')",
        "SELECT count(*) FROM main.range(3)",
        "SELECT item_name.upper() FROM item_counts",
        "SELECT c.item_name.upper() FROM item_counts c",
        "WITH RECURSIVE r USING KEY (n) AS (SELECT 1 AS n, 0 AS s UNION SELECT r.n + 1, x.s FROM "
        "r, "
        "recurring.r AS x WHERE r.n < 3) SELECT count(*) FROM r",
        "SELECT lpad(item_name, 20, '.'), rpad('a', 3, 'b'), repeat('ab', 3) FROM item_counts",
        "SELECT printf('%05d', 7), format('{:>8}', 'x'), replace('a', 'a', 'bb')",
        "SELECT nfc_normalize('e'), strip_accents('e'), translate('ab', 'a', 'b')",
        "SELECT levenshtein(item_name, 'bus'), jaro_similarity(item_name, 'bus') FROM item_counts",
        "SELECT regexp_replace(item_name, 'a', item_name) FROM item_counts",
        "SELECT len(range(1000)), list_resize([1], 3), [x * 2 FOR x IN [1, 2] IF x > 1]",
        "SELECT date_trunc('week', window_start) AT TIME ZONE 'Europe/Berlin' FROM item_counts",
        "SELECT time_bucket(INTERVAL '15 minutes', window_start), strftime(window_start, '%H:%M'), "
        "age(window_end, window_start), dayname(date), extract(hour FROM window_start), "
        "make_date(2026, 1, 1), strptime('2026', '%Y'), epoch_ms(window_start) FROM item_counts",
        "SELECT current_date, current_timestamp, today(), now() - INTERVAL 1 DAY, random(), uuid()",
        "SELECT lag(item_count) OVER w, rank() OVER w, ntile(4) OVER w, sum(item_count) OVER "
        "(ORDER BY window_start ROWS BETWEEN 3 PRECEDING AND CURRENT ROW EXCLUDE TIES) "
        "FROM item_counts WINDOW w AS (PARTITION BY item_name ORDER BY window_start)",
        "PIVOT item_counts ON item_name IN ('a', 'b') USING sum(item_count) GROUP BY date",
        "UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b INTO NAME n VALUE v",
        "SELECT median(item_count), quantile_cont(item_count, [0.5, 0.9]), mode(item_name), "
        "arg_max(item_name, item_count), histogram(item_count), approx_count_distinct(item_name), "
        "string_agg(item_name, ', ' ORDER BY item_name), count(*) FILTER (WHERE item_count > 1) "
        "FROM item_counts",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY item_count) FROM item_counts",
        "SELECT list_transform([1, 2], lambda x: x + 1), list_transform([1], x -> x + 1), "
        "list_reduce([1, 2], lambda a, b: a + b), list_aggregate([1, 2], 'sum'), "
        "[1, 2].list_aggregate('max'), array_sort([2, 1])",
        "SELECT * EXCLUDE (date) REPLACE (upper(item_name) AS item_name), COLUMNS('item.*') "
        "FROM item_counts",
        "SELECT j->'$.a', j->>'a', j->'$.*', json_extract(j, ['$.a', '$.b']), j.a, j['a'], "
        "json_keys(j), json_type(j, '$.a'), j->>k, j->>('$.' || k), j::STRUCT(a INTEGER) "
        "FROM (SELECT '{\"a\": 1}'::JSON AS j, 'a' AS k)",
        "SELECT j->>k FROM (SELECT j, unnest(json_keys(j)) AS k FROM (SELECT '{\"a\": 1}' AS j))",
        "SELECT json_object('n', item_name), to_json(item_count) FROM item_counts",
        "SELECT key, value FROM json_each('{\"a\": 1}')",
        "SELECT 'a'::ENUM('a', 'b')",
        "SELECT 1::DECIMAL(9, 2), [1]::DOUBLE[], NULL::MAP(VARCHAR, INT), '1'::UUID IS NULL, "
        "TRY_CAST('x' AS HUGEINT), MAP {'a': 1}['a'], {'a': 1}.a, (1, 2), 5!, 'a' COLLATE NOCASE "
        "WHERE false",
        "SELECT * FROM item_counts USING SAMPLE 10%",
        "SELECT grouping(item_name), count(*) FROM "
        "item_counts GROUP BY ROLLUP (item_name)"}) {
    EXPECT_THAT(Run(sql), Not(StartsWith("error"))) << sql;
  }
}

constexpr const char* kRefused[] = {
    "SELECT * FROM ledger a ASOF RIGHT JOIN ledger b ON a.append_hour >= b.append_hour",
    "SELECT * FROM ledger a ASOF FULL JOIN ledger b ON a.append_hour >= b.append_hour",
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
    "FROM main.nothing",
    "FROM system.main.item_counts",
    "WITH nothing AS (SELECT 1) FROM main.nothing",
    "FROM pg_catalog.range(3)",
    "FROM item_counts AT (VERSION => 1)",
    "SELECT pg_catalog.upper('a')",
    "SELECT system.main.upper('a')",
    "SELECT version()",
    "SELECT json_serialize_sql('SELECT 1')",
    "SELECT json_serialize_plan('SELECT 1')",
    "SELECT json_deserialize_sql('{}')",
    "SELECT txid_current()",
    "SELECT stats(1)",
    "SELECT current_schemas(true)",
    "SELECT setseed(0.5)",
    "SELECT make_type('VARIANT')",
    "SELECT __internal_compress_string_hugeint('a')",
    "SELECT icu_collate_de('a')",
    "SELECT no_such_function(1)",
    "SELECT overlay('abc' PLACING 'x' FROM 1)",
    "SELECT 1::VARIANT",
    "SELECT NULL::VARIANT[]",
    "SELECT NULL::STRUCT(a VARIANT)",
    "SELECT NULL::GEOMETRY",
    "SELECT 'x'::regclass",
    "SELECT NULL::TYPE",
    "SELECT json_structure('{}')",
    "SELECT json_structure(s||replace(s,'[',']')) FROM (SELECT string_agg('[','') s FROM "
    "range(1000000))",
    "SELECT (s||replace(s,'[',']'))::JSON::VARIANT FROM (SELECT string_agg('[','') s FROM "
    "range(1000000))",
    "SELECT json_group_structure('{}')",
    "SELECT json_contains('{}', '{}')",
    "SELECT json_merge_patch('{}', '{}')",
    "SELECT json_transform('{}', '{}')",
    "SELECT from_json('{}', '{}')",
    "SELECT json_extract('{}', '$' || repeat('.*', 100000))",
    "SELECT '{}'.json_extract('$' || repeat('.*', 100000))",
    "SELECT j.json_extract('$' || repeat('.*', 100000)) FROM (SELECT '{}' AS j)",
    "SELECT '{}'::JSON -> ('$' || repeat('.*', 100000))",
    "SELECT '{}' ->> ('$' || repeat('.*', 100000))",
    "SELECT '$' || repeat('.*', 100000) AS p, json_keys('{}', p)",
    "SELECT json_type('{}', '$' || repeat('.*', length(typeof(item_name)))) FROM item_counts",
    "SELECT list_transform([1], lambda x: json_exists('{}', '$' || repeat('.*', 100000)))",
    "SELECT list_transform('[1]'::JSON -> ('$' || repeat('.*', 100000)), lambda x: x)",
    "SELECT list_sort(['{}' -> ('$' || repeat('.*', 100000))])",
    "SELECT list_aggregate([1], 'no_such_aggregate')",
    "SELECT list_aggregate([1], repeat('a', 1000000))",
    "SELECT l.list_aggregate(repeat('a', 1000000)) FROM (SELECT [1] AS l)",
    "SELECT sum(1) EXPORT_STATE",
    "SELECT reservoir_quantile(item_count, 0.5, 2147483647) FROM item_counts",
    "SELECT count(*) FILTER (WHERE current_setting('threads') = 2) FROM item_counts"};

TEST_F(SqlGuardTest, RefusesEverythingElse) {
  const duck::Database database = duck::Open({}).value();
  const duck::Connection connection = duck::Connect(database).value();
  const SqlGuard guard = GuardFor(connection, ViewNames()).value();
  for (const char* sql : kRefused) {
    // The guard refuses it, and not DuckDB when it runs.
    EXPECT_FALSE(ParseAndCheck(connection, guard, sql).ok()) << sql;
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
            "error: line 1, column 8: the function 'getenv' is not allowed; the nearest that is: "
            "even");
  EXPECT_EQ(Run("SELECT 1,\n  lenght('a')"),
            "error: line 2, column 3: the function 'lenght' is not allowed; the nearest that is: "
            "length");
  EXPECT_THAT(Run("SELECT Date_Trunk('day', now())"), HasSubstr("nearest that is: date_trunc"));
  EXPECT_EQ(Run("SELECT 1::VARIANT"),
            "error: line 1, column 8: the type 'VARIANT' is not allowed; the nearest that is: "
            "varchar");
  EXPECT_THAT(Run("SELECT list_aggregate([1], 'summ')"), HasSubstr("nearest that is: sum"));
  EXPECT_EQ(Run("SELECT 1; SELECT 2"), "error: exactly one statement is allowed");
  EXPECT_EQ(Run("DROP TABLE x"),
            "error: only one SELECT is allowed (also WITH, VALUES, FROM, DESCRIBE)");
  EXPECT_THAT(Run("SELECT item_nam FROM item_counts"), HasSubstr("item_name"));
  EXPECT_THAT(
      Run("SELECT\n item_nam FROM item_counts"),
      StartsWith("error: line 2, column 2: there is no column 'item_nam'; similar names: "));
  EXPECT_EQ(Run("SELECT item_name, sum(item_count) FROM item_counts GROUP BY ALL "
                "QUALIFY row_number() OVER () = 1"),
            "error: QUALIFY and GROUP BY ALL do not go together: name the columns in GROUP BY");
}

// A short text can stand for a plan without an end, which DuckDB makes before the question runs.
TEST_F(SqlGuardTest, RefusesWhatCannotBePlanned) {
  const auto doubled = [](int levels, std::string_view how) {
    std::string sql = "WITH c0 AS (SELECT 1 AS x)";
    for (int i = 1; i <= levels; ++i) {
      sql += fmt::format(", c{} AS {} (SELECT a.x FROM c{} a, c{} b)", i, how, i - 1, i - 1);
    }
    return sql + fmt::format(" SELECT count(*) AS n FROM c{}", levels);
  };
  EXPECT_EQ(Run(doubled(9, "")), "{\"n\":1}\n");
  EXPECT_EQ(Run(doubled(9, "NOT MATERIALIZED")), "{\"n\":1}\n");
  const std::string unused = doubled(30, "NOT MATERIALIZED");
  // Each level hides the name of the level around it.
  std::string hidden = "SELECT 1 AS x", columns = "SELECT 1 AS x";
  for (int i = 0; i < 30; ++i) {
    hidden = fmt::format("WITH w AS NOT MATERIALIZED ({}) SELECT a.x FROM w a, w b", hidden);
    columns = fmt::format("SELECT *, * FROM ({})", columns);
  }
  for (const std::string& sql :
       {doubled(30, "NOT MATERIALIZED"), doubled(30, ""), hidden,
        unused.substr(0, unused.rfind("SELECT count")) + "SELECT 1",
        fmt::format("SELECT (SELECT max(x) FROM ({})) FROM item_counts", hidden)}) {
    EXPECT_THAT(Run(sql), HasSubstr("reads more than 2000 tables")) << sql;
  }
  EXPECT_THAT(Run(columns), HasSubstr("has more than 10000 of them"));
  EXPECT_THAT(Run("WITH w AS MATERIALIZED (" + columns + ") SELECT count(*) FROM w"),
              HasSubstr("has more than 10000 of them"));
  // An alias stands for its expression, and a macro uses its argument more than once.
  std::string aliases = "SELECT item_count AS a0", macros = "item_count";
  for (int i = 0; i < 30; ++i) {
    aliases += fmt::format(", a{} + a{} AS a{}", i, i, i + 1);
    macros = fmt::format("nullif({}, 1)", macros);
  }
  for (const std::string& sql :
       {aliases + " FROM item_counts", "SELECT " + macros + " FROM item_counts"}) {
    EXPECT_THAT(Run(sql), HasSubstr("more than 20000 expressions beyond those written")) << sql;
  }
  // Long chains of honest queries do not double.
  std::string chain = "WITH c0 AS (FROM item_counts)";
  for (int i = 1; i <= 60; ++i) {
    chain += fmt::format(
        ", c{} AS (SELECT a.*, b.item_name AS n{} FROM c{} a JOIN locations l "
        "USING (geographical_location_oid), (SELECT 'x' AS item_name) b)",
        i, i, i - 1);
  }
  EXPECT_THAT(Run(chain + " SELECT count(*) FROM c60"), Not(StartsWith("error")));
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
