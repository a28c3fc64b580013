"""askers: those who ask a server in SQL, honest ones and others, and what is watched while they do.

ask() is one question on a connection of its own, which its asker leaves when it has waited long enough. Honest
knows what right answers are while detections are posted. Poster posts at a steady rate, Screen measures how long an
event takes to the screen, Probe asks what must always be answered, and Footprint adds up the memory of the server
and its children. Each is a thread that tells a mistake in `failure`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import random
import re
import socket
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Callable, Iterator

from events import Oracle
from server import Client, Failure, Server, Test, expect, expect_equal, now_ms
from shared import process_id
from stream import Connection

DEADLINE_S = 30  # of a question, from its arrival (docs/PROTOCOL.md)
LATE_S = 1  # so much later its answer may come
READ_MAX = 80 << 20  # an answer has at most 64 MiB
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


# -- one question ------------------------------------------------------------------------------------------------------


@dataclass(repr=False)
class Said:
    """status 0: its asker left before an answer came. -1: the server closed the connection without one."""
    status: int
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""
    seconds: float = 0

    def __repr__(self) -> str:
        return f"status {self.status} after {self.seconds:.1f} s: {self.body[:300]!r}"

    @property
    def refused_for_now(self) -> bool:
        return self.status in (429, 503) and self.headers.get("retry-after", "").isdigit()

    @property
    def detail(self) -> str:
        """Of a refusal: what failed, and what to do."""
        if self.status < 400:
            return ""
        try:
            return json.loads(self.body)["detail"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""


def connected(server: Server, source: str, receive_bytes: int = 0) -> socket.socket:
    """From an address of its own: clients are told apart by it. `receive_bytes`: of the kernel's buffer."""
    connection = socket.socket()
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(10)
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", server.port))
    return connection


def ask(server: Server, body: bytes, seconds: float, source: str = "127.0.0.1", path: str = "/v1/query") -> Said:
    """Without a body it is a GET. After `seconds` the asker leaves, whether or not it has an answer."""
    begin = time.monotonic()
    deadline = begin + seconds
    client = http.client.HTTPConnection("127.0.0.1", server.port)
    try:
        client.sock = line = connected(server, source)
        line.settimeout(max(0.001, deadline - time.monotonic()))
        client.request("POST" if body else "GET", path, body or None)
        response = client.getresponse()
        text = b""
        while len(text) < READ_MAX:
            line.settimeout(max(0.001, deadline - time.monotonic()))
            piece = response.read1(1 << 16)
            if not piece:
                break
            text += piece
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Said(response.status, headers, text, time.monotonic() - begin)
    except TimeoutError:
        return Said(0, seconds=time.monotonic() - begin)
    except (OSError, http.client.HTTPException) as error:
        return Said(-1, body=repr(error).encode(), seconds=time.monotonic() - begin)
    finally:
        client.close()


def lives_on(server: Server, said: Said) -> bool:
    """After an answer. Where none came, the server may be about to end."""
    deadline = time.monotonic() + (2 if said.status == -1 else 0)
    while server.running and time.monotonic() < deadline:
        time.sleep(0.02)
    return server.running


def rows_of(said: Said, what: str) -> list[dict]:
    try:
        return json.loads(said.body)
    except ValueError as error:
        raise Failure(f"{what}: an answer that is no JSON ({error}): {said.body[:200]!r}") from None


# -- processes ---------------------------------------------------------------------------------------------------------


def children_of(parent: int, states: str = "RSDTt") -> list[int]:
    """Of this process and of its children, and so on; the nearest first. With the states "Z" those that have ended
    and that nobody has waited for."""
    by_parent: dict[int, list[int]] = {}
    for path in pathlib.Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                state, ppid = (path / "stat").read_text().rpartition(")")[2].split()[:2]
                if state in states:
                    by_parent.setdefault(int(ppid), []).append(int(path.name))
    found = list(by_parent.get(parent, ()))
    for pid in found:
        found += by_parent.get(pid, ())
    return found


def memory_kib(pid: int) -> int:
    """Its share of the memory in use: what processes share counts once in their sum. 0: it is gone."""
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE).group(1))
    return 0


def cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0


def printed_worker_bytes(t: Test) -> int:
    """The sum that `sightline explain` prints for the processes that answer questions. 0: it prints none."""
    for line in t.run("explain").stdout.decode().splitlines():
        if "query workers" in line:
            sizes = re.findall(r"(\d+(?:\.\d+)?) ?(KiB|MiB|GiB|TiB)", line)
            return max((int(float(number) * UNITS[unit]) for number, unit in sizes), default=0)
    return 0


