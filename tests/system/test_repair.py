"""Repairs without a restart or after one: location tables and events that are sent again."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import time

from registry import test
from server import (Failure, Server, Test, expect, expect_equal, lines, now_ms, wait_until)

HEADER = "geographical_location_oid,geographical_location\n"
OUTCOMES = ("counted", "duplicate", "too_late", "future", "malformed", "outside")


def _event(number: int, camera: int, time_ms: int, location: int = 7001, **more: object) -> dict:
    return {"geographical_location_oid": location, "video_camera_oid": camera,
            "detection_oid": number, "item_name": "bus", "timestamp_detected": time_ms, **more}


def _names(server: Server) -> dict[str, str]:
    return {row["oid"]: row["name"] for row in server.locations()}


def _sql(t: Test, server: Server, sql: str) -> list[dict]:
    said = t.run("query", "--url", f"http://127.0.0.1:{server.port}", "--format", "json", sql)
    expect_equal(said.returncode, 0, f"query: {said.stderr!r}")
    return json.loads(said.stdout)


def _wait_answering(server: Server) -> None:
    def answers() -> bool:
        expect(server.running, f"the server ended: {server.last_line()}")
        try:
            return server.request("GET", "/healthz", timeout=2).status in (200, 503)
        except Failure:
            return False

    wait_until(answers, 30, "the server answers")


def _parquet(t: Test, server: Server, rows: dict[int, str], name: str = "geographical_location") -> bytes:
    values = " UNION ALL ".join(f"SELECT {oid}::BIGINT AS geographical_location_oid, "
                                f"'{text}' AS {name}" for oid, text in rows.items())
    said = t.run("query", "--url", f"http://127.0.0.1:{server.port}", "--format", "parquet", values)
    expect_equal((said.returncode, said.stdout[:4]), (0, b"PAR1"), f"Parquet: {said.stderr!r}")
    return said.stdout


@test(seconds=180)
def locations_parquet(t: Test) -> None:
    """Parquet as well as CSV, whatever the name; a bad version is refused and the last good copy is
    used, loudly, also by a start that finds the file bad."""
    table = t.folder / "table"
    table.write_text(HEADER + "7001,Gate\n")
    server = t.server("--locations", table, "--locations_refresh", "100ms")
    server.start()

    def put(content: bytes) -> None:
        fresh = t.folder / "fresh"
        fresh.write_bytes(content)
        os.replace(fresh, table)

    def shows(names: dict, version: int) -> None:
        wait_until(lambda: _names(server) == names and server.healthy(), 5, f"names {names}")
        expect_equal((server.metric("sightline_locations_version"),
                      server.metric("sightline_locations_rows"),
                      server.metric("sightline_locations_refused")), (version, len(names), 0),
                     "version, rows and refused in /metrics")

    def told(*words: str) -> None:
        server.wait_reason(5, *words)
        expect_equal(server.metric("sightline_locations_refused"), 1, "refused in /metrics")

    shows({"7001": "Gate"}, 1)
    good = _parquet(t, server, {7001: "Tor", 7002: "Café"})
    put(good)
    shows({"7001": "Tor", "7002": "Café"}, 2)
    for content, words in ((_parquet(t, server, {7001: "x"}, "name"), ("'geographical_location' is missing",)),
                           (good[:-20], ("damaged",)), (good[:200] + b"\xff" + good[201:-9] + good[-8:], ("damaged",))):
        put(content)
        told("table", *words)
        expect_equal(_names(server), {"7001": "Tor", "7002": "Café"}, "names of the last good one")
    # The same size and time: the inode tells.
    newer = _parquet(t, server, {7001: "Rot", 7002: "Café"})
    put(good)
    shows({"7001": "Tor", "7002": "Café"}, 3)
    if len(newer) == len(good):
        info = table.stat()
        fresh = t.folder / "fresh"
        fresh.write_bytes(newer)
        os.utime(fresh, ns=(info.st_atime_ns, info.st_mtime_ns))
        os.replace(fresh, table)
        shows({"7001": "Rot", "7002": "Café"}, 4)
        t.note("a swap of the same size and time was noticed")
    put(newer)
    wait_until(lambda: _names(server)["7001"] == "Rot", 5, "the newest names")
    server.stop()

    for life, content in enumerate((b"rubbish", good[:100], None)):
        put(content) if content is not None else table.unlink()
        server.launch()
        _wait_answering(server)
        told("table", "last_good")
        expect_equal(_names(server), {"7001": "Rot", "7002": "Café"}, f"names of life {life}")
        expect("error" in server.log() and "last_good" in server.log(), "the log says nothing")
        if life == 2:
            put(good)
            shows({"7001": "Tor", "7002": "Café"}, 2)
        server.stop()
    said = t.run("replay", "-", "--locations", table,
                 input=lines([_event(1, 1, 1_763_800_000_000)]))
    expect(b"Tor" in said.stdout, f"replay with Parquet: {said}")


@test(seconds=120)
def unknown_locations(t: Test) -> None:
    """Counted and listed without a name, null in SQL; named, also for the past, when the table is."""
    table = t.folder / "table.csv"
    table.write_text(HEADER + "7001,Gate\n")
    server = t.server("--locations", table, "--locations_refresh", "100ms",
                      "--lake.roll_interval", "200ms")
    server.start()
    now = now_ms()
    server.post_ok(lines([_event(1, 1, now), _event(2, 2, now, 7002), _event(3, 2, now, 7002)]))
    server.wait_ledger(counted=3)
    expect_equal(_names(server), {"7001": "Gate", "7002": ""}, "names")
    expect_equal(server.top(7002)["total"], 2, "counts of the unknown location")
    sql = ("SELECT geographical_location_oid AS oid, geographical_location AS name, "
           "sum(item_count) AS n FROM item_counts GROUP BY ALL ORDER BY oid")

    def rows() -> list:
        return [(str(row["oid"]), row["name"], int(row["n"])) for row in _sql(t, server, sql)]

    expect_equal(rows(), [("7001", "Gate", 1), ("7002", None, 2)], "SQL")
    wait_until(lambda: list((server.data / "lake").glob("item_count*/_delta_log/*1.json")), 20, "the lake's files")
    expect_equal(rows(), [("7001", "Gate", 1), ("7002", None, 2)], "SQL, in the lake")
    table.write_text(HEADER + "7001,Gate\n7002,Harbour\n")
    wait_until(lambda: _names(server) == {"7001": "Gate", "7002": "Harbour"}, 5, "the new name")
    wait_until(lambda: rows() == [("7001", "Gate", 1), ("7002", "Harbour", 2)], 5,
               "the new name in SQL")
    server.stop()
    server.expect_quiet_log()


@test(seconds=180)
def redrive(t: Test) -> None:
    """Cameras ahead of the time and one two hours late. Once their time has come, and by a hand-over to
    a pipeline with a wider horizon, they are counted exactly once; the ledgers balance; a second redrive
    sends nothing."""
    server = t.server("--pipeline.future_tolerance", "1s")
    server.start()
    now, hour, lead = now_ms(), 3_600_000, 6_000
    ahead = [_event(100 + i, 11 + i % 3, now + lead + i) for i in range(300)]
    late = [_event(1_000 + i, 21, now - 2 * hour + i) for i in range(50)]
    spread = json.dumps(_event(500, 11, now + lead + 500), indent=2).encode()  # over several lines
    server.post_ok(lines([_event(i, 21, now) for i in range(10)]))
    server.post_ok(lines([*ahead, *late, b"rubbish", {"a": 1}]))
    server.post_ok(b"[" + spread + b"]")
    server.post_ok(lines([_event(501, 11, now + lead, padding="x" * 70_000)]))
    expect(now_ms() < now + lead - 1_000, "too slow a machine for this test")
    before = server.wait_ledger(counted=10, future=302, too_late=50, malformed=2)

    def run(*options: object, code: int = 0) -> tuple[list[dict], str]:
        said = t.run("redrive", "--data", server.data, "--format", "json", *options)
        expect_equal(said.returncode, code, f"redrive {options}: {said.stderr!r}")
        return json.loads(said.stdout) if said.stdout else [], said.stderr.decode()

    def balanced(ledger: dict) -> None:
        expect_equal(sum(ledger[name] for name in OUTCOMES), ledger["received"], f"sum of {ledger}")

    wait_until(lambda: sum(g["events"] for g in run("--dry-run")[0]) == 351, 10, "dead letters on disk")
    groups, told = run("--dry-run")
    expect("1 events are skipped" in told, f"the cut event: {told!r}")
    expect_equal({(g["outcome"], g["geographical_location_oid"], g["video_camera_oid"]): g["events"]
                  for g in groups},
                 {("future", "7001", "11"): 101, ("future", "7001", "12"): 100,
                  ("future", "7001", "13"): 100, ("too_late", "7001", "21"): 50}, "dry run")
    text = t.run("redrive", "--data", server.data, "--dry-run", "--format", "csv").stdout.decode()
    expect_equal(sum(int(r["events"]) for r in csv.DictReader(io.StringIO(text))), 351, "dry run, csv")
    expect_equal(run("--dry-run", "--from", now + 60_000)[0], [], "dry run from later on")
    expect_equal(server.ledger(), before, "the ledger after dry runs")

    time.sleep(max(0, now + lead + 1_000 - now_ms()) / 1_000)  # their time has come
    sent, _ = run("--outcome", "future")
    expect_equal(sent, [{"sent": 301, "accepted": 301, "rejected": 0, "cut": 1, "sent_before": 0}],
                 "the first redrive")
    after = server.wait_ledger(counted=311, received=before["received"] + 301)
    balanced(after)
    expect_equal((after["duplicate"], after["future"], after["too_late"]), (0, 302, 50), "outcomes")
    sent, _ = run("--outcome", "future")
    expect_equal((sent[0]["sent"], sent[0]["sent_before"]), (0, 301), "the second redrive")
    expect_equal(server.ledger(), after, "the ledger after a redrive of nothing")
    sent, _ = run("--outcome", "future", "--again")
    expect_equal(sent[0]["sent"], 301, "--again")
    balanced(server.wait_ledger(counted=311, duplicate=301))
    with t.case("too late events to the pipeline that refused them"):
        before = server.ledger()
        for where in ((), ("--url", f"http://127.0.0.1:{server.port}")):
            _, told = run("--outcome", "too_late", *where, code=1)
            expect("50 events were too late" in told and "longer pipeline.dedup_horizon" in told, told)
        sent, told = run()
        expect(sent[0]["sent"] == 0 and "50 events were too late" in told, f"with all others: {sent}, {told}")
        expect_equal(server.ledger(), before, "the ledger")
    server.stop()

    said = t.run("redrive", "--data", server.data)
    expect(said.returncode > 0 and b"sightline up" in said.stderr, f"without a server: {said}")
    # A pipeline with a wider horizon is another one, with a data folder of its own.
    wider = t.server("--pipeline.dedup_horizon", "4h", name="wider")
    url = f"http://127.0.0.1:{wider.port}"
    said = t.run("redrive", "--data", server.data, "--url", url)
    expect(said.returncode > 0 and b"does not answer" in said.stderr, f"no such server: {said}")
    wider.start()
    wider.post_ok(lines([_event(2_000, 21, now)]))
    sent, _ = run("--url", url)
    expect_equal((sent[0]["sent"], sent[0]["sent_before"]), (50, 301), "to the wider one")
    balanced(wider.wait_ledger(counted=51, too_late=0))
    expect_equal(run("--url", url)[0][0]["sent"], 0, "to the wider one again")
    with t.case("a pipeline that cannot decode them has them as malformed, and gets them once"):
        other = t.server("--pipeline.timestamp_unit", "s", name="seconds")
        other.start()
        sent, told = run("--url", f"http://127.0.0.1:{other.port}", "--again", "--outcome", "too_late", code=1)
        expect_equal((sent[0]["sent"], sent[0]["accepted"], sent[0]["rejected"]), (50, 0, 50), told)
        other.wait_ledger(received=50, malformed=50)
        other.stop()
    (server.data / "redrive.json").write_text('{"log": ')
    _, told = run("--url", url, code=1)
    expect("redrive.json" in told, f"a damaged cursor: {told!r}")
    for each in (server, wider):
        each.expect_quiet_log()
    wider.stop()


@test(seconds=120)
def redrive_waits(t: Test) -> None:
    """The server stops taking posts in the middle, and ends, and is there again: everything arrives."""
    server = t.server("--pipeline.future_tolerance", "1s")
    server.start()
    then = now_ms() + 8_000
    ahead = [_event(i, i % 7, then) for i in range(20_000)]
    for i in range(0, len(ahead), 5_000):
        server.post_ok(lines(ahead[i:i + 5_000]))
    server.wait_ledger(future=20_000)
    expect(now_ms() < then - 1_000, "too slow a machine for this test")
    url = f"http://127.0.0.1:{server.port}"
    time.sleep(max(1, (then - now_ms()) / 1_000))  # until their time has come
    log = t.folder / "redrive.log"
    process = t.spawn("redrive", "--data", server.data, "--url", url, log=log)
    wait_until(lambda: server.ledger()["counted"] > 0, 10, "the first ones arrive")
    server.kill()
    was_running = process.poll() is None
    time.sleep(0.5)  # in which it is told that nobody is there
    server.start()
    try:
        code = process.wait(90)
    except subprocess.TimeoutExpired:
        raise Failure(f"redrive still runs: {log.read_text()}") from None
    expect_equal(code, 0, f"exit code: {log.read_text()}")
    ledger = server.wait_ledger(counted=20_000)
    expect_equal(sum(ledger[name] for name in OUTCOMES), ledger["received"], "the ledger's sum")
    t.note(f"killed {'in the middle' if was_running else 'after its end'}, "
           f"{ledger['duplicate']} copies")
    server.stop()
