"""`sightline rekey`: a topic that is keyed otherwise, written again by camera or detection. And a
frame's detections as one message."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter

from brokers import Kafka, shared_kafka
from registry import test
from server import Failure, Server, Test, expect, expect_equal, now_ms, wait_until
from test_commands import LINES, PERSONS, RECORDING, _end_of_recording, _recording

ITEMS = ("bus", "car", "dog", "M\u00fclleimer")
BROKEN = ("not json", '{"a":1}}', "17", "", '{"video_camera_oid":1}', "}{")
FROM, TO = "detections", "raw_camera_events"


class Frames:
    """Messages of several cameras each, in any partition and under any key; and what they hold."""

    def __init__(self, seed: int, partitions: int):
        self.draw, self.partitions = random.Random(seed), partitions
        self.next_id = 1
        self.recent: list[dict] = []
        self.counts: dict[int, Counter] = {}
        self.sent: Counter = Counter()    # (camera, id) -> times
        self.broken: Counter = Counter()  # bytes -> times

    def detection(self) -> dict:
        draw = self.draw
        if self.recent and draw.random() < 0.2:
            return draw.choice(self.recent[-200:])
        camera = draw.randint(1, 40)
        event = {"geographical_location_oid": 7000 + camera % 4, "video_camera_oid": camera,
                 "detection_oid": self.next_id, "item_name": draw.choice(ITEMS),
                 "timestamp_detected": now_ms() - draw.randint(0, 5_000)}
        self.next_id += 1
        self.counts.setdefault(event["geographical_location_oid"], Counter())[event["item_name"]] += 1
        self.recent.append(event)
        return event

    def message(self) -> dict:
        draw = self.draw
        style = draw.random()
        if style < 0.03:
            value: str | None = draw.choice((*BROKEN, None))
            self.broken[value] += 1
        else:
            parts = []
            for _ in range(draw.choice((1, 1, 3, 8))):
                event = self.detection()
                self.sent[event["video_camera_oid"], event["detection_oid"]] += 1
                parts.append(json.dumps(event, ensure_ascii=draw.random() < 0.5))
            if style < 0.1 and len(parts) > 1:
                self.broken["not json"] += 1
                parts.insert(1, "not json")
                value = "\n".join(parts)
            else:
                value = "[" + ", ".join(parts) + "]" if draw.random() < 0.5 else "\n".join(parts)
            value = value.encode().decode("latin-1")
        # kafka-python wants one of the two.
        keys = (None, str(draw.randint(1, 9)), "r\u00e9gion")[value is None:]
        return {"topic": FROM, "partition": draw.randrange(self.partitions), "value": value,
                "key": draw.choice(keys)}

    def messages(self, count: int) -> list[dict]:
        return [self.message() for _ in range(count)]


def rekeyer(t: Test, cluster: Kafka, *options: object, name: str = "rekey") -> Server:
    server = t.server(*cluster.options(), "--from", cluster.topic(FROM), *options, name=name)
    server.command = "rekey"
    return server


def elements(value: str) -> list[dict]:
    text = value.encode("latin-1").decode()
    if text.startswith("["):
        return json.loads(text)
    return [json.loads(line) for line in text.split("\n")]


def check_target(cluster: Kafka, topic: str, frames: Frames, key_of: str) -> None:
    """Each element once, under its key, whose partition is always the same; what is broken, too."""
    found: Counter = Counter()
    broken: Counter = Counter()
    places: dict[str, set[int]] = {}
    for record in cluster.read(topic):
        try:
            events = elements(record["value"])
            expect(all("item_name" in event for event in events), "")
            keys = {str(event[key_of]) for event in events}
        except (Failure, ValueError, KeyError, TypeError, AttributeError):
            broken[record["value"]] += 1
            continue
        expect_equal(keys, {record["key"]}, f"the keys of {record['value']}")
        places.setdefault(record["key"], set()).add(record["partition"])
        for event in events:
            found[event["video_camera_oid"], event["detection_oid"]] += 1
    expect_equal(broken, frames.broken, f"what nobody can read in '{topic}'")
    lost, doubled = frames.sent - found, found - frames.sent
    expect(not lost and not doubled, f"'{topic}': {sum(lost.values())} lost, {sum(doubled.values())} "
                                     f"doubled of {sum(frames.sent.values())}")
    expect(all(len(where) == 1 for where in places.values()), "a key lies in two partitions")


@test(seconds=300)
def kafka_rekey(t: Test) -> None:
    """Live, through kills and stops, from 3 partitions to 5: what is counted behind it is exact. By
    detection, too; and in step of append time."""
    cluster = shared_kafka(t)
    cluster.create_topics(5)
    cluster.foreign("topics", lines=[
        {"name": name, "partitions": partitions,
         "settings": {"message.timestamp.type": "LogAppendTime"}}
        for name, partitions in ((FROM, 3), ("by_detection", 2))])
    server = t.server(*cluster.options())
    server.start()
    frames = Frames(t.seed, 3)
    cluster.foreign("write", lines=frames.messages(1_500))
    # What was never committed is not copied.
    lost = Frames(99, 3)
    cluster.foreign("write", lines=[{"transaction": "abort", "records": lost.messages(5)}])
    rekey = rekeyer(t, cluster, "--to", cluster.topic(TO))
    rekey.start()
    writing = threading.Thread(target=lambda: [
        cluster.foreign("write", lines=frames.messages(150)) for _ in range(10)])
    writing.start()
    draw = random.Random(t.seed)
    kills = 0
    while writing.is_alive():
        time.sleep(draw.uniform(0.3, 1.2))  # a life
        rekey.kill() if kills % 3 < 2 else rekey.stop()
        kills += 1
        rekey.start()
    writing.join()
    counted = sum(sum(items.values()) for items in frames.counts.values())
    ledger = server.wait_ledger(60, counted=counted)
    check_target(cluster, TO, frames, "video_camera_oid")
    wait_until(lambda: server.ledger()["malformed"] == sum(frames.broken.values()), 20,
               "what nobody can read is in the ledger")
    counts, _ = cluster.counts()
    expect_equal(counts, frames.counts, "counts behind rekey")
    expect_equal((ledger["too_late"], ledger["future"]), (0, 0), "too late and future")
    wait_until(lambda: rekey.metric("sightline_copy_lag") == 0, 20, "nothing is left")

    second = rekeyer(t, cluster, "--to", cluster.topic(TO), name="second")
    second.start()
    wait_until(lambda: not rekey.running, 30, "the first one ends")
    expect(rekey.process.returncode == 1 and "fenced" in rekey.log(),
           f"it says that it was fenced: {rekey.last_line()}")
    second.stop()
    check_target(cluster, TO, frames, "video_camera_oid")

    for again in (False, True):  # once it is done there is nothing to do
        done = t.run("rekey", *cluster.options(), "--from", cluster.topic(FROM), "--to", cluster.topic("by_detection"),
                     "--by", "detection_oid", "--until-end", "--listen", "127.0.0.1:0")
        expect_equal(done.returncode, 0, f"rekey --until-end: {done.stderr[-2000:]!r}")
        expect(not again or b" 0 records of" in done.stderr, f"copied again: {done.stderr!r}")
        check_target(cluster, "by_detection", frames, "detection_oid")
    check_order(cluster, frames)
    server.stop()
    rekey.expect_quiet_log(r" error kafka: ")
    t.note(f"{sum(frames.sent.values())} detections in {counted} ids, {kills} kills and stops")


def check_order(cluster: Kafka, frames: Frames) -> None:
    """What was copied from what lay there is in the order of append time."""
    times: dict[int, int] = {}
    once = {key for key, count in frames.sent.items() if count == 1}
    for record in cluster.read(FROM):
        try:
            for event in elements(record["value"]):
                times[event["detection_oid"]] = record["time"]
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    newest: dict[int, int] = {}
    for record in cluster.read("by_detection"):
        try:
            event = elements(record["value"])[0]
            is_once = (event["video_camera_oid"], event["detection_oid"]) in once
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if not is_once or event["detection_oid"] not in times:
            continue
        here, partition = times[event["detection_oid"]], record["partition"]
        expect(here >= newest.get(partition, 0), "it was not read in step of append time")
        newest[partition] = here


@test(seconds=200)
def kafka_rekey_refused(t: Test) -> None:
    """What cannot be rekeyed: a word that says what to do, and an end."""
    cluster = shared_kafka(t)
    cluster.foreign("topics", lines=[
        {"name": FROM, "partitions": 2, "settings": {"message.timestamp.type": "LogAppendTime"}},
        {"name": "compacted", "partitions": 2, "settings": {"cleanup.policy": "compact"}},
        {"name": "used", "partitions": 2, "settings": {"message.timestamp.type": "LogAppendTime"}},
        {"name": "create_time", "partitions": 2}])
    cluster.foreign("write", lines=[{"topic": "used", "partition": 0, "key": "1", "value": "x"},
                                    *Frames(1, 2).messages(50)])
    def rekeyed(to: str, *options: object, source: str = FROM):
        return t.run("rekey", *cluster.options(), "--from", cluster.topic(source), "--to", cluster.topic(to),
                     *options, "--listen", "127.0.0.1:0")

    for name, to, options, words in (
            ("no target", "nowhere", {}, (f"no topic '{cluster.topic('nowhere')}'", "topics apply")),
            ("no source", "used", {"source": "nowhere"}, (f"no topic '{cluster.topic('nowhere')}'", "--from")),
            ("itself", FROM, {}, ("itself",)),
            ("compacted", "compacted", {}, ("compacted", "cleanup.policy=delete")),
            ("with records", "used", {}, (f"'{cluster.topic('used')}' has records", "--start-at"))):
        with t.case(name):
            done = rekeyed(to, **options)
            expect_equal(done.returncode, 1, f"exit code: {done.stderr[-500:]!r}")
            for word in words:
                expect(word in done.stderr.decode(), f"no {word!r} in {done.stderr[-700:]!r}")
    for name, done, word in (
            ("no time", rekeyed("used", "--start-at", "soon"), "'soon' is not a time"),
            ("no brokers", t.run("rekey", "--from", FROM, "--to", "used"), "--kafka")):
        with t.case(name):
            expect_equal(done.returncode, 1, f"exit code: {done.stderr[-500:]!r}")
            expect(word in done.stderr.decode(), f"no {word!r} in {done.stderr[-700:]!r}")
    with t.case("into a used one"):
        done = rekeyed("used", "--start-at", "0", "--until-end")
        expect_equal(done.returncode, 0, f"exit code: {done.stderr[-500:]!r}")
    with t.case("something else"):
        done = rekeyed("used", "--by", "detection_oid", "--until-end")
        expect_equal(done.returncode, 1, "exit code")
        expect("rekey by camera" in done.stderr.decode(), f"{done.stderr[-700:]!r}")
    with t.case("senders' times"):
        done = rekeyed("create_time", "--until-end")
        expect_equal(done.returncode, 0, f"exit code: {done.stderr[-500:]!r}")
        expect("clock_unguarded" in done.stderr.decode(), f"{done.stderr[-700:]!r}")


@test(seconds=200)
def kafka_frames(t: Test) -> None:
    """`camera --kafka` with an event a message, and with a frame a message: the same is counted."""
    cluster = shared_kafka(t)
    forms = ("event", "frame")
    cluster.foreign("topics", lines=[
        {"name": form, "partitions": 3, "settings": {"message.timestamp.type": "LogAppendTime"}}
        for form in forms])
    end = _end_of_recording(_recording(t))
    said = {}
    for form in forms:
        server = t.server(*cluster.options(form, topic=form), "--kafka.publish", "false", "--pipeline.max_age", "off",
                          "--lake.enabled", "false", name=form)
        server.start()
        done = t.run("camera", "--replay", RECORDING, "--speed", "max", "--kafka", cluster.addresses,
                     "--kafka.topic", cluster.topic(form), "--kafka.message", form, "--spool",
                     t.folder / f"{form}-spool")
        expect_equal(done.returncode, 0, f"camera: {done.stderr[-500:]!r}")
        server.wait_ledger(30, counted=PERSONS, received=LINES)
        top = server.top(at=end)
        said[form] = (server.ledger(), [(row["item"], row["count"]) for row in top["rows"]])
        server.stop()
    expect_equal(said["frame"], said["event"], "what is counted of frames")
    messages: dict[str, int] = Counter()
    for record in cluster.read(*forms):
        messages[record["topic"]] += 1
        seen = {(str(e["video_camera_oid"]), e["timestamp_detected"])
                for e in elements(record["value"])}
        expect_equal(len(seen), 1, "cameras and moments of a message")
        expect_equal(seen.pop()[0], record["key"], "its key")
    expect_equal(messages["event"], LINES, "a message an event")
    expect(messages["frame"] < LINES // 2, f"{messages['frame']} frames of {LINES} events")
    t.note(f"{LINES} events in {messages['frame']} frames")
