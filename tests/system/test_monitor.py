"""Alerts, monitoring and probes: what is provoked is told, when it starts and when it ends."""

from __future__ import annotations

import itertools
import json
import re
import time
from typing import Callable

from brokers import Cluster, Kafka
from events import Traffic, deliver
from openapi import check
from registry import test
from server import OUTCOMES, Server, Test, expect, expect_equal, lines, now_ms, wait_until
from stream import Connection

# As the rules are, only quicker. The machine's own disk and memory are none of these tests.
QUICK = ("--alerts.window", "4s", "--alerts.start_after", "1s", "--alerts.end_after", "2s",
         "--alerts.events_min", 5, "--alerts.duplicates_per_second", 1, "--alerts.state_percent", 0)
RULES = 18
oids = itertools.count(1)


def event(camera: int, location: int, ahead_ms: int = 0, oid: int | None = None) -> dict:
    return {"geographical_location_oid": location, "video_camera_oid": camera,
            "detection_oid": next(oids) if oid is None else oid, "item_name": "bus",
            "timestamp_detected": now_ms() + ahead_ms}


def active(server: Server) -> dict[tuple[str, str], dict]:
    """By rule and subject."""
    answer = server.request("GET", "/v1/alerts")
    check(answer, "/v1/alerts", "get", "GET /v1/alerts")
    return {(alert["rule"], alert["subject"]): alert for alert in answer.json()["alerts"]}


def told(server: Server, send: Callable[[], list], rule: str, subject: str, is_active: bool) -> dict:
    """Posts what `send` gives until the alert is active, or is not; the alerts of that moment."""
    alerts: dict = {}

    def reached() -> bool:
        body = send()
        if body:
            server.post_ok(lines(body))
        time.sleep(0.1)
        alerts.clear()
        alerts.update(active(server))
        return ((rule, subject) in alerts) == is_active

    wait_until(reached, 40, f"{rule} {subject} {'starts' if is_active else 'ends'}; active: {alerts}")
    return dict(alerts)


def alerts_version(server: Server) -> int:
    """Of the stream's next heartbeat."""
    connection = Connection(server, "location=all&window=5m")
    message = connection.next()
    while message.kind != "heartbeat":
        message = connection.next()
    connection.close()
    return message.data["alerts_version"]


@test(seconds=600)
def alerts_start_and_end(t: Test) -> None:
    """Without Kafka: a storm of copies, dead letters, clocks, silence; each starts, is told by the
    API, the metrics, the stream and the log, and ends."""
    server = t.server(*QUICK, "--alerts.camera_silent", "6s", "--alerts.location_silent", "6s")
    server.start()
    version = alerts_version(server)
    expect_equal(active(server), {}, "alerts of a server that has just started")
    fine = lambda: [event(11, 1) for _ in range(5)]
    one = event(11, 1)
    started = now_ms()
    cases: tuple[tuple[str, str, Callable[[], list]], ...] = (
        ("duplicate_storm", "all", lambda: [one] * 60),
        ("dead_letter_rate", "all", lambda: [*fine(), {}, b"broken"]),
        ("clock_ahead", "camera 12",
         lambda: [*fine(), *(event(12, 1, ahead_ms=3_600_000) for _ in range(3))]),
        ("too_late_rate", "all",
         lambda: [*fine(), *(event(13, 1, ahead_ms=-10 * 86_400_000) for _ in range(3))]),
        ("camera_silent", "camera 22", fine),
        ("location_silent", "location 2", fine))
    server.post_ok(lines([event(22, 2)]))
    for rule, subject, trouble in cases:
        with t.case(rule):
            alert = told(server, trouble, rule, subject, True)[rule, subject]
            expect(started <= alert["since"] <= now_ms() and alert["text"], f"{alert}")
            expect_equal(alert["location"],
                         {"clock_ahead": "1", "camera_silent": "2", "location_silent": "2"}.get(rule),
                         f"location of {alert}")
            text = server.request("GET", "/metrics").body.decode()
            expect(re.search(rf'^sightline_alert_active{{rule="{rule}"}} [1-9]', text, re.MULTILINE),
                   f"/metrics does not count {rule}")
            expect(f"alert starts {rule} ({subject})" in server.log(), "the log does not say so")
            end = (lambda: [*fine(), event(22, 2)]) if "silent" in rule else fine
            told(server, end, rule, subject, False)
            expect(f"alert ends {rule} ({subject})" in server.log(), "the log does not say its end")
    expect_equal(len(re.findall(r"^sightline_alert_active{", text, re.MULTILINE)), RULES, "rules")
    expect(alerts_version(server) >= version + 2 * len(cases),
           "the stream's alerts_version grows with each start and end")
    ledger = server.ledger()
    expect_equal(sum(ledger[name] for name in OUTCOMES), ledger["received"], f"sum of {ledger}")
    for path in ("/livez", "/readyz"):
        answer = server.request("GET", path)
        expect_equal((answer.status, answer.json()["status"]), (200, "ok"), path)
    server.stop()
    server.expect_quiet_log()


