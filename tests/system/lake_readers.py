#!/usr/bin/env python3
"""Reads a lake as others do: lake_readers.py LAKE, in .deps/venv. One JSON object on stdout.

{"deltalake": [[location, item, count], ...], "duckdb": the same}: by deltalake's own engine, and by DuckDB's
read_parquet over the files that deltalake names.
"""

import json
import sys

import deltalake
import duckdb


def main() -> None:
    table = deltalake.DeltaTable(f"{sys.argv[1]}/item_count_increments")
    columns = ("SELECT CAST(geographical_location_oid AS BIGINT) AS location, item_name AS item, "
               "CAST(sum(item_count) AS BIGINT) AS count FROM ")
    reader = deltalake.QueryBuilder().register("t", table).execute(f"{columns} t GROUP BY 1, 2")
    rows = reader.read_all() if hasattr(reader, "read_all") else reader
    by_deltalake = list(zip(*(rows.column(name).to_pylist()
                              for name in ("location", "item", "count"))))
    files = [uri.removeprefix("file://") for uri in table.file_uris()]
    by_duckdb = duckdb.sql(f"{columns} read_parquet({files!r}, hive_partitioning = true) "
                           "GROUP BY 1, 2").fetchall()
    json.dump({"deltalake": by_deltalake, "duckdb": by_duckdb}, sys.stdout)


if __name__ == "__main__":
    main()
