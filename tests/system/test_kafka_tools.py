"""Clients that others wrote: kcat (librdkafka, Debian) and the broker's own console tools. They write raw
events and read the counts; and the coordinator of the counting processes dies."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter

from brokers import Cluster, shared_kafka
from events import Traffic
from registry import test
from senders import Senders
from server import STOP_S, Test, expect, expect_equal, wait_until
from test_kafka import AWAY, check_topics, kafka_server


def keyed(lines: list[bytes]) -> bytes:
    """A line each: camera, tab, event."""
    return b"".join(b"%d\t%s\n" % (json.loads(line)["video_camera_oid"], line) for line in lines)


def read_counts(values: list[tuple[str, dict]]) -> tuple[dict[int, Counter], Counter]:
    """(key, value) pairs by the reader's rule: location -> item -> count, and the ledger."""
    newest: dict[str, dict] = {}
    for key, value in values:
        if key not in newest or newest[key]["next_offset"] < value["next_offset"]:
            newest[key] = value
    counts: dict[int, Counter] = {}
    ledger: Counter = Counter()
    for value in newest.values():
        if "item_name" in value:
            location = counts.setdefault(value["geographical_location_oid"], Counter())
            location[value["item_name"]] += value["item_count"]
        elif "ledger" in value:
            ledger.update(value["ledger"])
    return counts, ledger


@test(seconds=300)
def kafka_other_clients(t: Test) -> None:
    """What kcat writes with the partitioner of docs/KAFKA.md, the console producer writes again: each copy
    meets its first one. kcat and the console consumer read the same counts, those of the oracle."""
    cluster = shared_kafka(t)
    cluster.create_topics(4)
    server = kafka_server(t, cluster)
    server.start()
    traffics = [Traffic(number, trouble=False) for number in range(8)]  # of four cameras each
    lines = [line for traffic in traffics for _ in range(2)
             for line in traffic.body(250).data.splitlines()]
    distinct = sum(traffic.oracle.distinct for traffic in traffics)
    cluster.kcat("-P", "-t", cluster.topic("raw_camera_events"), "-K", "\t", "-X", "partitioner=murmur2_random",
         "-X", "acks=all", stdin=keyed(lines))
    server.wait_ledger(60, received=distinct, counted=distinct)
    again = lines[::3]
    cluster.tool("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", cluster.addresses,
                 "--topic", cluster.topic("raw_camera_events"), "--reader-property", "parse.key=true",
                 "--reader-property", "key.separator=\t", stdin=keyed(again), seconds=180)
    ledger = server.wait_ledger(60, received=distinct + len(again), counted=distinct,
                                duplicate=len(again))
    expect_equal(ledger["conflicts"], 0, "conflicts")
    wait_until(lambda: cluster.counts()[1] == ledger, 30, "the topics have everything")

    def raw_partitions() -> int:
        text = cluster.kcat("-C", "-t", cluster.topic("raw_camera_events"), "-o", "beginning", "-e", "-f", "%p\n")
        return len(set(text.split()))

    expect(raw_partitions() == 4, "all partitions have cameras")
    wanted = {location: items for traffic in traffics
              for location, items in traffic.oracle.counts.items()}
    wanted = {location: sum((traffic.oracle.counts.get(location, Counter()) for traffic in traffics),
                            Counter()) for location in wanted}
    rows = [json.loads(line) for line in cluster.kcat(
        "-C", "-t", cluster.topic("located_item_counts"), "-X", "isolation.level=read_committed", "-o",
        "beginning", "-e", "-J").splitlines()]
    counts, told = read_counts([(row["key"], json.loads(row["payload"])) for row in rows])
    expect_equal(counts, wanted, "located_item_counts as kcat reads them")
    expect_equal({name: n for name, n in told.items() if n}, {name: n for name, n in ledger.items() if n},
                 "the ledger as kcat reads it")
    text = cluster.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server",
                        cluster.addresses, "--topic", cluster.topic("located_item_counts"), "--from-beginning",
                        "--isolation-level", "read_committed", "--max-messages", len(rows),
                        "--timeout-ms", 120_000, "--formatter-property", "print.key=true",
                        "--formatter-property", "key.separator=\t", seconds=180)
    pairs = [line.split("\t") for line in text.splitlines() if "\t" in line]
    counts, told = read_counts([(key, json.loads(value)) for key, value in pairs])
    expect_equal(counts, wanted, "located_item_counts as the console consumer reads them")
    server.stop()
    server.expect_quiet_log(*AWAY)
    t.note(f"{distinct} events and {len(again)} copies, {len(rows)} records of counts")


