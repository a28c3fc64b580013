#!/usr/bin/env python3
"""The engine against an independent reference: docs/SEMANTICS.md as one SQL statement in DuckDB.

    reference.py --outcomes PROGRAM [--sightline PROGRAM] [--seeds N] [--first SEED] [--events N]

For each seed, random events (events.py) are judged by outcomes.sql and by
- PROGRAM `outcomes` (outcomes.cc): our operator with append times, and without; every element's outcome
  is compared, and every count;
- `sightline replay`, which reads files and so has no append times; its rows and its ledger are compared.
decode.py decodes elements with Python's own JSON parser. If there is a difference, the input stays on
disk, and its name is printed. It needs the packages of tools/requirements.txt.
"""

import argparse
import csv
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import duckdb

import events
from decode import Rules, decode

HERE = pathlib.Path(__file__).resolve().parent
DEFAULTS = {"out_of_orderness": 10_000, "dedup_horizon": 3_600_000, "future_tolerance": 60_000,
            "max_age": 7 * events.DAY, "camera_ttl": 8 * events.DAY, "count_from": None,
            "count_until": None, "window_size": 60_000, "identity": "detection",
            "watermark_step": "free", "detection_ids": "any"}
LEDGER_FIELDS = ("received", "counted", "duplicate", "too_late", "future", "malformed", "outside",
                 "conflicts", "heartbeats")
REPLAY_FLAGS = {"out_of_orderness": "--out-of-orderness-ms", "dedup_horizon": "--dedup-horizon-ms",
                "window_size": "--window-ms", "count_from": "--count-from-ms",
                "count_until": "--count-until-ms", "watermark_step": "--watermark-step",
                "detection_ids": "--detection-ids"}


def random_rule(seed: int, now: int) -> dict:
    r = random.Random(seed * 7919 + 1)
    rule = dict(DEFAULTS)
    if seed % 2 == 1:
        rule["out_of_orderness"] = r.choice([0, 1_000, 10_000])
        rule["dedup_horizon"] = r.choice([0, 60_000, 600_000, 3_600_000])
        rule["window_size"] = r.choice([10_000, 60_000, 3_600_000])
        rule["identity"] = r.choice(["detection", "camera"])
        rule["max_age"] = r.choice([None, 7 * events.DAY, 600_000])
        if rule["max_age"] != DEFAULTS["max_age"]:
            rule["camera_ttl"] = r.choice([700_000, 8 * events.DAY])
        if r.random() < 0.5:
            rule["count_from"] = now + r.choice([-60_000, 60_000, 300_000])
        if r.random() < 0.5:
            rule["count_until"] = now + r.choice([3 * 3_600_000, 2 * events.DAY])
    # Of no consequence where there are append times. New draws come last, so that the others stay as they were.
    rule["watermark_step"] = r.choice(["free", "bounded", "bounded"])
    rule["detection_ids"] = r.choice(["integer", "any"])
    return rule


class Reference:
    """The outcomes and counts of a list of elements according to outcomes.sql."""

    def __init__(self, rows: list[tuple], rule: dict, folder: pathlib.Path):
        self.db = duckdb.connect()
        for name, value in rule.items():
            self.db.execute(f"SET VARIABLE {name} = ?", [value])
        # Items are passed as hex: they sort like their bytes, and no quoting can interfere.
        table = folder / "elements.csv"
        with open(table, "w", encoding="utf-8") as out:
            for n, (kind, location, camera, detection, item, time, append) in enumerate(rows):
                values = (n, kind, location, camera, detection,
                          None if item is None else item.encode().hex(), time, append)
                out.write(",".join("" if v is None else str(v) for v in values) + "\n")
        self.db.execute(f"""
            CREATE TABLE event AS FROM read_csv('{table}', header=false, columns={{
              'n': 'BIGINT', 'kind': 'VARCHAR', 'location': 'BIGINT', 'camera': 'BIGINT',
              'detection': 'BIGINT', 'item': 'VARCHAR', 'time': 'BIGINT', 'append_time': 'BIGINT'}})""")
        self.db.execute((HERE / "outcomes.sql").read_text())

    def outcomes(self) -> list[str]:
        rows = self.db.execute("SELECT outcome, conflict FROM outcome ORDER BY n").fetchall()
        return [outcome + (" conflict" if conflict else "") for outcome, conflict in rows]

    def counts(self) -> list[tuple]:
        rows = self.db.execute("""
            SELECT location, item, window_start, window_start + getvariable('window_size')::BIGINT,
                   count(*)
            FROM outcome JOIN event USING (n) WHERE outcome = 'counted' GROUP BY ALL ORDER BY ALL
            """).fetchall()
        return [(location, bytes.fromhex(item).decode(), start, end, count)
                for location, item, start, end, count in rows]

    def ledger(self) -> dict:
        """Sums by (location, camera); under None, elements that could not be decoded; under "total", the sum."""
        ledger: dict = {}
        rows = self.db.execute("""
            SELECT location, camera, CASE WHEN outcome = 'heartbeat' THEN 'heartbeats' ELSE outcome END,
                   count(*), count(*) FILTER (WHERE conflict)
            FROM outcome JOIN event USING (n) GROUP BY ALL""").fetchall()
        for location, camera, outcome, count, conflicts in rows:
            key = None if camera is None else (location, camera)
            for part in (key, "total"):
                entry = ledger.setdefault(part, dict.fromkeys(LEDGER_FIELDS, 0))
                entry[outcome] += count
                entry["conflicts"] += conflicts
                entry["received"] += count if outcome != "heartbeats" else 0
        return ledger