@test(seconds=300)
def alerts_no_flood(t: Test) -> None:
    """Hundreds of silent cameras are a few alerts and one that says how many more."""
    server = t.server(*QUICK, "--alerts.camera_silent", "3s", "--alerts.location_silent", "0",
                      "--alerts.subjects_max", 5)
    server.start()
    cameras = range(1_000, 1_300)
    server.post_ok(lines(event(camera, 1) for camera in cameras))
    others = ("camera_silent", "others")
    wait_until(lambda: active(server).get(others, {}).get("facts") == {"subjects": 295}, 30,
               "5 and 295 others")
    expect_equal(len(active(server)), 6, "active alerts")
    expect_equal(server.metric("sightline_alerts_started_total"), 6, "alerts that were told")
    wait_until(lambda: (server.post_ok(lines(event(camera, 1) for camera in cameras)),
                        active(server))[1] == {}, 30, "all end")
    expect_equal(server.log().count("alert ends"), 6, "ends that were told")
    server.stop()
    server.expect_quiet_log()


@test(seconds=300)
def same_ids(t: Test) -> None:
    """Cameras whose trackers count from 1: the alert names both and the remedy, and `replay` does; with
    the remedy everything counts. A tracker that starts again is named, too. No restart tells what was
    told before."""
    def seen(camera: int, item: str = "bus") -> list[dict]:
        return [{**event(camera, 7, oid=oid), "item_name": item} for oid in range(1, 51)]

    def told_of(server: Server, subject: str) -> dict:
        wait_until(lambda: ("id_conflict", subject) in active(server), 10, f"the alert of {subject}")
        expect_equal([key for key in active(server) if key[0] == "id_conflict"],
                     [("id_conflict", subject)], "pairs that are told")
        return active(server)["id_conflict", subject]

    both = lines([*seen(10), *seen(20)])
    server = t.server("--partitions", 1, "--lake.roll_interval", "1s")
    server.start()
    server.post_ok(both)
    alert = told_of(server, "cameras 10 and 20")
    expect("set pipeline.identity = camera_and_detection" in alert["text"], f"no remedy: {alert}")
    expect_equal(alert["facts"], {"conflicts": 50, "first_camera": 10, "second_camera": 20}, "facts")
    server.wait_ledger(received=100, counted=50, duplicate=50, conflicts=50)
    wait_until(lambda: server.metric("sightline_engine_sealed_segments") == 0, 30, "all is committed")
    for end, camera in ((server.kill, 30), (server.stop, 40)):
        end()
        server.start()
        # Its ids of its own, which its tracker gives to other items when it has started again.
        first = [{**each, "detection_oid": camera * 1_000 + each["detection_oid"]} for each in seen(camera)]
        server.post_ok(lines([*first, *({**each, "item_name": "car"} for each in first)]))
        alert = told_of(server, f"camera {camera}")
        expect("make its ids go on over restarts" in alert["text"], f"no remedy: {alert}")
    server.stop()
    server.expect_quiet_log()

    remedy = t.server("--partitions", 1, "--pipeline.identity", "camera_and_detection")
    remedy.start()
    remedy.post_ok(both)
    remedy.wait_ledger(received=100, counted=100, duplicate=0, conflicts=0)
    remedy.post_ok(lines(seen(10, "car")))
    told_of(remedy, "camera 10")
    remedy.stop()
    remedy.expect_quiet_log()

    done = t.run("replay", "-", input=both)
    expect(b"warning: cameras 10 and 20 send the same detection_oid" in done.stderr
           and b"--identity-camera" in done.stderr, f"replay: {done.stderr!r}")
    done = t.run("replay", "-", "--identity-camera", input=both)
    expect(b"warning" not in done.stderr and b"counted 100 " in done.stderr, f"replay: {done.stderr!r}")


