"""The lake's folder vanishes, is empty, is read-only, or its log has a gap: nothing is written where it does not
belong, nothing that was counted is lost, and it goes on by itself when the folder is there again."""

from __future__ import annotations

import json
import pathlib
import subprocess
import time
from types import SimpleNamespace

from events import LOCATIONS, Traffic, deliver
from registry import test
from senders import Senders
from server import PATIENCE, Failure, Server, Test, expect, expect_equal, now_ms, remove_checkpoints, wait_until
from test_durability import SmallDisk
from test_lake import Watcher, check_readers, check_sql, command

OPTIONS = ("--lake.roll_interval", "200ms", "--engine.checkpoint_interval", "500ms")
AWAY_S = 4


def commits(lake: pathlib.Path) -> int:
    return len(list((lake / "item_count_increments" / "_delta_log").glob("*.json")))


def everything_in(lake: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(lake)) for path in lake.rglob("*"))


def unwell(server: Server, *words: str) -> None:
    """/healthz says it; what is sent is counted and shown meanwhile."""
    server.wait_reason(10, "lake", *words)
    before = server.ledger()["counted"]
    wait_until(lambda: server.ledger()["counted"] > before + 10, 10, "it goes on counting")
    expect(server.running, "the server ended by itself")


def well(server: Server, lake: pathlib.Path) -> None:
    """It writes the lake again by itself."""
    wait_until(server.healthy, 20, f"healthy again: {server.health()}")
    before = commits(lake)
    wait_until(lambda: commits(lake) > before + 1, 20, "it commits again")


def check_whole(t: Test, server: Server, lake: pathlib.Path, senders: Senders) -> None:
    """What was sent is counted once, also after a restart; the lake has it, and is clean."""
    oracle = senders.finish()
    for again in (False, True):
        oracle.check(server, repeated=False)
        check_sql(server, oracle)
        server.stop()
        rows = command(t, "lake", "verify", "--data", server.data, "--lake", lake)
        expect(not any(row["kind"] in ("damage", "incomplete") for row in rows), f"verify: {rows}")
        check_readers(t, lake, oracle.counts)
        if not again:
            server.start()
    server.expect_quiet_log()


@test(seconds=240)
def lake_away(t: Test) -> None:
    """Under load the lake's folder is away, and an empty one is in its place for 4 s, as when a file
    system is unmounted. Nothing is written there; then all is as if nothing had been. A start without
    the lake, or with an empty one, is refused, and makes nothing."""
    lake, aside = t.folder / "lake", t.folder / "aside"
    server = t.server("--lake.dir", lake, *OPTIONS, "--lake.maintenance_interval", "1s")
    server.start()
    senders = Senders(server, count=2, pause=0.02)
    wait_until(lambda: senders.check() or commits(lake) > 5, 20, "the lake has commits")
    for empty in (True, False):
        lake.rename(aside)
        if empty:
            lake.mkdir()
        away = time.monotonic()
        unwell(server, "mount its file system")
        time.sleep(max(0, AWAY_S - (time.monotonic() - away)))
        senders.check()
        if empty:
            expect_equal(everything_in(lake), [], "what was written on the empty folder")
            lake.rmdir()
        expect(not lake.exists(), "the lake's folder was made anew")
        aside.rename(lake)
        well(server, lake)
    check_whole(t, server, lake, senders)

    lake.rename(aside)
    server.start_refused("item_count_increments", "no such table", "lake.enabled = false")
    expect(not lake.exists(), "a refused start made the lake's folder")
    lake.mkdir()
    server.start_refused("item_count_increments", "no such table", "lake.enabled = false")
    expect_equal(everything_in(lake), [], "what a refused start made")
    lake.rmdir()
    # Another lake is there.
    other = t.server("--lake.dir", lake, name="other")
    other.start()
    other.stop()
    server.start_refused("has another one", "lake.enabled = false")
    lake.rename(t.folder / "other-lake")
    aside.rename(lake)
    server.start()
    server.stop()
    server.options += ["--lake.enabled", "false"]
    expect((server.data / "lake.json").exists(), "no lake.json")
    server.start()
    server.stop()
    expect_equal((server.data / "lake.json").read_text(), "{}\n", "lake.json: there was a lake, and any will do")
    lake.rename(t.folder / "the-first")
    server.options = server.options[:-2]
    server.start()
    server.stop()


def mount(*words: object) -> None:
    """Somebody may be writing at the moment: then it is busy."""
    deadline = time.monotonic() + 10 * PATIENCE
    while True:
        done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise Failure(f"mount {words}: {done.stderr.strip()}")
        time.sleep(0.01)


