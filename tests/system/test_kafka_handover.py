"""The hand-over: the old pipeline counts until T, the new one from T. Together every event, once."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter

from brokers import Cluster, shared_kafka
from registry import test
from server import Server, Test, expect, expect_equal, lines, now_ms, stop_all, wait_until

WINDOW_MS = 3_000
RULES = ("--pipeline.window_size", "3s", "--pipeline.pane_size", "1s", "--pipeline.out_of_orderness",
         "1s", "--pipeline.dedup_horizon", "20s", "--pipeline.future_tolerance", "2s")
CELLS = ("SELECT geographical_location_oid AS oid, item_name AS item, "
         "epoch_ms(window_start)::BIGINT AS start, sum(item_count)::BIGINT AS n "
         "FROM item_count_increments GROUP BY ALL HAVING sum(item_count) != 0")
ITEMS = ("bus", "car", "dog")


def text_of(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at // 1_000))


class Cameras:
    """Detections with disorder and copies, also across T; the oracle of the windows."""

    def __init__(self, seed: int):
        self.draw = random.Random(seed)
        self.next_id = 1
        self.recent: list[dict] = []
        self.cells: Counter = Counter()  # (location, item, start of the window) -> n

    def events(self, count: int) -> list[dict]:
        return [self._event() for _ in range(count)]

    def _event(self) -> dict:
        draw = self.draw
        # A copy is of the last 10 s: inside the horizon.
        while self.recent and self.recent[0]["timestamp_detected"] < now_ms() - 10_000:
            self.recent.pop(0)
        if self.recent and draw.random() < 0.25:
            return draw.choice(self.recent)
        camera = draw.randint(1, 30)
        at = now_ms() - draw.randint(0, 3_000)
        event = {"geographical_location_oid": 7000 + camera % 3, "video_camera_oid": camera,
                 "detection_oid": self.next_id, "item_name": draw.choice(ITEMS),
                 "timestamp_detected": at}
        self.next_id += 1
        self.recent.append(event)
        self.cells[event["geographical_location_oid"], event["item_name"],
                   at // WINDOW_MS * WINDOW_MS] += 1
        return event


def windows(server: Server) -> Counter:
    answer = server.request("POST", "/v1/query", json.dumps({"sql": CELLS}).encode(), timeout=60)
    if answer.status == 503:  # not everything is counted yet
        return Counter()
    expect_equal(answer.status, 200, f"{CELLS}: {answer.body[:300]!r}")
    return Counter({(int(row["oid"]), row["item"], int(row["start"])): int(row["n"])
                    for row in json.loads(answer.body)})


def check_windows(server: Server, cameras: Cameras, seconds: float = 30) -> None:
    wanted = sum(cameras.cells.values())
    wait_until(lambda: sum(windows(server).values()) >= wanted, seconds, f"{wanted} are in the lake")
    found = windows(server)
    expect_equal(found - cameras.cells, Counter(), "counted too often")
    expect_equal(cameras.cells - found, Counter(), "not counted")


def plan_of(done, code: int) -> dict:
    expect_equal(done.returncode, code, f"exit code: {done.stdout[-2500:]!r} {done.stderr[-800:]!r}")
    return json.loads(done.stdout.decode().splitlines()[0])


def failed(plan: dict) -> dict[str, str]:
    return {check["subject"]: check["said"] for check in plan["checks"] if check["verdict"] == "failed"}


@test(seconds=300)
def kafka_handover_embedded(t: Test) -> None:
    """A data folder goes on as `up --kafka`: events before and after T on both sides, copies across
    the switch; the windows of the one lake are those of one pipeline."""
    cluster = Cluster(t)
    cluster.create_topics(5)
    cameras = Cameras(t.seed)
    data = t.folder / "data"
    base = (*RULES, "--lake.roll_interval", "300ms")
    old = t.server(*base, data=data, name="old")
    old.start()
    for _ in range(40):  # enough that the copier can be killed while it copies, again and again
        old.post_ok(lines(cameras.events(2_000)))
    old.stop()
    # T lies ahead; the same folder and checkpoints go on with count_until.
    at = (now_ms() // WINDOW_MS + 2) * WINDOW_MS
    old = t.server(*base, "--pipeline.count_until", text_of(at), data=data, name="until")
    old.start()

    def handover(*options: object, seconds: float = 60):
        return t.run("handover", "--at", text_of(at), "--data", data, "--kafka", cluster.addresses,
                     "--format", "json", *RULES, *options, seconds=seconds)

    with t.case("the server runs"):
        done = handover("--dry-run")
        expect_equal(done.returncode, 1, "exit code")
        expect("SIGTERM" in done.stderr.decode(), f"{done.stderr[-500:]!r}")
    while now_ms() < at + 4_500:  # until the watermark is past T, and nobody sends an older one
        old.post_ok(lines(cameras.events(15)))
        time.sleep(0.05)
    old.stop()
    with t.case("another T"):
        done = t.run("handover", "--at", text_of(at + WINDOW_MS), "--data", data, "--kafka",
                     cluster.addresses, "--format", "json", *RULES, "--dry-run")
        expect("count_until" in failed(plan_of(done, 1)), f"{done.stdout!r}")
    with t.case("inside a window"):
        done = t.run("handover", "--at", at + 1, "--data", data, "--kafka", cluster.addresses,
                     "--format", "json", *RULES, "--dry-run")
        expect("time" in failed(plan_of(done, 1)), f"{done.stdout!r}")
    with t.case("no such topic"):
        expect("topic" in failed(plan_of(handover("--dry-run", "--to", "nowhere"), 1)), "topic")
    plan = plan_of(handover("--dry-run"), 0)
    expect(plan["ok"] and plan["copy"]["records"] > 500, f"the plan: {plan}")
    expect_equal(len(cluster.read("raw_camera_events")), 0, "records after a dry run")

    def in_topic() -> int:
        return len(cluster.kcat("-C", "-t", "raw_camera_events", "-o", "beginning", "-e", "-f", "."))

    def producers_may(change: str) -> None:
        cluster.tool("kafka.admin.ConfigCommand", "--bootstrap-server", cluster.addresses, "--alter",
                     "--entity-type", "clients", "--entity-default", f"--{change}-config",
                     "producer_byte_rate" + ("=60000" if change == "add" else ""))

    # So slow that it is still copying when the first transactions of some are there: before any, and
    # each time after others.
    producers_may("add")
    early, kills = 2, 4
    there = [0]
    for kill in range(kills):
        copier = t.spawn("handover", "--at", text_of(at), "--data", data, "--kafka", cluster.addresses,
                         *RULES, log=t.folder / "copier.log")
        if kill < early:
            time.sleep(0.2 + 0.3 * kill)  # it has just begun
        else:
            wait_until(lambda: in_topic() > there[-1], 60, f"more than {there[-1]} records are copied")
        expect_equal(copier.poll(), None, f"the copier is still copying when it is killed ({kill})")
        copier.kill()
        copier.wait()
        there.append(in_topic())
    producers_may("delete")
    goes_on = [check["said"] for check in plan_of(handover("--dry-run"), 0)["checks"]]
    expect(any("continues" in said for said in goes_on), f"the plan of the rest: {goes_on}")
    copied = []
    for _ in range(2):
        done = handover()
        plan_of(done, 0)
        copied.append(json.loads(done.stdout.decode().splitlines()[1])["copied"])
    expect(0 < copied[0] < plan["copy"]["records"] and copied[1] == 0,
           f"of {plan['copy']['records']} records, after {kills} kills, were copied {copied}")
    expect_equal(len(cluster.read("raw_camera_events")), plan["copy"]["records"], "in the topic")

    new = t.server(*base, "--kafka.brokers", cluster.addresses, "--pipeline.count_from", text_of(at),
                   data=data, name="new")
    new.start()
    for _ in range(20):  # copies of what the old one has counted among them
        new.post_ok(lines(cameras.events(40)))
        time.sleep(0.05)
    check_windows(new, cameras)
    total = sum(cameras.cells.values())
    expect_equal(new.ledger()["counted"], total, "counted, of both")
    new.stop()
    new.start()
    check_windows(new, cameras)
    expect_equal(new.ledger()["counted"], total, "counted, after a restart")
    new.stop()
    t.note(f"{total} ids, {plan['copy']['records']} records copied, {kills} kills after {there[1:]}, {copied[0]} after the last")


@test(seconds=400)
def kafka_handover_topic(t: Test) -> None:
    """From 2 partitions to 5 while everything runs: a dry run, then the copier killed again and
    again; the old pipeline and the new one write one lake."""
    cluster = shared_kafka(t)
    stamped = {"message.timestamp.type": "LogAppendTime"}
    cluster.foreign("topics", lines=[
        {"name": "raw_2", "partitions": 2, "settings": stamped},
        {"name": "raw_5", "partitions": 5, "settings": stamped},
        *({"name": f"counts_{n}", "partitions": n} for n in (2, 5)),
        *({"name": name, "partitions": 5} for name in ("dead_letters", "late_detections"))])
    cameras = Cameras(t.seed + 1)
    lake = t.folder / "lake"

    def counting(n: int, *options: object) -> Server:
        server = t.server(*RULES, "--lake.dir", lake, "--lake.roll_interval", "300ms",
                          *cluster.options(f"d{n}", topic=f"raw_{n}", counts_topic=f"counts_{n}"),
                          "--engine.checkpoint_dir", t.folder / "checkpoints", *options,
                          name=f"count{len(t.servers)}")
        server.command = "count"
        return server

    # Keyed by camera, as posts are: a door to each topic.
    doors = {}
    for n in (2, 5):
        doors[n] = t.serve(*cluster.options(topic=f"raw_{n}", counts_topic=f"counts_{n}"), "--lake.dir", lake, *RULES[:4],
                           name=f"door{n}")
    old = counting(2)
    old.start()
    doors[2].start()
    for _ in range(10):
        doors[2].post_ok(lines(cameras.events(60)))
    wait_until(lambda: doors[2].ledger()["received"] == 600, 30, "the old one counts")
    at = (now_ms() // WINDOW_MS + 3) * WINDOW_MS

    words = ("handover", "--at", text_of(at), "--from", cluster.topic("raw_2"), "--to",
             cluster.topic("raw_5"), *cluster.options(counts_topic="counts_2"), "--format", "json", *RULES)
    plan = plan_of(t.run(*words, "--dry-run"), 0)
    warned = {c["subject"]: c["said"] for c in plan["checks"] if c["verdict"] == "warning"}
    expect("count_until" in warned and "watermark" in warned, f"warnings: {warned}")
    expect_equal(len(cluster.read("raw_5")), 0, "records after a dry run")
    old.stop()
    old = counting(2, "--pipeline.count_until", text_of(at))
    old.start()

    sending = threading.Event()
    target = [2]

    def send() -> None:
        while not sending.is_set():
            doors[target[0]].post_ok(lines(cameras.events(20)))
            time.sleep(0.04)

    sender = threading.Thread(target=send)
    sender.start()
    copier = t.spawn(*words, log=t.folder / "copier.log")
    for pause in (1.5, 0.8, 1.2):  # a life of the copier
        time.sleep(pause)
        expect_equal(copier.poll(), None, "the copier runs")
        copier.kill()
        copier.wait()
        copier = t.spawn(*words, log=t.folder / "copier.log")
    wait_until(lambda: now_ms() > at + 1_000, 30, "T is past")
    new = counting(5, "--pipeline.count_from", text_of(at))
    new.start()
    # What is older than T comes no more: now the senders move.
    wait_until(lambda: now_ms() > at + 5_000, 30, "nobody sends what is before T")

    def has_copied() -> bool:
        checks = json.loads(t.run(*words, "--dry-run").stdout.decode().splitlines()[0])["checks"]
        return any(check["subject"] == "begun" and "continues" in check["said"] for check in checks)

    # Behind records of the senders, a copier that has not copied yet would refuse to begin.
    wait_until(has_copied, 60, "the copier has copied a part")
    doors[5].start()
    target[0] = 5
    time.sleep(1.5)  # of sending to the new one
    sending.set()
    sender.join()
    plan = plan_of(t.run(*words, "--dry-run"), 0)
    said = {check["subject"]: check["said"] for check in plan["checks"]}
    expect("counts until" in said["count_until"], f"count_until: {said}")
    expect("continues" in said["begun"], f"begun: {said}")
    copier.terminate()
    expect_equal(copier.wait(60), 0, "the copier's exit code after SIGTERM")
    done = t.run(*words, "--until-end")  # what came between; then nothing is left
    expect_equal(done.returncode, 0, f"{done.stderr[-800:]!r}")
    with t.case("another hand-over"):
        other = t.run("handover", "--at", text_of(at + WINDOW_MS), *words[3:], "--dry-run")
        expect("begun" in failed(plan_of(other, 1)), f"{other.stdout!r}")
    with t.case("fewer partitions"):
        back = t.run("handover", "--at", text_of(at), "--from", cluster.topic("raw_5"), "--to",
                     cluster.topic("raw_2"),
                     *words[7:], "--dry-run")
        expect("topic" in failed(plan_of(back, 1)), f"{back.stdout!r}")

    read = Counter()
    for record in cluster.read("raw_5"):
        read[record["value"]] += 1
    check_windows(doors[5], cameras)
    stop_all((old, new, *doors.values()))
    t.note(f"{sum(cameras.cells.values())} ids, {sum(read.values())} records in the new topic")