def read_ledger(text: str) -> dict:
    document = json.loads(text)
    ledger = {"total": {name: document[name] for name in LEDGER_FIELDS}}
    for row in document["by_camera"]:
        key = None if row.get("unknown") else (int(row["geographical_location_oid"]),
                                               int(row["video_camera_oid"]))
        ledger[key] = {name: row[name] for name in LEDGER_FIELDS}
    return ledger


def read_counts(text: str) -> list[tuple]:
    return [(int(row["geographical_location_oid"]), row["item_name"], int(row["window_start"]),
             int(row["window_end"]), int(row["item_count"]))
            for row in csv.DictReader(io.StringIO(text, newline=""))]


def run(command: list) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed with {done.returncode}: "
                         f"{done.stderr.decode(errors='replace')}")
    return done.stdout.decode()


class Difference(Exception):
    pass


def same(what: str, expected: list, actual: list) -> None:
    if expected == actual:
        return
    for i in range(max(len(expected), len(actual))):
        want = expected[i] if i < len(expected) else None
        have = actual[i] if i < len(actual) else None
        if want != have:
            raise Difference(f"{what} {i}: the reference says {want}, the program {have} "
                             f"({len(expected)} and {len(actual)} in all)")


def make(seed: int, rule: dict, count: int, with_append_time: bool) -> tuple[list, int]:
    """(append time, message) pairs that contain about `count` elements."""
    maker = events.Maker(seed, rule, with_append_time, count)
    lines = []
    for _ in range(count):
        line = maker.line()
        lines.append((maker.now if with_append_time else None, line))
    return lines, maker.now


def elements_of(lines: list, rule: dict) -> list[tuple]:
    rules = Rules(detection_ids=rule["detection_ids"])
    return [(*element, append) for append, line in lines for element in decode(line, rules)]


def compare_outcomes(program: str, seed: int, count: int, folder: pathlib.Path) -> str:
    return compare_log(program, seed, count, folder, True)


def compare_without_append_time(program: str, seed: int, count: int, folder: pathlib.Path) -> str:
    return compare_log(program, seed, count, folder, False)


def compare_log(program: str, seed: int, count: int, folder: pathlib.Path, has_time: bool) -> str:
    rule = random_rule(seed, events.Maker(seed, DEFAULTS, has_time, count).now)
    lines, _ = make(seed, rule, count, has_time)
    path = folder / "input.tsv"
    path.write_bytes(b"".join(b"%s\t%s\n" % (b"%d" % time if has_time else b"-", line)
                              for time, line in lines))
    reference = Reference(elements_of(lines, rule), rule, folder)
    settings = [f"{name}={'off' if value is None else value}" for name, value in rule.items()]
    restart = [f"restart_every={random.Random(seed).choice([0, 0, 97, 1_000])}"]
    counts = folder / "counts.csv"
    expected = reference.outcomes()
    same("element", expected, run([program, path, counts, *settings, *restart]).splitlines())
    same("count", reference.counts(), read_counts(counts.read_bytes().decode()))
    return summary(reference.ledger()["total"])


def compare_replay(program: str, seed: int, count: int, folder: pathlib.Path) -> str:
    rule = random_rule(seed, events.Maker(seed, DEFAULTS, False, count).now) | {"max_age": None}
    lines, _ = make(seed, rule, count, False)
    path = folder / "input.ndjson"
    path.write_bytes(b"".join(b"%s\n" % line for _, line in lines))
    reference = Reference(elements_of(lines, rule), rule, folder)
    flags = [word for name, flag in REPLAY_FLAGS.items() if rule[name] is not None
             for word in (flag, rule[name])]
    if rule["identity"] == "camera":
        flags.append("--identity-camera")
    ledger_path = folder / "ledger.json"
    counts = run([program, "replay", path, "--format", "csv", "--ledger", ledger_path, *flags])
    same("count", reference.counts(), read_counts(counts))
    same("ledger entry", in_order(reference.ledger()), in_order(read_ledger(ledger_path.read_text())))
    return summary(reference.ledger()["total"])


def in_order(ledger: dict) -> list:
    return sorted(ledger.items(), key=lambda entry: str(entry[0]))


def summary(ledger: dict) -> str:
    return ", ".join(f"{value} {name}" for name, value in ledger.items() if value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outcomes", help="the program built from outcomes.cc")
    parser.add_argument("--sightline", help="the sightline program, for `replay`")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--events", type=int, default=100_000)
    arguments = parser.parse_args()
    failed = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        for compare, program in ((compare_outcomes, arguments.outcomes),
                                 (compare_without_append_time, arguments.outcomes),
                                 (compare_replay, arguments.sightline)):
            if not program:
                continue
            folder = pathlib.Path(tempfile.mkdtemp(prefix="sightline_reference_"))
            try:
                print(f"seed {seed}: {compare(program, seed, arguments.events, folder)}", flush=True)
            except Difference as difference:
                failed += 1
                print(f"seed {seed}: DIFFERENT: {difference}; input kept in {folder}", flush=True)
                continue
            for name in os.listdir(folder):
                (folder / name).unlink()
            folder.rmdir()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