@test(seconds=240)
def lake_read_only(t: Test) -> None:
    """Under load the lake's file system turns read-only, and later is unmounted for 4 s: counting and
    the screen go on, /healthz says it, and the lake catches up without a restart."""
    disk = SmallDisk(t, mib=256)
    real, lake = disk.path / "real", t.folder / "mounted"
    real.mkdir()
    lake.mkdir()
    t.at_end.append(lambda: subprocess.run(["umount", "-l", str(lake)], check=False, capture_output=True))
    mount("--bind", real, lake)
    server = t.server("--lake.dir", lake, *OPTIONS)
    server.start()
    senders = Senders(server, count=2, pause=0.02)
    wait_until(lambda: senders.check() or commits(lake) > 5, 20, "the lake has commits")
    mount("-o", "remount,ro", disk.path)
    unwell(server, "Read-only file system")
    time.sleep(2)
    senders.check()
    mount("-o", "remount,rw", disk.path)
    well(server, lake)
    subprocess.run(["umount", "-l", lake], check=True)
    expect_equal(everything_in(lake), [], "the mount point")
    unwell(server, "mount its file system")
    time.sleep(AWAY_S)
    expect_equal(everything_in(lake), [], "what was written on the mount point")
    mount("--bind", real, lake)
    well(server, lake)
    check_whole(t, server, lake, senders)


@test(seconds=180)
def lake_repair(t: Test) -> None:
    """A log of the lake lacks a commit: the start is refused. A dry run changes nothing; a repair goes back
    to the version before the gap. Without checkpoints everything is counted into the lake again, once."""
    server = t.server(*OPTIONS)
    server.start()
    traffic = Traffic(1, elements_max=50)
    lake = server.data / "lake"
    while commits(lake) < 8:
        deliver(server, traffic)
        time.sleep(0.3)
    traffic.oracle.check(server, repeated=False)
    server.stop()
    log = lake / "item_count_increments" / "_delta_log"
    lost = log / f"{commits(lake) // 2:020}.json"
    kept = lost.read_bytes()
    lost.unlink()
    server.start_refused("has a gap", lost.name, "lake repair")
    before = everything_in(lake)

    def repair(*options: str) -> dict[str, str]:
        rows = command(t, "lake", "repair", "--data", server.data, *options)
        return {row["kind"]: row["what"] for row in rows if row["table"] == "item_count_increments"}

    said = repair("--dry-run")
    expect_equal(sorted(said), ["gap", "kept", "lost", "offset", "would set aside"], f"a dry run: {said}")
    expect_equal(everything_in(lake), before, "a dry run changes nothing")
    lost.write_bytes(kept)  # brought back from below the mount point
    expect_equal(list(repair()), ["ok"], "nothing to repair")
    lost.unlink()
    said = repair()
    expect("falls back" in said["offset"] and "set aside" in said, f"a repair: {said}")
    expect_equal(list(repair()), ["ok"], "a second repair")
    expect_equal(len(everything_in(lake)), len(before) + 1, "a repair deletes nothing, and makes a folder")
    remove_checkpoints(server)
    server.start()
    wait_until(server.healthy, 20, f"healthy: {server.health()}")
    deliver(server, traffic)
    traffic.oracle.check(server, repeated=False)
    check_sql(server, traffic.oracle)
    server.stop()
    rows = command(t, "lake", "verify", "--data", server.data)
    expect(not any(row["kind"] in ("damage", "incomplete") for row in rows), f"verify: {rows}")
    check_readers(t, lake, traffic.oracle.counts)
    server.expect_quiet_log()


