"""The lake moves to another place, and is maintained by a command whose clock is wrong. docs/LAKE.md."""

from __future__ import annotations

import os
import time

from clocks import Clock
from events import Traffic, deliver
from registry import test
from server import Test, expect, expect_equal, wait_until
from test_lake import check_readers, command

HOUR = 3_600_000


@test(seconds=300)
def lake_move(t: Test) -> None:
    """`lake copy` beside a server that writes: its counts wait until it is told the new place, and none is lost."""
    server = t.server("--lake.roll_interval", "200ms", "--lake.maintenance_interval", "1s")
    server.start()
    traffic = Traffic(0, trouble=False)
    for _ in range(5):
        deliver(server, traffic, 200)
    server.wait_ledger(counted=traffic.oracle.distinct)
    wait_until(lambda: command(t, "lake", "files", "--data", server.data), 30, "the lake has files")
    to = t.folder / "moved"
    copied = command(t, "lake", "copy", "--data", server.data, "--to", to)
    expect(copied[0]["table"] == "item_count_increments" and copied[0]["files"] > 0, f"copied: {copied}")
    for _ in range(5):
        deliver(server, traffic, 200)
    server.wait_reason(20, "was moved to", str(to), "lake.dir")
    server.stop()
    server.start_refused("was moved to", str(to))
    server.options = [*server.options, "--lake.dir", str(to)]
    server.start()
    for _ in range(5):
        deliver(server, traffic, 200)
    server.wait_ledger(counted=traffic.oracle.distinct)
    server.stop()
    command(t, "lake", "verify", "--lake", to)
    check_readers(t, to, traffic.oracle.counts)
    for catalog, words in (("spark", "USING DELTA"), ("unity", "`main`"), ("hive", "STORED BY")):
        printed = t.run("lake", "describe", "--lake", to, "--sql", catalog).stdout.decode()
        expect(words in printed and printed.count(f"file://{to}/") >= 2, f"--sql {catalog}: {printed}")
    lags = [row["value"] for row in command(t, "lake", "describe", "--lake", to) if row["name"] == "lag"]
    expect(len(lags) >= 2 and all("old" in lag for lag in lags), f"lag: {lags}")


@test(seconds=120)
def lake_wrong_clock(t: Test) -> None:
    """Vacuum by a machine that is three hours ahead or behind: ages are those of the files' own clock."""
    server = t.server()
    server.start()
    deliver(server, Traffic(0, trouble=False), 100)
    server.stop()
    clock = Clock(t, "command")
    folder = server.data / "lake" / "ledger" / "date=2026-01-01"
    for hours in (3, -3):
        with t.case(f"{hours} hours"):
            clock.step(hours * HOUR)
            folder.mkdir(exist_ok=True)
            for name, minutes in (("old", 65), ("young", 55)):
                path = folder / f"part-{name}.parquet"
                path.write_bytes(b"x")
                os.utime(path, times=(time.time(), time.time() - minutes * 60))
            done = t.run("lake", "vacuum", "--data", server.data, "--retention", "1h", env=clock.environment())
            expect_equal(done.returncode, 0, f"vacuum: {done.stderr!r}")
            expect_equal(sorted(path.name for path in folder.iterdir()), ["part-young.parquet"], "what is left")
    command(t, "lake", "verify", "--data", server.data)