class Watching(threading.Thread):
    """A thread that goes on until it is stopped, and keeps its first mistake."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.failure: str | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            self.watch()
        except Exception as error:  # told to whoever asks
            if not self.ended.is_set():
                self.failure = f"{type(self).__name__}: {type(error).__name__}: {error}"

    def watch(self) -> None:
        raise NotImplementedError

    def check(self) -> None:
        if self.failure:
            raise Failure(self.failure)

    def stop(self) -> None:
        self.ended.set()
        self.join(20)


class Footprint(Watching):
    """The memory of the server and of its children, several times a second."""

    def __init__(self, server: Server):
        super().__init__()
        self.server_mib = self.children_mib = 0.0  # the most so far
        self.children_max = 0
        self.seen: set[str] = set()  # every child that there was, as process_id() names it
        self.pid = server.process.pid
        self.start()

    def watch(self) -> None:
        while not self.ended.wait(0.2):
            children = children_of(self.pid)
            self.seen.update(filter(None, map(process_id, children)))
            self.children_max = max(self.children_max, len(children))
            self.server_mib = max(self.server_mib, memory_kib(self.pid) / 1024)
            self.children_mib = max(self.children_mib, sum(map(memory_kib, children)) / 1024)

    def cpu(self, seconds: float) -> float:
        """Cores that the server and its children keep busy."""
        def used() -> float:
            return sum(map(cpu_seconds, [self.pid, *children_of(self.pid)]))

        before = used()
        time.sleep(seconds)
        return max(0.0, used() - before) / seconds

    def __str__(self) -> str:
        return (f"server at most {self.server_mib:.0f} MiB, its children {self.children_mib:.0f} MiB in at most "
                f"{self.children_max} processes")


# -- what is posted and looked at meanwhile ----------------------------------------------------------------------------


class Probe(Watching):
    """Asks without a pause for what never waits for a query."""
    PATHS = ("/healthz", "/livez", "/v1/top?location=all&window=5m", "/v1/ledger", "/v1/locations?window=5m")

    def __init__(self, server: Server):
        super().__init__()
        self.server = server
        self.took: list[float] = []
        self.slowest = (0.0, "")
        self.start()

    def watch(self) -> None:
        client = Client(self.server.port, timeout=20)
        while not self.ended.is_set():
            for path in self.PATHS:
                begin = time.monotonic()
                answer = client.request("GET", path)
                took = time.monotonic() - begin
                expect_equal(answer.status, 200, f"{path}: {answer.body[:300]!r}")
                self.took.append(took)
                self.slowest = max(self.slowest, (took, path))
            time.sleep(0.05)


class Poster(Watching):
    """Posts distinct detections at a steady rate. `number` is unique among the posters of one server. `hands_out` is
    told how many are posted next."""
    ITEMS = ("person", "car", "bus", "bicycle", "dog", "truck", "cat", "van")
    LINES = 500
    CAMERAS = 40
    LOCATIONS = tuple(range(7001, 7021))

    def __init__(self, server: Server, number: int, rate: float, hands_out: Callable[[int], None] = lambda count: None):
        super().__init__()
        self.server, self.rate, self.hands_out = server, rate, hands_out
        self.next_id = (number + 1) << 40
        places = [self.LOCATIONS[i % len(self.LOCATIONS)] for i in range(self.LINES)]
        items = [self.ITEMS[i * 7 % len(self.ITEMS)] for i in range(self.LINES)]
        self.template = b"".join(
            b'{"geographical_location_oid":%d,"video_camera_oid":%d,"detection_oid":%%d,"item_name":"%s",'
            b'"timestamp_detected":%%d}\n' % (place, (number + 1) * 1_000 + i % self.CAMERAS, item.encode())
            for i, (place, item) in enumerate(zip(places, items)))
        self.in_body = Counter(zip(places, items))
        self.handed_out = self.bodies = self.refused = 0
        self.took: list[tuple[float, float]] = []  # when each answer came, after how many seconds
        self.start()

    def watch(self) -> None:
        client = Client(self.server.port, timeout=60)
        due = time.monotonic()
        while not self.ended.is_set():
            now = now_ms()
            numbers = [value for i in range(self.LINES) for value in (self.next_id + i, now)]
            self.next_id += self.LINES
            self.handed_out += self.LINES
            self.hands_out(self.LINES)
            self._deliver(client, self.template % tuple(numbers))
            due = max(due + self.LINES / self.rate, time.monotonic() - 1)  # it catches up with a second at most
            time.sleep(max(0.0, due - time.monotonic()))

    def _deliver(self, client: Client, body: bytes) -> None:
        while True:
            begin = time.monotonic()
            answer = client.request("POST", "/v1/detections", body)
            end = time.monotonic()
            self.took.append((end, end - begin))
            if answer.status == 200:
                expect_equal(answer.json()["accepted"], self.LINES, "accepted")
                self.bodies += 1
                return
            expect(answer.status in (429, 503), f"status {answer.status}: {answer.body[:300]!r}")
            self.refused += 1
            time.sleep(0.1)

    def counts(self) -> dict[int, Counter]:
        """What was posted, once it has stopped."""
        sent: dict[int, Counter] = {}
        for (place, item), count in self.in_body.items():
            sent.setdefault(place, Counter())[item] += count * self.bodies
        return sent


class Screen(Watching):
    """Posts a detection several times a second and looks when the stream shows it. `hands_out` is as a Poster's."""
    LOCATION = 7999
    CAMERA = 999_999

    def __init__(self, server: Server, hands_out: Callable[[int], None] = lambda count: None):
        super().__init__()
        self.server, self.hands_out = server, hands_out
        self.posted: list[float] = []  # when each was posted
        self.took: list[tuple[float, float]] = []  # when each was shown, and how long after the POST began
        self.longest_gap = 0.0  # between two messages; a heartbeat comes every second
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.start()
        self.reader.start()

    def watch(self) -> None:
        client = Client(self.server.port, timeout=60)
        while not self.ended.wait(0.05):
            event = {"geographical_location_oid": self.LOCATION, "video_camera_oid": self.CAMERA,
                     "detection_oid": (1 << 55) + len(self.posted), "item_name": "marker",
                     "timestamp_detected": now_ms()}
            body = json.dumps(event).encode()
            self.hands_out(1)
            self.posted.append(time.monotonic())
            while (answer := client.request("POST", "/v1/detections", body)).status != 200:
                expect(answer.status in (429, 503), f"status {answer.status}: {answer.body[:300]!r}")
                time.sleep(0.1)

    def _read(self) -> None:
        try:
            stream = Connection(self.server, f"location={self.LOCATION}&window=24h&limit=1", timeout=60)
            last = time.monotonic()
            while not (self.ended.is_set() and len(self.took) == len(self.posted)):
                message = stream.next()
                now = time.monotonic()
                self.longest_gap, last = max(self.longest_gap, now - last), now
                shown = message.data["top"].get("total", 0)
                while len(self.took) < shown:
                    self.took.append((now, now - self.posted[len(self.took)]))
        except Exception as error:  # told to whoever asks
            if not self.ended.is_set():
                self.failure = f"Screen: {type(error).__name__}: {error}"

    def stop(self) -> None:
        super().stop()
        self.reader.join(20)


