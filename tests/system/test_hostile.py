"""SQL that cannot hurt: questions that want to end, stop or fill the server harm at most themselves.

The server must live, lose no count, answer everybody else, and end in time when it is told to. `make attack SEED=n
ATTACK=seconds` asks for as long as one wants; `make test` plays less than a minute of it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, IncompleteRead
from typing import Callable

from askers import (DEADLINE_S, LATE_S, Footprint, Honest, Load, Poster, Probe, Said, Watching, ask, between,
                    children_of, connected, cpu_seconds, lives_on, printed_worker_bytes, rows_of, spread,
                    stopped_at_end)
from events import Oracle, check_tops
from hostile_sql import BRACKETS, CORPUS, LIKE_30, LONG_A, SEEN, Question, body_of
from registry import test
from senders import Senders
from server import PATIENCE, ROOT, STOP_S, Failure, Server, Test, expect, expect_equal, lines, wait_until
from shared import lives
from stream import Viewer
from test_lake import SUM
from test_monitor import event

ONE = body_of("SELECT 1 AS n")
HANGING = [body_of(sql) for sql in (
    f"SELECT s LIKE '{LIKE_30}' FROM {LONG_A}",
    "SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b",
    f"SELECT regexp_matches(s, '(a*)*(a*)*(a*)*b'), s LIKE '{LIKE_30}' FROM {LONG_A}",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r) SELECT count(*) FROM r")]
# What has no end is left soon; what wants memory or a deep stack first has to get there.
LEFT_AFTER_S = {"hang": 0.6, "regex": 0.6, "planner": 1.0, "memory": 1.2}
LEFT_AFTER_OTHERS_S = 2.5
# What nobody may learn from any answer.
SECRET = "not-for-askers-4711"
# The server's own: bodies that are being posted and answers that are being sent have bounds of their own.
SERVER_GROWTH_MIB = 64 + 256 + 192
WITHIN_S = 1.0  # whoever asks for anything else is answered within it


def sources(first: int, count: int) -> list[str]:
    """Addresses of this machine, each a client of its own."""
    return [f"127.0.1.{first + i}" for i in range(count)]


def check_printed(t: Test, footprint: Footprint, idle_mib: float, events: int) -> None:
    """`events`: the server remembers their ids (docs/OPERATIONS.md, "Sizing")."""
    own = idle_mib + SERVER_GROWTH_MIB + events * 50 / 2**20
    printed = printed_worker_bytes(t) / 2**20
    with t.case("memory"):
        expect(printed > 0, f"`sightline explain` prints no sum of its query workers' memory; {footprint}")
        expect(footprint.children_mib <= printed, f"{footprint}; `sightline explain` prints {printed:.0f} MiB")
        expect(footprint.server_mib <= own, f"{footprint}; the server itself may take {own:.0f} MiB")
    t.note(f"{footprint}, printed {printed:.0f} MiB")


def stop_while_hanging(t: Test, server: Server, footprint: Footprint) -> None:
    """SIGTERM while as many questions hang as may run. Its children end with it."""
    threads = [threading.Thread(target=ask, args=(server, body, 20, source), daemon=True)
               for body, source in zip(HANGING, sources(1, len(HANGING)))]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    took = server.stop(STOP_S)
    footprint.check()
    footprint.stop()
    left: list[str] = []

    def gone() -> bool:
        left[:] = filter(lives, footprint.seen)
        return not left

    try:
        wait_until(gone, 1, "its children are gone")
    except Failure as failure:
        raise Failure(f"{failure}: {len(left)} of {len(footprint.seen)} live") from None
    for thread in threads:
        thread.join(10)
    t.note(f"SIGTERM {took:.2f} s")


# -- the corpus --------------------------------------------------------------------------------------------------------


def check_corpus() -> None:
    """It is what it says: 200 questions or more, none twice, none too long to be parsed, each kind there."""
    bodies = {question.body for question in (*SEEN, *CORPUS)}
    expect_equal(len(bodies), len(SEEN) + len(CORPUS), "distinct questions")
    expect(len(CORPUS) >= 200, f"{len(CORPUS)} questions")
    kinds = {question.kind for question in CORPUS}
    expect_equal(kinds, {"crash", "hang", "regex", "memory", "casts", "planner", "deep", "reveal", "reach", "tricks"},
                 "kinds")
    for question in CORPUS:
        if question.kind != "tricks":
            expect(len(json.loads(question.body)["sql"].encode()) <= 65_536, f"too long: {question.sql}")
        expect((question.kind in ("reveal", "reach")) == bool(question.reveals), f"reveals what? {question.sql}")


def check_answer(t: Test, server: Server, question: Question, said: Said) -> None:
    """It was answered, refused or left; and it tells nothing."""
    with t.case(f"{question.kind}: {question.sql}"):
        expect(said.status in (0, 200, 400, 413, 429, 500, 503, 504, 507), f"status {said.status}: {said.body[:200]!r}")
        expect(said.status != 200 or not question.reveals or not re.search(question.reveals.encode(), said.body),
               f"tells {said.body[:300]!r}")
        for secret in (SECRET, str(server.data), str(ROOT), "root:x:0", "Stack Trace"):
            expect(secret.encode() not in said.body, f"tells {secret}: {said.body[:300]!r}")
        expect(b"has been invalidated" not in said.body, f"the process that answers is broken: {said.body[:300]!r}")
        if said.status >= 400:
            expect_equal(said.headers.get("content-type"), "application/problem+json", "type of a refusal")
            expect(said.detail, f"a refusal without a sentence: {said.body[:200]!r}")


def post_corpus(t: Test, server: Server, draw: random.Random) -> None:
    """Four askers, each a client of its own, so that four questions run at a time."""
    questions = list(CORPUS)
    draw.shuffle(questions)
    todo = list(reversed([*SEEN, *questions]))
    statuses: list[int] = []
    asked: dict[str, Question] = {}

    def one(source: str) -> None:
        while todo and server.running:
            asked[source] = question = todo.pop()
            seconds = LEFT_AFTER_S.get(question.kind, LEFT_AFTER_OTHERS_S)
            said = ask(server, question.body, seconds, source)
            if not lives_on(server, said):
                return
            statuses.append(said.status)
            check_answer(t, server, question, said)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(one, source) for source in sources(1, 4)]:
            done.result()
    if not server.running:
        raise Failure(f"the server ended with {server.process.returncode} while it was asked\n    "
                      + "\n    ".join(question.sql for question in asked.values()))
    told = Counter({0: "left"}.get(status, str(status)) for status in statuses)
    t.note(", ".join(f"{number} {status}" for status, number in sorted(told.items())))


@test(seconds=120)
def hostile_corpus(t: Test) -> None:
    """Every question that harmed a server once, and hundreds that want to. Nobody else notices."""
    check_corpus()
    server = t.server("--lake.roll_interval", "300ms")
    server.environment = {**os.environ, "SIGHTLINE_TEST_SECRET": SECRET}
    server.start()
    pid, idle_mib = server.process.pid, server.memory_mib("VmRSS")
    senders = Senders(server, count=1, pause=0.02, elements_max=50)
    probe, footprint, viewer = Probe(server), Footprint(server), Viewer(server, "location=all&window=60m&limit=10")
    with stopped_at_end(probe, footprint):
        begin = time.monotonic()
        post_corpus(t, server, random.Random(t.seed))
        took = time.monotonic() - begin
        said = ask(server, ONE, WITHIN_S * PATIENCE)
        with t.case("SELECT 1 as soon as all have left"):
            expect_equal((said.status, said.body), (200, b'[\n{"n":1}\n]\n'), f"after {said.seconds:.2f} s")
        with t.case("others meanwhile"):
            for watching in (probe, footprint, viewer):
                watching.check()
            probe.stop()
            late = [probe.slowest[0], senders.tally().slowest, viewer.longest_gap - 1]  # a heartbeat a second
            expect(max(late) <= WITHIN_S * PATIENCE,
                   f"slowest: {probe.slowest}, POST {late[1]:.2f} s, {late[2]:.2f} s without a heartbeat")
        oracle = senders.finish()
        viewer.stop()
        with t.case("what is left runs on"):
            busy = min(footprint.cpu(1.0) for _ in range(PATIENCE))
            expect(busy < 0.5, f"{busy:.1f} cores are busy although everybody has left")
        oracle.check(server, repeated=False)
        expect_equal(rows_of(ask(server, body_of(SUM), 30), SUM), [{"n": oracle.distinct}], "the sum in SQL")
        expect_equal(server.process.pid, pid, "the process")
        check_printed(t, footprint, idle_mib, oracle.distinct)
        stop_while_hanging(t, server, footprint)
    p50, p99, most = spread(probe.took)
    t.note(f"{len(SEEN) + len(CORPUS)} questions in {took:.0f} s; others were answered after {p50:.1f} ms (p50), "
           f"{p99:.0f} ms (p99), {most:.0f} ms (most); POST at most {late[1] * 1000:.0f} ms")


# -- askers ------------------------------------------------------------------------------------------------------------


class Asker(Watching):
    """Asks honest and hostile questions, mixed from a seed. Of the hostile ones it leaves most soon; one at a
    time of all askers is waited for until its deadline."""

    one_stays = threading.Lock()  # of all askers

    def __init__(self, server: Server, honest: Honest, number: int, seed: int, until: float):
        super().__init__()
        self.server, self.honest, self.until = server, honest, until
        self.source = sources(10 + number, 1)[0]
        self.draw = random.Random(seed * 1_000 + number)
        self.number = number
        self.honest_right = self.honest_refused = self.hostile = self.answered = 0
        self.honest_took: list[float] = []
        self.latest = 0.0
        self.start()

    def watch(self) -> None:
        while time.monotonic() < self.until and not self.ended.is_set():
            if self.draw.random() < 0.5:
                self._ask_honest()
            else:
                self._ask_hostile()

    def _ask_honest(self) -> None:
        said = self.honest.ask(self.draw, self.source)
        self._in_time(said, DEADLINE_S + LATE_S, "an honest question")
        expect(said.status == 200 or said.refused_for_now or said.status == 504,
               f"an honest question: status {said.status} after {said.seconds:.1f} s, {said.headers}, "
               f"{said.body[:300]!r}")
        if said.status == 200:
            self.honest_right += 1
            self.honest_took.append(said.seconds)
        else:
            self.honest_refused += 1

    def _ask_hostile(self) -> None:
        question = self.draw.choice(SEEN if self.draw.random() < 0.2 else CORPUS)
        body = question.body
        if question.kind != "tricks" and self.draw.random() < 0.7:  # the same again, and yet another text
            sql = json.loads(body)["sql"]
            body = body_of(f"{sql} -- {self.number} {self.draw.random()}")
        seconds = self.draw.choices((0.02, 0.1, 0.3, 1.5), (25, 45, 27, 3))[0]
        # SQL has four places: two askers who wait to the end would hold half of them for most of the time.
        stays = self.draw.random() < 0.02 and self.one_stays.acquire(blocking=False)
        try:
            self._ask_one_hostile(question, body, DEADLINE_S + LATE_S if stays else seconds)
        finally:
            if stays:
                self.one_stays.release()

    def _ask_one_hostile(self, question: Question, body: bytes, seconds: float) -> None:
        said = ask(self.server, body, seconds, self.source)
        expect(lives_on(self.server, said), f"the server ended with {self.server.process.returncode}: {question.sql}")
        self.hostile += 1
        self.answered += said.status > 0
        self._in_time(said, DEADLINE_S + LATE_S, question.sql)
        expect(said.status in (0, 200, 400, 413, 429, 500, 503, 504, 507),
               f"status {said.status} after {said.seconds:.2f} s to {question.sql}: {said.body[:200]!r}")

    def _in_time(self, said: Said, seconds: float, what: str) -> None:
        self.latest = max(self.latest, said.seconds)
        expect(said.status != 0 or said.seconds < seconds - 0.01, f"no answer {seconds} s after {what}")


def load_until(end: float, *watching: Watching | Load) -> None:
    while time.monotonic() < end:
        time.sleep(0.1)
        for one in watching:
            one.check()


def check_load(t: Test, what: str, quiet: list[float], loaded: list[float], factor_max: float = 3) -> None:
    """Figures for people; only what is far off fails, because other work on the machine moves all of them."""
    before, after = spread(quiet), spread(loaded)
    t.note(f"{what} p50 {before[0]:.1f} -> {after[0]:.1f} ms, p99 {before[1]:.0f} -> {after[1]:.0f} ms")
    with t.case(what):
        expect(quiet and loaded, f"{len(quiet)} without and {len(loaded)} with askers")
        expect(after[0] <= factor_max * before[0] + 20,
               f"p50 {before[0]:.1f} ms without askers, {after[0]:.1f} ms with them")


def check_counts(server: Server, oracle: Oracle, honest: Honest) -> None:
    """The screen, the fixed questions and SQL have exactly what was posted."""
    server.wait_ledger(counted=oracle.distinct, received=oracle.detections, duplicate=0)
    check_tops(server, oracle.counts)
    for kind in range(len(honest.kinds)):
        said = honest.ask(random.Random(0), kind=kind)
        expect_equal(said.status, 200, f"{honest.kinds[kind][:2]}: {said}")
    expect_equal(rows_of(ask(server, body_of(SUM), 30), SUM), [{"n": oracle.distinct}], "the sum in SQL")


@test(seconds=240)
def hostile_askers(t: Test) -> None:
    """16 askers for --seconds, honest and hostile, while 20,000 events a second are posted."""
    # The lake gets as many files in an hour as in a minute: who reads all of it opens all of them.
    server = t.server("--lake.roll_interval", f"{max(1, int(t.chaos_seconds / 45))}s")
    server.start()
    idle_mib = server.memory_mib("VmRSS")
    load = Load(t, server, rate=20_000)
    footprint = Footprint(server)
    honest = Honest(server, lambda: load.sent.value)
    with stopped_at_end(footprint):
        begin = time.monotonic()
        alone_until = begin + min(15.0, t.chaos_seconds / 3)
        load_until(alone_until, footprint, load)
        until = time.monotonic() + t.chaos_seconds
        askers = [Asker(server, honest, number, t.seed, until) for number in range(16)]
        with stopped_at_end(*askers):
            load_until(until, footprint, load, *askers)
            for asker in askers:
                asker.join(DEADLINE_S + 2 * LATE_S)
                asker.check()
                expect(not asker.is_alive(), "an asker waits longer than any deadline")
        load.stop()
        check_counts(server, load.oracle, honest)
        asked = sum(asker.hostile + asker.honest_right + asker.honest_refused for asker in askers)
        right = sum(asker.honest_right for asker in askers)
        t.note(f"{asked} questions in {t.chaos_seconds:.0f} s, {right} honest ones right, "
               f"{sum(asker.honest_refused for asker in askers)} refused; the longest "
               f"{max(asker.latest for asker in askers):.1f} s")
        t.note("honest p50 {:.0f}, p99 {:.0f}, most {:.0f} ms".format(
            *spread([took for asker in askers for took in asker.honest_took])))
        rate = [len(between(load.posts, *span)) * Poster.LINES / (span[1] - span[0])
                for span in ((begin, alone_until), (alone_until, until))]
        t.note(f"events/s {rate[0]:.0f} -> {rate[1]:.0f}")
        for what, took in (("POST", load.posts), ("screen", load.shown)):
            check_load(t, what, between(took, begin + 2, alone_until), between(took, alone_until, until))
        with t.case("rates"):
            # 10,000 questions in 10 minutes, on a quiet machine.
            expect(asked >= t.chaos_seconds * 10_000 / 600 / PATIENCE, f"only {asked} questions in {t.chaos_seconds} s")
            expect(right >= asked / 8, f"only {right} of {asked} questions were honest ones that were answered")
            expect(rate[1] >= rate[0] / PATIENCE, f"events/s {rate[0]:.0f} without askers, {rate[1]:.0f} with them")
        check_printed(t, footprint, idle_mib, load.oracle.distinct)
        stop_while_hanging(t, server, footprint)
    server.expect_quiet_log(".*quer.*", ".*question.*", ".*worker.*")


# -- workers that are killed -------------------------------------------------------------------------------------------


class Killer(Watching):
    """kill -9 of one of the server's children at a time, at random, whenever a few more questions are `done`: so that
    a slow machine has no more kills than a fast one."""

    def __init__(self, server: Server, draw: random.Random, done: Callable[[], int]):
        super().__init__()
        self.server, self.draw, self.done, self.kills = server, draw, done, 0
        self.start()

    def watch(self) -> None:
        due = 0
        while not self.ended.wait(self.draw.uniform(0.0, 0.04)):
            children = children_of(self.server.process.pid) if self.done() >= due else []
            if children:
                with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                    os.kill(self.draw.choice(children), signal.SIGKILL)
                    self.kills += 1
                due = self.done() + self.draw.randint(1, 12)


@test(seconds=120)
def hostile_worker_kills(t: Test) -> None:
    """kill -9 of workers during 1,000 honest questions: each is answered rightly, or refused for now."""
    server = t.server("--lake.roll_interval", "2s")
    server.start()
    poster = Poster(server, 0, rate=2_000)
    honest = Honest(server, lambda: poster.handed_out)
    wait_until(lambda: honest.ask(random.Random(0), kind=1).status == 200, 10, "the first answer")
    expect(children_of(server.process.pid), "the server has no processes that answer questions")
    todo = list(range(1_000))
    tally = {200: 0, 503: 0}
    killer = Killer(server, random.Random(t.seed), lambda: sum(tally.values()))
    lock = threading.Lock()
    slowest = 0.0

    def ask_many(number: int) -> None:
        nonlocal slowest
        draw = random.Random(number)
        while True:
            with lock:
                if not todo:
                    return
                todo.pop()
            said = honest.ask(draw, sources(10 + number, 1)[0])
            expect(said.status == 200 or said.status == 503 and said.refused_for_now,
                   f"status {said.status} after {said.seconds:.1f} s: {said.headers} {said.body[:300]!r}")
            with lock:
                tally[said.status] += 1
                slowest = max(slowest, said.seconds)

    with stopped_at_end(killer, poster), ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ask_many, number) for number in range(8)]:
            done.result()
        killer.stop()
        for one in (killer, poster):
            one.check()
        for kind in range(len(honest.kinds)):
            wait_until(lambda: honest.ask(random.Random(0), kind=kind).status == 200, 3, f"answers again: {kind}")
        poster.stop()
        poster.check()
        server.wait_ledger(counted=poster.bodies * poster.LINES, received=poster.bodies * poster.LINES)
        check_tops(server, poster.counts())
        expect_equal(rows_of(ask(server, body_of(SUM), 30), SUM), [{"n": poster.bodies * poster.LINES}], "the sum")
    wait_until(lambda: not children_of(server.process.pid, "Z"), 2, "no child is left that nobody has waited for")
    expect(killer.kills >= 50, f"only {killer.kills} kills")
    expect(tally[200] >= 500, f"only {tally[200]} of 1,000 questions were answered")
    server.stop()
    t.note(f"{killer.kills} kills, {tally[200]} answered, {tally[503]} refused, the longest {slowest:.1f} s")


# -- the same question again -------------------------------------------------------------------------------------------


def crash_while_asked(server: Server, body: bytes) -> Said:
    """Asks, and lets the process that computes the answer end as if it had ended itself: no question that we know
    still does. It is the one that uses a core."""
    before = {pid: cpu_seconds(pid) for pid in children_of(server.process.pid)}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, server, body, DEADLINE_S + LATE_S)
        busy: list[int] = []

        def computes() -> bool:
            busy[:] = [pid for pid in children_of(server.process.pid) if cpu_seconds(pid) > before.get(pid, 0) + 0.5]
            return bool(busy) or asked.done()

        wait_until(computes, 10, "a process computes")
        expect(busy, f"no process computes: {asked.done() and asked.result()}")
        os.kill(busy[0], signal.SIGSEGV)
        said = asked.result()
    expect(server.running, f"the server ended with {server.process.returncode}")
    return said


@test(seconds=60)
def hostile_repeat(t: Test) -> None:
    """A question that ended its process is not tried again for a while, and the log has it."""
    server = t.server()
    server.start()
    expect_equal(ask(server, ONE, 10).status, 200, "SELECT 1")
    sql = ("/* beginning-4711 */ SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b /* " + "x" * 3_000
           + " end-4711 */")
    first = crash_while_asked(server, body_of(sql))
    expect(first.status >= 500 and first.detail, f"the one that ended its process: {first}")
    wait_until(lambda: ask(server, ONE, 10).status == 200, 3, "SELECT 1 after it")
    time.sleep(1)  # until there are as many processes as before
    before = set(children_of(server.process.pid))
    # The same text, then with another limit and from another client.
    for again in (ask(server, body_of(sql), 5), ask(server, body_of(sql, limit=5), 5, "127.0.0.2")):
        expect(again.status >= 400 and again.seconds < WITHIN_S * PATIENCE, f"asked again: {again}")
        expect(len(again.detail.split()) >= 5, f"asked again, it says no sentence: {again}")
    expect(not before - set(children_of(server.process.pid)), "the same question ended another process")
    expect_equal(ask(server, ONE, 5).status, 200, "SELECT 1")
    log = server.log()
    expect("beginning-4711" in log, "the log does not have the question")
    expect("end-4711" not in log, "the log has all of a question of 3 kB")
    expect(max(map(len, re.findall("x+", log))) < 1_024, "the log has more than 1 kB of the question")
    server.stop()
    t.note(f"first {first.status}: {first.detail}; then {again.status}: {again.detail}")


@test(seconds=120)
def hostile_poison(t: Test) -> None:
    """A question that breaks what its process holds - DuckDB gives up its database then - is refused in plain words,
    and nobody after it meets the broken one."""
    server = t.server()
    server.start()
    questions = ["SELECT reservoir_quantile(range, 0.5, 2000000000) FROM range(2000000000)",
                 "SELECT enum_range_boundary(NULL, NULL::ENUM('a', 'b'))",
                 f"SELECT json_contains(j, j) FROM (SELECT s || replace(s,'[',']') AS j FROM {BRACKETS})",
                 "SELECT list(range) FROM range(3000000000)"]
    for number, sql in enumerate(questions):
        with t.case(sql):
            said = ask(server, body_of(sql), DEADLINE_S + LATE_S, sources(1, 1)[0])
            expect(said.status >= 400 and said.detail, said)
            expect("Stack Trace" not in said.detail and str(ROOT) not in said.detail, f"tells {said.detail[:300]!r}")
            with ThreadPoolExecutor(8) as pool:  # so that every process answers
                asked = [pool.submit(ask, server, body_of(f"SELECT {number * 100 + i} AS n"), 20, source)
                         for i in range(4) for source in sources(10, 8)]
                wrong = [answer for answer in (done.result() for done in asked) if answer.status != 200]
            expect(not wrong, f"{len(wrong)} of {len(asked)} honest questions after it, the first: {wrong[:1]}")
    server.stop()


# -- slow readers, and one client beside another -----------------------------------------------------------------------


class SlowReader(Watching):
    """Takes a large answer at a steady rate; with a rate of 0 nothing, until `until` says so, and then all at once."""
    WANTED = body_of("SELECT range AS n, '" + "x" * 100 + "' AS t FROM range(100000)", format="csv")
    BYTES = len("n,t\r\n") + sum(len(f"{n},") for n in range(100_000)) + 100_000 * 102

    def __init__(self, server: Server, source: str, rate: float):
        super().__init__()
        self.server, self.source, self.rate = server, source, rate
        self.read_on = threading.Event()
        self.received, self.seconds, self.whole, self.cut = 0, 0.0, False, ""
        self.start()

    def watch(self) -> None:
        client = HTTPConnection("127.0.0.1", self.server.port)
        begin = time.monotonic()
        try:
            client.sock = connected(self.server, self.source, receive_bytes=65_536)
            client.sock.settimeout(60)
            client.request("POST", "/v1/query", self.WANTED)
            if self.rate == 0:
                self.read_on.wait()
            response = client.getresponse()
            expect_equal(response.status, 200, "status of a large answer")
            while not self.ended.is_set():
                piece = response.read(16_384)
                self.received += len(piece)
                if not piece:
                    self.whole = self.received == self.BYTES
                    break
                if self.rate:
                    time.sleep(max(0.0, begin + self.received / self.rate - time.monotonic()))
        except (IncompleteRead, HTTPException, socket.timeout, OSError) as error:
            self.cut = repr(error)
        finally:
            self.seconds = time.monotonic() - begin
            client.close()


@test(seconds=120)
def slow_reader(t: Test) -> None:
    """Whoever reads slowly gets everything, whoever reads nothing is cut; neither holds a place."""
    server = t.server()
    server.start()
    slow = [SlowReader(server, source, rate=SlowReader.BYTES / 36) for source in sources(1, 3)]
    idle = [SlowReader(server, source, rate=0) for source in sources(11, 6)]
    begin = time.monotonic()
    took: list[float] = []
    with stopped_at_end(*slow, *idle):
        time.sleep(4)  # all answers are made
        while any(reader.is_alive() for reader in slow) or time.monotonic() < begin + 36:
            said = ask(server, ONE, WITHIN_S * PATIENCE)
            expect_equal(said.status, 200, f"SELECT 1 beside slow readers, after {said.seconds:.1f} s, "
                                           f"{time.monotonic() - begin:.0f} s after the first: {said.body[:200]!r}")
            took.append(said.seconds)
            expect(time.monotonic() < begin + 36 * PATIENCE, "a slow reader is not done")
            time.sleep(0.2)
        for reader in slow:
            reader.check()
            expect(reader.whole, f"a slow reader got {reader.received} of {reader.BYTES} bytes: {reader.cut}")
            expect(reader.seconds > DEADLINE_S, f"it took only {reader.seconds:.0f} s")
        for reader in idle:
            reader.read_on.set()
        for reader in idle:
            reader.join(20)
            reader.check()
            expect(not reader.whole and not reader.is_alive(),
                   f"a client that read nothing for {reader.seconds:.0f} s got {reader.received} bytes")
    server.stop()
    t.note(f"{SlowReader.BYTES / 1e6:.0f} MB in {max(reader.seconds for reader in slow):.0f} s; SELECT 1 p50 "
           f"{spread(took)[0]:.1f}, most {spread(took)[2]:.0f} ms")


@test(seconds=60)
def two_clients(t: Test) -> None:
    """One client asks as much as it may, without an end; another is answered as ever."""
    server = t.server()
    server.start()
    server.post_ok(lines([event(camera, 7001) for camera in range(20)]))
    server.wait_ledger(counted=20)
    greedy = [threading.Thread(target=ask, args=(server, HANGING[i % len(HANGING)], 15, "127.0.0.2"), daemon=True)
              for i in range(24)]
    for thread in greedy:
        thread.start()
    time.sleep(1)
    took, wrong = [], []
    until = time.monotonic() + 10
    while time.monotonic() < until:
        for body, wanted in ((ONE, [{"n": 1}]), (body_of(SUM), [{"n": 20}])):
            said = ask(server, body, WITHIN_S * PATIENCE)
            took.append(said.seconds)
            if said.status != 200 or json.loads(said.body) != wanted:
                wrong.append((said.status, round(said.seconds, 2), said.body[:200]))
        time.sleep(0.1)
    expect(not wrong, f"{len(wrong)} of {len(took)} questions beside a greedy client, the first: {wrong[:2]}")
    late = sum(seconds > WITHIN_S for seconds in took)
    expect(late <= len(took) // 10, f"{late} of {len(took)} took more than {WITHIN_S} s")
    server.stop()
    t.note("{} questions beside 24 hanging ones, p50 {:.1f}, p99 {:.0f}, most {:.0f} ms".format(len(took),
                                                                                               *spread(took)))