@test(seconds=600)
def kafka_coordinator(t: Test) -> None:
    """The broker that coordinates the counting processes' group is killed, three times, each time the one
    that it is then, while events come: nothing is lost, nothing counts twice."""
    cluster = Cluster(t, brokers=3)
    cluster.create_topics(8)
    counters = [kafka_server(t, cluster, "--engine.checkpoint_dir", t.folder / "checkpoints",
                             "--kafka.session_timeout", "6s", name=f"count{n}") for n in range(2)]
    for counter in counters:
        counter.command = "count"
        counter.start()
    page = t.serve("--kafka.brokers", cluster.addresses)
    page.start()

    def coordinator() -> int:
        said = cluster.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
                            "--bootstrap-server", cluster.addresses, "--describe", "--group",
                            "sightline-count", "--state", seconds=180)
        found = re.search(r"127\.0\.0\.1:\d+\s+\((\d)\)", said)
        expect(found, f"no coordinator in {said}")
        return int(found.group(1))

    senders = Senders(page, count=2, pause=0.02, patience=180)
    moves = []
    for _ in range(3):
        number = coordinator()
        broker = cluster.brokers[number - 1]
        broker.kill()
        senders.check()
        received = page.ledger()["received"]
        wait_until(lambda: page.ledger()["received"] > received + 500, 60, "counting goes on without it")
        broker.start()
        broker.wait(90)
        moves.append(number)
    oracle = senders.finish(180)
    ledger = oracle.check(page, repeated=True, seconds=120)
    check_topics(cluster, oracle, ledger)
    for process in (page, *counters):
        process.stop(seconds=10)
        process.expect_quiet_log(*AWAY)
    t.note(f"the coordinator was broker {', then '.join(map(str, moves))}; "
           f"{senders.tally().elements} elements")


@test(seconds=400)
def kafka_stop(t: Test) -> None:
    """SIGTERM ends every command in its time also when nobody answers: the broker hangs, or the group's
    agreement waits for a member that hangs."""
    cluster = Cluster(t)
    cluster.create_topics(4)
    broker = cluster.brokers[0]
    up = kafka_server(t, cluster, "--kafka.deployment", "other", "--kafka.counts_topic", "other_counts",
                      name="up")
    cluster.create_topic("other_counts", 4)
    page = t.serve("--kafka.brokers", cluster.addresses)
    counters = [kafka_server(t, cluster, name=f"count{n}") for n in range(2)]
    for counter in counters:
        counter.command = "count"
    took = {}
    for server in (page, counters[0]):
        server.start()
    wait_until(lambda: counters[0].log().count("runs from offset") == 4, 30, "it counts all partitions")
    with t.case("a member hangs while another joins"):
        os.kill(counters[0].process.pid, signal.SIGSTOP)
        counters[1].launch()
        expect(counters[1].wait_door(), "it runs")
        time.sleep(1)  # it asks to join, and nothing comes of it
        try:
            took["joining"] = counters[1].stop(STOP_S)
        finally:
            os.kill(counters[0].process.pid, signal.SIGCONT)
    up.start()
    for server in (up, page, counters[0]):
        wait_until(server.healthy, 60, f"{server.name} is well")
    broker.pause()
    try:
        for server in (counters[0], up, page):
            with t.case(f"{server.name} while the broker hangs"):
                took[server.name] = server.stop(STOP_S)
    finally:
        broker.go_on()
    # The same under load: transactions are under way when the broker falls silent.
    for quiet in (0, 7):
        for server in (counters[0], page):
            server.start()
        wait_until(lambda: counters[0].log().count("runs from offset") == 4, 60, "it counts all partitions")
        senders = Senders(page, count=2, patience=120)
        wait_until(lambda: page.ledger()["received"] > 500, 60, "events count")
        broker.pause()
        try:
            time.sleep(quiet)  # longer than a request may take, or not at all
            for server in (counters[0], page):
                with t.case(f"{server.name} under load, the broker hangs for {quiet} s"):
                    took[f"{server.name} after {quiet} s"] = server.stop(STOP_S)
        finally:
            broker.go_on()
            senders.abandon()
    t.note(", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items()))
