"""hostile_sql: questions for POST /v1/query that want to harm the server, each of its own shape.

SEEN are those that ended, stopped or filled a server once. CORPUS has more than 200 of our own making. A question
may be answered or refused, but nothing else may suffer from it. Some ask for what nobody may know: Question.reveals
says what an answer must not contain. test_hostile.py posts them.

A question that is made by a loop counts once, whatever the loop's length is. Each kind has a comment that says what
it aims at. Pure: nothing here opens a connection.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

SQL_BYTES_MAX = 65_536  # docs/PROTOCOL.md


@dataclass(frozen=True)
class Question:
    kind: str
    body: bytes  # of the POST
    reveals: str = ""  # a pattern of what no answer may contain

    @property
    def sql(self) -> str:
        """For a report: its beginning."""
        return self.body.decode(errors="replace")[:300]


def body_of(sql: str, **more: object) -> bytes:
    return json.dumps({"sql": sql, **more}).encode()


def filled(head: str, piece: str, tail: str = "", bytes_max: int = SQL_BYTES_MAX - 64) -> str:
    """As many pieces between head and tail as a text may have bytes."""
    return head + piece * ((bytes_max - len(head) - len(tail)) // len(piece)) + tail


def joined(head: str, pieces: list[str], separator: str, tail: str = "") -> str:
    return head + separator.join(pieces) + tail


# A text of a million brackets that open, and its mirror image: deeper than any stack.
BRACKETS = "(SELECT string_agg('[','') s FROM range(1000000))"
BRACES = "(SELECT string_agg('{\"a\":','') s FROM range(300000))"
CLOSED = "(SELECT s || replace(s,'[',']') AS j FROM " + BRACKETS + ")"
LIKE_30 = "%a" + "_%a" * 29 + "_%b"
LONG_A = "(SELECT string_agg('a','') s FROM range(3000))"


def doubling(width: int, how: str) -> str:
    """`width` queries, each of which reads the one before it twice."""
    steps = [f"c{i} AS {how} (SELECT a.x FROM c{i - 1} a, c{i - 1} b)" for i in range(1, width)]
    return joined(f"WITH c0 AS {how} (SELECT 1 AS x), ", steps, ", ", f" SELECT count(*) FROM c{width - 1}")


SEEN = [Question("seen", body_of(sql)) for sql in (
    "SELECT json_structure(s||replace(s,'[',']')) FROM (SELECT string_agg('[','') s FROM range(1000000))",
    f"SELECT json_merge_patch(j, j) FROM {CLOSED}",
    f"SELECT json_contains(j, j) FROM {CLOSED}",
    f"SELECT j::JSON::VARIANT FROM {CLOSED}",
    *(f"SELECT s LIKE '{LIKE_30}', {n} FROM {LONG_A}" for n in range(4)),
    doubling(30, "NOT MATERIALIZED"),
    "SELECT bitstring('1', 2000000000)",
)] + [Question("seen", body_of("SELECT json_serialize_plan('SELECT * FROM item_counts')"),
               "LOGICAL_|error_type")]

# One value that makes a recursive function use up its stack, or that divides where one cannot.
CRASH = (
    f"SELECT json_keys(j) FROM {CLOSED}",
    f"SELECT json_pretty(j) FROM {CLOSED}",
    f"SELECT json_type(j) FROM {CLOSED}",
    f"SELECT json_valid(s) FROM {BRACES}",
    f"SELECT json_array_length(j::JSON) FROM {CLOSED}",
    f"SELECT json_transform(j, '[[[\"JSON\"]]]') FROM {CLOSED}",
    f"SELECT from_json_strict(j, '[\"JSON\"]') FROM {CLOSED}",
    f"SELECT json_group_structure(j) FROM {CLOSED}",
    f"SELECT count(*) FROM (SELECT * FROM {CLOSED}) t, json_tree(t.j)",
    f"SELECT count(*) FROM (SELECT * FROM {CLOSED}) t, json_each(t.j)",
    f"SELECT json_extract(j, '$' || replace(s, '[', '')) FROM (SELECT s, s || replace(s,'[',']') j FROM {BRACKETS})",
    "SELECT json_extract('[]', '$' || string_agg('[0]', '')) FROM range(300000)",
    "SELECT json_transform('{}', string_agg('{\"a\":', '') || '1' || string_agg('}', '')) FROM range(200000)",
    "SELECT json_exists('{}', '$' || string_agg('.*', '')) FROM range(300000)",
    "SELECT json_serialize_sql('SELECT ' || string_agg('(', '') || '1' || string_agg(')', '')) FROM range(100000)",
    "SELECT json_serialize_sql('SELECT ' || string_agg('-', ' ') || '1') FROM range(100000)",
    "SELECT json_deserialize_sql('{\"error\":false,\"statements\":[{\"node\":' || string_agg('{\"type\":\"SELECT_NODE\""
    ",\"from_table\":', '') || '0') FROM range(50000)",
    "SELECT json_deserialize_sql(json_serialize_sql('SELECT 1 + ' || string_agg('1', '+'))) FROM range(50000)",
    f"SELECT s::INTEGER[] FROM {BRACKETS}",
    f"SELECT j::INTEGER[][][][] FROM {CLOSED}",
    "SELECT string_agg('{''a'':', '')::STRUCT(a STRUCT(a INTEGER)) FROM range(300000)",
    "SELECT string_agg('{', '')::MAP(VARCHAR, MAP(VARCHAR, INTEGER)) FROM range(300000)",
    f"SELECT to_json(j::JSON) = j::JSON FROM {CLOSED}",
    f"SELECT j::JSON::INTEGER[] FROM {CLOSED}",
    "SELECT variant_extract(([[[1]]])::VARIANT, 1), ([[[[1]]]])::VARIANT::JSON",
    f"SELECT typeof(s::JSON::VARIANT) FROM {BRACES}",
    f"SELECT struct_pack(a := j::JSON)::VARIANT FROM {CLOSED}",
    f"SELECT map([j::JSON], [j::JSON])::JSON FROM {CLOSED}",
    "SELECT (-9223372036854775807 - 1) // -1, (-9223372036854775807 - 1) % -1",
    "SELECT (-170141183460469231731687303715884105727 - 1)::HUGEINT // (-1)::HUGEINT",
    "SELECT list_reduce(range, (a, b) -> a + b) FROM (SELECT list(range) AS range FROM range(3000000))",
    "SELECT [1, 2, 3][9223372036854775807:-9223372036854775808:-1]",
    "SELECT list_select([1], [9223372036854775807, -9223372036854775808, 0])",
    "SELECT substring('abc', -9223372036854775808, 9223372036854775807), left('a', -9223372036854775808)",
    "SELECT chr(1114112), chr(-1), chr(55296)",
    "SELECT union_value(a := [union_value(b := NULL)])::VARCHAR::UNION(a UNION(b INTEGER)[])",
    "SELECT row(row(row(NULL))) IN (SELECT row(row(row(NULL)))), (row(1, 2)).\"3\"",
)
# Work without an end that looks small; each in another part of DuckDB.
HANG = (
    "SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b",
    "SELECT count(*) FROM range(9223372036854775807)",
    "SELECT max(generate_series) FROM generate_series(TIMESTAMP '1900-01-01', TIMESTAMP '2200-01-01', "
    "INTERVAL 1 MICROSECOND)",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r) SELECT count(*) FROM r",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION SELECT n + 1 FROM r) SELECT max(n) FROM r",
    "WITH RECURSIVE r(a, b) USING KEY (a) AS (SELECT 1, 1 UNION SELECT a, b + 1 FROM r) SELECT * FROM r",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT a.n + 1 FROM r a, r b, range(3)) SELECT count(*) FROM r",
    "WITH RECURSIVE r AS (SELECT 'a' AS s UNION ALL SELECT s || s FROM r) SELECT max(length(s)) FROM r",
    "SELECT count(*) FROM item_counts a, item_counts b, item_counts c, item_counts d, item_counts e, item_counts f, "
    "item_counts g, item_counts h",
    "SELECT count(*) FROM range(100000) a JOIN range(100000) b ON a.range < b.range + 1 AND a.range <> b.range",
    "SELECT count(*) FROM range(3000000) a WHERE EXISTS (SELECT 1 FROM range(3000000) b WHERE b.range * a.range = -1)",
    "SELECT sum((SELECT count(*) FROM range(a.range) b WHERE b.range % 7 = a.range % 5)) FROM range(10000000) a",
    "SELECT count(*) FROM range(1000000) a ASOF JOIN range(1000000) b ON a.range >= b.range, range(100000)",
    "SELECT median(a.range) OVER (ORDER BY a.range ROWS BETWEEN 500000 PRECEDING AND 500000 FOLLOWING) "
    "FROM range(3000000) a",
    "SELECT string_agg(range, ',') OVER (ORDER BY range ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) "
    "FROM range(50000)",
    "SELECT mode(range % 999983) OVER (ROWS BETWEEN 400000 PRECEDING AND 400000 FOLLOWING EXCLUDE TIES) "
    "FROM range(3000000)",
    "SELECT count(DISTINCT hash(a.range, b.range)) FROM range(100000) a, range(100000) b",
    "SELECT list_sort(list_transform(x, y -> list_sum(list_transform(x, z -> z * y)))) "
    "FROM (SELECT list(range) AS x FROM range(200000))",
    "SELECT list_filter(x, y -> list_contains(x, y * 2 + 1)) FROM (SELECT list(range) AS x FROM range(1000000))",
    "SELECT list_has_any(list_transform(x, y -> y + 1.5), x) FROM (SELECT list(range) AS x FROM range(30000000))",
    "SELECT list_reduce(x, (a, b) -> list_concat(a, b)) FROM (SELECT list([range]) AS x FROM range(300000))",
    "SELECT factorial(33), sum(sin(a.range) ** b.range) FROM range(1000000) a, range(1000000) b",
    "SELECT sum(length(md5(md5(md5(a.range::VARCHAR || b.range))))) FROM range(1000000) a, range(100000) b",
    "SELECT count(*) FROM (SELECT unnest(x) FROM (SELECT list(range) AS x FROM range(1000)), range(100000000))",
    "SELECT min(json_extract(j, '$[*]')::VARCHAR) FROM (SELECT to_json(list(range)) AS j FROM range(1000000)), "
    "range(100000)",
    "SELECT count(*) FROM range(100000) a, LATERAL (SELECT a.range + b.range FROM range(100000) b) c",
    "SELECT count(*) FROM (FROM range(1000000) a POSITIONAL JOIN range(1000000) b) c, range(100000000) d",
    "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE random() < 0",
    "SELECT hamming(s, s), count(*) FROM (SELECT string_agg('a', '') s FROM range(1000000)), range(9999999) GROUP BY 1",
    "SELECT * FROM range(1000000000000) ORDER BY hash(range) LIMIT 1",
    "SELECT sha256(s) FROM (SELECT string_agg('ab', '') AS s FROM range(5000000)), range(100000)",
)
# Patterns that cost more than their length: backtracking, huge automata, many at once.
REGEX = (
    f"SELECT s NOT LIKE '{LIKE_30}' FROM {LONG_A}",
    f"SELECT s ILIKE '{LIKE_30}' FROM {LONG_A}",
    f"SELECT s LIKE '{LIKE_30}' ESCAPE '!' FROM {LONG_A}",
    f"SELECT s GLOB '{LIKE_30.replace('%', '*').replace('_', '?')}' FROM {LONG_A}",
    f"SELECT s SIMILAR TO '{LIKE_30}' FROM {LONG_A}",
    f"SELECT like_escape(s, '{LIKE_30}', '#'), not_ilike_escape(s, '{LIKE_30}', '#') FROM {LONG_A}",
    f"SELECT count(*) FROM range(1000) r, {LONG_A} WHERE s || r.range LIKE '%' || replace(s, 'aa', 'a_') || '%'",
    "SELECT regexp_matches(string_agg('a', ''), '(a*)*(a*)*(a*)*(a*)*b') FROM range(100000)",
    "SELECT regexp_matches('a', '((((a{0,10}){0,10}){0,10}b?)*)*$')",
    "SELECT regexp_matches('a', '(a{30}){30}(b{30}){33}|(.{500}){2}')",
    "SELECT regexp_matches('x', string_agg('(x|', '') || 'x' || string_agg(')', '')) FROM range(900)",
    "SELECT regexp_matches('x', '[' || string_agg(chr(range::INTEGER + 256), '') || ']') FROM range(50000)",
    "SELECT regexp_extract_all(string_agg('ab', ''), '(a|b|ab)*?') FROM range(1000000)",
    "SELECT regexp_extract(string_agg('a', ''), '(a?){500}a{500}', 1) FROM range(1000000)",
    "SELECT regexp_split_to_array(string_agg('a', ''), '') FROM range(3000000)",
    "SELECT regexp_full_match(s, '(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)[0-9]') FROM (SELECT string_agg('a', '') s "
    "FROM range(3000000))",
    "SELECT count(*) FROM range(1000000) WHERE regexp_matches(range::VARCHAR, '(' || range || '|' || range || '*)+$')",
    "SELECT regexp_replace(string_agg('a', ''), '(a+)+', '', 'g') FROM range(10000000)",
    "SELECT length(regexp_escape(string_agg('.', ''))) FROM range(30000000)",
    "SELECT regexp_matches(string_agg('é', ''), '(?i)(\\pL|\\pN|É)*$') FROM range(1000000)",
    "SELECT string_split_regex(string_agg('a,', ''), '(,|a)+?') FROM range(2000000)",
)
# Gigabytes: as one value, as a list, in a sort, in an aggregate, in an answer.
MEMORY = (
    "SELECT length(string_agg('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', '')) FROM range(300000000)",
    "SELECT list(range) FROM range(3000000000)",
    "SELECT list(DISTINCT range::VARCHAR || 'x') FROM range(300000000)",
    "SELECT array_agg(x) FROM (SELECT list(range) AS x FROM range(1000000)), range(100000)",
    "SELECT length(s || s || s || s || s || s || s || s) FROM (SELECT s || s || s || s || s || s || s || s AS s FROM "
    "(SELECT string_agg('xxxxxxxx', '') AS s FROM range(10000000)))",
    "SELECT map_from_entries(list((range, range::VARCHAR))) FROM range(100000000)",
    "SELECT histogram(range) FROM range(1000000000)",
    "SELECT mode(range::VARCHAR) FROM range(1000000000)",
    "SELECT quantile_disc(range::VARCHAR || 'pppppppppppppppppppppppp', [0.1, 0.5, 0.9]) FROM range(1000000000)",
    "SELECT max(range::VARCHAR || 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 999999) FROM range(1000000000)",
    "SELECT arg_max(range::VARCHAR, range, 999999) FROM range(10000000)",
    "SELECT approx_top_k(range::VARCHAR, 999999) FROM range(1000000000)",
    "SELECT reservoir_quantile(range, 0.5, 2000000000) FROM range(2000000000)",
    "SELECT bitstring_agg(range, 0, 4000000000) FROM range(10)",
    "SELECT string_agg(bitstring('1', 1000000)::VARCHAR, '') FROM range(100000)",
    "SELECT count(*) FROM (SELECT range, count(*) FROM range(10000000000) GROUP BY ALL)",
    "SELECT count(*) FROM (SELECT DISTINCT range::VARCHAR || 'tttttttttttttttttttttttt' FROM range(1000000000))",
    "SELECT range, hash(range)::VARCHAR || range AS x FROM range(1000000000) ORDER BY x DESC, range OFFSET 999999990",
    "SELECT sum(a.range) FROM range(1000000000) a JOIN range(1000000000) b ON a.range = b.range",
    "SELECT row_number() OVER (PARTITION BY range % 3 ORDER BY range DESC) AS n FROM range(1000000000) QUALIFY n < 2",
    "SELECT * FROM range(2000000000) USING SAMPLE reservoir(999999999 ROWS)",
    "SELECT count(*) FROM (WITH m AS MATERIALIZED (SELECT range, hash(range) v FROM range(1000000000)) FROM m a, m b)",
    "SELECT list_concat(x, x, x, x, x, x, x, x) FROM (SELECT list_concat(x, x, x, x, x, x, x, x) AS x FROM "
    "(SELECT list(range) AS x FROM range(10000000)))",
    "SELECT flatten(list_transform(x, a -> x)) FROM (SELECT list(range) AS x FROM range(50000))",
    "SELECT list_zip(x, x, x, x, x, x, x, x) FROM (SELECT list(range) AS x FROM range(10000000))",
    "SELECT string_split(string_agg('aaaaaaaaaa', ''), '') FROM range(10000000)",
    "SELECT to_json(list({a: range, b: [range, range], c: range::VARCHAR})) FROM range(30000000)",
    "SELECT hex(hex(hex(hex(string_agg('xxxxxxxxxx', ''))))) FROM range(3000000)",
    "SELECT length(url_encode(url_encode(url_encode(url_encode(string_agg('%', '')))))) FROM range(10000000)",
    "SELECT to_base64(encode(string_agg('xxxxxxxxxx', ''))) FROM range(50000000)",
    "SELECT max(length(concat_ws(s, r, r, r, r, r, r, r, r))) FROM (SELECT range r FROM range(100)), "
    "(SELECT string_agg('x', '') s FROM range(50000000))",
    "SELECT array_to_string(list_transform(x, a -> string_agg), '') FROM (SELECT list(range) AS x, "
    "string_agg(range::VARCHAR, '') AS string_agg FROM range(100000))",
    "SELECT json_group_array(range) FROM range(500000000)",
    "SELECT json_group_object(range, [range]) FROM range(100000000)",
    "SELECT string_agg('[' || range || ']', '')::BLOB::BIT::VARCHAR FROM range(100000000)",
    "SELECT bin(string_agg('xxxxxxxxxx', '')) FROM range(50000000)",
    "SELECT a.range, b.range, 'wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww' FROM range(1000000) a, range(9) b",
    "SELECT list_distinct(list(range::VARCHAR)), list_unique(list(range)) FROM range(100000000)",
    "SELECT count(*) FROM (PIVOT (SELECT range AS r, range % 3 AS g FROM range(50000)) ON r USING count(*) GROUP BY g)",
    "SELECT reverse(upper(string_agg('ßßßßßßßßßß', ''))) FROM range(50000000)",
)
# Every edge of every type, and casts from one that has it to one that has not.
CASTS = (
    "SELECT string_agg('9', '')::DECIMAL(38, 0) FROM range(1000000)",
    "SELECT string_agg('9', '')::DOUBLE, ('1e' || string_agg('9', ''))::DOUBLE FROM range(1000000)",
    "SELECT string_agg('9', '')::BIGNUM FROM range(1000000)",
    "SELECT length(string_agg('9', '')::BIGNUM::VARCHAR::BIGNUM::VARCHAR::BIGNUM::VARCHAR) FROM range(30000)",
    "SELECT try('1e308'::DOUBLE * 10), try_cast('nan'::DOUBLE AS HUGEINT), try_cast('-inf'::FLOAT AS TINYINT)",
    "SELECT 99999999999999999999999999999999999999::DECIMAL(38,0) * 99999999999999999999999999999999999999",
    "SELECT round(1e300, 2147483647), round(1.5::DECIMAL(4,1), -2147483648)",
    "SELECT '0x' || string_agg('f', '') AS x, ('0x' || string_agg('f', ''))::UHUGEINT FROM range(100000)",
    "SELECT bit_count(unhex(string_agg('ff', ''))::BIT) FROM range(10000000)",
    "SELECT octet_length(unbin(string_agg('1', ''))) FROM range(50000000)",
    "SELECT length(from_base64(string_agg('AAAA', ''))::VARCHAR) FROM range(10000000)",
    "SELECT string_agg('\\x00', '')::BLOB::VARCHAR FROM range(3000000)",
    "SELECT string_agg('1', '')::BIT << 2147483647, try(set_bit('1'::BIT, 2147483647, 1)) FROM range(1000000)",
    "SELECT '1'::BIT::BLOB::BIT::HUGEINT, try(''::BLOB::BIT), try(bit_position('1'::BIT, '\\x00'::BLOB::BIT))",
    "SELECT try(INTERVAL (2147483647) MONTHS * 2147483647), try(INTERVAL (9223372036854775807) MICROSECONDS * 10)",
    "SELECT (string_agg('9', '') || ' years')::INTERVAL FROM range(100000)",
    "SELECT string_agg('1 day ', '')::INTERVAL FROM range(1000000)",
    "SELECT try(DATE '5881580-07-10' + 1), try(DATE '-infinity' - DATE 'infinity'), "
    "try('294247-01-10'::TIMESTAMP + INTERVAL 1 DAY)",
    "SELECT age(TIMESTAMP '290309-12-22 (BC)', TIMESTAMP '294247-01-10'), try(date_diff('us', DATE '0001-01-01', "
    "DATE '5000000-01-01'))",
    "SELECT try(epoch_ms(9223372036854775807)), try(make_timestamp(-9223372036854775807)), try(to_timestamp(1e300))",
    "SELECT try(make_date(2147483647, 2147483647, 2147483647)), try(make_time(-1, 99, 1e300))",
    "SELECT try(time_bucket(INTERVAL 0 SECONDS, now())), try(time_bucket(INTERVAL (-1) DAY, TIMESTAMP 'infinity'))",
    "SELECT date_trunc('millennium', TIMESTAMPTZ '-infinity'), date_part('epoch', TIMESTAMPTZ 'infinity')",
    "SELECT TIMESTAMPTZ '294247-01-10 04:00:54.775807+00' AT TIME ZONE 'Pacific/Kiritimati' AT TIME ZONE 'Etc/GMT+12'",
    "SELECT now() AT TIME ZONE string_agg('../', '') FROM range(1000)",
    "SELECT strftime(now(), string_agg('%c', '')) FROM range(3000000)",
    "SELECT strptime(string_agg('2020', ''), string_agg('%Y', '')) FROM range(100000)",
    "SELECT try_strptime('1', list(range::VARCHAR || '%d%m%Y')) FROM range(100000)",
    "SELECT length(('[' || string_agg(range::VARCHAR, ',') || ']')::BIGINT[]) FROM range(3000000)",
    "SELECT ('[' || string_agg('{''a'': [1]}', ',') || ']')::STRUCT(a INTEGER[])[] FROM range(1000000)",
    "SELECT cardinality(('{' || string_agg(range || '=1', ',') || '}')::MAP(VARCHAR, INTEGER)) FROM range(300000)",
    "SELECT ('{' || string_agg('\"' || range || '\":1', ',') || '}')::JSON::VARIANT FROM range(300000)",
    "SELECT try_cast(list(range) AS INTEGER[3]), length(list(range)::VARCHAR::INTEGER[]) FROM range(1000000)",
    "SELECT x'ff'::VARCHAR::BLOB, '\\xGG'::BLOB, '\xff'::BLOB::BIT",
    "SELECT try('a'::ENUM('a', 'b')::ENUM('b')), enum_range_boundary(NULL, NULL::ENUM('a', 'b'))",
    "SELECT '00000000-0000-0000-0000-000000000000'::UUID::BIT, uuid_extract_timestamp(uuid())",
)
# What the server's process knows, and no asker may.
SETTING = r"\d+(\.\d+)? ?(GiB|MiB|KiB|GB|MB)"
PLAN = "LOGICAL_|error_type"
PATH = r"/lake/|\.parquet|/tmp/|/root/|/home/"
REVEAL = {
    "SELECT current_setting('memory_limit')": SETTING,
    "SELECT 'temp_directory'.current_setting()": PATH,
    "SELECT \"current_setting\"('allowed_directories')": PATH,
    "SELECT main.current_setting('threads'), system.main.current_setting('home_directory')": PATH,
    "SELECT [current_setting(x) FOR x IN ['secret_directory', 'extension_directory']]": PATH,
    "FROM duckdb_settings()": SETTING,
    "SELECT value FROM duckdb_settings() WHERE name = 'memory_limit'": SETTING,
    "FROM duckdb_memory()": r"\d{4,}",
    "FROM duckdb_logs()": "SELECT",
    "FROM duckdb_views()": r"read_parquet|sightline_",
    "FROM duckdb_views": r"read_parquet|sightline_",
    "SELECT sql FROM sqlite_master": r"read_parquet|sightline_",
    "SELECT view_definition FROM information_schema.views": r"read_parquet|sightline_",
    "SELECT * FROM pg_catalog.pg_settings": SETTING,
    "SELECT definition FROM pg_views": r"read_parquet|sightline_",
    "SELECT pg_get_viewdef(oid) FROM pg_class": r"read_parquet|sightline_",
    "FROM duckdb_secrets()": "secret_string",
    "FROM duckdb_variables()": "sightline_files",
    "SELECT getvariable('sightline_files_1')": PATH,
    "SELECT getvariable('sightline_' || 'files_1')": PATH,
    "SELECT list_transform(['sightline_files_1'], x -> getvariable(x))": PATH,
    "SELECT getenv('SIGHTLINE_TEST_SECRET')": "not-for-askers",
    "SELECT getenv('PATH'), getenv('HOME')": r"/bin|/root|/home",
    "SELECT current_query(), txid_current()": "CREATE TEMP VIEW",
    "SELECT json_serialize_plan('SELECT current_setting(''memory_limit'')')": PLAN,
    "SELECT json_serialize_plan('FROM duckdb_settings()', optimize := true)": PLAN,
    "SELECT json_serialize_plan(sql) FROM (VALUES ('SELECT getenv(''PATH'')'), ('FROM ledger')) t(sql)": PLAN,
    "SELECT json_serialize_plan('FROM glob(''/*'')')": PLAN,
    "FROM json_execute_serialized_sql(json_serialize_sql('SELECT current_setting(''memory_limit'')'))": SETTING,
    "FROM query('FROM duckdb_settings()')": SETTING,
    "FROM query_table(['item_counts', 'duckdb_settings'])": SETTING,
    "PRAGMA database_list": PATH,
    "FROM pragma_database_size()": SETTING,
    "FROM pragma_storage_info('item_counts')": "segment",
    "PRAGMA platform": "linux",
    "CALL pragma_version()": r"v1\.",
    "EXPLAIN ANALYZE SELECT * FROM item_counts": r"READ_PARQUET|PARQUET_SCAN",
    "EXPLAIN (FORMAT json) FROM ledger": r"READ_PARQUET|PARQUET_SCAN",
    "SHOW ALL TABLES": "sightline_",
    "SUMMARIZE item_counts": "approx_unique",
    "DESCRIBE (SELECT * FROM duckdb_settings())": "input_type",
    "SELECT * EXCLUDE (item_name), filename FROM item_counts": PATH,
    "SELECT item_counts.filename, file_row_number FROM item_counts": PATH,
    "SELECT error('x' || getvariable('sightline_files_1'))": PATH,
    "SELECT stats(item_count) FROM item_counts": "Min:",
}
# Files, the network and other processes. `reveals` is what the file has.
REACH = {
    "SELECT * FROM read_text('/etc/passwd')": "root:x",
    "SELECT content FROM read_blob('/proc/self/environ')": "not-for-askers",
    "SELECT * FROM read_text('/proc/self/cmdline')": "sightline",
    "SELECT * FROM '/etc/passwd'": "root:x",
    "SELECT * FROM read_csv('/etc/passwd', delim := ':', header := false)": "/root",
    "SELECT * FROM read_csv_auto(['/etc/hostname', '/etc/hosts'])": "localhost",
    "SELECT * FROM read_json('/proc/self/maps', format := 'unstructured')": "heap",
    "SELECT * FROM read_json_objects('/etc/os-release')": "Debian",
    "SELECT * FROM glob('/proc/*')": "/proc/1",
    "SELECT * FROM glob('../**/*.parquet')": r"\.parquet",
    "SELECT * FROM sniff_csv('/etc/passwd')": "Delimiter",
    "SELECT * FROM parquet_metadata('**/*.parquet')": r"\.parquet",
    "SELECT * FROM parquet_scan('/**/item_count_increments/**')": "item_name",
    "SELECT * FROM read_parquet('file:///etc/passwd')": "root:x",
    "SELECT * FROM 'http://127.0.0.1:1/x.csv'": "never",
    "SELECT * FROM read_csv('http://169.254.169.254/latest/meta-data/')": "ami",
    "SELECT * FROM read_parquet('s3://bucket/key.parquet')": "never",
    "SELECT * FROM read_text('\\\\127.0.0.1\\share\\x')": "never",
    "SELECT (SELECT max(content) FROM read_text('/etc/shadow'))": r"root:[*!$]",
    "SELECT * FROM item_counts WHERE EXISTS (FROM glob('/etc/pass*')) OR true": "item_name",
    "WITH \"/etc/passwd\" AS (SELECT 1) SELECT * FROM '/etc/passwd'": "root:x",
    "WITH t AS (SELECT 1) SELECT * FROM t, '/etc/group'": "root:x",
    "COPY (SELECT 1) TO '/tmp/sightline_hostile'": "never",
    "COPY item_counts TO '/dev/stderr' (FORMAT csv)": "never",
    "EXPORT DATABASE '/tmp/sightline_hostile'": "never",
    "ATTACH '/tmp/sightline_hostile.db' AS x": "never",
    "ATTACH 'http://127.0.0.1:1/x.db' (READ_ONLY)": "never",
    "INSTALL httpfs": "never",
    "LOAD '/tmp/sightline_hostile.duckdb_extension'": "never",
    "FORCE INSTALL spatial FROM 'http://127.0.0.1:1'": "never",
    "SET enable_external_access = true": "never",
    "SET GLOBAL memory_limit = '100GB'": "never",
    "PRAGMA threads = 64": "never",
    "CREATE OR REPLACE TEMP VIEW item_counts AS SELECT 0 AS item_count": "never",
    "CREATE TABLE t AS FROM range(1000000000)": "never",
    "CREATE MACRO sum(x) AS 0": "never",
    "CREATE SECRET s (TYPE http, BEARER_TOKEN 'x')": "never",
    "SELECT 1; DROP VIEW item_counts": "never",
    "BEGIN; SELECT 1": "never",
    "WITH x AS (DELETE FROM ledger RETURNING *) FROM x": "never",
    "DELETE FROM item_counts": "never",
    "SELECT write_log('hostile', level := 'error', disable_logging := true)": "never",
    "SELECT sleep_ms(600000)": "never",
    "SELECT nextval('s'), setseed(0.5)": "never",
    "CALL checkpoint()": "never",
    "VACUUM ANALYZE item_counts": "never",
}


def planner() -> list[str]:
    """Texts that are small and valid, and whose plans are not: they cost before the first row."""
    numbers = range(30)
    aliases = [f"item_counts t{i}" for i in range(400)]
    cases = [f"WHEN item_count = {i} THEN {i}" for i in range(2000)]
    return [
        doubling(30, "MATERIALIZED"),
        doubling(200, "NOT MATERIALIZED"),
        joined("WITH c0 AS (SELECT 1 AS x), ", [f"c{i} AS (FROM c{i - 1} UNION ALL FROM c{i - 1})"
                                               for i in range(1, 40)], ", ", " SELECT count(*) FROM c39"),
        joined("WITH c0 AS (SELECT 1 AS x), ", [f"c{i} AS (SELECT (SELECT max(x) FROM c{i - 1}) - (SELECT min(x) FROM "
                                               f"c{i - 1}) AS x)" for i in range(1, 40)], ", ", " FROM c39"),
        joined("WITH c0 AS (SELECT 1 AS x), ", [f"c{i} AS (SELECT x - x AS x FROM c{i - 1})" for i in range(1, 600)],
               ", ", " FROM c599"),
        joined("SELECT count(*) FROM ", aliases, ", "),
        joined("SELECT count(*) FROM item_counts", [f" JOIN locations l{i} USING (geographical_location_oid)"
                                                   for i in range(400)], ""),
        joined("SELECT count(*) FROM ", [f"range(2) r{i}" for i in range(60)], ", ", " WHERE "
               + " AND ".join(f"r{i}.range = r{i + 1}.range OR r{i}.range = r{59 - i}.range" for i in numbers)),
        joined("SELECT count(*) FROM locations", [f" LEFT JOIN locations l{i} ON l{i}.parent = locations.parent OR "
                                                 f"l{i}.latitude > {i}" for i in range(300)], ""),
        filled("SELECT 1 AS n WHERE true", " AND true"),
        filled("SELECT count(*) FROM item_counts WHERE item_count = 1", " OR item_count = 2"),
        filled("SELECT 1", "+1", "", 1_900),
        filled("SELECT 'a'", "||'a'", "", 4_000),
        filled("SELECT 1 WHERE ", "NOT ", "true", 3_500),
        filled("SELECT 1", " UNION ALL SELECT 1"),
        filled("SELECT 1", " UNION SELECT 1"),
        filled("SELECT 1", " EXCEPT SELECT 1 INTERSECT SELECT 2", "", 15_000),
        filled("VALUES (1)", ",(1)"),
        filled("SELECT 1 IN (1", ",random()::INT", ")"),
        filled("SELECT ", "*,", "* FROM item_counts"),
        filled("SELECT ", "sum(item_count),", "1 FROM item_counts"),
        filled("SELECT item_name FROM item_counts GROUP BY item_name", ",1"),
        filled("SELECT item_name FROM item_counts ORDER BY 1", ",item_name || 'x'"),
        joined("SELECT ", [f"rank() OVER (ORDER BY item_count + {i})" for i in range(800)], ", ", " FROM item_counts"),
        joined("SELECT CASE ", cases, " ", " END FROM item_counts"),
        joined("SELECT count(*) FROM range(3) GROUP BY CUBE (", [f"range + {i}" for i in range(15)], ", ", ")"),
        joined("SELECT count(*) FROM range(3) GROUP BY GROUPING SETS (", [f"ROLLUP (range + {i}, range * {i})"
                                                                          for i in range(500)], ", ", ")"),
        joined("SELECT ", [f"count(DISTINCT item_count + {i})" for i in range(900)], ", ", " FROM item_counts"),
        "SELECT " + "COLUMNS(*), " * 3000 + "1 FROM item_counts",
        "PIVOT item_counts ON item_name, window_start, item_count, date, first_detected, last_detected "
        "USING sum(item_count), max(item_count), min(item_count)",
        "SELECT * FROM (UNPIVOT (SELECT " + ",".join(f"{i} AS c{i}" for i in range(3000)) + ") ON COLUMNS(*) INTO "
        "NAME n VALUE v)",
        "SELECT count(*) FROM item_counts WHERE " + " AND ".join(
            f"item_count > (SELECT avg(item_count) FROM item_counts WHERE item_count <> {i})" for i in range(500)),
    ]


def deep() -> list[str]:
    """Nesting, in each thing that nests."""
    return [
        filled("SELECT ", "(", "1", 5_000),
        "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
        filled("SELECT ", "- ", "1", 1_800),
        filled("SELECT ", "[", "", 5_000),
        "SELECT " + "[" * 900 + "1" + "]" * 900,
        "SELECT " + "{'a':" * 450 + "1" + "}" * 450,
        "SELECT " + "[{'a':" * 240 + "1" + "}]" * 240,
        "SELECT * FROM (" * 900 + "SELECT 1" + ")" * 900,
        "SELECT x + 1 AS x FROM (" * 300 + "SELECT 1 AS x" + ")" * 300,
        "SELECT (" * 400 + "SELECT 1" + ")" * 400,
        "SELECT 1 WHERE EXISTS (" * 120 + "SELECT 1" + ")" * 120,
        "SELECT " + "abs(" * 950 + "1" + ")" * 950,
        "SELECT " + "CASE WHEN random() < 2 THEN " * 450 + "1" + " END" * 450,
        "SELECT " + "CAST(" * 900 + "1" + " AS INT)" * 900,
        "SELECT 1" + "::INT::TEXT" * 450,
        "SELECT NULL::INT" + "[]" * 900,
        "SELECT NULL::INT" + "[1]" * 900,
        "SELECT NULL::" + "STRUCT(a " * 900 + "INT" + ")" * 900,
        "SELECT NULL::" + "MAP(INT, " * 400 + "INT" + ")" * 400,
        "SELECT '1'::JSON" + "->'$[0]'" * 450,
        "SELECT [1]" + "[1:]" * 450,
        "SELECT {'a':1}" + ".a" * 900,
        "SELECT list_transform([1], x0 -> " + "".join(f"list_transform([x{i}], x{i + 1} -> " for i in range(60))
        + "1" + ")" * 61,
        "WITH a AS (" * 400 + "SELECT 1" + ") SELECT * FROM a" * 400,
        "FROM (VALUES ((" * 200 + "SELECT 1" + ")))" * 200,
        "SELECT * FROM " + "(range(1) JOIN " * 400 + "range(1)" + " ON true)" * 400,
        "SELECT 1" + " COLLATE nocase" * 900,
        "SELECT " + "[1, 2, 3][" * 900 + "1" + "]" * 900,
        "SELECT " + "coalesce(NULL, " * 900 + "1" + ")" * 900,
        "SELECT " + "(0 BETWEEN " * 450 + "1" + " AND 2)::INT" * 450,
    ]


def tricks() -> list[bytes]:
    """Bodies that are no question, or that one reader takes for another than the next."""
    return [
        body_of("SELECT 1\0; DROP TABLE x"),
        body_of("\0"),
        b'{"sql":"SELECT \'\xff\xfe\'"}',
        b'{"sql":"SELECT \'\\ud800\'"}',
        b'{"sql":"SELECT \'\xed\xa0\x80\'"}',
        b'{"sql":"SELECT \'\xf8\x88\x80\x80\x80\'"}',
        b'\xef\xbb\xbf{"sql":"SELECT 1"}',
        "{\"sql\":\"SELECT 1\"}".encode("utf-16"),
        body_of(" " * SQL_BYTES_MAX),
        body_of("x" * SQL_BYTES_MAX),
        body_of("\n" * SQL_BYTES_MAX),
        body_of(";" * 60_000),
        body_of("/*" * 32_000),
        body_of("--" * 32_000),
        body_of("SELECT '" + "'" * 65_000),
        body_of("SELECT $" + "$" * 60_000),
        body_of("SELECT \"" + "\"" * 65_000),
        body_of("SELECT 1 AS \"" + "n" * 64_000 + "\""),
        body_of("SELECT '" + "🚲" * 16_000 + "'"),
        body_of("SELECT " + "9" * 65_000),
        body_of("SELECT 0." + "0" * 65_000 + "1"),
        body_of("SELECT 1e" + "9" * 60_000),
        body_of("SELECT ?" + ", ?" * 10_000),
        body_of("SELECT $1, $" + "9" * 1_000),
        body_of("SELECT \u202e1 AS \u200b\ufeff"),
        body_of("ＳＥＬＥＣＴ １"),
        body_of("SELECT 1" + "x" * SQL_BYTES_MAX),
        b'{"sql":' + b"[" * 200_000,
        b'{"sql":"SELECT 1","sql":"FROM duckdb_settings()"}',
        b'{"sql":"SELECT 1","limit":99999999999999999999}',
        b'{"sql":"SELECT 1","limit":-1,"format":"../../etc/passwd"}',
        b'{"sql":{"sql":"SELECT 1"}}',
        body_of("SELECT 1", format="parquet", limit=0),
        body_of("SELECT " + ",".join(f"NULL AS c{i}" for i in range(5_000)), format="parquet"),
        body_of("SELECT '<script>' AS \"\r\nX-Injected: 1\"", format="csv"),
        b"SELECT 1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]


def corpus() -> list[Question]:
    plain = (("crash", CRASH), ("hang", HANG), ("regex", REGEX), ("memory", MEMORY), ("casts", CASTS),
             ("planner", planner()), ("deep", deep()))
    return [*(Question(kind, body_of(sql)) for kind, questions in plain for sql in questions),
            *(Question("reveal", body_of(sql), reveals) for sql, reveals in REVEAL.items()),
            *(Question("reach", body_of(sql), reveals) for sql, reveals in REACH.items()),
            *(Question("tricks", body) for body in tricks())]


CORPUS = corpus()
