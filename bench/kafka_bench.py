#!/usr/bin/env python3
"""Benchmarks Kafka: bench/kafka_bench.py BUILD_DIRECTORY [--events 2000000] [--runs 3] [--partitions 4]

Starts a broker of its own (.deps/kafka) and checks the results. Measures how fast a backlog of the raw topic
is counted, from the start of the process to the last event: with topics written exactly once, and without;
with --backoffs also for several values of kafka.queue_backoff. Measures the latency from publishing to the
screen and to a read_committed reader at 2,000 events a second: in one process, and with every step in a
process of its own (count, join, serve).
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "system"))

from brokers import Cluster  # noqa: E402
from server import Server, Test, wait_until  # noqa: E402


def show(name: str, values: list[float], unit: str, digits: int = 2) -> None:
    print(f"{name:<58} {statistics.median(values):>10.{digits}f} {unit:<9} ({min(values):.{digits}f}.."
          f"{max(values):.{digits}f}, {len(values)} runs, load {os.getloadavg()[0]:.1f})", flush=True)


def call(*command: object) -> dict:
    return json.loads(subprocess.run([str(word) for word in command], check=True,
                                     stdout=subprocess.PIPE, text=True).stdout)


def latency(what: str, arguments: argparse.Namespace, load: pathlib.Path, cluster: Cluster, filled: dict,
            counts: str, *processes: Server) -> None:
    """The last of the processes has the page."""
    figures: dict[str, list[float]] = {}
    for process in processes:
        process.start()
    wait_until(lambda: processes[-1].ledger()["counted"] >= filled["distinct"], 600, "the backlog is counted")
    time.sleep(2)
    # The first one warms the broker up: Java compiles what is called often.
    for run in range(arguments.runs + 1):
        said = call(load, "latency", "--brokers", cluster.addresses, "--port", processes[-1].port,
                    "--counts", counts, "--seconds", arguments.seconds)
        filled["distinct"] += said["events"]
        for kind in ("screen_ms", "committed_ms") if run > 0 else ():
            for part in ("p50", "p99"):
                figures.setdefault(f"{what}: publish -> {kind[:-3]}, {part}", []).append(said[kind][part])
    for name, values in figures.items():
        show(name, values, "ms")
    for process in processes:
        process.stop()


def page_start(test: Test, cluster: Cluster, counts_topic: str, ledger: dict) -> tuple[float, float]:
    """Records of the counts topic that a page has read when it is ready, and after how many seconds."""
    page = test.serve("--kafka.brokers", cluster.addresses, "--kafka.counts_topic", counts_topic,
                      name=f"page-{counts_topic}")
    seconds = page.start()
    assert page.ledger() == ledger, (page.ledger(), ledger)
    records = page.metric("sightline_feed_records_total")
    page.stop()
    return records, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--commit-intervals", type=int, nargs="*", default=[], metavar="MS",
                        help="only the latency of one process, with several of kafka.commit_interval")
    parser.add_argument("--backoffs", type=int, nargs="*", default=[], metavar="MS")
    arguments = parser.parse_args()
    load = arguments.build.resolve() / "bench" / "kafka_load"
    test = Test(arguments.build.resolve() / "sightline", "kafka-bench")
    try:
        cluster = Cluster(test, lasting=True)
        cluster.create_topics(arguments.partitions)
        filled = call(load, "fill", "--brokers", cluster.addresses, "--events", arguments.events)
        for ms in arguments.commit_intervals:
            cluster.create_topic(f"counts-{ms}", arguments.partitions)
            one = test.server("--kafka.brokers", cluster.addresses, "--kafka.deployment", f"latency-{ms}",
                              "--kafka.counts_topic", f"counts-{ms}", "--kafka.commit_interval", f"{ms}ms",
                              name=f"latency-{ms}")
            latency(f"one process, commits each {ms} ms", arguments, load, cluster, filled, f"counts-{ms}", one)
        if arguments.commit_intervals:
            return
        plans = [("true", ()), ("false", ())]
        plans += [("false", ("--kafka.queue_backoff", f"{ms}ms")) for ms in arguments.backoffs]
        for publish, more in plans:
            rates, memory, reads, starts = [], [], [], []
            for run in range(arguments.runs):
                server = test.server("--kafka.brokers", cluster.addresses, "--kafka.publish", publish,
                                     "--kafka.deployment", f"bench-{publish}-{run}", "--lake.enabled",
                                     "false", *more, name=f"backlog-{publish}-{'-'.join(more)}-{run}",
                                     *(["--kafka.counts_topic", f"counts-{run}"] if publish == "true"
                                       else []))
                if publish == "true":
                    cluster.create_topic(f"counts-{run}", arguments.partitions)
                begin = time.monotonic()
                server.launch()
                server.wait_door()
                ledger = server.wait_ledger(600, counted=filled["distinct"])
                took = time.monotonic() - begin
                if ledger["received"] < arguments.events:
                    server.wait_ledger(60, received=arguments.events)
                rates.append(arguments.events / took / 1e6)
                memory.append(server.memory_mib())
                ledger = server.ledger()
                server.stop()
                if publish == "true":
                    records, seconds = page_start(test, cluster, f"counts-{run}", ledger)
                    reads.append(records / seconds / 1e6)
                    starts.append(seconds)
            what = "with exactly-once topics" if publish == "true" else "read only"
            show(f"backlog of {arguments.events:,} events, {what}{' '.join(('', *more))}", rates, "M/s")
            show("  memory", memory, "MiB", 0)
            if starts:
                show(f"a page over them, {records:,.0f} records, is ready after", starts, "s")
                show("  records read", reads, "M/s")
        for topic in ("counts-latency", "items-steps", "counts-steps"):
            cluster.create_topic(topic, arguments.partitions)
        fused = test.server("--kafka.brokers", cluster.addresses, "--kafka.deployment", "latency",
                            "--kafka.counts_topic", "counts-latency", name="latency")
        latency("one process", arguments, load, cluster, filled, "counts-latency", fused)
        steps = {}
        for kind, counts in (("count", "items-steps"), ("join", "counts-steps"), ("serve", "counts-steps")):
            steps[kind] = test.server("--kafka.brokers", cluster.addresses, "--kafka.deployment", "steps",
                                      "--kafka.counts_topic", counts, "--kafka.item_counts_topic",
                                      "items-steps", name=kind)
            steps[kind].command = kind
        latency("each step its own", arguments, load, cluster, filled, "counts-steps", *steps.values())
    finally:
        test.close()


if __name__ == "__main__":
    main()
