"""Chaos on three brokers: everything that can die dies, and networks, disks and clocks fail, in an order
that a seed gives. Then every count equals the oracle's, and a fresh event is on the page soon: how soon is
noted."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from typing import Callable

from brokers import Broker, Cluster
from clocks import Clock
from events import Traffic, deliver
from registry import test
from senders import Senders
from server import Failure, Server, Test, expect, wait_until
from test_durability import SmallDisk
from test_kafka import AWAY, check_topics

# The names of the processes, of their links to the brokers and of their clocks.
COUNTERS = ("count0", "count1")
PAGE = "serve"
KINDS = ("kill", "stop", "sleep", "page", "broker_kill", "broker_stop", "broker_sleep", "net_cut",
         "net_stall", "net_delay", "disk_full", "clock_step")
CLOCK_STEPS_MS = (-7_200_000, -30_000, -1_500, 1_500, 30_000, 7_200_000)
# What an operator reads while a disk is full: no trouble of ours.
EXPECTED = (*AWAY, r"No space left")


class Chaos:
    """The processes under test and what can befall them. Each fault heals before its like comes again to
    the same victim."""

    def __init__(self, t: Test, seed: int):
        self.t, self.draw = t, random.Random(seed)
        self.cluster = Cluster(t, brokers=3, links=(*COUNTERS, PAGE))
        self.cluster.create_topics(8)
        self.disk = SmallDisk(t, mib=64)
        self.clocks = {name: Clock(t, name) for name in (*COUNTERS, PAGE)}
        self.page = t.serve("--kafka.brokers", self.cluster.addresses_by(PAGE))
        self.counters = [t.server("--kafka.brokers", self.cluster.addresses_by(name),
                                  "--engine.checkpoint_dir", self.disk.path / "checkpoints",
                                  "--kafka.session_timeout", "6s", "--engine.threads", "2",
                                  name=name) for name in COUNTERS]
        self.base = {counter.name: list(counter.options) for counter in self.counters}
        for server in (self.page, *self.counters):
            server.environment = self.clocks[server.name].environment()
        self.page.start()
        for counter in self.counters:
            counter.command = "count"
            self._draw_options(counter)
            counter.start()
        # What is broken now, by what it is: when it heals, and how.
        self.broken: dict[object, tuple[float, Callable[[], None]]] = {}
        self.deck: list[str] = []
        self.reached: Counter = Counter()

    @property
    def processes(self) -> tuple[Server, ...]:
        return (self.page, *self.counters)

    def _draw_options(self, counter: Server) -> None:
        counter.options = self.base[counter.name] + [
            "--engine.checkpoint_interval", self.draw.choice(("200ms", "1s", "30s")),
            "--kafka.commit_interval", self.draw.choice(("1ms", "20ms", "500ms"))]

    def heal(self, now: float = float("inf")) -> None:
        """What is due by `now`."""
        for what, (due, undo) in list(self.broken.items()):
            if due <= now:
                del self.broken[what]
                undo()

    def fault(self) -> None:
        """The next one of a deck that has each kind once; without a victim it is none."""
        self.heal(time.monotonic())
        if not self.deck:
            self.deck = self.draw.sample(KINDS, len(KINDS))
        kind = self.deck.pop()
        if getattr(self, f"_{kind}")():
            self.reached[kind] += 1

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
        awake = [counter for counter in self.counters
                 if counter.running and ("sleep", counter.name) not in self.broken]
        return self.draw.choice(awake) if awake else None

    def _kill(self) -> bool:
        return self._again(lambda victim: victim.kill())

    def _stop(self) -> bool:
        def stop(victim: Server) -> None:
            try:
                victim.stop(seconds=10)
            except Failure:  # a start that has not seen Kafka yet ends with a code of its own
                if victim.running or "stopped while waiting for Kafka" not in victim.log():
                    raise

        return self._again(stop)

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

    def _page(self) -> bool:
        self.page.kill()
        self.page.launch()
        return True

    # -- brokers ----------------------------------------------------------------------------------

    def _broker(self, end: Callable[[Broker], None]) -> bool:
        if "broker" in self.broken:
            return False
        broker = self.draw.choice(self.cluster.brokers)
        end(broker)

        def undo() -> None:
            broker.start()
            broker.wait(90)

        self._break("broker", self.draw.uniform(1, 6), undo)
        return True

    def _broker_kill(self) -> bool:
        return self._broker(lambda broker: broker.kill())

    def _broker_stop(self) -> bool:
        return self._broker(lambda broker: broker.stop())

    def _broker_sleep(self) -> bool:
        if "broker" in self.broken:
            return False
        broker = self.draw.choice(self.cluster.brokers)
        broker.pause()
        self._break("broker", self.draw.uniform(0.2, 4), broker.go_on)
        return True

    # -- networks, disks, clocks ------------------------------------------------------------------

    def _net(self, begin: Callable[[object], None]) -> bool:
        """Between one process and one broker, or all of them."""
        name = self.draw.choice((*COUNTERS, PAGE))
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
        """Where the checkpoints lie."""
        if "disk" in self.broken:
            return False
        self.disk.fill(leave=0)
        self._break("disk", self.draw.uniform(0.5, 5), self.disk.make_space)
        return True

    def _clock_step(self) -> bool:
        name = self.draw.choice((*COUNTERS, PAGE))
        if ("clock", name) in self.broken:
            return False
        self.clocks[name].step(self.draw.choice(CLOCK_STEPS_MS))
        self._break(("clock", name), self.draw.choice((1, 8, 40)), lambda: self.clocks[name].step(0))
        return True


@test(seconds=1200)
def kafka_chaos(t: Test) -> None:
    """Short here; `make chaos SEED=N` runs it for ten minutes."""
    chaos = Chaos(t, t.seed)
    senders = Senders(chaos.page, count=4, pause=0.02, patience=240)
    begin = time.monotonic()
    while time.monotonic() - begin < t.chaos_seconds or set(KINDS) - set(chaos.reached):
        time.sleep(chaos.draw.uniform(0.2, 2.5))
        senders.check()
        chaos.watch()
        chaos.fault()
    chaos.heal()
    for process in chaos.processes:
        wait_until(lambda: chaos.watch() or process.wait_door(1), 60, f"{process.name} is there")
    oracle = senders.finish(240)
    ledger = oracle.check(chaos.page, repeated=True, seconds=120)
    check_topics(chaos.cluster, oracle, ledger)
    fresh = Traffic(99, trouble=False)
    deliver(chaos.page, fresh, 1)
    sent = time.monotonic()
    wait_until(lambda: chaos.page.ledger()["counted"] == oracle.distinct + 1, 30, "a fresh event counts")
    shown = time.monotonic() - sent
    for process in chaos.processes:
        wait_until(process.healthy, 30, f"{process.name} is well again: {process.health()}")
        process.stop(seconds=10)
        process.expect_quiet_log(*EXPECTED)
    faults = sum(chaos.reached[kind] for kind in KINDS)
    t.note(f"seed {t.seed}, {faults} faults {dict(chaos.reached)}, {senders.tally().elements} elements, "
           f"a fresh event after {shown * 1000:.0f} ms")
