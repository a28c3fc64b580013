"""An operator's life with one server: options changed and changed back, a lake switched off and on, its file system
gone, read-only, a full disk, a wrong clock, a copy of the running folder, kill -9. Each act begins in an order that a
seed gives, while cameras send. A watcher asks all the time, and nothing may be wrong at any second.

`make attack SEED=n ATTACK=seconds` plays it for as long as one likes; the acts of the short form occur once each."""

from __future__ import annotations

import http.client
import random
import shutil
import subprocess
import threading
import time
from typing import Callable

from clocks import Clock
from registry import test
from senders import Senders
from server import PATIENCE, Client, Failure, Server, Test, expect, expect_equal, wait_until
from test_durability import SmallDisk
from test_lake import command

DAY = 86_400_000
# After so many seconds, an event that was answered with 200 is counted, or /healthz says why not.
GRACE_S = 5.0
HOLD_S = 4.0  # how long each trouble lasts
ROLL = ("--lake.roll_interval", "200ms", "--log.retention", "30d", "--engine.checkpoint_interval", "1s")
TOTALS = ("SELECT sum(received)::BIGINT AS received, sum(counted)::BIGINT AS counted, sum(heartbeats)::BIGINT AS "
          "heartbeats, coalesce(sum(lost), 0)::BIGINT AS lost FROM ledger")


class Watcher(threading.Thread):
    """Asks for health and ledger several times a second, and finds the seconds in which /healthz was `ok` although
    events that were answered with 200 long ago had not been counted, or in which the ledger went back."""

    def __init__(self, server: Server, taken: Callable[[], int]):
        super().__init__(daemon=True)
        self.server, self.taken = server, taken
        self.ended = threading.Event()
        self.wrong: list[str] = []
        self.asked = self.not_ok = 0
        self.history: list[tuple[float, int]] = []  # when so many elements had been answered with 200
        self.up_since: float | None = None
        self.received = 0

    def run(self) -> None:
        while not self.ended.is_set():
            self.history.append((time.monotonic(), self.taken()))
            try:
                client = Client(self.server.port, timeout=5)
                health = client.request("GET", "/healthz").json()
                ledger = client.request("GET", "/v1/ledger").json()
                client.close()
                self._look(health, ledger)
            except (OSError, http.client.HTTPException, ValueError):
                self.up_since = None  # it is down, or just starting
            time.sleep(0.2)

    def _look(self, health: dict, ledger: dict) -> None:
        now = time.monotonic()
        if "received" not in ledger:
            return
        self.asked += 1
        self.up_since = self.up_since or now
        received = ledger["received"]
        if received < self.received:
            self.wrong.append(f"the ledger went back from {self.received} to {received}")
        self.received = received
        if health["status"] != "ok":
            self.not_ok += 1
            return
        grace = GRACE_S * PATIENCE
        if now - self.up_since < grace:
            return
        while len(self.history) > 1 and self.history[1][0] < now - grace:
            self.history.pop(0)
        if received < self.history[0][1]:
            self.wrong.append(f"/healthz was ok, but of {self.history[0][1]} elements that were answered with 200 "
                              f"{grace:g} s ago only {received} are in the ledger")

    def finish(self) -> None:
        self.ended.set()
        self.join(20)
        expect(not self.wrong, f"{len(self.wrong)} wrong seconds, the first: {self.wrong[:3]}")