@test(seconds=180)
def lake_layout(t: Test) -> None:
    """The layout changes under load, beside queries and compactions: sums never dip. Then every reader
    finds what was sent, also behind a checkpoint, and after a vacuum."""
    server = t.server("--lake.roll_interval", "100ms", "--lake.maintenance_interval", "1s",
                      "--lake.max_partitions", 3)
    server.start()
    senders = Senders(server, count=2, pause=0.02, locations=LOCATIONS[:3])
    more = Traffic(9)
    sent = SimpleNamespace(senders=[*senders.senders, SimpleNamespace(traffic=more)])
    watchers = [Watcher(server, sent, time.monotonic() + 12) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    table = server.data / "lake" / "item_count_increments"
    wait_until(lambda: senders.check() or commits(server.data / "lake") > 20, 30, "commits by location")
    while any(watcher.is_alive() for watcher in watchers):
        done = t.run("lake", "compact", "--all-days", "--data", server.data, seconds=120)
        expect_equal(done.returncode, 0, f"compact: {done.stderr!r}")
        senders.check()
        deliver(server, more)
        time.sleep(0.1)
    for watcher in watchers:
        expect(watcher.failure is None, watcher.failure)
    wait_until(lambda: list((table / "_delta_log").glob("*.checkpoint.parquet")), 60, "a checkpoint")
    oracle = senders.finish()
    oracle.add(more.oracle)
    oracle.check(server, repeated=False)
    check_sql(server, oracle)
    server.stop()
    for vacuumed in (False, True):
        rows = command(t, "lake", "verify", "--data", server.data)
        expect(all(row["kind"] == "ok" or not vacuumed for row in rows), f"verify: {rows}")
        expect(not any(row["kind"] in ("damage", "incomplete") for row in rows), f"verify: {rows}")
        check_readers(t, server.data / "lake", oracle.counts)
        if not vacuumed:
            time.sleep(0.1)
            command(t, "lake", "vacuum", "--data", server.data, "--retention", "1ms")
    history = command(t, "lake", "history", "--data", server.data, "--table", "item_count_increments",
                      "--limit", 1000)
    expect_equal([row["operation"] for row in history].count("CHANGE LAYOUT"), 1, "changes of the layout")
    files = command(t, "lake", "files", "--data", server.data, "--table", "item_count_increments")
    expect(all("/bucket=" in row["path"] for row in files), f"files: {files[:3]}")
    server.start()
    check_sql(server, oracle)
    server.stop()
    server.expect_quiet_log()
    t.note(f"{sum(watcher.asked for watcher in watchers)} questions, {len(history)} commits")


UNKNOWN = 60_000


def body_of_locations(first: int) -> bytes:
    at = now_ms()
    return b"\n".join(b'{"geographical_location_oid":%d,"video_camera_oid":%d,"detection_oid":%d,"item_name":"car",'
                      b'"timestamp_detected":%d}' % (i, i % 100, i, at) for i in range(first, first + UNKNOWN))


@test(seconds=300)
def lake_locations(t: Test) -> None:
    """60,000 locations that no table names, in one body: few files, small commits, and a stop in the middle
    of the write takes seconds. With the layout by location they are 60,000 files: a stop abandons them."""
    server = t.server(*OPTIONS, "--lake.max_partitions", 100_000)
    server.start()
    server.post_ok(b'{"geographical_location_oid":1,"video_camera_oid":1,"detection_oid":1,"item_name":"car",'
                   b'"timestamp_detected":%d}' % now_ms())
    lake = server.data / "lake"
    table = lake / "item_count_increments"
    wait_until(lambda: list(table.rglob("*.parquet")), 20, "the first row is in the lake")
    before = commits(lake)
    begin = time.monotonic()
    server.post_ok(body_of_locations(1_000_000))
    wait_until(lambda: sum(1 for _ in table.rglob("*.parquet")) > 500, 60, "many files are being written")
    writing = time.monotonic() - begin
    abandoned = server.stop()
    expect(commits(lake) <= before + 2, "the write was not abandoned")
    server.options = list(OPTIONS)
    server.start()

    def locations() -> int:
        """0 until queries are answered: after a start they wait for what had been shown before."""
        sql = {"sql": "SELECT count(DISTINCT geographical_location_oid)::BIGINT AS n FROM item_counts"}
        answer = server.request("POST", "/v1/query", json.dumps(sql).encode(), timeout=60)
        return answer.json()[0]["n"] if answer.status == 200 else 0

    wait_until(lambda: locations() == UNKNOWN + 1, 60, "all locations are counted")
    wait_until(lambda: json.loads(server.request("GET", "/healthz").body)["status"] == "ok", 60, "healthy")
    layout = wait_until(lambda: any("bucket=" in str(path) for path in table.rglob("*.parquet")), 60, "buckets")
    expect(layout, "the layout did not change")
    server.post_ok(body_of_locations(2_000_000))
    server.wait_ledger(60, counted=2 * UNKNOWN + 1)
    stopped = server.stop()
    server.start()
    wait_until(lambda: locations() == 2 * UNKNOWN + 1, 60, "all locations are counted")
    time.sleep(2)  # until all of it is in the lake
    server.stop()
    files = command(t, "lake", "files", "--table", "item_count_increments", "--data", server.data)
    largest = max(path.stat().st_size for path in (table / "_delta_log").glob("*.json"))
    expect(len(files) <= 16 * 2 * commits(lake), f"{len(files)} files in {commits(lake)} commits")
    expect(largest < 1 << 20, f"a commit of {largest} bytes")
    expect_equal(sum(row["rows"] for row in files), 2 * UNKNOWN + 1, "rows in the lake")
    rows = command(t, "lake", "verify", "--data", server.data)
    expect(not any(row["kind"] in ("damage", "incomplete") for row in rows), "verify")
    server.expect_quiet_log()
    t.note(f"{len(files)} files, the largest commit has {largest / 1024:.0f} KiB; SIGTERM {stopped:.1f} s, "
           f"{abandoned:.1f} s when 60,000 files were being written for {writing:.1f} s")
