"""Raw topics by location: `kafka.topic raw_camera_events_<location>`. New ones are found while
everything runs, with their first events; one that is made again is another source."""

from __future__ import annotations

import json
from collections import Counter

from brokers import Kafka, shared_kafka
from events import LOCATIONS, Oracle
from registry import test
from senders import Senders
from server import ROOT, Server, Test, expect, expect_equal, now_ms, start_all, stop_all, wait_until
from test_kafka import check_topics
from test_lake import SUM, ask, check_readers, command

PATTERN = "raw_camera_events_<location>"
PEDESTRIANS = 81  # in the recording: each is counted once
NEW, NEWER, AGAIN = 424_242, -77, 8_800
TOPIC = PATTERN.replace("<location>", "{}").format


class Foreign:
    """A producer that is none of ours; into a topic of its location."""

    def __init__(self, cluster: Kafka, oracle: Oracle):
        self.cluster, self.oracle, self.next_id = cluster, oracle, 1 << 55

    def write(self, location: int, events: int, partitions: int, copies: int = 0) -> None:
        lines = []
        for n in range(events):
            camera = n % 5
            event = {"geographical_location_oid": location, "video_camera_oid": camera,
                     "detection_oid": self.next_id + n, "item_name": ("bus", "car")[n % 2],
                     "timestamp_detected": now_ms()}
            self.oracle.count(location, event["item_name"])
            lines.append({"topic": TOPIC(location), "partition": camera % partitions,
                          "key": str(camera), "value": json.dumps(event)})
        lines += lines[:copies]
        self.oracle.detections += len(lines)
        self.next_id += events
        self.cluster.foreign("write", lines=lines)


