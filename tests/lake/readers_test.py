#!/usr/bin/env python3
"""Runs the Python blocks of docs/LAKE.md as they are, against what was written.

    readers_test.py LAKE_WRITER DOCUMENT [BLOCK...]     without BLOCK: all but spark

The oracle is `lake_writer oracle`: the artificial stream without a lake.
"""

import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile

UNTIL = 4000


# A writer with this in its environment divides the table by bucket: the stream has three locations.
BUCKETS = {**os.environ, "SIGHTLINE_TEST_MAX_PARTITIONS": "2"}
BY_BUCKET, BY_LOCATION = "duckdb-bucket", "duckdb-day"  # the blocks that know the layout


def call(*words, env=None):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, env=env).stdout


def oracle(writer, until):
    counts = collections.Counter()
    for line in call(writer, "oracle", until).splitlines():
        location, _, item, count = line.split(" ")
        counts[int(location), bytes.fromhex(item).decode()] += int(count)
    return dict(counts)


def plain(rows):
    """A reader's rows, in whichever form, as {(location, item): count}."""
    if hasattr(rows, "column"):  # Arrow
        rows = zip(*(rows.column(i).to_pylist() for i in range(3)))
    elif hasattr(rows, "reset_index"):  # pandas
        rows = rows.reset_index().itertuples(index=False)
    elif hasattr(rows, "rows"):  # Polars
        rows = rows.rows()
    rows = list(rows)
    counts = {(int(location), item): int(count) for location, item, count in rows}
    assert len(counts) == len(rows), "a location and item has two rows"
    return counts


def read(block, name, **values):
    exec(compile(block, f"docs/LAKE.md, {name}", "exec"), values)
    return plain(values["rows"])


def open_spark():
    """A Spark session with the Delta jars that spark_by_hand.sh has downloaded."""
    from pyspark.sql import SparkSession
    return (SparkSession.builder.master("local[2]").config("spark.jars", os.environ["DELTA_JARS"])
            .config("spark.driver.memory", "1g").config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
            .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
            .getOrCreate())


def main():
    writer, document = sys.argv[1:3]
    blocks = {name: text for name, text in
              re.findall(r"^```python (\S+)\n(.*?)^```$", pathlib.Path(document).read_text(), re.M | re.S)}
    names = sys.argv[3:] or [name for name in blocks if name != "spark"]
    assert set(sys.argv[3:]) or len(names) == 7, f"the document has the blocks {sorted(blocks)}"
    with tempfile.TemporaryDirectory() as lake:
        call(writer, "write", lake, UNTIL // 2, 1)
        table = f"{lake}/item_count_increments"
        version = int(call(writer, "describe", lake, "item_count_increments").split()[1])
        before = oracle(writer, UNTIL // 2)
        call(writer, "write", lake, UNTIL, 2)
        now = oracle(writer, UNTIL)
        assert before != now and len(now) > 10
        one = {key: count for key, count in now.items() if key[0] == 1}
        expected = {"time-travel": before, BY_LOCATION: one, BY_BUCKET: one}
        values = {"lake": lake, "version": version}
        if "spark" in names:
            values["spark"] = open_spark()
        # As written; compacted; and with the replaced files beside the new ones, and then deleted.
        for state, command in (("as written", None), ("compacted", "compact")):
            if command:
                call(writer, command, lake, "item_count_increments")
            for name in names:
                if name == BY_BUCKET:
                    continue
                rows = read(blocks[name], name, **values)
                wanted = expected.get(name, now)
                assert rows == wanted, f"{state}, {name}: {rows} instead of {wanted}"
        files = len(list(pathlib.Path(table).rglob("part-*.parquet")))
        assert files > 3, files  # the folders hold more than the table does
        call(writer, "vacuum", lake, "item_count_increments")
        for name in names:
            if name not in ("time-travel", BY_BUCKET):
                assert read(blocks[name], name, **values) == expected.get(name, now), f"vacuumed, {name}"
    with tempfile.TemporaryDirectory() as lake:
        call(writer, "write", lake, UNTIL, 3, env=BUCKETS)
        assert list(pathlib.Path(f"{lake}/item_count_increments").rglob("bucket=*"))
        for name in names:
            if name not in ("time-travel", BY_LOCATION):
                rows = read(blocks[name], name, **{**values, "lake": lake})
                assert rows == expected.get(name, now), f"by bucket, {name}: {rows}"
    print(f"{', '.join(names)}: {len(now)} rows each, equal to what was written")


if __name__ == "__main__":
    main()
