"""Chaos on three brokers, each step twice: everything that can die dies, and networks, disks and clocks
fail, in an order that a seed gives, while cameras send 20,000 events a second. Then every count of every
step equals the oracle's, and a fresh event is on the page soon: how soon is noted."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from typing import Callable

from brokers import Broker, Cluster
from clocks import Clock
from events import Oracle, Traffic, deliver
from registry import test
from senders import Senders
from server import Failure, Server, Test, expect, expect_equal, start_all, wait_until
from test_durability import SmallDisk
from test_kafka import AWAY, check_topics
from test_lake import command

# The names of the processes, of their links to the brokers and of their clocks.
STEPS = ("count", "join", "transform", "store")
PAGES = ("serve0", "serve1")
NAMES = (*PAGES, *(f"{step}{n}" for step in STEPS for n in (0, 1)))
CAMERAS = "cameras"  # the link of what sends
EVENTS_PER_SECOND = 20_000
STOP_S = 30
PARTITIONS = 8
KINDS = ("kill", "stop", "sleep", "storm", "page", "leaders", "broker_kill", "broker_stop", "broker_sleep", "net_cut",
         "net_stall", "net_delay", "disk_full", "clock_step")
CLOCK_STEPS_MS = (-7_200_000, -30_000, -1_500, 1_500, 30_000, 7_200_000)
# What an operator reads while a disk is full: no trouble of ours.
EXPECTED = (*AWAY, r"No space left")


class Cameras:
    """`sightline camera --kafka`: 2,000 cameras at 200 locations, 20,000 detections a second, in disorder by
    up to 5 s, a tenth of them copies; from its spool, in order, after the brokers were away. What must be
    counted is from the generator, which shares no code with Sightline."""

    def __init__(self, t: Test, cluster: Cluster, seconds: int, rate: int = EVENTS_PER_SECOND):
        self.events = rate * seconds
        recording, truth = t.folder / "recording.ndjson", t.folder / "truth.csv"
        generate = t.build() / "bench" / "generate"
        expect(generate.exists(), f"there is no {generate}: build the target `generate`")
        subprocess.run([generate, "--events", str(self.events), "--seconds", str(seconds), "--seed",
                        str(t.seed), "--out", recording, "--truth", truth], check=True,
                       stdout=subprocess.DEVNULL)
        self.oracle = Oracle(detections=self.events)
        with open(truth, newline="") as file:
            for row in csv.DictReader(file):
                location = self.oracle.counts.setdefault(int(row["geographical_location_oid"]), Counter())
                location[row["item_name"]] += int(row["item_count"])
        self.oracle.distinct = sum(sum(items.values()) for items in self.oracle.counts.values())
        self.log = t.folder / "cameras.log"
        self.process = t.spawn("camera", "--replay", recording, "--shift-to-now", "--kafka",
                               cluster.addresses_by(CAMERAS), "--spool", t.folder / "spool", log=self.log)

    def finish(self, seconds: float) -> Oracle:
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"the cameras have not sent everything: {self.last_line()}") from None
        expect_equal(code, 0, f"exit code of the cameras: {self.last_line()}")
        return self.oracle

    def last_line(self) -> str:
        return self.log.read_text(errors="replace").strip().rpartition("\n")[2]


class Chaos:
    """The processes under test and what can befall them. Each fault heals before its like comes again to
    the same victim."""

    def __init__(self, t: Test, seed: int):
        self.t, self.draw = t, random.Random(seed)
        self.cluster = Cluster(t, brokers=3, links=(*NAMES, CAMERAS), lasting=t.chaos_seconds > 120)
        self.cluster.create_topics(PARTITIONS, "item_counts", "lake_rows")
        self.cluster.make_topics(("monitoring", 1, {}), ("alerts", 1, {}))
        # Where the checkpoints and the lake lie.
        self.disk = SmallDisk(t, mib=256 + int(3 * t.chaos_seconds))
        self.lake = self.disk.path / "lake"
        self.clocks = {name: Clock(t, name) for name in NAMES}
        self.pages = [t.serve("--kafka.brokers", self.cluster.addresses_by(name), name=name)
                      for name in PAGES]
        self.steps = [self._step(kind, f"{kind}{n}") for kind in STEPS for n in (0, 1)]
        self.base = {step.name: list(step.options) for step in self.steps}
        for page in self.pages:
            page.environment = self.clocks[page.name].environment()
        start_all(self.pages)
        for step in self.steps:
            self._draw_options(step)
        start_all(self.steps)
        # What is broken now, by what it is: when it heals, and how.
        self.broken: dict[object, tuple[float, Callable[[], None]]] = {}
        self.deck: list[str] = []
        self.longest_stop = 0.0  # seconds
        self.reached: Counter = Counter()

    @property
    def processes(self) -> tuple[Server, ...]:
        return (*self.pages, *self.steps)

    def _step(self, kind: str, name: str) -> Server:
        options = {"count": ("--kafka.counts_topic", "item_counts", "--engine.threads", "2",
                             "--engine.checkpoint_dir", self.disk.path / "checkpoints"),
                   "store": ("--lake.dir", self.lake, "--lake.roll_interval",
                             "1s" if self.t.chaos_seconds <= 120 else "10s")}.get(kind, ())
        step = self.t.server("--kafka.brokers", self.cluster.addresses_by(name), "--kafka.session_timeout",
                             "6s", "--kafka.group_interval", "6s", *options, name=name)
        step.command = kind
        step.environment = self.clocks[name].environment()
        return step

    def _draw_options(self, step: Server) -> None:
        step.options = self.base[step.name] + [
            "--kafka.commit_interval", self.draw.choice(("1ms", "20ms", "300ms"))]
        if step.command == "count":
            step.options += ["--engine.checkpoint_interval", self.draw.choice(("200ms", "1s", "30s"))]

    def heal(self, now: float) -> None:
        """What is due by `now`."""
        for what, (due, undo) in list(self.broken.items()):
            if due <= now:
                del self.broken[what]
                undo()

    def heal_all(self) -> None:
        def healed() -> bool:
            self.heal(float("inf"))
            return not self.broken
        wait_until(healed, 120, f"what is broken is whole again: {list(self.broken)}")

    def fault(self) -> None:
        """The next one of a deck that has each kind once; without a victim it is none."""
        self.heal(time.monotonic())
        if not self.deck:
            self.deck = self.draw.sample(KINDS, len(KINDS))
        kind = self.deck.pop()
        if getattr(self, f"_{kind}")():
            self.reached[kind] += 1

    def faults(self) -> int:
        return sum(self.reached[kind] for kind in KINDS)

    def watch(self) -> None:
        """Nothing ends by itself but a start on a full disk, which says so and is made again."""
        for process in self.processes:
            if process.running:
                continue
            expect("No space left" in process.log(),
                   f"{process.name} ended by itself with {process.process.returncode}: {process.last_line()}")
            self.reached["started_again"] += 1
            process.launch()

    def _break(self, what: object, seconds: float, undo: Callable[[], None]) -> None:
        self.broken[what] = time.monotonic() + seconds, undo

    # -- processes --------------------------------------------------------------------------------

    def _awake(self) -> Server | None:
        awake = [step for step in self.steps
                 if step.running and ("sleep", step.name) not in self.broken]
        return self.draw.choice(awake) if awake else None

    def _kill(self) -> bool:
        return self._again(lambda victim: victim.kill())

    def _stop(self) -> bool:
        return self._again(self._end)

    def _end(self, victim: Server) -> None:
        """While brokers hang and everything is busy: 5 s are for other tests."""
        self.longest_stop = max(self.longest_stop, victim.stop(seconds=STOP_S))

    def _again(self, end: Callable[[Server], None]) -> bool:
        victim = self._awake()
        if victim is None:
            return False
        end(victim)
        self._draw_options(victim)
        # It may have to wait, for a disk or a broker: it is there when everything is healed.
        victim.launch()
        return True

    def _sleep(self) -> bool:
        victim = self._awake()
        if victim is None:
            return False
        os.kill(victim.process.pid, signal.SIGSTOP)
        self._break(("sleep", victim.name), self.draw.choice((1, 3, 9)),
                    lambda: os.kill(victim.process.pid, signal.SIGCONT))
        return True

    def _storm(self) -> bool:
        """The two of a step leave their group, one after the other and twice, and are back before the
        group is done with that."""
        twins = self.steps[(first := 2 * self.draw.randrange(len(STEPS))):first + 2]
        if not all(twin.running and ("sleep", twin.name) not in self.broken for twin in twins):
            return False
        for twin in twins * 2:
            self._end(twin)
            self._draw_options(twin)
            twin.launch()
        return True

    def _page(self) -> bool:
        page = self.draw.choice(self.pages)
        page.kill()
        page.launch()
        return True

    # -- brokers ----------------------------------------------------------------------------------

    def _broker(self, end: Callable[[Broker], None]) -> bool:
        if "broker" in self.broken:
            return False
        broker = self.draw.choice(self.cluster.brokers)
        end(broker)
        self._break("broker", self.draw.uniform(1, 6), lambda: self._start_broker(broker))
        return True

    # Other faults go on while it stops and starts; until it is there, it is broken.
    def _start_broker(self, broker: Broker) -> None:
        if broker.running:
            self._break("broker", 0, lambda: self._start_broker(broker))
            return
        broker.start()
        self._wait_broker(broker)

    def _wait_broker(self, broker: Broker) -> None:
        if not broker.ready():
            self._break("broker", 0, lambda: self._wait_broker(broker))

    def _broker_kill(self) -> bool:
        return self._broker(lambda broker: broker.kill())

    def _broker_stop(self) -> bool:
        return self._broker(lambda broker: broker.terminate())

    def _broker_sleep(self) -> bool:
        if "broker" in self.broken:
            return False
        broker = self.draw.choice(self.cluster.brokers)
        broker.pause()
        self._break("broker", self.draw.uniform(0.2, 4), broker.go_on)
        return True

    def _leaders(self) -> bool:
        """Every partition to its preferred leader: where brokers died, many are with another."""
        return "broker" not in self.broken and self.cluster.elect_leaders() > 0

    # -- networks, disks, clocks ------------------------------------------------------------------

    def _net(self, begin: Callable[[object], None]) -> bool:
        """Between one process and one broker, or all of them."""
        name = self.draw.choice((*NAMES, CAMERAS))
        if ("net", name) in self.broken:
            return False
        brokers = self.draw.choice((self.draw.sample(self.cluster.brokers, 1), self.cluster.brokers))
        links = [broker.links[name] for broker in brokers]

        def undo() -> None:
            for link in links:
                link.mend()

        for link in links:
            begin(link)
        self._break(("net", name), self.draw.choice((0.3, 2, 8)), undo)
        return True

    def _net_cut(self) -> bool:
        return self._net(lambda link: link.cut())

    def _net_stall(self) -> bool:
        return self._net(lambda link: link.stall())

    def _net_delay(self) -> bool:
        seconds = self.draw.choice((0.02, 0.1, 0.4))
        return self._net(lambda link: link.slow(seconds))

    def _disk_full(self) -> bool:
        """Where the checkpoints and the lake lie."""
        if "disk" in self.broken:
            return False
        self.disk.fill(leave=0)
        self._break("disk", self.draw.uniform(0.5, 5), self.disk.make_space)
        return True

    def _clock_step(self) -> bool:
        name = self.draw.choice(NAMES)
        if ("clock", name) in self.broken:
            return False
        self.clocks[name].step(self.draw.choice(CLOCK_STEPS_MS))
        self._break(("clock", name), self.draw.choice((1, 8, 40)), lambda: self.clocks[name].step(0))
        return True


def lake_counts(t: Test, lake: object) -> int:
    """What the lake has counted, by our reader; nothing before there is one. Of its ledger: the counts are
    tens of thousands of small files by then, and `lake verify` says whether they have the same sum."""
    done = t.run("query", "--lake", lake, "--format", "json",
                 "SELECT coalesce(sum(counted), 0)::BIGINT AS n FROM ledger")
    return json.loads(done.stdout)[0]["n"] if done.returncode == 0 else 0


@test(seconds=1200)
def kafka_chaos(t: Test) -> None:
    """Short here; `make chaos SEED=N` runs it for ten minutes."""
    chaos = Chaos(t, t.seed)
    page, other = chaos.pages
    # What cameras do not send: broken lines, other forms, heartbeats, conflicts; and posts to a page.
    senders = Senders(page, count=2, pause=0.2, patience=240)
    cameras = Cameras(t, chaos.cluster, int(t.chaos_seconds))
    begin = time.monotonic()
    # A hundred in ten minutes, or longer: a busy machine takes its time for each.
    while (time.monotonic() - begin < t.chaos_seconds or set(KINDS) - set(chaos.reached)
           or chaos.faults() < t.chaos_seconds / 6):
        time.sleep(chaos.draw.uniform(0.1, 1))
        senders.check()
        chaos.watch()
        chaos.fault()
    chaos.heal_all()
    for process in chaos.processes:
        wait_until(lambda: chaos.watch() or process.answers(), 60, f"{process.name} is there")
    oracle = senders.finish(240)
    oracle.add(cameras.finish(600))
    ledger = oracle.check(page, repeated=True, seconds=240)
    expect_equal(oracle.check(other, repeated=True, seconds=120), ledger, "the ledger of the other page")
    expect_equal(chaos.cluster.counts_of_many("item_counts"), (oracle.counts, ledger), "item_counts")
    check_topics(chaos.cluster, oracle, ledger, many=True)
    wait_until(lambda: lake_counts(t, chaos.lake) == oracle.distinct, 180, "the lake has everything")
    wait_until(lambda: chaos.cluster.counts_of_many("lake_rows") == (oracle.counts, ledger), 180,
               "lake_rows")
    fresh = Traffic(99, trouble=False)
    deliver(page, fresh, 1)
    sent = time.monotonic()
    wait_until(lambda: page.ledger()["counted"] == oracle.distinct + 1, 30, "a fresh event counts")
    shown = time.monotonic() - sent
    for process in chaos.processes:
        wait_until(process.healthy, 30, f"{process.name} is well again: {process.health()}")
        process.stop(seconds=10)
        process.expect_quiet_log(*EXPECTED)
    said = t.run("lake", "verify", "--lake", chaos.lake, seconds=600)
    # The fresh one may have come before the end, or not.
    expect(said.returncode == 0 and any(f"lake {n} = ledger {n}\n".encode() in said.stdout
                                        for n in (oracle.distinct, oracle.distinct + 1)),
           f"lake verify: {said.stdout[-2000:]!r} {said.stderr[-500:]!r}")
    oracle.add(fresh.oracle)
    t.note(f"seed {t.seed}, {chaos.faults()} faults {dict(chaos.reached)}, {cameras.events} events "
           f"from cameras and {senders.tally().elements} posted, "
           f"a fresh event after {shown * 1000:.0f} ms, SIGTERM took {chaos.longest_stop:.1f} s at most")