def make_topics(t: Test, cluster: Kafka, *options: object) -> Kafka:
    table = t.folder / "locations.csv"
    table.write_text("geographical_location_oid,geographical_location\n" + "".join(
        f"{oid},Place {oid}\n" for oid in LOCATIONS[:len(LOCATIONS) // 2]))
    done = t.run("topics", "apply", *cluster.options(topic=PATTERN), "--locations", table, "--kafka.partitions", 3, "--kafka.location_partitions", 2, *options)
    expect_equal(done.returncode, 0, f"topics apply: {done.stderr}")
    return cluster


def wait_read(server: Server, topic: str) -> None:
    wait_until(lambda: f"of topic '{topic}' are assigned" in server.log()
               or f"topic '{topic}' with" in server.log(), 30, f"{topic} is found")


def check_places(cluster: Kafka, oracle: Oracle) -> None:
    """Each record lies in the topic of its location, or with the others."""
    own = {TOPIC(oid) for oid in LOCATIONS[:len(LOCATIONS) // 2]}
    seen: Counter = Counter()
    for topic in sorted(own | {TOPIC("other")}):
        for record in cluster.read(topic):
            if record["key"] is None:
                expect_equal(topic, TOPIC("other"), "where unreadable ones lie")
                continue
            oid = int(json.loads(record["value"].encode("latin-1"))["geographical_location_oid"])
            expect_equal(topic, TOPIC(oid) if TOPIC(oid) in own else TOPIC("other"), f"place of {oid}")
            seen[topic] += 1
    wanted = {TOPIC(oid) if TOPIC(oid) in own else TOPIC("other")
              for oid in oracle.counts if oid in LOCATIONS}
    expect_equal(set(seen), wanted, "topics with records")
    expect(len(wanted) > 2, f"too few to say anything: {wanted}")


@test(seconds=300)
def kafka_locations(t: Test) -> None:
    """count twice, join, transform, store, serve: topics appear, one is deleted and made again,
    processes die; the page, the counts and the lake have every event once."""
    cluster = make_topics(t, shared_kafka(t), "--steps")
    common = cluster.options(topic=PATTERN)
    counting = cluster.options(topic=PATTERN, counts_topic="item_counts")
    steps = []
    for kind, *options in (
            ("count", "--engine.checkpoint_dir", t.folder / "checkpoints"),
            ("count", "--engine.checkpoint_dir", t.folder / "checkpoints"),
            ("join", "--locations", t.folder / "locations.csv"), ("transform",),
            ("store", "--lake.dir", t.folder / "lake", "--lake.roll_interval", "500ms")):
        step = t.server(*(counting if kind == "count" else common), "--kafka.session_timeout", "6s", "--kafka.group_interval", "6s", *options,
                        name=f"{kind}{len(steps)}")
        step.command = kind
        steps.append(step)
    start_all(steps)
    first, second = steps[:2]
    page = t.serve(*common, "--lake.dir", t.folder / "lake")
    page.launch()
    page.wait_door()
    senders = Senders(page, count=2, pause=0.02)
    oracle = Oracle()
    foreign = Foreign(cluster, oracle)
    wait_until(lambda: senders.check() or page.ledger()["received"] > 100, 60, "events are counted")

    # A topic with events before anybody knows it; then a process dies, and another topic comes.
    cluster.create_topic(TOPIC(NEW), 3, message_timestamp_type="LogAppendTime")
    foreign.write(NEW, 500, 3, copies=50)
    first.kill()
    cluster.create_topic(TOPIC(NEWER), 1, message_timestamp_type="LogAppendTime")
    foreign.write(NEWER, 300, 1, copies=300)
    first.start()
    cluster.create_topic(TOPIC(AGAIN), 2, message_timestamp_type="LogAppendTime")
    foreign.write(AGAIN, 200, 2)

    def counted(location: int) -> int:
        return page.top(location)["total"]

    wait_until(lambda: counted(AGAIN) == 200 and counted(NEW) == 500, 60, "the new ones are counted")
    # Made again under its name, with another number of partitions: other events at the old offsets.
    cluster.delete_topic(TOPIC(AGAIN))
    cluster.create_topic(TOPIC(AGAIN), 1, message_timestamp_type="LogAppendTime")
    foreign.write(AGAIN, 250, 1)
    wait_until(lambda: counted(AGAIN) == 450, 60, "what came after it was made again is counted")
    second.stop()
    second.start()
    oracle.add(senders.finish())
    ledger = oracle.check(page, repeated=True, seconds=90)
    expect_equal(cluster.counts("item_counts"), (oracle.counts, ledger), "item_counts")
    check_topics(cluster, oracle, ledger)
    check_places(cluster, oracle)
    wait_until(lambda: sum(row["n"] for row in ask(page, SUM)) == oracle.distinct, 150,
               "the lake has everything")
    # Everybody starts with what is there now.
    stop_all((*steps, page))
    start_all((*steps, page))
    expect_equal(oracle.check(page, repeated=True), ledger, "the ledger after a restart of all")
    stop_all((*steps, page))
    command(t, "lake", "verify", "--lake", t.folder / "lake")
    check_readers(t, t.folder / "lake", oracle.counts)


@test(seconds=200)
def kafka_locations_fused(t: Test) -> None:
    """`up`: posts go to the topic of their location, new topics are read, cameras write there too."""
    cluster = make_topics(t, shared_kafka(t))
    common = cluster.options(topic=PATTERN)
    server = t.server(*common, "--lake.roll_interval", "500ms")
    server.start()
    senders = Senders(server, count=2, pause=0.02)
    oracle = Oracle()
    foreign = Foreign(cluster, oracle)
    wait_until(lambda: senders.check() or server.ledger()["received"] > 100, 60, "events are counted")
    cluster.create_topic(TOPIC(NEW), 3, message_timestamp_type="LogAppendTime")
    foreign.write(NEW, 500, 3, copies=50)
    wait_read(server, cluster.topic(TOPIC(NEW)))
    server.kill()
    cluster.create_topic(TOPIC(NEWER), 1, message_timestamp_type="LogAppendTime")
    foreign.write(NEWER, 300, 1, copies=300)
    server.start()
    oracle.add(senders.finish())
    ledger = oracle.check(server, repeated=True)
    check_topics(cluster, oracle, ledger)
    check_places(cluster, oracle)
    wait_until(lambda: sum(row["n"] for row in ask(server, SUM)) == oracle.distinct, 30,
               "SQL has everything")
    camera = t.run("camera", "--replay", ROOT / "data" / "pedestrians.ndjson", "--shift-to-now", "--speed",
                   "max", "--kafka", cluster.addresses, "--kafka.topic", cluster.topic(PATTERN), "--spool",
                   t.folder / "spool")
    expect_equal(camera.returncode, 0, f"camera --kafka: {camera.stderr[-2000:]}")
    server.wait_ledger(counted=oracle.distinct + PEDESTRIANS)

    # What does not fit the pattern is named; bad names are refused.
    cluster.create_topic("raw_camera_events_harbour", 1)
    check = t.run("topics", "check", *common)
    expect(cluster.topic("raw_camera_events_harbour").encode() in check.stdout and b"is not read" in check.stdout,
           f"topics check: {check.stdout!r}")
    refused = t.run("up", "--data", t.folder / "x", "--kafka.brokers", cluster.addresses,
                    "--kafka.topic", "raw_<location>_<location>")
    expect(refused.returncode == 1 and b"at most one <location>" in refused.stderr,
           f"refused: {refused.stderr!r}")
    server.stop()
