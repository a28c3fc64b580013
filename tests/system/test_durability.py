"""What was acknowledged is counted exactly once: through kills, stops, pressure and full disks."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import subprocess
import threading
import time

from events import Traffic, deliver
from registry import test
from senders import Senders
from server import (Client, Failure, Server, Test, expect, expect_equal, gzipped, is_root, lines,
                    wait_until)


@test(seconds=1500)
def crash(t: Test) -> None:
    """kill -9 at random moments under load; each time it starts again and nothing is lost or twice.
    Each life has other intervals, so that kills meet commits and checkpoints in every state."""
    draw = random.Random(7)

    def options() -> list[str]:
        return ["--engine.checkpoint_interval", draw.choice(("100ms", "400ms", "30s")),
                "--engine.commit_interval", draw.choice(("1ms", "20ms", "250ms", "2s")),
                "--engine.threads", str(draw.randint(1, 3)),
                "--server.threads", str(draw.randint(1, 3))]

    server = t.server(*options())
    server.start()
    senders = Senders(server, count=4, pause=0.01)
    slowest_start = 0.0
    for kill in range(t.kills):
        time.sleep(draw.uniform(0.05, 0.9))  # a life, longer than most of the intervals above
        senders.check()
        expect(server.running, f"the server ended by itself before kill {kill + 1}")
        server.kill()
        server.options = options()
        try:
            slowest_start = max(slowest_start, server.start())
        except Failure as failure:
            raise Failure(f"after kill {kill + 1} of {t.kills}: {failure}") from None
    oracle = senders.finish()
    tally = senders.tally()
    ledger = oracle.check(server, repeated=True)
    # It must have been a load, or nothing is proven.
    expect(tally.bodies >= 2 * t.kills, f"only {tally.bodies} bodies came through")
    expect(tally.cut >= t.kills // 2, f"only {tally.cut} requests were cut by {t.kills} kills")
    server.stop()
    server.start()
    expect_equal(oracle.check(server, repeated=True), ledger, "the ledger after one more start")
    server.stop()
    server.expect_quiet_log()
    t.note(f"{t.kills} kills, {tally.elements} elements, {tally.cut} requests cut, "
           f"{ledger['received'] - oracle.detections - oracle.malformed} repeated elements, "
           f"slowest start {slowest_start:.2f} s")


@test(seconds=400)
def sigterm(t: Test) -> None:
    """SIGTERM under load: everything is committed and the process gone within 5 s, exit code 0."""
    server = t.server()
    server.start()
    senders = Senders(server, count=4, pause=0.002)
    slowest = 0.0
    for _ in range(3):
        time.sleep(0.8)  # of load
        senders.check()
        slowest = max(slowest, server.stop(seconds=5))
        acknowledged = senders.tally().elements
        start = server.start()
        # A clean stop leaves a checkpoint at the end of the log: nothing is read twice, so the
        # ledger is whole at once and the start is quick.
        ledger = server.ledger()
        expect(ledger["received"] + ledger["heartbeats"] >= acknowledged,
               f"right after the start {ledger}, acknowledged were {acknowledged}")
        expect(start < 5, f"start after a clean stop took {start:.1f} s")
    oracle = senders.finish()
    before = oracle.check(server, repeated=True)
    server.stop()
    server.start()
    expect_equal(server.ledger(), before, "the ledger of the first moment after a start")
    wait_until(lambda: server.log().count("runs from offset") == 4, 10, "4 partitions run")
    time.sleep(0.5)  # in which they would read what nobody wants
    expect_equal(server.metric("sightline_engine_records_total"), 0, "records read again")
    server.stop()
    server.expect_quiet_log()
    t.note(f"slowest stop {slowest:.2f} s, {senders.tally().elements} elements")


@test(seconds=240)
def same_body(t: Test) -> None:
    """A body sent again - as it was, packed, as an array, after a restart, after a kill - changes no
    count."""
    server = t.server()
    server.start()
    traffic = Traffic(0, trouble=False)
    elements = traffic.body(200).data.splitlines()
    forms = {"lines": (lines(elements), {}), "gzip": (gzipped(lines(elements)),
                                                      {"Content_Encoding": "gzip"}),
             "array": (b"[" + b",".join(elements) + b"]", {}),
             "backwards": (lines(reversed(elements)), {})}
    received = 0
    for life in range(3):
        for name, (body, headers) in forms.items():
            answer = server.post_ok(body, **headers)
            expect_equal((answer["accepted"], answer["rejected"]), (200, 0), f"answer to {name}")
            received += 200
            server.wait_ledger(received=received, counted=200, duplicate=received - 200)
        traffic.oracle.detections = received
        traffic.oracle.check(server, repeated=False)
        if life == 0:
            server.stop()
        else:
            server.kill()
        server.start()
    traffic.oracle.check(server, repeated=False)
    server.expect_quiet_log()


# -- backpressure ----------------------------------------------------------------------------------

@test(seconds=300)
def backpressure_memory(t: Test) -> None:
    """server.memory_max is full: 429 with Retry-After, at once; what is repeated is counted once."""
    server = t.server("--server.memory_max", "256KiB", "--server.body_max", "128KiB")
    server.start()
    # A body is charged twice, for itself and for its records: two bodies that say how long they are
    # and then hesitate hold nearly all of it.
    held = []
    traffic = Traffic(100, trouble=False)
    for _ in range(2):
        body = traffic.body(200).data
        body = body + b"\n" * (60 * 1024 - len(body))
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.putrequest("POST", "/v1/detections")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        connection.send(body[:20_000])
        held.append((connection, body))
    wait_until(lambda: server.metric("sightline_ingest_memory_bytes") > 200 << 10, 20, "the two hold the memory")
    begin = time.monotonic()
    refused = server.post(Traffic(101, trouble=False).body(300).data)
    expect_equal(refused.status, 429, f"beyond the memory: {refused.body[:200]!r}")
    expect(refused.headers.get("retry-after", "").isdigit(), f"no Retry-After: {refused.headers}")
    expect(time.monotonic() - begin < 2, "the refusal took more than 2 s")
    senders = Senders(server, count=8, pause=0, elements_max=400)
    wait_until(lambda: senders.tally().refused_429 >= 20, 20, "20 refusals with 429")
    expect(server.healthy() or server.running, "the server is gone")
    for connection, body in held:
        connection.send(body[20_000:])
        expect_equal(connection.getresponse().status, 200, "a body that hesitated")
        connection.close()
    time.sleep(1)  # more of the load
    oracle = senders.finish()
    oracle.add(traffic.oracle)
    oracle.check(server, repeated=False)
    expect(server.memory_mib() < 200, f"{server.memory_mib():.0f} MiB resident")
    server.expect_quiet_log()
    t.note(f"{senders.tally().refused_429} refusals, {senders.tally().bodies} bodies, at most "
           f"{server.memory_mib():.0f} MiB resident")


@test(seconds=300)
def backpressure_queue(t: Test) -> None:
    """log.queue_max is full: 429; nothing is lost, and memory stays where it was."""
    server = t.server("--log.queue_max", "64KiB")
    server.start()
    idle = server.memory_mib()
    senders = Senders(server, count=12, pause=0, elements_max=400)
    wait_until(lambda: senders.check() or senders.tally().refused_429 >= 20, 30,
               "20 refusals with 429")
    time.sleep(1)  # more of the load: memory stays where it is
    oracle = senders.finish()
    oracle.check(server, repeated=False)
    peak = server.memory_mib()
    expect(peak < idle + 300, f"{peak:.0f} MiB resident, {idle:.0f} when idle")
    server.expect_quiet_log()
    t.note(f"{senders.tally().refused_429} refusals, {senders.tally().bodies} bodies, at most "
           f"{peak:.0f} MiB resident, {idle:.0f} when idle")


@test(seconds=240)
def larger_than_the_bounds(t: Test) -> None:
    """A body within server.body_max that no bound will ever let in must not be told to come again
    for ever: it is taken (when nothing else is there), or 413, or the options are refused."""
    for option, size in (("--log.queue_max", 200_000), ("--server.memory_max", 200_000)):
        server = t.server(option, "64KiB")
        server.launch()
        wait_until(lambda: _ready(server) or not server.running, 30, "ready or ended")
        if not server.running:
            expect(server.process.returncode > 0, f"{option} 64KiB: exit code "
                                                  f"{server.process.returncode}")
            continue
        traffic = Traffic(1, trouble=False)
        body = traffic.body(size // 100).data
        deadline = time.monotonic() + 8
        statuses = []
        while time.monotonic() < deadline:
            statuses.append(server.post(body).status)
            if statuses[-1] in (200, 413):
                break
            time.sleep(0.2)
        expect(statuses[-1] in (200, 413), f"{option} 64KiB and a body of {len(body)} bytes: "
               f"{statuses[-1]} for ever, in {len(statuses)} attempts; docs/PROTOCOL.md: 429 means "
               "'send the same again'")


def _ready(server: Server) -> bool:
    try:
        return Client(server.port, timeout=2).request("GET", "/healthz").status == 200
    except OSError:
        return False


@test(seconds=300)
def retention(t: Test) -> None:
    """The raw log is bounded: its oldest records go, and no count with them. Where a start would need
    records that are gone, it says so; it never counts without them in silence."""
    for clean in (True, False):
        server = t.server("--log.size_max", "1MiB", "--engine.checkpoint_interval",
                          "30s" if clean else "1h")
        server.start()
        traffic = Traffic(0, trouble=False)
        for _ in range(40):
            deliver(server, traffic, 500)
        server.wait_ledger(counted=20_000)
        wait_until(lambda: server.metric("sightline_log_retention_batches_total") > 0, 30,
                   "batches are removed")
        wait_until(lambda: server.metric("sightline_log_stored_bytes") <= 1 << 20, 30,
                   "the log is within its bound")
        if clean:
            server.stop()
            server.start()
            traffic.oracle.check(server, repeated=False)
            body = traffic.body(100)
            for _ in range(2):  # what is remembered is remembered without the log
                server.post_ok(body.data)
            traffic.oracle.detections += 100
            traffic.oracle.check(server, repeated=False)
            server.stop()
            server.expect_quiet_log()
            continue
        server.kill()
        server.launch()
        wait_until(lambda: not server.running or _ready(server)
                   or "runs from" in server.log() or "stop" in server.log(), 20, "an outcome")
        if not server.running:
            expect(server.process.returncode > 0, f"exit code {server.process.returncode}")
            continue
        wait_until(lambda: server.health()["status"] != "ok" or not server.running, 10,
                   "/healthz says that the counts may miss what retention removed")
        expect(server.ledger()["counted"] <= 20_000, f"counted twice: {server.ledger()}")


# -- full disk -------------------------------------------------------------------------------------

class SmallDisk:
    """A tmpfs of its own. Needs the right to mount; system_test.py gives this test a namespace where
    it has it."""

    def __init__(self, t: Test, mib: int):
        self.path = t.folder / "disk"
        self.path.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(self.path)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failure(f"cannot mount a small tmpfs (root: {is_root()}), so a full disk cannot be "
                          f"tested here: {done.stdout.strip()}")
        t.at_end.append(lambda: subprocess.run(["umount", "-l", str(self.path)], check=False))
        self.filler = self.path / "filler"

    def free(self) -> int:
        return shutil.disk_usage(self.path).free

    def fill(self, leave: int) -> None:
        # Somebody else may be writing, too, and be quicker. Without a buffer: closing writes nothing.
        with contextlib.suppress(OSError), open(self.filler, "ab", buffering=0) as file:
            if (size := self.free() - leave) > 0:
                os.posix_fallocate(file.fileno(), 0, size)
            file.seek(0, os.SEEK_END)
            while self.free() > leave:
                file.write(b"x" * min(1 << 16, max(4096, self.free() - leave)))

    def make_space(self) -> None:
        self.filler.unlink(missing_ok=True)


@test(seconds=480)
def full_disk(t: Test) -> None:
    """A full disk: senders are told to come again, nothing acknowledged is lost, and it goes on by
    itself when there is space. Then the same with a kill while it is full."""
    disk = SmallDisk(t, mib=96)
    server = t.server(data=disk.path / "data")
    server.start()
    senders = Senders(server, count=4, pause=0.02, patience=120)
    wait_until(lambda: senders.check() or senders.tally().bodies > 20, 20, "bodies are taken")
    disk.fill(leave=2 << 20)
    wait_until(lambda: senders.check() or senders.tally().refused_503 + senders.tally().refused_429
               >= 8, 60, "8 refusals because of the full disk")
    health = wait_until(lambda: (lambda h: h if h["status"] != "ok" else None)(server.health()), 10,
                        "/healthz says that it is degraded")
    expect(health["reasons"], f"/healthz has no reasons: {health}")
    before = senders.tally()
    time.sleep(2)  # of a full disk, with senders that come again
    senders.check()
    expect(server.running, "the server ended on a full disk")
    expect(senders.tally().slowest < 20, f"an answer took {senders.tally().slowest:.1f} s")
    server.ledger()  # reads go on
    disk.make_space()
    wait_until(lambda: senders.check() or senders.tally().bodies > before.bodies + 20, 60,
               "bodies are taken again")
    wait_until(lambda: server.health()["status"] == "ok", 60, f"healthy again: {server.health()}")

    disk.fill(leave=1 << 20)
    refused = senders.tally().refused_503 + senders.tally().refused_429
    wait_until(lambda: senders.check() or senders.tally().refused_503 + senders.tally().refused_429
               > refused + 4, 60, "refusals because of the full disk, again")
    server.kill()
    # On a full disk it may start, or say why not; but not lose anything.
    server.launch()
    wait_until(lambda: _ready(server) or not server.running
               or "space" in server.log() or "full" in server.log(), 30,
               "a start on a full disk that is ready, ended, or says why not")
    if not server.running:
        expect(server.process.returncode > 0, f"exit code {server.process.returncode}")
        expect("space" in server.log() or "full" in server.log(),
               f"does not say that the disk is full: {server.log()!r}")
    disk.make_space()
    if server.running:
        wait_until(lambda: _ready(server) or not server.running, 60, "ready when there is space")
    if not server.running:
        server.start()
    taken = senders.tally().bodies
    wait_until(lambda: senders.check() or senders.tally().bodies > taken + 20, 60,
               "bodies are taken again after the kill")
    oracle = senders.finish()
    ledger = oracle.check(server, repeated=True)
    server.stop()
    server.start()
    expect_equal(oracle.check(server, repeated=True), ledger, "the ledger after one more start")
    server.stop()
    tally = senders.tally()
    t.note(f"{tally.refused_503} x 503, {tally.refused_429} x 429, {tally.elements} elements, slowest "
           f"answer {tally.slowest:.1f} s")


# -- a lake that is away -----------------------------------------------------------------------------

class SumWatcher(threading.Thread):
    """Asks again and again for the sum of everything: it never becomes less, over restarts, too."""

    def __init__(self, server: Server):
        super().__init__(daemon=True)
        self.server = server
        self.sum = 0
        self.asked = 0
        self.failure: str | None = None
        self.stopping = threading.Event()

    def run(self) -> None:
        client = Client(self.server.port)
        body = json.dumps({"sql": "SELECT coalesce(sum(item_count), 0)::BIGINT AS n, "
                                  "(SELECT coalesce(sum(counted), 0)::BIGINT FROM ledger) AS c "
                                  "FROM item_counts"}).encode()
        while not self.stopping.wait(0.05):
            try:
                answer = client.request("POST", "/v1/query", body)
            except (OSError, http.client.HTTPException):
                continue  # it was killed
            if answer.status == 503:
                continue  # not yet counted up to where it was
            if answer.status != 200:
                self.failure = f"status {answer.status}: {answer.body[:300]!r}"
                return
            row = json.loads(answer.body)[0]
            if row["n"] < self.sum or row["n"] != row["c"]:
                self.failure = f"the sum was {self.sum} and is {row['n']}, by the ledger {row['c']}"
                return
            self.sum = row["n"]
            self.asked += 1

    def check(self) -> None:
        if self.failure:
            raise Failure(f"a query: {self.failure}")

    def finish(self) -> None:
        self.stopping.set()
        self.join(30)
        self.check()


@test(seconds=600)
def spill(t: Test) -> None:
    """The lake's disk is full for long: events are counted, shown and asked for far beyond what may
    wait in memory, /healthz is not troubled. A kill -9 in the middle; then there is room again, and
    everything arrives, once."""
    disk = SmallDisk(t, mib=48)
    pending_max = 128 << 10
    server = t.server("--lake.dir", disk.path / "lake", "--partitions", 2,
                      "--engine.pending_max", pending_max, "--lake.roll_interval", "300ms",
                      "--engine.checkpoint_interval", "1s")
    server.start()
    senders = Senders(server, count=4, pause=0.005, patience=240)
    watcher = SumWatcher(server)
    watcher.start()

    def well() -> bool:
        senders.check()
        watcher.check()
        expect(server.running, "the server ended by itself")
        return True

    def spilled() -> float:
        return server.metric("sightline_engine_spill_bytes")

    wait_until(lambda: well() and watcher.sum > 0, 30, "queries see events")
    disk.fill(leave=0)
    wait_until(lambda: well() and spilled() > 0, 60, "something is spilled")
    begun, asked = server.ledger()["received"], watcher.asked
    # As stored it is a fraction of what it would be in memory.
    # A busy machine looks late at the beginning, so it waits for more.
    wait_until(lambda: well() and spilled() > 8 * pending_max and server.ledger()["received"] > 4 * begun
               and watcher.asked > asked + 10, 180,
               f"{8 * pending_max} bytes are spilled, of {4 * begun} events, and ten more queries are answered")
    expect_equal(server.health()["status"], "ok", "/healthz while spilling")
    far, most = server.ledger()["received"], spilled()
    expect("spills: a sink is away" in server.log(), "no line says that it spills")
    expect(server.log().count(" spills") <= 2, f"a flood of lines: {server.log()!r}")

    server.kill()
    server.launch()
    expect(server.wait_door(60), f"it did not start again: {server.last_line()}")
    well()
    disk.make_space()
    wait_until(lambda: well() and server.health()["status"] == "ok", 60, "healthy again")
    wait_until(lambda: well() and watcher.sum >= far, 120, f"queries see {far} events again")
    oracle = senders.finish(120)
    wait_until(lambda: well() and spilled() == 0, 120, "everything spilled is in the lake")
    watcher.finish()
    ledger = oracle.check(server, repeated=True)
    totals = json.loads(server.request("GET", "/v1/ledger?group=none").body)[0]
    expect_equal(totals, ledger, "the ledger of the lake and what is pending, against live's")
    wait_until(lambda: not list((server.data / "checkpoints").rglob("*.run")), 20,
               "the runs are removed")
    expect_equal(list((server.data / "pending").iterdir()), [], "what queries had kept of them")
    memory = server.memory_mib()
    server.stop()
    done = t.run("lake", "verify", "--data", server.data, "--lake", disk.path / "lake",
                 "--format", "json", seconds=120)
    expect_equal(done.returncode, 0, f"lake verify: {done.stdout!r} {done.stderr!r}")
    # Files of writes that the full disk cut off belong to no version: that is a note.
    expect(all(row["kind"] in ("ok", "note") for row in json.loads(done.stdout)),
           f"verify: {done.stdout!r}")
    server.start()
    expect_equal(oracle.check(server, repeated=True), ledger, "the ledger after one more start")
    server.stop()
    t.note(f"{begun} events when spilling began, {far} when {most / 1024:.0f} KiB were on disk, "
           f"{watcher.asked} queries, memory at most {memory:.0f} MiB")


@test(seconds=300)
def unreadable_counts(t: Test) -> None:
    """A spilled run or a file of the lake that cannot be read fails every query: /healthz names it until it
    can be read again."""
    disk = SmallDisk(t, mib=48)
    server = t.server("--lake.dir", disk.path / "lake", "--partitions", 1, "--engine.pending_max", 128 << 10,
                      "--lake.roll_interval", "300ms")
    server.start()
    question = json.dumps({"sql": "SELECT sum(item_count) AS n FROM item_counts", "format": "csv"}).encode()

    def refused_and_named(path: pathlib.Path, *words: str) -> None:
        good, asked = path.read_bytes(), server.request("POST", "/v1/query", question)
        expect_equal(asked.status, 200, f"before: {asked.body!r}")
        expect_equal(server.health()["status"], "ok", f"before: {server.health()}")
        path.write_bytes(good[:20])
        answer = server.request("POST", "/v1/query", question)
        expect_equal(answer.status, 400, f"with a damaged file: {answer.body!r}")
        server.wait_reason(10, "queries fail", "cannot be read", *words)
        path.write_bytes(good)
        wait_until(lambda: server.health()["status"] == "ok", 10, "healthy again")
        expect_equal(server.request("POST", "/v1/query", question).body, asked.body, "the answer of before")

    senders = Senders(server, count=4, pause=0.005, patience=240)
    wait_until(lambda: senders.check() or list((disk.path / "lake").rglob("*.parquet")), 30, "the lake has files")

    def spills() -> bool:
        senders.check()
        disk.fill(leave=0)  # again: the lake takes and gives room meanwhile
        return server.metric("sightline_engine_spill_runs") >= 3

    wait_until(spills, 120, "runs are spilled")
    oracle = senders.finish(120)
    # The sinks read the oldest run again and again, and nobody but queries the newest.
    run = max((server.data / "checkpoints").rglob("*.run"), key=lambda path: path.stat().st_mtime_ns)
    refused_and_named(run, "partition 0", str(server.data / "pending"))
    disk.make_space()
    wait_until(lambda: server.metric("sightline_engine_spill_runs") == 0, 120, "everything spilled is in the lake")
    file = max((disk.path / "lake" / "item_count_increments").rglob("*.parquet"),
               key=lambda path: path.stat().st_mtime_ns)
    refused_and_named(file, str(file))
    oracle.check(server, repeated=True)
    server.stop()
