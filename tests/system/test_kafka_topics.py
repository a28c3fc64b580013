"""`sightline topics plan|apply|check|acls` against real brokers."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter

from brokers import PYTHON, TOPICS, Cluster, Kafka, shared_kafka
from events import Traffic, deliver
from registry import test
from server import ROOT, Test, expect, expect_equal, free_port, wait_until
from test_kafka import kafka_server

RAW, COUNTS = "raw_camera_events", "located_item_counts"
OUTPUTS = {COUNTS, "dead_letters", "late_detections", "monitoring", "alerts"}
NOTHING, DIFFERS, FAILED = 0, 2, 1


class Topics:
    """`sightline topics` on a cluster."""

    def __init__(self, t: Test, cluster: Kafka):
        self.t, self.cluster = t, cluster

    def run(self, *words: object, code: int) -> tuple[list[dict], str]:
        """The rows of the JSON answer, and what it says beside."""
        done = self.t.run("topics", *words, *self.cluster.options(), "--format", "json")
        said = done.stderr.decode()
        expect_equal(done.returncode, code, f"exit code of topics {words}: {done.stdout!r} {said!r}")
        rows = json.loads(done.stdout) if done.stdout else []
        for row in rows:
            row["topic"] = row["topic"].removeprefix(self.cluster.prefix)
        return rows, said

    def findings(self, *words: object) -> set[tuple[str, str]]:
        rows, _ = self.run("check", *words, code=FAILED)
        return {(row["topic"], row["setting"]) for row in rows}


def described(cluster: Kafka, topic: str) -> str:
    return cluster.tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server",
                        cluster.addresses, "--describe", "--topic", cluster.topic(topic))


@test(seconds=240)
def topics_apply(t: Test) -> None:
    """A new cluster: plan, apply, nothing to do; drift is found and repaired; nothing is lowered
    without --yes; `up` counts with what apply has made."""
    cluster = shared_kafka(t)
    topics = Topics(t, cluster)
    rows, said = topics.run("plan", "--kafka.partitions", 3, code=DIFFERS)
    expect_equal({(row["topic"], row["action"]) for row in rows},
                 {(name, "make") for name in {RAW, *OUTPUTS}}, "the plan of a new cluster")
    expect("6 differences" in said, said)
    topics.run("plan", "--kafka.partitions", 3, code=DIFFERS)  # nothing was made
    rows, _ = topics.run("apply", "--kafka.partitions", 3, code=0)
    expect_equal({row["note"] for row in rows}, {"done"}, "what apply says")
    for words in (("plan",), ("apply",), ("plan", "--kafka.partitions", 3)):
        rows, said = topics.run(*words, code=NOTHING)
        expect_equal((rows, said), ([], "nothing to do\n"), f"{words}")
    raw = described(cluster, RAW)
    for wanted in ("PartitionCount: 3", "ReplicationFactor: 1", "cleanup.policy=delete",
                   "retention.ms=691200000", "retention.bytes=10737418240", "min.insync.replicas=1",
                   "message.timestamp.type=LogAppendTime", "unclean.leader.election.enable=false"):
        expect(wanted in raw, f"{RAW} has no {wanted}: {raw}")
    counts = described(cluster, COUNTS)
    for wanted in ("PartitionCount: 3", "cleanup.policy=compact,delete", "retention.ms=2592000000",
                   "message.timestamp.type=LogAppendTime"):
        expect(wanted in counts, f"{COUNTS} has no {wanted}: {counts}")

    with t.case("drift"):
        cluster.alter_topic(RAW, message_timestamp_type="CreateTime", retention_ms=60_000,
                            cleanup_policy="delete,compact", max_message_bytes=100_000)
        cluster.alter_topic(COUNTS, cleanup_policy="compact")
        rows, _ = topics.run("plan", code=DIFFERS)
        expect_equal({(r["topic"], r["setting"], r["action"], r["now"], r["wanted"]) for r in rows},
                     {(RAW, "message.timestamp.type", "change", "CreateTime", "LogAppendTime"),
                      (RAW, "retention.ms", "change", "60000", "691200000"),
                      (RAW, "cleanup.policy", "change", "delete,compact", "delete"),
                      (RAW, "max.message.bytes", "change", "100000", "2097152"),
                      (COUNTS, "cleanup.policy", "lower", "compact", "compact,delete")}, "drift")
        # What was kept for ever is not given up without a word.
        rows, said = topics.run("apply", code=FAILED)
        expect("1 of 5 differences are left" in said, said)
        expect(any(r["topic"] == COUNTS and "--yes" in r["note"] for r in rows), f"{rows}")
        rows, _ = topics.run("plan", code=DIFFERS)
        expect_equal([(r["topic"], r["action"]) for r in rows], [(COUNTS, "lower")], "what is left")
        topics.run("apply", "--yes", code=0)
        topics.run("plan", code=NOTHING)

    with t.case("lowering"):
        shorter = ("--kafka.raw_retention", "2d", "--kafka.raw_retention_size", "1GiB")
        rows, _ = topics.run("apply", *shorter, code=FAILED)
        expect_equal({(r["setting"], r["action"]) for r in rows},
                     {("retention.ms", "lower"), ("retention.bytes", "lower")}, "lowered")
        expect("retention.ms=691200000" in described(cluster, RAW), "it is lowered without --yes")
        topics.run("apply", *shorter, "--yes", code=0)
        expect("retention.ms=172800000" in described(cluster, RAW), "--yes does not lower")
        topics.run("apply", code=0)  # more is never asked for
        topics.run("plan", code=NOTHING)
        rows, _ = topics.run("plan", "--kafka.raw_retention", "0", code=DIFFERS)
        expect_equal([(r["action"], r["wanted"]) for r in rows], [("change", "-1")], "for ever")

    with t.case("partitions"):
        for words in (("apply",), ("apply", "--yes")):
            rows, _ = topics.run(*words, "--kafka.partitions", 8, code=FAILED)
            expect_equal([(r["action"], r["setting"]) for r in rows], [("by hand", "partitions")],
                         "more partitions")
            expect("new topic and hand over" in rows[0]["note"], rows[0]["note"])
        expect("PartitionCount: 3" in described(cluster, RAW), "partitions were added")

    with t.case("steps"):
        rows, _ = topics.run("apply", "--steps", code=0)
        expect_equal({r["topic"] for r in rows}, {"item_counts", "lake_rows"},
                     "topics between steps")
        topics.run("plan", "--steps", code=NOTHING)

    with t.case("a config file, and a table"):
        config = t.folder / "sightline.toml"
        mine = cluster.topic("my_counts")
        names = {**TOPICS, "counts_topic": "my_counts"}
        config.write_text(f"[kafka]\nbrokers = '{cluster.addresses}'\n" + "".join(
            f"{option} = '{cluster.topic(name)}'\n" for option, name in names.items()))
        done = t.run("topics", "plan", "--config", config)
        expect_equal(done.returncode, DIFFERS, f"{done.stderr!r}")
        expect(mine.encode() in done.stdout and b"make" in done.stdout, f"{done.stdout!r}")
        done = t.run("topics", "plan", "--kafka", *cluster.options()[1:], "--format", "json")
        expect_equal((done.returncode, json.loads(done.stdout)), (NOTHING, []), f"{done.stderr!r}")

    server = kafka_server(t, cluster)
    server.start()
    traffic = Traffic(0, trouble=False)
    deliver(server, traffic, 100)
    traffic.oracle.check(server, repeated=False)
    server.stop()
    # An element of a mebibyte goes the whole way; a larger one is refused at the door, not for ever.
    server.start()
    wide = {"geographical_location_oid": 1, "video_camera_oid": 1, "detection_oid": 1,
            "item_name": "bus", "timestamp_detected": int(time.time() * 1000), "note": ""}
    wide["note"] = "n" * ((1 << 20) - len(json.dumps(wide)))
    expect_equal(len(json.dumps(wide)), 1 << 20, "its length")
    server.post_ok(json.dumps(wide).encode())
    server.wait_ledger(counted=traffic.oracle.distinct + 1)
    server.stop()


@test(seconds=240)
def topics_check(t: Test) -> None:
    """Each planted bad setting is found, and so are cameras in two partitions; good topics are good."""
    cluster = Cluster(t, brokers=3)
    topics = Topics(t, cluster)
    topics.run("apply", "--kafka.partitions", 2, code=0)
    raw = described(cluster, RAW)
    expect("ReplicationFactor: 3" in raw and "min.insync.replicas=2" in raw, raw)
    rows, said = topics.run("check", code=0)
    expect_equal(rows, [], "findings in what apply has made")
    expect("only a sample" in said, said)

    def event(oid: int, camera: int) -> str:
        return json.dumps({"geographical_location_oid": 1, "video_camera_oid": camera,
                           "detection_oid": oid, "item_name": "bus",
                           "timestamp_detected": int(time.time() * 1000)})

    one_each = [{"topic": RAW, "partition": n % 2, "key": str(n), "value": event(n, camera=n)}
                for n in range(40)]
    cluster.foreign("write", lines=[*one_each, {"topic": RAW, "partition": 0, "key": None,
                                                "value": "broken"}])
    rows, said = topics.run("check", code=0)
    expect("41 records, 40 cameras" in said, said)

    planted = ((RAW, "message_timestamp_type", "CreateTime"), (RAW, "cleanup_policy", "compact"),
               (RAW, "retention_ms", 3_600_000), (RAW, "retention_ms", 86_400_000),
               (RAW, "min_insync_replicas", 1), (RAW, "min_insync_replicas", 4),
               (COUNTS, "unclean_leader_election_enable", "true"), (RAW, "max_message_bytes", 1_000_000),
               ("dead_letters", "max_message_bytes", 2_000_000), (COUNTS, "retention_ms", 86_400_000),
               (COUNTS, "retention_bytes", 1_000_000))
    for topic, setting, value in planted:
        with t.case(f"{topic} {setting}={value}"):
            cluster.alter_topic(topic, **{setting: value})
            expect_equal(topics.findings(), {(topic, setting.replace("_", "."))}, "findings")
            topics.run("apply", "--yes", code=0)
    with t.case("a longer horizon than the retention"):
        expect_equal(topics.findings("--pipeline.max_age", "off", "--pipeline.dedup_horizon", "30d"),
                     {(RAW, "retention.ms")}, "findings")
    topics.run("check", code=0)
    with t.case("one replica, too few partitions"):
        cluster.foreign("topics", lines=[{"name": "thin", "partitions": 1, "replication": 1,
                                           "settings": {"cleanup.policy": "compact"}}])
        rows, _ = topics.run("check", "--kafka.counts_topic", "thin", code=FAILED)
        found = {r["setting"] for r in rows if r["topic"] == "thin"}
        expect({"replication", "partitions", "max.message.bytes"} <= found, f"{rows}")
        rows, _ = topics.run("plan", "--kafka.counts_topic", "thin", code=DIFFERS)
        expect_equal({(r["setting"], r["action"]) for r in rows if r["action"] == "by hand"},
                     {("replication", "by hand"), ("partitions", "by hand")}, "by hand")
    with t.case("no such topic"):
        rows, _ = topics.run("check", "--kafka.dead_letters_topic", "nowhere", code=FAILED)
        expect_equal([(r["topic"], "does not exist" in r["finding"]) for r in rows], [("nowhere", True)],
                     "findings")
    with t.case("a camera in two partitions"):
        cluster.foreign("write", lines=[
            {"topic": RAW, "partition": 1, "key": "x", "value": f"[{event(100, 3)}, {event(101, 2)}]"}])
        rows, said = topics.run("check", code=FAILED)
        expect_equal([(r["setting"], r["value"]) for r in rows],
                     [("cameras in several partitions", "1")], "findings")
        expect("camera 2 in 0 and 1" in rows[0]["finding"], rows[0]["finding"])
        # A sample that does not reach it does not know.
        rows, said = topics.run("check", "--sample", 5, code=0)
        expect("the newest 5 records" in said, said)
    with t.case("a broker away"):
        begin = time.monotonic()
        done = t.run("topics", "check", "--kafka.brokers", f"127.0.0.1:{free_port()}", "--timeout", "2s")
        expect_equal(done.returncode, FAILED, "exit code")
        expect(b"no answer within 2000 ms" in done.stderr and b"refused" in done.stderr,
               f"{done.stderr!r}")
        expect(time.monotonic() - begin < 6, f"it took {time.monotonic() - begin:.1f} s")
    with t.case("too many replicas"):
        _, said = topics.run("plan", "--kafka.replication", 5, code=FAILED)
        expect("5" in said and "3 brokers" in said, said)


def blocks() -> dict[str, str]:
    """The code blocks of docs/KAFKA.md, by what stands behind their backticks."""
    text = (ROOT / "docs" / "KAFKA.md").read_text()
    return dict(re.findall(r"^```([a-z]+ [a-z-]+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def run_block(t: Test, block: str, before: str, after: str = "") -> str:
    """As it stands, between lines of ours."""
    done = subprocess.run([PYTHON, "-B", "-"], input=f"{before}\n{block}\n{after}\n", text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    expect_equal(done.returncode, 0, f"a block of docs/KAFKA.md: {done.stderr[-2000:]}")
    return done.stdout


def fields(value: object) -> object:
    """The names in JSON, in order, and what kinds of values they have."""
    if isinstance(value, dict):
        return [(name, fields(part)) for name, part in value.items()]
    return "number" if isinstance(value, int) else type(value).__name__


@test(seconds=200)
def kafka_document(t: Test) -> None:
    """docs/KAFKA.md: its Python runs as it stands and finds what was sent, its examples have the
    fields of what is in the topics, in their order."""
    cluster = Cluster(t)
    topics = Topics(t, cluster)
    topics.run("apply", "--kafka.partitions", 4, code=0)
    locations = t.folder / "locations.csv"
    locations.write_text("geographical_location_oid,geographical_location\n7001,Harbour\n")
    server = kafka_server(t, cluster, "--locations", locations)
    server.start()
    traffic = Traffic(0)
    for _ in range(5):
        deliver(server, traffic, 100)
    wanted = {(location, item): count for location, items in traffic.oracle.counts.items()
              for item, count in items.items()}
    # Of cameras that post by HTTP, too.
    cameras = sorted({int(r["key"]) for r in cluster.read(RAW) if r["key"] is not None})
    expect(len(cameras) > 3, f"cameras: {cameras}")
    now = int(time.time() * 1000)
    detections = [{"geographical_location_oid": 7001, "video_camera_oid": camera,
                   "detection_oid": 10**12 + n, "item_name": "zeppelin", "timestamp_detected": now}
                  for n, camera in enumerate(cameras * 5)]
    code = blocks()
    run_block(t, code["python producer"],
              f"brokers = {cluster.addresses!r}\ndetections = {detections!r}")
    wanted[7001, "zeppelin"] = len(detections)
    ledger = server.wait_ledger(counted=sum(wanted.values()))
    wait_until(lambda: cluster.counts()[1] == ledger, 30, "the topics have everything")
    told = run_block(t, code["python reader"], f"brokers = {cluster.addresses!r}",
                     "print(json.dumps([[*cell, n] for cell, n in counts.items()]))")
    expect_equal({(location, item): n for location, item, n in json.loads(told)}, wanted,
                 "what the reader of docs/KAFKA.md finds")
    rows, _ = topics.run("check", code=FAILED)
    expect_equal(Counter(row["setting"] for row in rows), Counter({"replication": 6}),
                 "findings: no camera is in two partitions, whoever sent")

    examples = {name: json.loads(text) for name, text in code.items() if name.startswith("json")}
    counts = [(json.loads(r["key"].encode("latin-1")), json.loads(r["value"].encode("latin-1")))
              for r in cluster.read(COUNTS)]
    named = [pair for pair in counts if pair[1].get("geographical_location") == "Harbour"]
    progress = [pair for pair in counts if "ledger" in pair[1]]
    camera = [pair for pair in counts if pair[1].get("video_camera_oid") is not None]
    dead: list[dict] = []
    # The broker ends a transaction in one partition after the other.
    wait_until(lambda: dead.extend(cluster.read("dead_letters")) or dead, 10, "the dead letters are there")
    for name, real in (("json count-key", named[-1][0]), ("json count-value", named[-1][1]),
                       ("json ledger-key", camera[-1][0]), ("json ledger-value", camera[-1][1]),
                       ("json progress-key", progress[-1][0]),
                       ("json progress-value", progress[-1][1]),
                       ("json aside-key", json.loads(dead[0]["key"]))):
        expect_equal(fields(examples.pop(name)), fields(real), f"fields of {name}")
    expect_equal(examples, {}, "examples that are not compared")
    balance = {**json.loads(code["json progress-value"])["ledger"]}
    expect_equal(sum(balance[o] for o in ("counted", "duplicate", "too_late", "future", "malformed",
                                          "outside")), balance["received"], "the example's ledger")
    expect_equal(set(dead[0]["headers"]), {"sightline.schema_version", "sightline.outcome",
                                           "sightline.reason", "sightline.append_time"}, "headers")
    server.stop()
