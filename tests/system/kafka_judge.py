#!/usr/bin/env python3
"""The reference of tests/reference for records in a topic: runs in .deps/venv, with DuckDB.

    kafka_judge.py make SEED ELEMENTS PARTITIONS NOW     a line {"rule"}, then records with their time:
        {"partition", "value", "time"}
    kafka_judge.py judge < rule and records    a line {"rule"}, then records as kafka_foreign.py reads
        them; what must come of them, partition by partition and in the order of the offsets:
        {"cells": [[location, item, window start, count]], "ledger", "cameras": [[location, camera,
        ledger]], "aside": [[partition, offset, index, outcome]]}
"""

from __future__ import annotations

import json
import pathlib
import random
import sys
import tempfile
from collections import Counter

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "reference"))
import events  # noqa: E402
import reference  # noqa: E402
from kafka.partitioner.default import murmur2  # noqa: E402


def rules_of(rule: dict) -> reference.Rules:
    return reference.Rules(detection_ids=rule["detection_ids"])


def make(seed: int, count: int, partitions: int, now: int) -> None:
    rule = reference.random_rule(seed, now)
    print(json.dumps({"rule": rule}))
    maker = events.Maker(seed, rule, True, count)
    maker.now = now
    draw = random.Random(seed)
    for _ in range(count):
        value = maker.line()
        cameras = [element[2] for element in reference.decode(value, rules_of(rule)) if element[2] is not None]
        # Where producers put it, and now and then somewhere else: each partition is judged by itself.
        place = (murmur2(b"%d" % cameras[0]) & 0x7FFFFFFF) % partitions if cameras else 0
        if draw.random() < 0.02:
            place = draw.randrange(partitions)
        print(json.dumps({"partition": place, "value": value.decode("latin-1"), "time": maker.now}))


def judge() -> None:
    rule = json.loads(sys.stdin.readline())["rule"]
    logs: dict[int, list] = {}
    for line in sys.stdin:
        record = json.loads(line)
        logs.setdefault(record["partition"], []).append(record)
    cells: Counter = Counter()
    ledgers: dict = {}
    aside = []
    for partition, log in logs.items():
        log.sort(key=lambda record: record["offset"])
        rows, places = [], []
        for record in log:
            elements = reference.decode(record["value"].encode("latin-1"), rules_of(rule))
            rows += [(*element, record["time"] if record["appended"] else None) for element in elements]
            places += [(partition, record["offset"], index) for index in range(len(elements))]
        with tempfile.TemporaryDirectory() as folder:
            judged = reference.Reference(rows, rule, pathlib.Path(folder))
        aside += [(*place, outcome) for place, outcome in zip(places, judged.outcomes(), strict=True)
                  if outcome in ("malformed", "future", "too_late")]
        for location, item, start, _, count in judged.counts():
            cells[location, item, start] += count
        for key, ledger in judged.ledger().items():
            ledgers.setdefault(key, Counter()).update(ledger)
    total = ledgers.pop("total")
    ledgers.pop(None, None)
    json.dump({"cells": [(*cell, count) for cell, count in cells.items()], "ledger": total,
               "cameras": [(*key, ledger) for key, ledger in ledgers.items()], "aside": aside},
              sys.stdout)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(*map(int, sys.argv[2:]))
    else:
        judge()