def values(cluster: Kafka, topic: str) -> list[tuple[dict, dict]]:
    return [(json.loads(record["key"]), json.loads(record["value"].encode("latin-1")))
            for record in cluster.read(topic)]


def states(cluster: Kafka, rule: str, subject: str) -> list[str]:
    """What the topic says of it, in order; its fields are checked."""
    said = []
    for key, value in values(cluster, "alerts"):
        expect_equal(key, {"rule": value["rule"], "subject": value["subject"]}, "key of an alert")
        expect_equal(value["until"] is None, value["state"] == "start", f"until of {value}")
        expect(value["state"] == "start" or value["since"] <= value["until"], f"times of {value}")
        if (value["rule"], value["subject"]) == (rule, subject):
            said.append(value["state"])
    return said


def ready(server: Server) -> tuple[int, list[str]]:
    answer = server.request("GET", "/readyz")
    check(answer, "/readyz", "get", "GET /readyz")
    return answer.status, answer.json()["reasons"]


@test(seconds=600)
def kafka_monitoring(t: Test) -> None:
    """`up`, then `count` and `serve`, publish what they are: a foreign client reads numbers each
    second with the right ledger, and alerts that start and end, also of brokers that were away."""
    cluster = Cluster(t)
    done = t.run("topics", "apply", "--kafka.brokers", cluster.addresses, "--kafka.partitions", 2)
    expect_equal(done.returncode, 0, f"topics apply: {done.stderr!r}")
    quick = ("--kafka.brokers", cluster.addresses, *QUICK)
    server = t.server(*quick, "--alerts.instance", "one")
    server.start()
    traffic = Traffic(0)
    for _ in range(10):
        deliver(server, traffic, 100)
    ledger = traffic.oracle.check(server, repeated=False)
    numbers: list = []

    def enough() -> bool:
        numbers[:] = [value for key, value in values(cluster, "monitoring")
                      if key == {"step": "up", "instance": "one"}]
        return len(numbers) >= 8 and numbers[-1]["ledger"] == ledger

    wait_until(enough, 30, "8 records and the right ledger in monitoring")
    uptimes = [value["uptime_ms"] for value in numbers]
    expect_equal(uptimes, sorted(uptimes), "uptimes")
    # A slow machine may miss a second; more than one a second there never is.
    expect(len(uptimes) <= uptimes[-1] / 1_000 + 2, f"too many for {uptimes[-1]} ms: {uptimes}")
    last = numbers[-1]
    expect_equal((last["schema_version"], last["lag"], len(last["partitions"])), (1, 0, 2), f"{last}")
    expect(last["numbers"]["memory_bytes"] > 1 << 20 and last["numbers"]["kafka_commits"] > 0
           and last["numbers"]["kafka_commit_microseconds"] > 0, f"numbers: {last['numbers']}")

    fine = lambda: [event(11, 1) for _ in range(5)]
    told(server, lambda: [*fine(), {}, {}], "dead_letter_rate", "all", True)
    wait_until(lambda: states(cluster, "dead_letter_rate", "up@one/all") == ["start"], 20, "its start")
    told(server, fine, "dead_letter_rate", "all", False)
    wait_until(lambda: states(cluster, "dead_letter_rate", "up@one/all") == ["start", "end"], 20,
               "its end")

    broker = cluster.brokers[0]
    broker.pause()
    wait_until(lambda: ("sink_failing", "raw log") in active(server), 40, "the broker is missed")
    status, reasons = ready(server)
    expect(status == 503 and any("Kafka" in reason for reason in reasons), f"{status} {reasons}")
    expect_equal(server.request("GET", "/livez").status, 200, "/livez without a broker")
    broker.go_on()
    wait_until(lambda: active(server) == {}, 60, "all alerts end")
    wait_until(lambda: ready(server) == (200, []), 60, "it is ready again")
    wait_until(lambda: states(cluster, "sink_failing", "up@one/raw log") == ["start", "end"], 40,
               "what happened without a broker is told later")
    for _ in range(5):
        deliver(server, traffic, 100)
    server.stop()

    counting = t.server(*quick, "--alerts.instance", "two", name="count")
    counting.command = "count"
    counting.start()
    page = t.serve(*quick, "--alerts.instance", "three")
    page.start()
    for each in (counting, page):
        wait_until(lambda: ready(each) == (200, []), 30, f"{each.name} is ready")
    ahead = lambda: [event(12, 1, ahead_ms=3_600_000) for _ in range(5)]

    def count_tells() -> bool:
        page.post_ok(lines(ahead()))
        time.sleep(0.1)
        return ("clock_ahead", "camera 12") in active(counting)

    wait_until(count_tells, 40, "count tells whose clock is ahead")
    wait_until(lambda: states(cluster, "clock_ahead", "camera 12") == ["start"], 20, "the topic, too")
    wait_until(lambda: ("dead_letter_rate", "all") in active(page), 40, "serve tells the rate")
    now: dict = {}

    def all_told() -> bool:
        now.clear()
        now.update({key["step"]: value for key, value in values(cluster, "monitoring")})
        return "count" in now and now.get("serve", {}).get("ledger") == page.ledger()

    wait_until(all_told, 30, "the ledger of serve in monitoring")
    expect_equal(now["count"]["lag"], 0, f"{now['count']}")
    def split_tells() -> bool:
        cluster.foreign("write", lines=[
            {"topic": "raw_camera_events", "partition": p, "key": "x", "value": json.dumps(event(14, 1))}
            for p in (0, 1)])
        return ("camera_split", "camera 14") in active(page)

    wait_until(split_tells, 40, "serve tells who is in two partitions")
    expect("partitions 0 and 1" in active(page)["camera_split", "camera 14"]["text"],
           f"{active(page)['camera_split', 'camera 14']}")
    counting.stop()
    page.stop()
    wait_until(lambda: states(cluster, "clock_ahead", "camera 12") == ["start", "end"], 20,
               "nobody watches it any more")
    for each in (server, counting, page):
        each.expect_quiet_log(r" error kafka: ",)


