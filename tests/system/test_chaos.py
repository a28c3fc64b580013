"""Chaos on three brokers: everything that can die dies, in an order that a seed gives. Then every count
equals the oracle's, and a fresh event is on the page soon: how soon is noted."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

from brokers import Cluster
from events import Traffic, deliver
from registry import test
from senders import Senders
from server import Server, Test, expect, wait_until
from test_kafka import AWAY, check_topics


class Chaos:
    """The processes under test and what can befall them. Each fault heals before its like comes again."""

    def __init__(self, t: Test, seed: int):
        self.t, self.draw = t, random.Random(seed)
        self.cluster = Cluster(t, brokers=3)
        self.cluster.create_topics(8)
        common = ("--kafka.brokers", self.cluster.addresses)
        self.page = t.serve(*common)
        self.page.start()
        self.counters = [t.server(*common, "--engine.checkpoint_dir", t.folder / "checkpoints",
                                  "--kafka.session_timeout", "6s", "--engine.threads", "2",
                                  name=f"count{n}") for n in range(2)]
        for counter in self.counters:
            counter.command = "count"
            self._draw_options(counter)
            counter.start()
        self.asleep: list[tuple[float, Server]] = []
        self.broker_down: tuple[float, object] | None = None
        self.reached: Counter = Counter()

    def _draw_options(self, counter: Server) -> None:
        self.base = getattr(self, "base", {})
        options = self.base.setdefault(counter.name, list(counter.options))
        counter.options = options + [
            "--engine.checkpoint_interval", self.draw.choice(("200ms", "1s", "30s")),
            "--kafka.commit_interval", self.draw.choice(("1ms", "20ms", "500ms"))]

    def heal(self, now: float = float("inf")) -> None:
        """What is due to wake by `now`."""
        for due, process in [entry for entry in self.asleep if entry[0] <= now]:
            self.asleep.remove((due, process))
            os.kill(process.process.pid, signal.SIGCONT)
        if self.broker_down is not None and self.broker_down[0] <= now:
            broker = self.broker_down[1]
            self.broker_down = None
            broker.start()
            broker.wait(90)

    def fault(self) -> None:
        now = time.monotonic()
        self.heal(now)
        awake = [c for c in self.counters if all(c is not s for _, s in self.asleep)]
        kinds = ["kill", "stop", "sleep", "page"]
        if self.broker_down is None:
            kinds += ["broker_kill", "broker_stop", "broker_sleep"]
        kind = self.draw.choice(kinds)
        self.reached[kind] += 1
        if kind == "page":
            self.page.kill()
            self.page.start()
        elif kind in ("kill", "stop", "sleep"):
            if not awake:
                return
            victim = self.draw.choice(awake)
            if kind == "sleep":
                os.kill(victim.process.pid, signal.SIGSTOP)
                self.asleep.append((now + self.draw.choice((1, 3, 9)), victim))
                return
            if kind == "kill":
                victim.kill()
            else:
                victim.stop(seconds=10)
            self._draw_options(victim)
            victim.start()
        else:
            broker = self.draw.choice(self.cluster.brokers)
            if kind == "broker_sleep":
                broker.pause()
                time.sleep(self.draw.uniform(0.2, 4))
                broker.go_on()
                return
            if kind == "broker_kill":
                broker.kill()
            else:
                broker.stop()
            self.broker_down = (now + self.draw.uniform(1, 6), broker)


@test(seconds=1200)
def kafka_chaos(t: Test) -> None:
    """Short here; `make chaos SEED=N` runs it for ten minutes."""
    chaos = Chaos(t, t.seed)
    senders = Senders(chaos.page, count=4, pause=0.02, patience=120)
    begin = time.monotonic()
    faults = 0
    while time.monotonic() - begin < t.chaos_seconds or faults < 8:
        time.sleep(chaos.draw.uniform(0.2, 2.5))
        senders.check()
        for process in (chaos.page, *chaos.counters):
            expect(process.running, f"{process.name} ended by itself: {process.last_line()}")
        chaos.fault()
        faults += 1
    chaos.heal()
    oracle = senders.finish(120)
    ledger = oracle.check(chaos.page, repeated=True, seconds=120)
    check_topics(chaos.cluster, oracle, ledger)
    fresh = Traffic(99, trouble=False)
    deliver(chaos.page, fresh, 1)
    sent = time.monotonic()
    wait_until(lambda: chaos.page.ledger()["counted"] == oracle.distinct + 1, 30, "a fresh event counts")
    shown = time.monotonic() - sent
    for process in chaos.counters:
        process.stop(seconds=10)
    chaos.page.stop()
    chaos.page.expect_quiet_log(*AWAY)
    for process in chaos.counters:
        process.expect_quiet_log(*AWAY)
    t.note(f"seed {t.seed}, {faults} faults {dict(chaos.reached)}, {senders.tally().elements} elements, "
           f"a fresh event after {shown * 1000:.0f} ms")
