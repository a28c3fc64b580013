#!/usr/bin/env python3
"""Measures what it costs to answer questions in other processes: bench/isolation.py BEFORE AFTER [--runs 5]

BEFORE and AFTER are two programs `sightline`. Each gets a data folder of its own with the same counts, and each
figure is measured on both in turn, so that other work on the machine meets both. Measured are: the start of a
server until /readyz is 200 and until the first answer to a question in SQL; a small question, a fixed question
(/v1/top with from) and a sum, each over HTTP on one connection; the rows per second of a large answer; and the
memory of the idle server and of its children. Every answer is checked. Prints the median of the runs, the least
and the most, and the load of the machine. Needs only the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import statistics
import sys
import time
from typing import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "system"))

from askers import Poster, children_of  # noqa: E402
from server import Client, Failure, Server, Test, expect_equal, wait_until  # noqa: E402

SMALL = ("POST", "/v1/query", b'{"sql":"SELECT 1 AS n"}')
SUM = ("POST", "/v1/query", b'{"sql":"SELECT sum(item_count)::BIGINT AS n FROM item_counts"}')
FIXED = ("GET", "/v1/top?from=0&limit=1000", None)
ROWS = 500_000
LARGE = ("POST", "/v1/query", json.dumps({
    "sql": f"SELECT range AS n, 'a text of some length ' || range AS t FROM range({ROWS})", "limit": 1_000_000,
    "format": "ndjson"}).encode())


def answer(client: Client, question: tuple) -> tuple[bytes, float]:
    begin = time.monotonic()
    said = client.request(*question)
    took = time.monotonic() - begin
    expect_equal(said.status, 200, f"{question}: {said.body[:300]!r}")
    return said.body, took


def memory_mib(pids: list[int], what: str) -> float:
    total = 0
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(re.search(rf"^{what}:\s+(\d+) kB", text, re.MULTILINE).group(1))
    return total / 1024


class Measured:
    """One program and its figures, over all runs."""

    def __init__(self, name: str, binary: pathlib.Path, seconds: float):
        self.name = name
        self.test = Test(binary.resolve(), f"isolation-{name}")
        self.server: Server = self.test.server("--lake.roll_interval", "1s")
        self.server.start()
        poster = Poster(self.server, 0, rate=20_000)
        time.sleep(seconds)
        poster.stop()
        poster.check()
        self.counted = poster.bodies * poster.LINES
        self.server.wait_ledger(counted=self.counted)
        time.sleep(2)  # until the lake has it
        self.server.stop(30)
        self.figures: dict[str, list[float]] = {}

    def add(self, what: str, value: float) -> None:
        self.figures.setdefault(what, []).append(value)

    def start(self) -> None:
        begin = time.monotonic()
        self.server.launch()
        client = Client(self.server.port)

        def succeeds(question: tuple) -> Callable[[], bool]:
            def once() -> bool:
                try:
                    return client.request(*question).status == 200
                except OSError:
                    return False
            return once

        wait_until(succeeds(("GET", "/readyz", None)), 60, "/readyz is 200")
        self.add("start until /readyz, ms", (time.monotonic() - begin) * 1e3)
        wait_until(succeeds(SUM), 60, "an answer in SQL")
        self.add("start until the first answer in SQL, ms", (time.monotonic() - begin) * 1e3)
        client.close()

    def memory(self) -> None:
        own, children = [self.server.process.pid], children_of(self.server.process.pid)
        self.add("idle: children", len(children))
        for what in ("Rss", "Pss"):
            self.add(f"idle: {what.upper()} of the server, MiB", memory_mib(own, what))
            self.add(f"idle: {what.upper()} of its children, MiB", memory_mib(children, what))

    def questions(self, count: int) -> None:
        client = Client(self.server.port, timeout=60)
        for what, question, total in (("SELECT 1", SMALL, None), ("/v1/top with from", FIXED, None),
                                      ("a sum over item_counts", SUM, self.counted)):
            took = []
            for _ in range(count):
                body, seconds = answer(client, question)
                took.append(seconds * 1e3)
            rows = json.loads(body)
            if question == SMALL:
                expect_equal(rows, [{"n": 1}], "SELECT 1")
            else:
                expect_equal(sum(row.get("n", row.get("item_count")) for row in rows), total or self.counted, what)
            took.sort()
            self.add(f"{what}: p50, ms", statistics.median(took))
            self.add(f"{what}: p99, ms", took[len(took) * 99 // 100])
        body, seconds = answer(client, LARGE)
        expect_equal(body.count(b"\n"), ROWS, "rows of the large answer")
        self.add(f"an answer of {ROWS:,} rows ({len(body) / 1e6:.0f} MB): thousand rows/s", ROWS / seconds / 1e3)
        client.close()

    def run(self, count: int) -> None:
        self.start()
        time.sleep(1)
        self.memory()
        self.questions(count)
        self.server.stop(30)


def show(before: Measured, after: Measured) -> None:
    print(f"{'':<52}{'before':>32}{'after':>32}   difference")
    for what, values in before.figures.items():
        line = f"{what:<52}"
        for figures in (values, after.figures[what]):
            line += f"{statistics.median(figures):>12.2f} ({min(figures):.2f}..{max(figures):.2f})".rjust(32)
        print(f"{line}   {statistics.median(after.figures[what]) - statistics.median(values):+.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=pathlib.Path, help="a program `sightline`")
    parser.add_argument("after", type=pathlib.Path, help="another one")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--count", type=int, default=200, help="questions of each kind in a run")
    parser.add_argument("--seconds", type=float, default=5, help="in which 20,000 events a second are posted first")
    arguments = parser.parse_args()
    both: list[Measured] = []
    try:
        for name, binary in (("before", arguments.before), ("after", arguments.after)):
            both.append(Measured(name, binary, arguments.seconds))
        for _ in range(arguments.runs):
            for measured in both:
                measured.run(arguments.count)
        print(f"{arguments.runs} runs, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
              f"{both[0].counted} events counted")
        show(*both)
        return 0
    except Failure as failure:
        print(f"isolation: {failure}", file=sys.stderr)
        for measured in both:
            print(measured.test.logs(20), file=sys.stderr)
        return 1
    finally:
        for measured in both:
            measured.test.close()


if __name__ == "__main__":
    sys.exit(main())
