"""stream: a viewer of /v1/stream, as a browser's EventSource is one, that checks what it is sent."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import dataclass

from events import check_ranks
from server import Failure, Server, expect, expect_equal, wait_until


@dataclass
class Message:
    id: str
    kind: str
    data: dict

    @property
    def boot(self) -> str:
        return self.id.rsplit("-", 1)[0]

    @property
    def seq(self) -> int:
        return int(self.id.rsplit("-", 1)[1])


class Connection:
    """One connection to a stream. Raises OSError when it cannot be made or breaks; not thread-safe."""

    def __init__(self, server: Server, view: str, last_event_id: str = "", timeout: float = 15):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout)
        self.buffer = b""
        resume = f"Last-Event-ID: {last_event_id}\r\n" if last_event_id else ""
        self.socket.sendall(f"GET /v1/stream?{view} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                            f"Accept: text/event-stream\r\n{resume}\r\n".encode())
        head = self._until(b"\r\n\r\n").decode()
        if head.startswith("HTTP/1.1 503"):
            raise ConnectionError("not yet: a page connects again")
        expect(head.startswith("HTTP/1.1 200"), f"stream {view}: {head.splitlines()[0]}")
        expect("text/event-stream" in head.lower(), f"stream {view}: {head}")

    def _until(self, end: bytes) -> bytes:
        while end not in self.buffer:
            more = self.socket.recv(1 << 16)
            if not more:
                raise ConnectionError("the stream ended")
            self.buffer += more
        part, self.buffer = self.buffer.split(end, 1)
        return part

    def next(self) -> Message:
        fields = {"id": "", "event": "message", "data": ""}
        for line in self._until(b"\n\n").decode().splitlines():
            name, _, value = line.partition(": ")
            fields[name] = value
        return Message(fields["id"], fields["event"], json.loads(fields["data"]))

    def close(self) -> None:
        self.socket.close()


class State:
    """What a page that follows the stream shows. Checks every message against docs/PROTOCOL.md."""

    def __init__(self) -> None:
        self.last: Message | None = None
        self.locations: dict[str, dict] = {}
        self.top: dict = {}
        self.ledger: dict = {}
        self.snapshots = self.changes = self.heartbeats = 0
        self.completes: list[int] = []  # complete_until as each message said it

    @property
    def last_id(self) -> str:
        return self.last.id if self.last else ""

    def take(self, message: Message) -> None:
        data = message.data
        expect_equal((data["boot"], data["seq"]), (message.boot, message.seq), "id and data")
        same_boot = self.last is not None and self.last.boot == message.boot
        if message.kind == "snapshot":
            expect(not same_boot or message.seq >= self.last.seq,
                   f"snapshot {message.id} behind {self.last_id}")
            self.locations = {row["oid"]: row for row in data["locations"]}
            names = [(row["name"].encode(), int(row["oid"])) for row in data["locations"]]
            expect_equal(names, sorted(names), "order of the locations")
            self.snapshots += 1
        elif message.kind == "change":
            expect(same_boot, f"change {message.id} behind {self.last_id or 'nothing'}")
            expect_equal(message.seq, self.last.seq + 1, f"seq of the change behind {self.last_id}")
            self.locations.update({row["oid"]: row for row in data["locations"]})
            self.changes += 1
        else:
            expect_equal(message.kind, "heartbeat", "kind")
            expect_equal(message.id, self.last_id, "id of a heartbeat")
            self.heartbeats += 1
        check_ranks(data["top"], f"{message.kind} {message.id}")
        self.top, self.ledger = data["top"], data["ledger"]
        self.completes.append(data["top"]["complete_until"])
        self.last = message

    def shows(self, items: dict, totals: dict) -> bool:
        shown = {row["item"]: row["count"] for row in self.top.get("rows", [])}
        located = {oid: row["total"] for oid, row in self.locations.items() if row["total"] > 0}
        return shown == dict(items) and located == totals


class Viewer(threading.Thread):
    """Follows a view for ever: after a break it comes back with Last-Event-ID, as EventSource does."""

    def __init__(self, server: Server, view: str):
        super().__init__(daemon=True)
        self.server, self.view = server, view
        self.state = State()
        self.resumed: list[tuple[str, str]] = []  # (last id before, kind of the first message)
        self.failure: str | None = None
        self.longest_gap = 0.0  # seconds between two messages of one connection
        self.stopping = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stopping.is_set() and self.failure is None:
            try:
                self._follow(Connection(self.server, self.view, self.state.last_id))
            except OSError:
                time.sleep(0.02)
            except Exception as error:  # told to whoever asks
                self.failure = f"{type(error).__name__}: {error}"

    def _follow(self, connection: Connection) -> None:
        first = True
        last = time.monotonic()
        try:
            while not self.stopping.is_set():
                message = connection.next()
                now = time.monotonic()
                if first:
                    self.resumed.append((self.state.last_id, message.kind))
                    boot = self.state.last_id.rsplit("-", 1)[0]
                    expect(message.kind == "snapshot" or boot == message.boot,
                           f"no snapshot from another boot: {message.id} behind {self.state.last_id}")
                else:
                    self.longest_gap = max(self.longest_gap, now - last)
                first, last = False, now
                self.state.take(message)
        finally:
            connection.close()

    def check(self) -> None:
        if self.failure:
            raise Failure(f"viewer of {self.view}: {self.failure}")

    def converge(self, items: dict, totals: dict, seconds: float = 30) -> None:
        def arrived() -> bool:
            self.check()
            return self.state.shows(items, totals)
        try:
            wait_until(arrived, seconds, f"{self.view} shows the oracle's counts")
        except Failure as failure:
            shown = {row["item"]: row["count"] for row in self.state.top.get("rows", [])}
            missing = {item: (shown.get(item), n) for item, n in items.items() if shown.get(item) != n}
            raise Failure(f"{failure}; (shown, wanted): {missing}") from None

    def stop(self) -> None:
        self.stopping.set()
        self.join(20)
        self.check()
