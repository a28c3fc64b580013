"""The lake of a running server: through kills, beside queries and compactions, and as others read it."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections import Counter

from events import Oracle
from registry import test
from senders import Senders
from server import ROOT, Client, Failure, Server, Test, expect, expect_equal

PYTHON = ROOT / ".deps" / "venv" / "bin" / "python"
READERS = ROOT / "tests" / "system" / "lake_readers.py"
SUM = "SELECT coalesce(sum(item_count), 0)::BIGINT AS n FROM item_counts"
# Files of a commit under way when the process dies: one for each location and UTC day of its rows.
ORPHANS_A_KILL = 2 * 10 * 2


def ask(server: Server, sql: str) -> list[dict]:
    answer = server.request("POST", "/v1/query", json.dumps({"sql": sql}).encode(), timeout=60)
    expect_equal(answer.status, 200, f"{sql}: {answer.body[:300]!r}")
    return json.loads(answer.body)


def command(t: Test, *words: object) -> list[dict]:
    """A command's answer as JSON; it must succeed."""
    done = t.run(*words, "--format", "json", seconds=300)
    expect_equal(done.returncode, 0, f"`sightline {' '.join(map(str, words))}`: {done.stdout!r} "
                                     f"{done.stderr!r}")
    return json.loads(done.stdout)


def check_readers(t: Test, lake: object, counts: dict[int, Counter]) -> None:
    """`deltalake` and DuckDB find what was sent, cell for cell."""
    done = subprocess.run([PYTHON, "-B", READERS, str(lake)], capture_output=True, text=True,
                          timeout=300)
    expect_equal(done.returncode, 0, f"lake_readers.py: {done.stderr[-2000:]}")
    wanted = {(location, item): count for location, items in counts.items()
              for item, count in items.items()}
    for reader, rows in json.loads(done.stdout).items():
        expect_equal({(location, item): count for location, item, count in rows if count != 0},
                     wanted, f"what {reader} reads")


def check_sql(server: Server, oracle: Oracle) -> None:
    rows = ask(server, "SELECT geographical_location_oid AS location_oid, item_name AS item, "
                       "sum(item_count)::BIGINT AS n FROM item_counts GROUP BY ALL")
    expect_equal({(int(row["location_oid"]), row["item"]): row["n"] for row in rows},
                 {(location, item): count for location, items in oracle.counts.items()
                  for item, count in items.items()}, "item_counts")


@test(seconds=1500)
def lake_crash(t: Test) -> None:
    """kill -9 under load while the lake is written many times a second. Then our reader, deltalake and
    DuckDB agree with what was sent, verify is clean, orphans are few and vacuum takes them."""
    draw = random.Random(11)
    kills = 2 * t.kills

    def options() -> list[str]:
        return ["--lake.roll_interval", draw.choice(("100ms", "300ms", "1s", "5s")),
                "--engine.checkpoint_interval", draw.choice(("100ms", "400ms", "30s")),
                "--engine.commit_interval", draw.choice(("20ms", "250ms", "2s"))]

    server = t.server(*options())
    server.start()
    senders = Senders(server, count=4, pause=0.005)
    for kill in range(kills):
        time.sleep(draw.uniform(0.05, 0.5))  # a life: commits and checkpoints are in every state
        senders.check()
        expect(server.running, f"the server ended by itself before kill {kill + 1}")
        server.kill()
        server.options = options()
        try:
            server.start()
        except Failure as failure:
            raise Failure(f"after kill {kill + 1} of {kills}: {failure}") from None
    oracle = senders.finish()
    ledger = oracle.check(server, repeated=True)
    check_sql(server, oracle)
    totals = json.loads(server.request("GET", "/v1/ledger?group=none").body)[0]
    expect_equal(totals, ledger, "the ledger of the lake and what is pending, against live's")
    server.stop()
    lake = server.data / "lake"
    check_readers(t, lake, oracle.counts)
    report = command(t, "lake", "verify", "--data", server.data)
    orphans = sum(row["kind"] == "note" for row in report)
    expect(not any(row["kind"] in ("damage", "incomplete") for row in report), f"verify: {report}")
    expect(orphans <= ORPHANS_A_KILL * kills, f"{orphans} orphans of {kills} kills")
    time.sleep(0.1)  # until everything is older than the retention below
    vacuumed = sum(row["deleted"] for row in
                   command(t, "lake", "vacuum", "--data", server.data, "--retention", "1ms"))
    expect(vacuumed >= orphans, f"vacuum deleted {vacuumed} files, there were {orphans} orphans")
    report = command(t, "lake", "verify", "--data", server.data)
    expect(all(row["kind"] == "ok" for row in report), f"verify after vacuum: {report}")
    check_readers(t, lake, oracle.counts)
    server.start()
    check_sql(server, oracle)
    server.stop()
    server.expect_quiet_log()
    t.note(f"{kills} kills, {senders.tally().elements} elements, {orphans} orphans")