class Load:
    """Posters and a Screen in a process of their own, so that nothing that this process does is in their figures."""
    POSTERS = 2

    def __init__(self, t: Test, server: Server, rate: float):
        fork = multiprocessing.get_context("fork")
        self.sent = fork.Value("q", 0)  # detections that were handed out
        self.line, theirs = fork.Pipe()
        self.process = fork.Process(target=self._run, args=(server, rate, theirs), daemon=True)
        self.process.start()
        t.at_end.append(self.process.kill)
        self.posts: list[tuple[float, float]] = []
        self.shown: list[tuple[float, float]] = []
        self.oracle = Oracle()

    def _run(self, server: Server, rate: float, line: multiprocessing.connection.Connection) -> None:
        def hands_out(count: int) -> None:
            with self.sent.get_lock():
                self.sent.value += count

        posters = [Poster(server, number, rate / self.POSTERS, hands_out) for number in range(self.POSTERS)]
        screen = Screen(server, hands_out)
        watching = [*posters, screen]
        while not line.poll(0.1) and not any(one.failure for one in watching):
            pass
        for one in watching:
            one.stop()
        oracle = Oracle()
        for counts in (*(poster.counts() for poster in posters), {Screen.LOCATION: Counter(marker=len(screen.posted))}):
            number = sum(sum(items.values()) for items in counts.values())
            oracle.add(Oracle(counts=counts, distinct=number, detections=number))
        failure = next((one.failure for one in watching if one.failure), None)
        line.send((failure, [pair for poster in posters for pair in poster.took], screen.took, oracle))

    def check(self) -> None:
        if not self.process.is_alive() or self.line.poll():
            raise Failure(self.line.recv()[0] if self.line.poll() else "the process that posts has ended")

    def stop(self) -> None:
        """Every body in hand is delivered; then `posts`, `shown` and `oracle` have what was."""
        self.line.send("stop")
        if not self.line.poll(60):
            raise Failure("the process that posts does not end")
        failure, self.posts, self.shown, self.oracle = self.line.recv()
        if failure:
            raise Failure(failure)
        self.process.join(20)


