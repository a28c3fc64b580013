"""`sightline doctor`: it finds the trouble that is planted in an input, and what it writes makes the counts right.

Each input is counted twice, without the configuration and with it: the first time the counts are wrong."""

from __future__ import annotations

import csv
import gzip
import http.server
import io
import json
import threading
import zoneinfo
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone

from askers import ask, rows_of
from brokers import shared_kafka
from hostile_sql import body_of
from registry import test
from server import Server, Test, expect, expect_equal, lines, now_ms
from test_kafka import kafka_server

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NO_TROUBLE, TROUBLE = 0, 3
Counts = dict[tuple[int, str, int], int]  # (location, item, minute) -> n


@dataclass
class Input:
    """What is sent, and what a person would count in it."""
    subject: str  # of the finding
    setting: str  # that it writes: `key = "value"`
    base: int  # ms, a whole minute
    found: int = TROUBLE
    without: tuple[str, ...] = ()  # the options of the server that nobody has told
    said_by_hand: str = ""  # the value of a setting that only a person knows
    events: list[dict] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)

    def add(self, oid: object, at: int, camera: int = 1, item: str = "car", counts: bool = True, time: object = None,
            counted_as: str | None = None) -> None:
        """A detection `at` ms after the base; `time` is how it is written, ms if it is not given."""
        ms = self.base + at
        self.events.append({"geographical_location_oid": 7, "video_camera_oid": camera, "detection_oid": oid,
                            "item_name": item, "timestamp_detected": ms if time is None else time})
        if counts:
            self.counts[7, counted_as or item, ms // MINUTE * MINUTE] += 1

    @property
    def body(self) -> bytes:
        return lines(self.events)


def base_hours_ago(hours: int) -> int:
    return (now_ms() - hours * HOUR) // MINUTE * MINUTE


def seconds_with_fraction() -> Input:
    made = Input("timestamp_unit", 'timestamp_unit = "s"', base_hours_ago(2))
    for i in range(50):
        made.add(i, i * SECOND + 250, time=(made.base + i * SECOND + 250) / 1000)
    return made


def microseconds() -> Input:
    made = Input("timestamp_unit", 'timestamp_unit = "us"', base_hours_ago(2))
    for i in range(50):
        made.add(i, i * SECOND, time=(made.base + i * SECOND) * 1000)
    return made


def ids_of_each_camera() -> Input:
    made = Input("identity", 'identity = "camera_and_detection"', base_hours_ago(2))
    for i in range(50):
        for camera in (1, 2, 3):
            made.add(i, i * SECOND, camera, "car" if (i + camera) % 2 else "bus")
    return made


def trackers_begin_again() -> Input:
    """Every half hour; and each detection is in two frames."""
    made = Input("restarted_ids", "dedup_horizon = ", base_hours_ago(4))
    for i in range(180):
        item = "car" if i // 30 % 2 else "bus"
        made.add(i % 30, i * MINUTE, item=item)
        made.add(i % 30, i * MINUTE + 2 * SECOND, item=item, counts=False)
    return made


def seen_again_after_hours() -> Input:
    made = Input("dedup_horizon", 'dedup_horizon = "8h"', base_hours_ago(6))
    for i in range(301):
        made.add(i, i * MINUTE)
    made.add(60, 301 * MINUTE, counts=False)
    return made


def camera_was_offline() -> Input:
    made = Input("dedup_horizon", 'dedup_horizon = "8h"', base_hours_ago(6))
    for i in range(61):
        made.add(i, 3 * HOUR + i * MINUTE)
    for i in range(61):
        made.add(100 + i, i * MINUTE)
    return made


def names_in_two_forms() -> Input:
    made = Input("item_names", 'item_names = "nfc"', base_hours_ago(2))
    for i in range(10):
        made.add(i, i * SECOND, item="caf\u00e9" if i % 2 else "cafe\u0301", counted_as="caf\u00e9")
    return made


def times_without_a_zone() -> Input:
    made = Input("timestamp_zone", "# timestamp_zone = ", base_hours_ago(12), said_by_hand="Europe/Berlin")
    for i in range(10):
        moment = datetime.fromtimestamp((made.base + i * SECOND) / 1000, timezone.utc)
        berlin = moment.astimezone(zoneinfo.ZoneInfo("Europe/Berlin"))
        made.add(i, i * SECOND, time=berlin.strftime("%Y-%m-%d %H:%M:%S"))
    return made


def text_ids() -> Input:
    made = Input("detection_ids", 'detection_ids = "any"', base_hours_ago(2), found=NO_TROUBLE,
                 without=("--pipeline.detection_ids", "integer"))
    for i in range(10):
        made.add(f"track-{i}", i * SECOND)
        made.add(f"track-{i}", i * SECOND, counts=False)
    return made


def old_file() -> Input:
    made = Input("max_age", 'max_age = "off"', base_hours_ago(30 * 24), found=NO_TROUBLE)
    for i in range(10):
        made.add(i, i * SECOND)
    return made


POSTED = (seconds_with_fraction, microseconds, ids_of_each_camera, trackers_begin_again, seen_again_after_hours,
          camera_was_offline, names_in_two_forms, times_without_a_zone, text_ids, old_file)


def clock_jumps() -> Input:
    """One time of 2099. A server would know by its append time; a file has none."""
    made = Input("camera_clock", 'watermark_step = "bounded"', base_hours_ago(2))
    for i in range(50):
        made.add(i, i * SECOND)
    made.add(99, 73 * 365 * DAY)
    for i in range(50, 98):
        made.add(i, i * SECOND)
    return made


def diagnose(t: Test, *arguments: object, code: int) -> dict:
    done = t.run("doctor", *arguments, "--format", "json")
    expect_equal(done.returncode, code, f"doctor {arguments}: {done.stdout.decode()[-2000:]}{done.stderr.decode()}")
    return json.loads(done.stdout)


def finding(said: dict, subject: str) -> dict:
    found = [one for one in said["findings"] if one["subject"] == subject]
    expect(found, f"no {subject} in {[one['subject'] for one in said['findings']]}")
    return found[0]


def examine(t: Test, made: Input, name: str) -> str:
    """What the doctor says of the input, and the configuration that it writes: its path."""
    path, config = t.folder / f"{name}.json", t.folder / f"{name}.toml"
    path.write_bytes(made.body)
    said = diagnose(t, path, "--write", config, code=made.found)
    expect_equal(finding(said, made.subject)["severity"], "trouble" if made.found == TROUBLE else "note",
                 f"severity of {made.subject}")
    text = config.read_text()
    expect_equal(text, said["config"], "what is written and what is told")
    expect("\n" + made.setting in text, f"no {made.setting} in {text}")
    if made.said_by_hand:
        key = made.setting.removeprefix("# ")
        at = text.index(made.setting)
        end = text.index("\n", at)
        config.write_text(f'{text[:at]}{key}"{made.said_by_hand}"{text[end:]}')
    return str(config)


def counted(server: Server, made: Input) -> Counter:
    server.start()
    server.post(made.body)
    server.wait_ledger(received=len(made.events))
    sql = ("SELECT geographical_location_oid, item_name, epoch_ms(window_start) AS ms, sum(item_count)::BIGINT AS n "
           "FROM item_counts GROUP BY ALL")
    rows = rows_of(ask(server, body_of(sql), 30), sql)
    server.stop()
    return Counter({(int(row["geographical_location_oid"]), row["item_name"], int(row["ms"])): int(row["n"])
                    for row in rows})


@test(seconds=240)
def doctor(t: Test) -> None:
    """Ten inputs that are posted to a server."""
    for make in POSTED:
        with t.case(make.__name__):
            made = make()
            config = examine(t, made, make.__name__)
            wrong = counted(t.server(*made.without, name=f"{make.__name__}-without"), made)
            expect(wrong != made.counts, "the counts are right without the configuration, too")
            right = counted(t.server("--config", config, name=f"{make.__name__}-with"), made)
            expect_equal(right, made.counts, "the counts with the configuration")


@test()
def doctor_file(t: Test) -> None:
    """An input that `replay` counts; troubles that no setting repairs; what is written, and what is refused."""
    made = clock_jumps()
    examine(t, made, "jumps")

    def replayed(*options: str) -> Counter:
        done = t.run("replay", t.folder / "jumps.json", *options)
        rows = csv.DictReader(io.StringIO(done.stdout.decode()))
        return Counter({(int(row["geographical_location_oid"]), row["item_name"], int(row["window_start"])):
                        int(row["item_count"]) for row in rows})

    expect(replayed("--watermark-step", "free") != made.counts, "the counts are right without the setting, too")
    expect_equal(replayed("--watermark-step", "bounded"), made.counts, "the counts with the setting")

    good = base_hours_ago(1)
    event = {"geographical_location_oid": 7, "camera_id": 1, "detection_oid": 1, "item_name": "car",
             "timestamp_detected": good}
    bad = t.folder / "bad"
    for name, body, subject, words in (
            ("another name", lines([event]), "malformed.missing_field", "`camera_id` in 1 of them may be meant"),
            ("a table", b"video_camera_oid,item_name\n1,car\n", "malformed.csv", "a JSON object for each line"),
            ("UTF-16", json.dumps(event).encode("utf-16"), "malformed.utf_16", "iconv"),
            ("damaged", b'{"video_camera_oid":\n', "malformed.not_json", "must write JSON")):
        with t.case(name):
            bad.write_bytes(body)
            expect(words in finding(diagnose(t, bad, code=TROUBLE), subject)["follows"], f"{subject} says {words}")

    config = t.folder / "jumps.toml"
    before = config.read_text()
    done = t.run("doctor", bad, "--write", config)
    expect_equal((done.returncode, b"--force replaces it" in done.stderr, config.read_text()), (1, True, before),
                 "a file that is there")
    done = t.run("doctor", bad, "--write", config, "--force")
    expect_equal((done.returncode, config.read_text() != before), (TROUBLE, True), "with --force")
    expect(f"wrote {config}".encode() in done.stdout, f"it says what it wrote: {done.stdout!r}")
    done = t.run("doctor", "-", input=made.body)
    expect_equal((done.returncode, b'watermark_step = "bounded"' in done.stdout), (TROUBLE, True), "standard input")
    done = t.run("doctor", "nowhere.ndjson")
    expect_equal((done.returncode, b"cannot read 'nowhere.ndjson'" in done.stderr), (1, True), "no such file")
    (t.folder / "empty").touch()
    expect_equal(t.run("doctor", "empty").returncode, 1, "an empty file")


@test()
def doctor_url(t: Test) -> None:
    """A file on a web server, and a running Sightline server, which is asked what it knows."""
    made = ids_of_each_camera()
    body = gzip.compress(made.body)

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/day.ndjson.gz"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(body if known else b"")

        def log_message(self, *_: object) -> None:
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    t.at_end.append(web.server_close)
    t.at_end.append(web.shutdown)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{web.server_port}"
    said = diagnose(t, f"{root}/day.ndjson.gz", code=TROUBLE)
    expect_equal(finding(said, "identity")["settings"], {"pipeline.identity": "camera_and_detection"}, "its setting")
    done = t.run("doctor", f"{root}/nothing")
    expect_equal((done.returncode, b"answers 404" in done.stderr), (1, True), f"no such page: {done.stderr!r}")
    done = t.run("doctor", root)
    expect_equal((done.returncode, b"answers 404" in done.stderr), (1, True), f"no Sightline server: {done.stderr!r}")

    server = t.server()
    server.start()
    said = diagnose(t, f"http://127.0.0.1:{server.port}/", code=NO_TROUBLE)
    expect_equal(said["findings"], [], "of a server that has nothing")
    server.post_ok(made.body)
    server.wait_ledger(received=len(made.events))
    said = diagnose(t, f"http://127.0.0.1:{server.port}", code=TROUBLE)
    conflicts = finding(said, "conflicts")
    # Of the three cameras, 1 and 3 are in one partition.
    expect("of 150 received events, 50 are `conflicts`: camera 3 50" in conflicts["seen"],
           conflicts["seen"])
    expect("pipeline.identity = camera_and_detection" in conflicts["follows"], conflicts["follows"])
    expect_equal(said["config"], "", "the configuration of a server that has one")
    done = t.run("doctor", f"http://127.0.0.1:{server.port}", "--write", "server.toml")
    expect_equal((done.returncode, b"keeps its settings" in done.stderr), (1, True), f"--write: {done.stderr!r}")


@test(seconds=240)
def kafka_doctor(t: Test) -> None:
    """A topic with one camera's clock 5 minutes ahead, which the configuration allows for; and one whose copies reach
    other partitions."""
    cluster = shared_kafka(t)
    cluster.create_topics(4)
    topic = cluster.topic("raw_camera_events")

    def write(name: str, key: str, *options: str, sends: int = 1) -> Counter:
        """Ten detections of each of four cameras; their `key` may name a field."""
        counts: Counter = Counter()
        text = b""
        for i in range(40):
            camera = i % 4
            event = {"geographical_location_oid": 7, "video_camera_oid": camera, "detection_oid": 1_000 + i,
                     "item_name": "car", "timestamp_detected": now_ms() + (5 * MINUTE if camera == 2 else 0)}
            counts["car"] += 1
            text += sends * f"{event.get(key, key)}\t{json.dumps(event)}\n".encode()
        cluster.kcat("-P", "-t", name, "-K", "\t", "-X", "acks=all", *options, stdin=text)
        return counts

    counts = write(topic, "video_camera_oid", "-X", "partitioner=murmur2_random")
    config = t.folder / "sightline.toml"
    common = ("--kafka", cluster.addresses, "--kafka.deployment", "north")
    said = diagnose(t, topic, *common, "--write", config, code=TROUBLE)
    expect("camera 2 by 5m" in finding(said, "camera_clock")["seen"], finding(said, "camera_clock")["seen"])
    expect("All copies of a detection reach the same partition" in finding(said, "keys")["follows"], "its keys")
    text = config.read_text()
    for line in (f'topic = "{topic}"', 'deployment = "north"', 'future_tolerance = "8m"'):
        expect(line in text, f"no {line} in {text}")
    server = kafka_server(t, cluster, "--config", config)
    server.start()
    server.wait_ledger(60, received=40, counted=40, future=0)
    expect_equal(cluster.counts()[0], {7: counts}, "the counts")
    server.stop()

    cluster.create_topic("split", 4, message_timestamp_type="CreateTime")
    split = cluster.topic("split")
    write(split, "detection_oid", sends=2)
    for partition in range(4):
        write(split, "none", "-p", str(partition))
    said = diagnose(t, split, *common, code=TROUBLE)
    keys = finding(said, "keys")
    expect_equal(keys["severity"], "trouble", f"severity of the keys: {keys['seen']}")
    expect(f"sightline rekey --from {split}" in keys["follows"], keys["follows"])
    expect("CreateTime" in finding(said, "append_time")["seen"], "it says that there are no append times")
    expect('watermark_step = "bounded"' in said["config"], said["config"])
    done = t.run("doctor", cluster.topic("nowhere"), *common)
    expect_equal((done.returncode, b"there is no topic" in done.stderr), (1, True), f"no such topic: {done.stderr!r}")