@test(seconds=300)
def kafka_clock_jump(t: Test) -> None:
    """A topic with the senders' times and a bounded step: one event of 2099 costs no other event, also
    behind a kill, and is told."""
    cluster = Cluster(t)
    cluster.create_topics(1)
    cluster.alter_topic("raw_camera_events", message_timestamp_type="CreateTime")
    server = t.server("--kafka.brokers", cluster.addresses, *QUICK, "--pipeline.watermark_step", "bounded")
    server.start()
    start = now_ms() - 1_000_000
    seen = [{**event(71, 1), "timestamp_detected": 4_070_908_800_000 if n == 100 else start + n * 1_000}
            for n in range(1, 1_001)]
    server.post_ok(lines(seen[:100]))
    wait_until(lambda: server.ledger()["counted"] == 100, 30, "the first hundred are counted")
    server.kill()
    server.start()
    server.post_ok(lines(seen[99:]))  # that of 2099 again
    said = "alert starts clock_jump (partition 0)"
    wait_until(lambda: said in server.log(), 30, said)
    wait_until(lambda: server.ledger()["counted"] == 1_000, 30, "all are counted")
    expect_equal(server.ledger()["duplicate"], 1, "copies")
    expect_equal(server.metric("sightline_engine_clock_jumps_total"), 1, "jumps")
    said = "alert ends clock_jump (partition 0)"
    wait_until(lambda: said in server.log(), 30, said)
    server.stop()
