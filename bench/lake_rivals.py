#!/usr/bin/env python3
"""Measures in `deltalake` and DuckDB what lake_bench and query_bench measure.

Runs in .deps/venv; bench/run.py calls it.

    lake_rivals.py open TABLE COMMITS       {"ms": ..., "files_ms": ...}: opening the table; also listing its files
    lake_rivals.py top TABLE QUESTIONS      p50 and p99 of deltalake's filtered list + DuckDB, table open
    lake_rivals.py roll TABLE INTO              writes the rows of each commit of TABLE to a new table, as appends

Answers are checked.
"""

import json
import sys
import time

import deltalake
import duckdb
import pyarrow
import pyarrow.compute


def open_table(folder, commits):
    start = time.monotonic()
    table = deltalake.DeltaTable(folder)
    opened = time.monotonic()
    files = table.file_uris()
    done = time.monotonic()
    assert table.version() == int(commits) and len(files) == int(commits), (table.version(), len(files))
    print(json.dumps({"ms": (opened - start) * 1e3, "files_ms": (done - start) * 1e3}))


def top(folder, questions):
    start = time.monotonic()
    table = deltalake.DeltaTable(folder)
    open_ms = (time.monotonic() - start) * 1e3
    connection = duckdb.connect(config={"threads": 2})
    times = []
    for line in open(questions):
        location, date, *pairs = line.split()
        start = time.monotonic()
        files = table.file_uris(
            file_pruning_predicate=f"geographical_location_oid = {location} AND date = '{date}'")
        rows = connection.execute("SELECT item_name, sum(item_count)::BIGINT AS n FROM read_parquet(?) "
                                  "GROUP BY item_name ORDER BY n DESC LIMIT 10", [files]).fetchall()
        times.append((time.monotonic() - start) * 1e3)
        wanted = [(item, int(count)) for item, count in zip(pairs[::2], pairs[1::2])]
        assert rows == wanted, (location, date, rows, wanted)
    times.sort()
    print(f"{'deltalake + DuckDB, table open':<58} {times[len(times) // 2]:9.1f} p50 "
          f"{times[len(times) * 99 // 100]:9.1f} p99  ({len(times)} asked; opened in {open_ms:.0f} ms)", flush=True)


def roll(folder, into):
    """What lake_small_files has written, again: the rows of a commit are there before the clock starts."""
    table = deltalake.DeltaTable(folder)
    by = table.metadata().partition_columns
    rows = table.to_pyarrow_table()
    numbers = sorted(set(rows["first_offset"].to_pylist()))
    times, written = [], 0
    for number in numbers:
        part = rows.filter(pyarrow.compute.equal(rows["first_offset"], number))
        start = time.monotonic()
        deltalake.write_deltalake(into, part, mode="append", partition_by=by)
        times.append((time.monotonic() - start) * 1e3)
        written += part.num_rows
    made = deltalake.DeltaTable(into)
    sizes = made.get_add_actions(flatten=True)
    assert written == rows.num_rows == sum(pyarrow.table(sizes)["num_records"].to_pylist())
    median = sorted(times)[len(times) // 2]
    print(json.dumps({"ms_per_roll": median, "ms_max": max(times), "rows_per_second": written / len(times) / median * 1e3,
                      "files_per_roll": len(made.file_uris()) // len(times),
                      "bytes_per_roll": sum(pyarrow.table(sizes)["size_bytes"].to_pylist()) / len(times)}))


if __name__ == "__main__":
    {"open": open_table, "top": top, "roll": roll}[sys.argv[1]](*sys.argv[2:])
