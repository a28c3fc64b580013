#!/usr/bin/env python3
"""What a topic of counts says, by the reader's rule: of a key the larger next_offset wins, the truth is the
sum over keys. Runs in .deps/venv, with DuckDB.

    kafka_sums.py FILE     a line each record: key, tab, value; writes {"cells": [[location, item, count]],
        "ledger": {...}}
"""

from __future__ import annotations

import json
import sys

import duckdb

NEWEST = """
CREATE TABLE newest AS
SELECT arg_max(value, (value->>'next_offset')::BIGINT) AS value
FROM read_csv($file, columns = {'key': 'VARCHAR', 'value': 'VARCHAR'}, delim = '\t', header = false,
              quote = '', escape = '', auto_detect = false, max_line_size = 16777216) GROUP BY key"""
CELLS = """
SELECT (value->>'geographical_location_oid')::BIGINT, value->>'item_name', sum((value->>'item_count')::BIGINT)::BIGINT
FROM newest WHERE json_exists(value, '$.item_name') GROUP BY ALL"""
LEDGERS = "SELECT value->'ledger' FROM newest WHERE json_exists(value, '$.ledger')"


def main() -> None:
    db = duckdb.connect(config={"memory_limit": "6GB"})
    db.execute(NEWEST, {"file": sys.argv[1]})
    ledger: dict[str, int] = {}
    for (text,) in db.execute(LEDGERS).fetchall():
        for name, value in json.loads(text).items():
            ledger[name] = ledger.get(name, 0) + value
    json.dump({"cells": db.execute(CELLS).fetchall(), "ledger": ledger}, sys.stdout)


if __name__ == "__main__":
    main()