def spread(took: list[float]) -> tuple[float, float, float]:
    """p50, p99 and the greatest, in ms."""
    if not took:
        return 0.0, 0.0, 0.0
    ordered = sorted(took)
    return (statistics.median(ordered) * 1_000, ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1_000,
            ordered[-1] * 1_000)


def between(took: list[tuple[float, float]], begin: float, end: float) -> list[float]:
    return [seconds for at, seconds in took if begin <= at < end]


# -- honest questions --------------------------------------------------------------------------------------------------


class Honest:
    """Questions whose right answers are known. Thread-safe.

    `sent`: how many detections have been handed out; none counts more. A sum may not be less than any sum that was
    answered, nor than what the screen showed, before the question was posted.
    """
    NUMBERS = 1_000_000

    def __init__(self, server: Server, sent: Callable[[], int]):
        self.server, self.sent = server, sent
        self.lock = threading.Lock()
        self.floor = 0
        sql = self._sql
        self.kinds: list[tuple[str, bytes, Callable[[list[dict]], int | None]]] = [
            sql("SELECT 42 AS n", lambda rows: self._is(rows, [{"n": 42}])),
            sql("SELECT coalesce(sum(item_count), 0)::BIGINT AS n FROM item_counts", lambda rows: rows[0]["n"]),
            sql("SELECT geographical_location_oid, sum(item_count)::BIGINT AS n FROM item_counts GROUP BY ALL",
                lambda rows: sum(row["n"] for row in rows)),
            sql("SELECT item_name, window_start, sum(item_count)::BIGINT AS n FROM item_count_increments GROUP BY ALL "
                "ORDER BY ALL", lambda rows: sum(row["n"] for row in rows)),
            sql("SELECT coalesce(sum(counted), 0)::BIGINT AS n, coalesce(sum(received), 0)::BIGINT AS r, coalesce(sum("
                "duplicate + too_late + future + malformed + outside), 0)::BIGINT AS o FROM ledger", self._ledger),
            sql(f"SELECT sum(range)::BIGINT AS n FROM range({self.NUMBERS})",
                lambda rows: self._is(rows, [{"n": self.NUMBERS * (self.NUMBERS - 1) // 2}])),
            sql("SELECT range AS n, 'row ' || range AS t FROM range(20000)",
                lambda rows: self._is(rows, [{"n": n, "t": f"row {n}"} for n in range(20_000)])),
            ("/v1/items?from=0&limit=1000", b"", lambda rows: sum(row["item_count"] for row in rows)),
            ("/v1/top?from=0&limit=1000", b"", lambda rows: sum(row["item_count"] for row in rows)),
        ]

    @staticmethod
    def _sql(text: str, total: Callable) -> tuple:
        return "/v1/query", json.dumps({"sql": text}).encode(), total

    @staticmethod
    def _is(rows: list[dict], wanted: list[dict]) -> None:
        expect(rows == wanted, f"{str(rows)[:200]} instead of {str(wanted)[:200]}")

    @staticmethod
    def _ledger(rows: list[dict]) -> int:
        expect_equal(rows[0]["r"], rows[0]["n"] + rows[0]["o"], "received against the outcomes in the ledger")
        return rows[0]["n"]

    def ask(self, draw: random.Random, source: str = "127.0.0.1", kind: int | None = None) -> Said:
        """A Failure if the answer is wrong. Answers other than 200 are the caller's business."""
        path, body, total = self.kinds[kind if kind is not None else draw.randrange(len(self.kinds))]
        shown = ask(self.server, b"", DEADLINE_S, source, "/v1/ledger")
        expect_equal(shown.status, 200, f"/v1/ledger: {shown.body[:300]!r}")
        with self.lock:
            floor = max(self.floor, json.loads(shown.body)["counted"])
        said = ask(self.server, body, DEADLINE_S + LATE_S, source, path)
        if said.status != 200:
            return said
        what = f"{path} {body.decode()}"
        expect("x-incomplete" not in said.headers, f"{what}: incomplete")
        try:
            found = total(rows_of(said, what))
        except Failure as failure:
            raise Failure(f"{what}: {failure}") from None
        if found is not None:
            sent = self.sent()
            expect(found >= floor, f"{what}: the sum dips to {found}; it was {floor} before the question")
            expect(found <= sent, f"{what}: the sum is {found}, more than the {sent} that were sent")
            with self.lock:
                self.floor = max(self.floor, found)
        return said


@contextlib.contextmanager
def stopped_at_end(*watching: Watching) -> Iterator[None]:
    try:
        yield
    finally:
        for one in watching:
            one.ended.set()
