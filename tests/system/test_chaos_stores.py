"""Chaos where the lake and the checkpoints lie: HDFS and who writes there die and lose answers, in an order that a
seed gives, while cameras send. Two `count` with data folders of their own are two machines: what dies on one goes on
at the other, from its checkpoint."""

from __future__ import annotations

import random
import time
from collections import Counter

from brokers import Cluster
from gateways import cut_answer, cut_request, delay, lose_answer, lose_request
from registry import test
from server import Server, Test, expect, expect_equal, start_all, wait_until
from test_chaos import CAMERAS, Cameras
from test_hdfs import World, fetch
from test_lake import check_readers, command

FAULTS = 10  # in the short run; a hundred in ten minutes
PARTITIONS = 4
# Files that a version may have and does not: of a roll, a file for each partition of the table; of HDFS, what an upload
# that was cut has left. A fault cuts the rolls of two writers, in two tables.
ORPHANS_A_FAULT = 200


class Machines:
    """HDFS behind gateways, and two `count`."""

    def __init__(self, t: Test, cluster: Cluster):
        self.t, self.cluster, self.draw = t, cluster, random.Random(t.seed)
        self.world = World(t)
        self.folder = self.world.folder("chaos")
        self.config = t.folder / "sightline.toml"
        self.config.write_text(f'[hdfs.prod]\nnamenodes = ["{self.world.url}"]\nuser = "sightline"\n')
        self.lake = f"hdfs://prod{self.folder}/lake"
        self.counts = [self._count(number) for number in (0, 1)]
        self.deck: list = []
        self.reached: Counter = Counter()

    def _count(self, number: int) -> Server:
        server = self.t.server("--kafka.brokers", self.cluster.addresses, "--kafka.counts_topic", "item_counts",
                               "--kafka.session_timeout", "6s", "--kafka.group_interval", "2s",
                               "--config", self.config, "--lake.dir", self.lake, "--lake.roll_interval", "1s",
                               "--lake.maintenance_interval", "5s", "--lake.max_partitions", 50,
                               "--engine.checkpoint_uri", f"hdfs://prod{self.folder}/checkpoints",
                               "--engine.checkpoint_interval", "1s", name=f"count{number}")
        server.command = "count"
        return server

    def fault(self) -> None:
        """The next one of a deck that has each."""
        if not self.deck:
            self.deck = [self._kill, self._kill, self._namenode, self._datanode, self._network, self._late]
            self.draw.shuffle(self.deck)
        fault = self.deck.pop()
        fault()
        self.reached[fault.__name__.strip("_")] += 1

    def watch(self) -> None:
        for count in self.counts:
            expect(count.running, f"{count.name} ended by itself with "
                                  f"{count.process.returncode}: {count.last_line()}")

    def _kill(self) -> None:
        victim = self.draw.choice(self.counts)
        victim.kill()
        # Mostly the other one has to take its partitions over, from checkpoints that it did not write.
        time.sleep(self.draw.choice((0, 0, 8)))
        victim.launch()

    def _namenode(self) -> None:
        self.world.hdfs.namenode.kill()
        time.sleep(self.draw.uniform(0, 3))
        self.world.hdfs.namenode.start()
        self.world.hdfs.wait()

    def _datanode(self) -> None:
        node = self.draw.choice(self.world.hdfs.datanodes)
        node.kill()
        time.sleep(self.draw.uniform(0, 3))
        node.start()
        self.world.hdfs.wait()

    def _network(self) -> None:
        harm = self.draw.choice((lose_answer, lose_request, cut_request, cut_answer))
        self.world.harm(self.draw.choice((b"op=RENAME", b"op=CREATE", b"op=OPEN", b"op=LISTSTATUS", b"op=")), harm,
                        self.draw.choice((1, 3, 10)))

    def _late(self) -> None:
        self.world.harm(b"op=", delay, 20)
        time.sleep(self.draw.uniform(0, 2))
        self.world.heal()


@test(seconds=1500)
def stores_chaos(t: Test) -> None:
    """Short here; `make chaos-stores SEED=N` kills a hundred times while a million events pass."""
    cluster = Cluster(t, brokers=1, links=(CAMERAS,))
    cluster.create_topics(PARTITIONS, "item_counts")
    machines = Machines(t, cluster)
    start_all(machines.counts)
    seconds = max(30, int(t.chaos_seconds))
    faults_wanted = max(FAULTS, seconds // 6)
    cameras = Cameras(t, cluster, seconds, rate=max(1_000, 1_000_000 // 600))
    begin = time.monotonic()
    while sum(machines.reached.values()) < faults_wanted or time.monotonic() - begin < seconds:
        time.sleep(machines.draw.uniform(0.2, 2))
        machines.watch()
        machines.fault()
    faults = sum(machines.reached.values())
    machines.world.heal()
    oracle = cameras.finish(600)
    place = ("--lake", machines.lake, "--config", machines.config)
    for count in machines.counts:
        wait_until(lambda: machines.watch() or count.answers() and count.healthy(), 60, f"{count.name} is well")

    def is_complete() -> bool:
        """Both tables: they are written one after the other."""
        said = t.run("lake", "verify", *place, "--format", "json", seconds=200)
        return f"lake {oracle.distinct} = ledger {oracle.distinct}" in said.stdout.decode()

    wait_until(lambda: machines.watch() or is_complete(), 180, f"the lake has {oracle.distinct} counts")
    for count in machines.counts:
        count.stop(seconds=10)
    fetch(machines.world.hdfs, f"{machines.folder}/lake", t.folder / "copy")
    check_readers(t, t.folder / "copy", oracle.counts)
    report = command(t, "lake", "verify", *place)
    expect({row["kind"] for row in report} <= {"ok", "note"}, f"verify: {report}")
    orphans = sum(row["kind"] == "note" for row in report)
    expect(orphans <= ORPHANS_A_FAULT * faults, f"{orphans} orphans of {faults} faults")
    time.sleep(0.1)  # until everything is older than the retention below
    command(t, "lake", "vacuum", *place, "--retention", "1ms")
    report = command(t, "lake", "verify", *place)
    expect(all(row["kind"] == "ok" for row in report), f"verify after vacuum: {report}")
    expect_equal(cluster.counts_of_many("item_counts")[0], oracle.counts, "item_counts")
    t.note(f"seed {t.seed}, {faults} faults {dict(machines.reached)}, {cameras.events} events, {orphans} orphans")
