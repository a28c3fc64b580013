"""Retention that overtakes counting: what is lost is in the ledger, once, whatever dies, and told."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time

from brokers import Kafka, shared_kafka
from registry import test
from server import Server, Test, expect, expect_equal, lines, now_ms, start_all, stop_all, wait_until
from test_lake import PYTHON, SUM, ask, command
from test_monitor import QUICK, active, event, states

LOST_IN_LAKE = "SELECT coalesce(sum(lost), 0)::BIGINT AS n FROM ledger"
GAPS_IN_LAKE = ("SELECT source_partition AS p, first_offset AS first, next_offset AS next, lost "
                "FROM ledger WHERE lost > 0 ORDER BY ALL")
DELTALAKE = """import sys
from deltalake import DeltaTable, QueryBuilder
rows = QueryBuilder().register("ledger", DeltaTable(sys.argv[1] + "/ledger")).execute(
    "SELECT sum(lost) AS lost, sum(counted) AS counted FROM ledger").read_all()
print(*(rows.column(name).to_pylist()[0] for name in ("lost", "counted")))
"""


def process(t: Test, cluster: Kafka, kind: str, number: int, *options: object) -> Server:
    topics = {"counts_topic": "item_counts"} if kind == "count" else {}
    server = t.server(*cluster.options(**topics), "--kafka.session_timeout", "6s",
                      "--kafka.group_interval", "2s", *options, name=f"{kind}{number}")
    server.command = kind
    return server


def check_lake(t: Test, lake: object, lost: int, counted: int) -> None:
    rows = command(t, "lake", "verify", "--lake", lake)
    said = [row["what"] for row in rows if row["object"] == "lost"]
    expect_equal(said, [f"{lost} offsets are lost here: retention had removed them, or the lake was switched off"],
                 f"what verify says of {lake}")
    done = subprocess.run([PYTHON, "-B", "-c", DELTALAKE, str(lake)], capture_output=True, text=True,
                          timeout=60)
    expect_equal(done.stdout.split(), [str(lost), str(counted)], f"deltalake: {done.stderr[-500:]}")


@test(seconds=400)
def kafka_gap(t: Test) -> None:
    """DeleteRecords overtakes two stopped `count` processes, which are killed while they go on, and
    then one that sleeps. Page, topics, steps and lakes say the same: counted and lost is what was
    sent, verify is clean, and the alert says which offsets."""
    draw = random.Random(21)
    cluster = shared_kafka(t)
    cluster.foreign("topics", lines=[
        {"name": "raw_camera_events", "partitions": 2,
         "settings": {"message.timestamp.type": "LogAppendTime"}},
        *({"name": name, "partitions": 2} for name in (
            "item_counts", "located_item_counts", "lake_rows", "dead_letters", "late_detections")),
        *({"name": name, "partitions": 1} for name in ("monitoring", "alerts"))])
    lake, direct = t.folder / "lake", t.folder / "lake-direct"
    counters = [process(t, cluster, "count", n, *QUICK,
                        "--engine.checkpoint_uri", t.folder / "checkpoints",
                        "--engine.checkpoint_interval", "200ms", "--engine.on_gap", "count",
                        "--lake.dir", direct, "--lake.roll_interval", "200ms") for n in (1, 2)]
    steps = [process(t, cluster, "join", 1), process(t, cluster, "transform", 1),
             process(t, cluster, "store", 1, "--lake.dir", lake, "--lake.roll_interval", "200ms")]
    page = t.serve(*cluster.options(), "--lake.dir", lake)
    for server in (*counters, *steps, page):
        server.launch()
    for server in (*counters, *steps, page):
        wait_until(lambda: server.answers() and server.healthy(), 60, f"{server.name} is well")
    wait_until(lambda: [c.metric("sightline_count_partitions") for c in counters] == [1, 1], 30,
               "each has one partition")
    sent = [0, 0]

    def send(partition: int, count: int, delete_until: int | None = None) -> None:
        wanted: list[dict] = [{"topic": "raw_camera_events", "partition": partition, "key": "1",
                               "value": json.dumps(event(1, 7001))} for _ in range(count)]
        sent[partition] += count
        if delete_until is not None:
            wanted.append({"delete": "raw_camera_events", "partition": partition,
                           "offset": delete_until})
        cluster.foreign("write", lines=wanted)

    for partition in (0, 1):
        send(partition, 100)
    page.wait_ledger(counted=200, lost=0)
    wait_until(lambda: sum(c.metric("sightline_engine_checkpoint_offset") for c in counters) == 200, 30, "checkpoints")

    for counter in counters:
        counter.kill()
    send(0, 60, delete_until=150)
    send(1, 40)
    for counter in counters:
        counter.launch()
    for _ in range(6):  # some of them while the gap is recorded
        time.sleep(draw.uniform(0.3, 2))
        victim = draw.choice(counters)
        victim.kill()
        victim.launch()
    page.wait_ledger(60, lost=50, counted=250)
    for counter in counters:
        wait_until(lambda: counter.answers() and counter.healthy(), 30,
                   f"{counter.name}: counting on is well, though degraded")
    wait_until(lambda: any(("records_lost", "partition 0") in active(c) for c in counters), 20,
               "the alert")
    said = " ".join(reason for c in counters for reason in c.health()["reasons"])
    expect("partition 0 is degraded: retention had removed the offsets [100, 150)" in said, said)
    wait_until(lambda: [c.metric("sightline_count_partitions") for c in counters] == [1, 1], 30,
               "each has one partition again")

    # A running reader of one of them is overtaken.
    sleeper = counters[0]
    text = sleeper.request("GET", "/metrics").body.decode()
    partition = 0 if 'sightline_engine_offset{partition="0"}' in text else 1
    wait_until(lambda: sum(c.metric("sightline_engine_checkpoint_offset") for c in counters) == sum(sent), 30,
               "checkpoints")
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    before = sent[partition]
    send(partition, 30, delete_until=before + 25)
    os.kill(sleeper.process.pid, signal.SIGCONT)
    ledger = page.wait_ledger(30, lost=75, counted=255)
    expect_equal(ledger["received"], sum(sent) - 75, "received and lost is what was sent")
    for topic in ("item_counts", "located_item_counts"):
        expect_equal(cluster.counts(topic)[1], ledger, f"the ledger in {topic}")
    expect("start" in states(cluster, "records_lost", "partition 0"), "the topic alerts has it")
    gaps = [{"p": 0, "first": 100, "next": 150, "lost": 50},
            {"p": partition, "first": before, "next": before + 25, "lost": 25}]

    stop_all(counters, 20)
    start_all(counters)
    for number in (0, 1):
        send(number, 1)
    page.wait_ledger(30, lost=75, counted=257)
    wait_until(lambda: ask(page, LOST_IN_LAKE) == [{"n": 75}], 60, "the lake has what was lost")
    wait_until(lambda: ask(page, SUM) == [{"n": 257}], 60, "and what was counted")
    answer = page.get("/v1/ledger?group=source")
    expect_equal(sum(row["lost"] for row in answer), 75, f"/v1/ledger of the lake: {answer}")
    stop_all((*counters, *steps, page), 20)
    check_lake(t, lake, 75, 257)
    check_lake(t, direct, 75, 257)
    rows = command(t, "query", "--lake", direct, GAPS_IN_LAKE)
    expect_equal(rows, gaps, "the gaps in the lake that count writes itself")


@test(seconds=200)
def retention_gap(t: Test) -> None:
    """The embedded log's retention overtakes a server that was killed: it stops and says what is lost;
    told to count it, it goes on, and through more kills the ledger says the same."""
    once = ("--engine.commit_interval", "1h", "--engine.checkpoint_interval", "1h",
            "--lake.roll_interval", "1h")
    small = ("--partitions", 1, "--log.size_max", "1MiB", *QUICK)
    server = t.server("--partitions", 1)
    server.start()
    sent = 0

    def post(bodies: int) -> None:
        nonlocal sent
        for _ in range(bodies):
            server.post_ok(lines([event(n % 7, 7001) for n in range(500)]))
            sent += 500
        server.wait_ledger(received=sent)

    post(1)
    server.stop()
    server.options = [str(option) for option in ("--partitions", 1, *once)]
    server.start()
    post(40)  # several times what it may keep later; on the screen, and nowhere else
    server.kill()

    server.options = [str(option) for option in small]
    server.launch()
    expect(server.wait_door(), f"it runs: {server.last_line()}")
    server.wait_reason(30, "partition 0 is stopped", "retention has removed the offsets [500, ",
                       "engine.on_gap = count")
    wait_until(lambda: ("records_lost", "partition 0") in active(server), 20, "the alert")
    alert = active(server)["records_lost", "partition 0"]
    expect_equal(server.ledger()["lost"], 0, "what is lost, as long as nobody says so")
    server.stop()

    server.options += ["--engine.on_gap", "count", "--lake.roll_interval", "200ms"]
    draw = random.Random(22)
    for _ in range(5):
        server.launch()
        time.sleep(draw.uniform(0.1, 1))
        server.kill()
    server.start()
    ledger = server.wait_ledger(lost=alert["facts"]["lost"])
    wait_until(lambda: server.ledger()["received"] + ledger["lost"] == sent, 30,
               "received and lost is what was sent")
    wait_until(lambda: ("records_lost", "partition 0") in active(server), 20, "the alert")
    post_again = server.ledger()["received"]
    server.post_ok(lines([event(1, 7001)]))
    server.wait_ledger(received=post_again + 1, lost=ledger["lost"])
    wait_until(lambda: ask(server, LOST_IN_LAKE) == [{"n": ledger["lost"]}], 20, "queries, too")
    done = t.run("ledger", "--data", server.data, "--format", "json")
    expect(f'"lost":{ledger["lost"]}' in done.stdout.decode().replace(" ", ""), f"{done.stdout!r}")
    server.stop()
    expect_equal(t.run("lake", "verify", "--data", server.data).returncode, 0, "lake verify")
    t.note(f"{ledger['lost']} of {sent} lost, {now_ms() - alert['since']} ms from alert to end")


@test(seconds=200)
def stopped_partition(t: Test) -> None:
    """Queries wait while a partition starts. Once it has stopped they are answered, and the answers name
    it and the offsets that they lack, in every format and on stderr."""
    server = t.server("--partitions", 1)
    server.start()
    server.post_ok(lines([event(n % 7, 7001) for n in range(500)]))
    server.wait_ledger(received=500)
    server.stop()  # with a checkpoint
    server.options += ["--engine.checkpoint_interval", "1h", "--lake.roll_interval", "1h"]
    server.start()
    for _ in range(40):
        server.post_ok(lines([event(n % 7, 7001) for n in range(500)]))
    server.wait_ledger(received=20_500)
    whole = server.request("GET", "/v1/counts?from=0&to=9999999999999&step=24h&format=csv")
    expect("x-incomplete" not in whole.headers, f"everything is counted: {whole.headers}")
    server.kill()  # the counts of the page are durable, those of the lake are not

    server.options = [str(option) for option in ("--partitions", 1, "--log.size_max", "1MiB", *QUICK)]
    server.launch()
    expect(server.wait_door(), f"it runs: {server.last_line()}")
    server.wait_reason(30, "partition 0 is stopped", "retention has removed the offsets [")
    sql = json.dumps({"sql": "SELECT coalesce(sum(item_count), 0) AS n FROM item_counts"}).encode()
    for method, path, body in (("POST", "/v1/query", sql), ("GET", "/v1/ledger?group=source", None),
                               ("GET", "/v1/counts?step=1m&format=csv", None),
                               ("GET", "/v1/top?from=0&to=1&format=parquet", None),
                               ("GET", "/v1/items", None), ("GET", "/v1/locations?from=0&to=1", None)):
        with t.case(path):
            answer = server.request(method, path, body)
            expect_equal(answer.status, 200, f"{answer.body!r}")
            (lacks,) = json.loads(answer.headers["x-incomplete"])
            expect_equal((lacks["partition"], lacks["first"], lacks["next"]), (0, 500, 20_500), "what is missing")
            expect(lacks["source"].endswith("/raw_camera_events") and
                   "retention has removed the offsets" in lacks["reason"], f"{lacks}")
    lacking = "the answer lacks the offsets [500, 20500) of partition 0 of"
    for words in (("query", "SELECT count(*) FROM item_counts"), ("top",), ("ledger",)):
        with t.case(words):
            said = t.run(*words, "--data", server.data)
            expect_equal(said.returncode, 0, f"{said.stderr!r}")
            expect(said.stdout and lacking in said.stderr.decode(), f"{said.stderr!r}")
    server.stop()
