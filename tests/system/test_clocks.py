"""The clock of the server's machine is set ahead, back, and while the server is away. docs/SEMANTICS.md, "Log time"."""

from __future__ import annotations

import sqlite3

from clocks import Clock
from events import Traffic, deliver
from registry import test
from server import Server, Test, expect, expect_equal, lines, now_ms, wait_until
from test_lake import command
from test_monitor import active

DAY = 86_400_000


def clock_of(t: Test, server: Server) -> Clock:
    """The wall clock of the server, from its next life on. No time server keeps it unless the test says so."""
    clock = Clock(t, "server")
    server.environment = clock.environment()
    return clock


def forget_boot(server: Server) -> None:
    """As if the machine had started again: how long the log was closed is not known."""
    with sqlite3.connect(server.data / "log.db") as database:
        database.execute("UPDATE meta SET value = replace(value, '-', '+') WHERE key = 'clock'")
    database.close()


@test(seconds=120)
def clock_steps(t: Test) -> None:
    """Ahead by years, by days, and back, under load: every event is counted as if nothing had happened, nothing is
    removed, and /healthz and an alert say it as long as it lasts."""
    server = t.server("--lake.retention_days", 30, "--lake.maintenance_interval", "1s", "--lake.roll_interval", "200ms",
                      "--log.retention", "1d")
    clock = clock_of(t, server)
    server.start()
    traffic = Traffic(0, trouble=False)
    for ahead in (400 * DAY, 8 * DAY, -8 * DAY, 3_700_000, 59 * 60_000):
        with t.case(f"{ahead / DAY:.2f} days"):
            deliver(server, traffic, 100)
            clock.step(ahead)
            for _ in range(5):
                deliver(server, traffic, 100)
            server.wait_ledger(counted=traffic.oracle.distinct)
            if abs(ahead) >= 3_600_000:
                word = "ahead of" if ahead > 0 else "behind"
                server.wait_reason(10, f"{word} the log's time", "sightline clock accept")
                wait_until(lambda: ("server_clock", "all") in active(server), 10, "the alert")
                facts = active(server)["server_clock", "all"]["facts"]
                expect(abs(facts["wall_ahead_ms"] - ahead) < 60_000, f"how far it is: {facts}")
                expect(abs(server.metric("sightline_clock_ahead_ms") - ahead) < 60_000, "the metric")
            clock.step(0)
            deliver(server, traffic, 100)
            wait_until(server.healthy, 10, "it is well again")
            wait_until(lambda: not active(server), 10, "the alert ends")
            traffic.oracle.check(server, repeated=False)
    # Also over a kill and a start with the wrong clock.
    clock.step(400 * DAY)
    deliver(server, traffic, 100)
    server.kill()
    server.launch()
    expect(server.wait_door(60), server.last_line())
    server.wait_reason(10, "ahead of the log's time")
    deliver(server, traffic, 100)
    clock.step(0)
    deliver(server, traffic, 100)
    traffic.oracle.check(server, repeated=False)
    server.stop()
    command(t, "lake", "verify", "--lake", server.data / "lake")
    counted = command(t, "query", "SELECT sum(item_count) AS n FROM item_counts", "--lake",
                      server.data / "lake")
    expect_equal(counted[0]["n"], traffic.oracle.distinct, "what the lake has")


@test(seconds=120)
def clock_accept(t: Test) -> None:
    """The clock was wrong, and is right now: `sightline clock accept` says so, or a time server."""
    server = t.server()
    clock = clock_of(t, server)
    clock.step(-3 * DAY)
    server.start()
    traffic = Traffic(0, trouble=False)

    def behind(number: int) -> list[dict]:
        """What cameras see whose clocks are as the server's."""
        return [{"geographical_location_oid": 7001, "video_camera_oid": 1, "detection_oid": number + i,
                 "item_name": "bus", "timestamp_detected": now_ms() - 3 * DAY} for i in range(10)]

    server.post_ok(lines(behind(0)))
    server.wait_ledger(counted=10)
    done = t.run("clock", "accept", "--data", t.folder / "nowhere")
    expect(done.returncode == 1 and b"nowhere" in done.stderr, f"{done}")
    clock.step(0)
    server.wait_reason(10, "3 d ahead of the log's time")
    done = t.run("clock", "accept", "--data", server.data, env=clock.environment())
    expect_equal(done.returncode, 0, f"clock accept: {done.stderr!r}")
    wait_until(server.healthy, 10, "it is accepted")
    server.post_ok(traffic.body(100).data)
    server.wait_ledger(counted=110)
    # What a time server says needs no word of anybody.
    clock.step(2 * DAY)
    server.wait_reason(10, "2 d ahead of the log's time")
    clock.step(2 * DAY, synchronised=True)
    wait_until(server.healthy, 10, "a time server keeps it")
    server.stop()


@test(seconds=120)
def clock_at_start(t: Test) -> None:
    """The machine starts with a clock that is days ahead: detections wait at their senders until it is right."""
    server = t.server()
    clock = clock_of(t, server)
    server.start()
    traffic = Traffic(0, trouble=False)
    deliver(server, traffic, 100)
    server.wait_ledger(counted=traffic.oracle.distinct)
    server.stop()
    forget_boot(server)
    clock.step(8 * DAY)
    server.launch()
    expect(server.wait_door(60), server.last_line())
    server.wait_reason(10, "8 d ahead of the log's time", "detections are refused")
    body = traffic.body(100)
    answer = server.request("POST", "/v1/detections", body.data, body.headers)
    expect_equal(answer.status, 503, f"a post: {answer.body!r}")
    expect("retry-after" in answer.headers, f"when to try again: {answer.headers}")
    expect_equal(server.request("GET", "/readyz").status, 503, "/readyz")
    clock.step(0)
    wait_until(server.healthy, 10, "the clock is right")
    server.post_ok(body.data)
    traffic.oracle.check(server, repeated=False)
    server.stop()
    # Within max_age a stop of any length is possible.
    forget_boot(server)
    clock.step(6 * DAY)
    server.start()
    server.stop()
