"""/v1/stream: what a page shows becomes what was sent, over breaks, restarts and kills."""

from __future__ import annotations

import random
import time
from collections import Counter

from events import Traffic, check_ledger, deliver
from registry import test
from senders import Senders
from server import Test, expect, expect_equal, lines, now_ms, wait_until
from stream import Connection, State, Viewer

ALL = "location=all&window=60m&limit=1000"


def _totals(counts: dict) -> dict:
    return {str(location): sum(items.values()) for location, items in counts.items()}


def _everywhere(counts: dict) -> Counter:
    return sum(counts.values(), Counter())


@test(seconds=300)
def stream_resume(t: Test) -> None:
    """While the server lives, Last-Event-ID gives exactly what was missed and no snapshot."""
    server = t.server()
    server.start()
    watcher = Viewer(server, ALL)  # the view has a viewer all the time
    traffic = Traffic(0, trouble=False)
    for _ in range(20):
        deliver(server, traffic, 10)
    state = State()
    for round in range(6):
        connection = Connection(server, ALL, state.last_id)
        first = connection.next()
        expect_equal(first.kind == "snapshot", round == 0, f"snapshot in round {round}, resuming from "
                                                           f"{state.last_id!r}")
        state.take(first)
        counts = traffic.oracle.counts
        deadline = time.monotonic() + 10
        while not state.shows(_everywhere(counts), _totals(counts)):
            expect(time.monotonic() < deadline, f"round {round}: not converged, {state.top}")
            state.take(connection.next())
        connection.close()
        for _ in range(round):  # none before round 1: a resume without anything missed
            deliver(server, traffic, 10)
            time.sleep(0.02)
    expect_equal(state.snapshots, 1, "snapshots")

    # What cannot be resumed begins anew: another boot, an id of the future, no id at all, rubbish.
    boot, seq = state.last.boot, state.last.seq
    for last_event_id in (f"zzzz-{seq}", f"{boot}-{seq + 1_000_000}", boot, f"{boot}-x", "-1", "-",
                          "9" * 200, "\N{SNOWMAN}".encode().decode("latin-1"), f"{boot}--1"):
        connection = Connection(server, ALL, last_event_id)
        expect_equal(connection.next().kind, "snapshot", f"first message behind {last_event_id!r}")
        connection.close()
    # An id that is too old: more changes than the server keeps.
    old = Connection(server, ALL)
    first = old.next()
    old.close()
    for _ in range(400):
        deliver(server, traffic, 1)
        time.sleep(0.004)
    state = State()
    state.take(first)
    connection = Connection(server, ALL, state.last_id)
    counts = traffic.oracle.counts
    deadline = time.monotonic() + 10
    while not state.shows(_everywhere(counts), _totals(counts)):
        expect(time.monotonic() < deadline, "not converged behind an old id")
        state.take(connection.next())
    connection.close()
    watcher.converge(_everywhere(counts), _totals(counts))
    watcher.stop()
    expect(watcher.longest_gap < 5, f"{watcher.longest_gap:.1f} s between two messages; a heartbeat "
                                    "comes every second")
    server.stop()
    server.expect_quiet_log()


@test(seconds=400)
def stream_restart(t: Test) -> None:
    """Viewers of several views, over kills and stops under load: a snapshot of the new boot each
    time, and at the end exactly the oracle."""
    draw = random.Random(3)
    server = t.server()
    server.start()
    views = [ALL, "location=7001&window=60m&limit=1000", "location=all&window=60m&limit=3",
             "location=-12&window=today&limit=1000"]
    viewers = [Viewer(server, view) for view in views]
    senders = Senders(server, count=2, pause=0.01, elements_max=100)
    for life in range(6):
        time.sleep(draw.uniform(0.5, 1.4))  # a life
        senders.check()
        if life % 2:
            server.stop()
        else:
            server.kill()
        server.start()
    wait_until(lambda: all(viewer.check() or len(viewer.resumed) >= 7 for viewer in viewers), 20,
               "every viewer is back after the last start")
    oracle = senders.finish()
    oracle.check(server, repeated=True)
    everywhere, totals = _everywhere(oracle.counts), _totals(oracle.counts)
    viewers[0].converge(everywhere, totals)
    viewers[1].converge(oracle.counts[7001], totals)
    wait_until(lambda: viewers[2].check() or viewers[2].state.top.get("total") == sum(
        everywhere.values()), 10, "the short view has the right total")
    expect_equal(len(viewers[2].state.top["rows"]), 3, "rows of the short view")
    expect_equal(viewers[2].state.top["items"], len(everywhere), "items of the short view")
    wait_until(lambda: viewers[0].state.ledger.get("counted") == oracle.distinct, 10,
               "the ledger in the stream")
    check_ledger(viewers[0].state.ledger, oracle, repeated=True)
    boots = set()
    for viewer in viewers:
        viewer.stop()
        for last_id, kind in viewer.resumed:
            expect(kind == "snapshot", f"{viewer.view}: {kind} after a restart, behind {last_id}")
        boots.add(viewer.state.last.boot)
    expect_equal(len(boots), 1, "boots at the end")
    # "today" began at midnight UTC, maybe a moment ago: then part of it is yesterday's.
    midnight = time.time() % 86_400
    if midnight > 300:
        expect_equal(viewers[3].state.top["total"], sum(oracle.counts[-12].values()), "today")
    server.stop()
    server.expect_quiet_log()
    t.note(f"{viewers[0].state.changes} changes, {viewers[0].state.snapshots} snapshots, "
           f"{senders.tally().elements} elements")


