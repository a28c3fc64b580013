"""counted_lake: `count` writes a lake to a store that a test harms, and the test knows what has to be in it."""

from __future__ import annotations

import json
import pathlib
import random
import time
from collections import Counter
from typing import Callable

from brokers import shared_kafka
from server import Test, expect, wait_until
from test_gap import process
from test_lake import check_readers, command
from test_monitor import event


class CountedLake:
    """`sent`: detections by location, each of a bus."""

    def __init__(self, t: Test, lake: str, config: pathlib.Path, draw: random.Random):
        self.t, self.draw = t, draw
        self.place = ("--lake", lake, "--config", config)
        self.cluster = shared_kafka(t)
        self.cluster.create_topics(2, "item_counts")
        self.counter = process(t, self.cluster, "count", 1, "--config", config, "--lake.dir", lake,
                               "--lake.roll_interval", "300ms", "--lake.maintenance_interval", "1s",
                               "--engine.checkpoint_interval", "300ms")
        self.counter.launch()
        self.wait_well()
        self.sent: Counter = Counter()

    def wait_well(self) -> None:
        wait_until(lambda: self.counter.answers() and self.counter.healthy(), 60, "count is well")

    def send(self) -> None:
        locations = [self.draw.randrange(1, 5) for _ in range(100)]
        self.sent.update(locations)
        self.cluster.foreign("write", lines=[
            {"topic": "raw_camera_events", "partition": location % 2, "key": str(location),
             "value": json.dumps(event(location, location))} for location in locations])

    def kill_counter(self) -> None:
        self.counter.kill()
        self.counter.launch()

    def suffer(self, faults: list[Callable[[], None]]) -> None:
        self.draw.shuffle(faults)
        for fault in faults:
            self.send()
            time.sleep(self.draw.uniform(0.2, 1))
            fault()

    def wait_complete(self) -> None:
        total = sum(self.sent.values())

        def is_complete() -> bool:
            said = self.t.run("lake", "verify", *self.place, "--format", "json")
            return f"lake {total} = ledger {total}" in said.stdout.decode()

        wait_until(is_complete, 60, f"the lake has {total} counts")

    def check_metrics(self) -> None:
        for name, operation in (("calls", "list"), ("bytes", "read"), ("bytes", "put"), ("seconds", "put"),
                                ("retries", "put")):
            expect(self.counter.metric(f"sightline_lake_storage_{name}_total", f'operation="{operation}"') > 0,
                   f"the metric of {name} of {operation}")

    def run_commands(self) -> None:
        for words in (("verify",), ("describe",), ("history",), ("files",), ("compact", "--all-days"), ("vacuum",),
                      ("verify",)):
            rows = command(self.t, "lake", *words, *self.place)
            if words == ("verify",):
                # A note is a file that a killed writer left.
                expect({row["kind"] for row in rows} <= {"ok", "note"}, f"verify: {rows}")

    def check_copy(self, folder: pathlib.Path) -> None:
        check_readers(self.t, folder, {location: Counter(bus=count) for location, count in self.sent.items()})

    def check_absent(self, other: str, section: str, empty: str) -> None:
        """A place that the configuration does not know, and one where there is no lake."""
        said = self.t.run("lake", "verify", "--lake", other)
        expect(said.returncode == 1 and section.encode() in said.stderr, f"verify: {said.stderr!r}")
        said = self.t.run("lake", "verify", "--lake", empty, *self.place[2:])
        expect(said.returncode == 1 and b"there is no lake in" in said.stderr, f"verify: {said.stderr!r}")