class Watcher(threading.Thread):
    """Asks again and again for the sum of everything, between what the screen said before and what
    had been handed out after."""

    def __init__(self, server: Server, senders: Senders, until: float):
        super().__init__(daemon=True)
        self.server, self.senders, self.until = server, senders, until
        self.asked = 0
        self.failure: str | None = None

    def run(self) -> None:
        try:
            self.watch()
        except Exception as error:  # noqa: BLE001  told by the test's own thread
            self.failure = repr(error)

    def watch(self) -> None:
        client = Client(self.server.port, timeout=60)
        before = 0
        while time.monotonic() < self.until:
            shown = client.request("GET", "/v1/ledger").json()["counted"]
            answer = client.request("POST", "/v1/query", json.dumps({"sql": SUM}).encode())
            expect_equal(answer.status, 200, f"{SUM}: {answer.body[:300]!r}")
            counted = json.loads(answer.body)[0]["n"]
            sent = sum(sender.traffic.oracle.distinct for sender in self.senders.senders)
            expect(counted >= before, f"the sum dips from {before} to {counted}")
            expect(counted >= shown, f"the sum is {counted} when the screen had shown {shown}")
            expect(counted <= sent, f"the sum is {counted} when {sent} had been sent")
            before = counted
            self.asked += 1


@test(seconds=600)
def lake_never_dips(t: Test) -> None:
    """Queries beside commits and compactions by other processes: sums never dip, are never behind the
    screen, and never beyond what was sent."""
    server = t.server("--lake.roll_interval", "100ms", "--lake.maintenance_interval", "1s")
    server.start()
    senders = Senders(server, count=2, pause=0.02)
    seconds = t.kills / 2  # in which commits and compactions come twice as often as one would have them
    watchers = [Watcher(server, senders, time.monotonic() + seconds) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    compactions = 0
    while any(watcher.is_alive() for watcher in watchers):
        done = t.run("lake", "compact", "--all-days", "--data", server.data, seconds=120)
        expect_equal(done.returncode, 0, f"compact: {done.stderr!r}")
        compactions += 1
        senders.check()
        time.sleep(0.2)
    for watcher in watchers:
        expect(watcher.failure is None, watcher.failure)
    oracle = senders.finish()
    oracle.check(server, repeated=False)
    check_sql(server, oracle)
    server.stop()
    check_readers(t, server.data / "lake", oracle.counts)
    report = command(t, "lake", "verify", "--data", server.data)
    expect(not any(row["kind"] in ("damage", "incomplete") for row in report), f"verify: {report}")
    server.expect_quiet_log()
    asked = sum(watcher.asked for watcher in watchers)
    expect(asked >= t.kills, f"only {asked} questions were answered")
    expect(compactions >= 2 and senders.tally().bodies >= t.kills,
           f"only {compactions} compactions and {senders.tally().bodies} bodies")
    t.note(f"{seconds:g} s, {asked} questions, {compactions} compactions, "
           f"{senders.tally().elements} elements")