@test(seconds=240)
def stream_window_moves(t: Test) -> None:
    """A window of 10 s forgets what is older, without anything being sent; 24 h does not."""
    server = t.server("--pipeline.pane_size", "1s")
    server.start()
    traffic = Traffic(0, trouble=False)
    deliver(server, traffic, 100)
    short = Viewer(server, "location=all&window=10s&limit=10")
    long = Viewer(server, "location=all&window=24h&limit=10")
    wait_until(lambda: short.check() or short.state.top.get("total") == 100, 10, "100 in the window")
    wait_until(lambda: short.check() or short.state.top.get("total") == 0, 20, "0 in the window")
    wait_until(lambda: long.check() or long.state.top.get("total") == 100, 5, "100 in 24 h")
    expect_equal(short.state.top["rows"], [], "rows of an empty window")
    for viewer in (short, long):
        viewer.stop()
    server.stop()


@test(seconds=240)
def complete_until_restart(t: Test) -> None:
    """What was shown as complete stays so over kill -9: with a camera that goes on, partitions that
    fell silent, partitions that never had a record, and a malformed one now and then. Commits are rare, so that each kill takes
    counts that were shown. After each start it is as far as it was before, and goes on."""
    server = t.server("--partitions", 8, "--engine.commit_interval", "1s",
                      "--engine.checkpoint_interval", "1h", "--pipeline.idle_timeout", "2s",
                      "--pipeline.out_of_orderness", "500ms", "--pipeline.pane_size", "1s")
    detections = 0

    def see(*cameras: int) -> None:
        nonlocal detections
        for camera in cameras:
            detections += 1
            server.post_ok(lines([{"geographical_location_oid": 7001, "video_camera_oid": camera,
                                   "detection_oid": detections, "item_name": "bus",
                                   "timestamp_detected": now_ms()}]))

    server.start()
    viewer = Viewer(server, "location=all&window=1m&limit=10")
    see(1, 2, 3)  # never again
    slowest = 0.0
    for life in range(6):
        expect_equal(server.post(b"{}\n").status, 422, "status of a malformed body, which tells no time")
        until = time.monotonic() + 2.5 + life / 4
        while time.monotonic() < until:
            see(4)
            time.sleep(0.01)
        wait_until(lambda: viewer.check() or viewer.state.top.get("total", 0) >= detections - 3, 5,
                   "the viewer is at the end")
        shown = max(viewer.state.completes)
        expect(now_ms() - shown < 5_000, f"life {life}: {now_ms() - shown} ms behind")
        server.kill()
        seen = len(viewer.state.completes)
        server.start()
        came = time.monotonic()
        told = server.top(window="1m")["complete_until"]
        expect(told >= shown, f"life {life}: /v1/top goes back by {shown - told} ms")
        wait_until(lambda: viewer.check() or len(viewer.state.completes) > seen, 10, "it is back")
        wait_until(lambda: viewer.check() or viewer.state.completes[-1] > shown, 5,
                   "complete_until goes on")
        slowest = max(slowest, time.monotonic() - came)
    viewer.stop()
    completes = viewer.state.completes
    back = [(a, b) for a, b in zip(completes, completes[1:]) if b < a]
    expect_equal(back, [], "steps back of complete_until")
    server.stop()
    server.expect_quiet_log()
    t.note(f"{len(completes)} messages, goes on {slowest:.2f} s after a start at the latest")