class Operator:
    def __init__(self, t: Test):
        self.t, self.draw = t, random.Random(t.seed)
        self.disk = SmallDisk(t, mib=64 + int(t.chaos_seconds))
        self.data = self.disk.path / "data"
        self.store = t.folder / "store"  # what is mounted as the lake's folder
        self.store.mkdir()
        (self.data / "lake").mkdir(parents=True)
        self._mount("mount", "--bind", self.store, self.data / "lake")
        self.checkpoints = self.data / "checkpoints"
        self.checkpoints.mkdir()
        self._mount("mount", "--bind", self.checkpoints, self.checkpoints)
        for mounted in (self.data / "lake", self.checkpoints):
            t.at_end.append(lambda path=mounted: subprocess.run(["umount", "-l", str(path)], check=False))
        self.server = t.server(*ROLL, data=self.data)
        self.clock = Clock(t, "server")
        self.server.environment = self.clock.environment()
        self.server.start()
        self.senders = Senders(self.server, count=2, pause=0.05, patience=120, elements_max=40)
        self.watcher = Watcher(self.server, lambda: self.senders.tally().elements)
        self.watcher.start()

    def _mount(self, *words: object) -> None:
        done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        expect(done.returncode == 0, f"`{' '.join(map(str, words))}`: {done.stdout.strip()}")

    def flows(self, seconds: float = 60) -> None:
        """Bodies are taken and counted, and all is well."""
        taken = self.senders.tally().bodies
        wait_until(lambda: self.senders.check() or self.senders.tally().bodies > taken + 5, seconds,
                   f"bodies are taken: {self.senders.tally()}")
        wait_until(self.server.healthy, seconds, f"it is well: {self.server.health()}")

    def hold(self) -> None:
        time.sleep(HOLD_S)  # the trouble lasts
        self.senders.check()
        expect(self.server.running, f"the server ended: {self.server.last_line()}")

    def restart(self, *options: object) -> None:
        self.server.options = [*map(str, ROLL), *map(str, options)]
        self.server.start(seconds=60)

    # -- acts ------------------------------------------------------------------------------------

    def options_changed(self) -> None:
        """Other settings are refused, with the difference; the old ones go on."""
        self.server.stop(seconds=30)
        self.server.options = [*map(str, ROLL), "--pipeline.window_size", "5m"]
        self.server.start_refused("window_size", "other settings")
        self.restart()

    def lake_off(self) -> None:
        self.server.stop(seconds=30)
        self.restart("--lake.enabled", "false")
        self.flows()
        self.hold()
        self.server.stop(seconds=30)
        self.restart()

    def lake_gone(self) -> None:
        """Its file system is unmounted; the empty mount point stays empty."""
        lake = self.data / "lake"
        self._mount("umount", "-l", lake)
        self.hold()
        expect_equal(list(lake.iterdir()), [], "what was made in the empty mount point")
        self._mount("mount", "--bind", self.store, lake)

    def lake_read_only(self) -> None:
        lake = self.data / "lake"
        self.server.stop(seconds=30)  # so that it holds this mount
        self.restart()
        self.flows()
        counted = self.server.ledger()["received"]
        self._mount("mount", "-o", "remount,bind,ro", lake)
        self.hold()
        expect(self.server.ledger()["received"] > counted, "counting stands still with a read-only lake")
        self._mount("mount", "-o", "remount,bind,rw", lake)

    def checkpoints_read_only(self) -> None:
        """Not while one is being written: then the mount is busy."""
        def remounted() -> bool:
            done = subprocess.run(["mount", "-o", "remount,bind,ro", str(self.checkpoints)], capture_output=True)
            return done.returncode == 0

        wait_until(remounted, 10, "the folder of checkpoints is read-only")
        counted = self.server.ledger()["received"]
        self.hold()
        self.server.wait_reason(10, "cannot put a checkpoint", "Read-only file system")
        expect(self.server.ledger()["received"] > counted, "counting stands still without checkpoints")
        self._mount("mount", "-o", "remount,bind,rw", self.checkpoints)

    def clock_wrong(self) -> None:
        self.clock.step(self.draw.choice((8, -8, 400)) * DAY)
        self.hold()
        self.server.wait_reason(10, "the log's time")
        self.clock.step(0)

    def disk_full(self) -> None:
        self.disk.fill(leave=1 << 20)
        self.hold()
        self.disk.make_space()

    def folder_copied(self) -> None:
        """A copy of the running folder is a folder of its own: its files answer, not the server, which goes on."""
        copy = self.t.folder / f"copy{self.draw.randrange(1 << 30)}"
        subprocess.run(["cp", "-a", str(self.data), str(copy)], check=False, capture_output=True)
        said = []
        for _ in range(2):
            asked = self.t.run("top", "--window", "24h", "--data", copy, "--format", "csv", seconds=30)
            expect_equal(asked.returncode, 0, f"`top --data COPY`: {asked.stderr[:300]!r}")
            said.append(asked.stdout)
            self.flows()
        expect_equal(said[1], said[0], "what the copy answers while the server counts on")
        shutil.rmtree(copy, ignore_errors=True)

    def killed(self) -> None:
        self.server.kill()
        self.restart()

    ACTS = (options_changed, lake_off, lake_gone, lake_read_only, checkpoints_read_only, clock_wrong, disk_full,
            folder_copied, killed)

    # -- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        oracle = self.senders.finish(120)
        ledger = oracle.check(self.server, repeated=True, seconds=120)
        self.watcher.finish()
        self.server.stop(seconds=30)
        lake = self.data / "lake"
        command(self.t, "lake", "verify", "--lake", lake)
        said = command(self.t, "query", TOTALS, "--lake", lake)[0]
        in_lake = said["received"] + said["heartbeats"] + said["lost"]
        expect_equal(in_lake, ledger["received"] + ledger["heartbeats"],
                     f"what the lake received or says that it lacks: {said} of {ledger}")
        self.t.note(f"{ledger['counted']} counted, {said['lost']} of them not in the lake; asked {self.watcher.asked} "
                    f"times, {self.watcher.not_ok} times told that something is wrong")


@test(seconds=300)
def operator_hour(t: Test) -> None:
    """Every act at least once, in the order of the seed, until the time is over."""
    operator = Operator(t)
    acts = list(Operator.ACTS)
    operator.draw.shuffle(acts)
    until = time.monotonic() + (t.chaos_seconds if t.chaos_seconds > 120 else 0)
    done = 0
    while acts or time.monotonic() < until:
        act = acts.pop() if acts else operator.draw.choice(Operator.ACTS)
        done += 1
        with t.case(f"{done}. {act.__name__}"):
            operator.flows()
            try:
                act(operator)
                operator.flows()
            except Exception as error:
                raise Failure(f"{act.__name__} (seed {t.seed}): {error}") from error
    operator.finish()
