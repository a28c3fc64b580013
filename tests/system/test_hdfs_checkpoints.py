"""Checkpoints on a real HDFS: two machines, which are two data folders here, share nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter

from brokers import shared_kafka
from gateways import stall
from registry import test
from server import Server, Test, expect, expect_equal, wait_until
from test_gap import process
from test_hdfs import World
from test_monitor import event

PARTITIONS = 2
FIRST, LATER = 400, 100


@test(seconds=400)
def hdfs_takeover(t: Test) -> None:
    """`count` is killed on one machine and goes on at another from the checkpoint on HDFS. What it had counted behind
    the checkpoint, while HDFS was silent, is read again, and published once."""
    world = World(t)
    folder = world.folder("checkpoints")
    config = t.folder / "sightline.toml"
    config.write_text(f'[hdfs.prod]\nnamenodes = ["{world.url}"]\nuser = "sightline"\n')
    cluster = shared_kafka(t)
    cluster.create_topics(PARTITIONS, "item_counts")
    sent: Counter = Counter()

    def counter(number: int) -> Server:
        return process(t, cluster, "count", number, "--config", config, "--engine.checkpoint_interval", "300ms",
                       "--engine.checkpoint_uri", f"hdfs://prod{folder}/of-count")

    def send(count: int) -> None:
        locations = [number % 4 + 1 for number in range(count)]
        sent.update(locations)
        cluster.foreign("write", lines=[
            {"topic": "raw_camera_events", "partition": location % PARTITIONS, "key": str(location),
             "value": json.dumps(event(location, location))} for location in locations])

    def published() -> dict[int, Counter]:
        return cluster.counts("item_counts")[0]

    def is_published() -> bool:
        return published() == {location: Counter(bus=count) for location, count in sent.items()}

    def launch(server: Server) -> None:
        server.launch()
        wait_until(lambda: server.answers() and server.healthy()
                   and server.metric("sightline_count_partitions") == PARTITIONS, 60, f"{server.name} counts")

    first, second = counter(1), counter(2)
    launch(first)
    send(FIRST)
    wait_until(lambda: first.metric("sightline_engine_checkpoint_offset") == FIRST, 60, "checkpoints of all events")
    with t.case("counting does not wait for an HDFS that does not answer"):
        world.door.harm(b"op=", stall, 10_000)
        send(LATER)
        wait_until(is_published, 60, f"{FIRST + LATER} events are published")
        wait_until(lambda: world.door.harmed > 0, 20, "a checkpoint is under way")
        expect_equal(first.metric("sightline_engine_checkpoint_offset"), FIRST, "the checkpoints' offset")
    first.kill()
    world.heal()
    launch(second)
    wait_until(lambda: second.metric("sightline_engine_offset") == FIRST + LATER, 60, "it has read everything")
    again = second.metric("sightline_engine_read_again_total")
    expect_equal(again, LATER, "offsets that are read again")
    expect_equal(second.metric("sightline_engine_records_total"), LATER, "events that are read")
    said = [int(number) for number in re.findall(r"and reads (\d+) offsets again", second.log())]
    expect_equal(sum(said), LATER, f"what its log says: {said}")
    t.note(f"of {FIRST + LATER} events {again:g} are read again")
    send(LATER)
    wait_until(is_published, 60, "everything is published once")
    wait_until(lambda: second.metric("sightline_engine_checkpoint_offset") == FIRST + 2 * LATER, 60,
               "checkpoints of the second")
    with t.case("a stop does not wait for it either"):
        harmed = world.door.harmed
        world.door.harm(b"op=", stall, 10_000)
        send(LATER)
        wait_until(lambda: world.door.harmed > harmed, 20, "a checkpoint is under way")
        t.note(f"it has stopped after {second.stop():.1f} s")
        world.heal()
    launch(second)
    send(LATER)
    wait_until(is_published, 60, "everything is published once")
    wait_until(lambda: second.metric("sightline_engine_checkpoint_offset") == sum(sent.values()), 60, "its checkpoints")
    second.stop()
    with t.case("its folder has one checkpoint of each partition, and nothing else"):
        source, = world.hdfs.names(f"{folder}/of-count")[:1]
        for partition in range(PARTITIONS):
            names = world.hdfs.names(f"{folder}/of-count/{source}/{partition}")
            expect_equal(sorted(name.rsplit(".", 1)[1] for name in names), ["body", "entry"], f"files: {names}")
    with t.case("a start that waits for HDFS can be stopped"):
        world.door.harm(b"op=", stall, 10_000)
        harmed = world.door.harmed
        second.launch()
        wait_until(lambda: world.door.harmed > harmed, 30, "it asks")
        second.stop()
        world.heal()
    expect(is_published(), f"published: {published()}")
