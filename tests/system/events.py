"""events: detections as cameras send them, trouble included, and the oracle of what must come of them.

Each Traffic has cameras and ids of its own and hands out bodies; whatever it has handed out must be
delivered, any number of times but in order. Then docs/SEMANTICS.md says the outcome of every element:
disorder stays far below the horizon, so each id counts once, as its first copy says. Not thread-safe.
"""

from __future__ import annotations

import gzip
import json
import random
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timezone

from server import OUTCOMES, Failure, Server, expect, expect_equal, now_ms, wait_until

ITEMS = ("person", "car", "bus", "bicycle", "dog", "cat", "truck", "umbrella", "Person", "e-scooter",
         "traffic light", "Müll\u00adeimer", "自転車", "🚲 cargo \"XL\"", "<b>&amp;</b>", "back\\slash",
         "tab\there", "null", "7001", "a" * 256)
LOCATIONS = (7001, 7002, 7003, 7004, 7005, -12, 0, 2**62 + 1, -2**63, 2**63 - 1)
DISORDER_MS = 5_000

# Lines that spoil only themselves. Those of the second list also keep an array whole.
BROKEN_LINES = (b'{"geographical_location_oid":7001,', b"not json at all", b'{"a":1}}', b"{'a':1}",
                b'{"video_camera_oid":1,"item_name":"\xff\xfe"}', b"\x00\x01\x02", b'"', b"}{")
BROKEN_ELEMENTS = (
    b"{}", b"17", b'"text"', b"null",
    b'{"geographical_location_oid":7001,"video_camera_oid":1,"detection_oid":2,"item_name":"x"}',
    b'{"geographical_location_oid":7001,"video_camera_oid":1.5,"detection_oid":1,"item_name":"x",'
    b'"timestamp_detected":1763800020000}',
    b'{"geographical_location_oid":7001,"video_camera_oid":1,"detection_oid":1,"detection_oid":2,'
    b'"item_name":"x","timestamp_detected":1763800020000}',
    b'{"geographical_location_oid":7001,"video_camera_oid":1,"detection_oid":3,"item_name":"",'
    b'"timestamp_detected":1763800020000}')


@dataclass
class Oracle:
    """What must have been counted. Of `sent` numbers, repeats make the server see more."""
    counts: dict[int, Counter] = field(default_factory=dict)  # location -> item -> n
    distinct: int = 0
    detections: int = 0  # well-formed ones, copies included
    conflicts: int = 0   # copies that say something else than the first
    malformed: int = 0
    heartbeats: int = 0

    def count(self, location: int, item: str) -> None:
        self.counts.setdefault(location, Counter())[item] += 1
        self.distinct += 1

    def add(self, other: "Oracle") -> None:
        for location, items in other.counts.items():
            self.counts.setdefault(location, Counter()).update(items)
        for name in ("distinct", "detections", "conflicts", "malformed", "heartbeats"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def check(self, server: Server, repeated: bool, seconds: float = 60) -> dict:
        """Waits until the server has counted everything, then compares everything it says.

        `repeated`: bodies may have arrived more than once. The ledger that was compared.
        """
        server.wait_ledger(seconds, counted=self.distinct)
        ledger: dict = {}
        since = time.monotonic()

        def settled() -> bool:  # copies and malformed ones may follow the last counted one
            nonlocal since
            before = dict(ledger)
            ledger.update(server.ledger())
            if before != ledger:
                since = time.monotonic()
            return (time.monotonic() - since > 0.5
                    and ledger["received"] >= self.detections + self.malformed)

        wait_until(settled, seconds, f"everything received: {self.detections} detections and "
                                     f"{self.malformed} malformed ones")
        check_ledger(ledger, self, repeated)
        check_tops(server, self.counts)
        expect_equal(server.ledger(), ledger, "the ledger, with nothing sent meanwhile")
        return ledger


def check_ledger(ledger: dict, oracle: Oracle, repeated: bool) -> None:
    expect_equal(sum(ledger[name] for name in OUTCOMES), ledger["received"],
                 f"sum of the outcomes against received, of {ledger}")
    expect_equal(ledger["counted"], oracle.distinct, "counted against distinct ids")
    for name in ("too_late", "future", "outside"):
        expect_equal(ledger[name], 0, name)
    sent = {"received": oracle.detections + oracle.malformed, "malformed": oracle.malformed,
            "duplicate": oracle.detections - oracle.distinct, "conflicts": oracle.conflicts,
            "heartbeats": oracle.heartbeats}
    for name, least in sent.items():
        right = ledger[name] >= least if repeated else ledger[name] == least
        expect(right, f"ledger: {name} is {ledger[name]}, sent were {least}")


def check_top(top: dict, wanted: Counter, what: str) -> None:
    """A whole answer (limit beyond the items) against the counts, and by the rules of rank."""
    rows = top["rows"]
    expect_equal({row["item"]: row["count"] for row in rows}, dict(wanted), f"counts of {what}")
    check_ranks(top, what)
    expect_equal(top["total"], sum(wanted.values()), f"total of {what}")
    expect_equal(top["other"], 0, f"other of {what}")
    expect_equal(top["items"], len(wanted), f"items of {what}")


def check_ranks(top: dict, what: str) -> None:
    """docs/SEMANTICS.md, "Top items"."""
    rows = top["rows"]
    order = sorted(rows, key=lambda row: (-row["count"], row["item"].encode()))
    expect_equal([row["item"] for row in rows], [row["item"] for row in order], f"order of {what}")
    for position, row in enumerate(rows, 1):
        rank = 1 + sum(other["count"] > row["count"] for other in rows)
        expect_equal((row["position"], row["rank"]), (position, rank),
                     f"position and rank of {row['item']!r} in {what}")
        expect(0 <= row["provisional"] <= row["count"], f"provisional in {what}: {row}")
    expect_equal(sum(row["count"] for row in rows) + top["other"], top["total"], f"sum of {what}")


def check_tops(server: Server, counts: dict[int, Counter], at: int | None = None) -> None:
    """Every location's items in the 24 h until `at`, or until now."""
    everywhere = sum(counts.values(), Counter())
    check_top(server.top("all", at=at), everywhere, "all locations")
    for location, items in counts.items():
        check_top(server.top(location, at=at), items, f"location {location}")
    totals = {row["oid"]: row["total"] for row in server.locations(at) if row["total"] > 0}
    expect_equal(totals, {str(location): sum(items.values()) for location, items in counts.items()},
                 "totals of /v1/locations")


@dataclass
class Body:
    data: bytes
    headers: dict[str, str]
    accepted: int
    rejected: int

    @property
    def status(self) -> int:
        """Of the answer, once everything is durable."""
        return 422 if self.accepted == 0 and self.rejected > 0 else 200


class Traffic:
    """The bodies of one sender. `number` is unique among the senders of one server."""

    def __init__(self, number: int, seed: int = 1, elements_max: int = 500, trouble: bool = True,
                 locations: tuple = LOCATIONS):
        self.random = random.Random(seed * 1_000 + number)
        self.oracle = Oracle()
        self.elements_max, self.trouble = elements_max, trouble
        self.next_id = (number + 1) << 40
        # Cameras mostly see one location each; oids beyond 2^53 and below 0 are numbers, too.
        self.cameras = [((number * 10 + i + 1) * (-1) ** i * (1 if i != 2 else 2**50),
                         self.random.sample(locations, min(2, len(locations)))) for i in range(4)]
        self.recent: dict[int, deque] = {camera: deque(maxlen=300) for camera, _ in self.cameras}

    def body(self, elements: int | None = None) -> Body:
        draw = self.random
        elements = elements or draw.choice((1, draw.randint(1, 20), draw.randint(1, self.elements_max)))
        is_array = self.trouble and draw.random() < 0.2
        parts: list[bytes] = []
        rejected = 0
        for _ in range(elements):
            if self.trouble and draw.random() < 0.01:
                rejected += 1
                parts.append(draw.choice(BROKEN_ELEMENTS + (() if is_array else BROKEN_LINES)))
            else:
                parts.append(self._element())
        self.oracle.malformed += rejected
        data = self._joined(parts, is_array)
        headers = {}
        if self.trouble and draw.random() < 0.25:
            data, headers = gzip.compress(data, 1), {"Content-Encoding": "gzip"}
        return Body(data, headers, elements - rejected, rejected)

    def _joined(self, parts: list[bytes], is_array: bool) -> bytes:
        if not is_array:
            end = b"\r\n" if self.trouble and self.random.random() < 0.1 else b"\n"
            return end.join(parts) + end
        if self.random.random() < 0.5:
            return b"[" + b",".join(parts) + b"]"
        return b"[\n  " + b",\n  ".join(parts) + b"\n]\n"

    def _element(self) -> bytes:
        draw = self.random
        camera, places = draw.choice(self.cameras)
        if self.trouble and draw.random() < 0.01:
            self.oracle.heartbeats += 1
            return json.dumps({"video_camera_oid": camera, "heartbeat": now_ms(),
                               "geographical_location_oid": places[0]}).encode()
        recent = self.recent[camera]
        self.oracle.detections += 1
        if self.trouble and recent and draw.random() < 0.1:
            copy = dict(draw.choice(recent))
            if draw.random() < 0.05:
                self.oracle.conflicts += 1
                copy["item_name"] = "another story"
            return self._encoded(copy)
        event = {"geographical_location_oid": places[0] if draw.random() < 0.8 else places[-1],
                 "video_camera_oid": camera, "detection_oid": self.next_id,
                 "item_name": ITEMS[min(int(draw.expovariate(0.25)), len(ITEMS) - 1)],
                 "timestamp_detected": now_ms() - (draw.randint(0, DISORDER_MS) if self.trouble else 0)}
        self.next_id += 1
        self.oracle.count(event["geographical_location_oid"], event["item_name"])
        recent.append(event)
        return self._encoded(event)

    def _encoded(self, event: dict) -> bytes:
        draw = self.random
        if not self.trouble:
            return json.dumps(event, separators=(",", ":")).encode()
        event = dict(event)
        style = draw.random()
        if style < 0.05:  # oids as text, as JavaScript sends them
            for name in ("geographical_location_oid", "video_camera_oid", "detection_oid"):
                event[name] = str(event[name])
        elif style < 0.1:
            seconds, ms = divmod(event["timestamp_detected"], 1_000)
            event["timestamp_detected"] = (
                datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
                + f".{ms:03d}Z")
        elif style < 0.2:
            event = {"confidence": 0.93, "box": [1, 2, {"w": 3}], "timestamp": now_ms(), **event}
        elif style < 0.3:
            fields = list(event.items())
            draw.shuffle(fields)
            event = dict(fields)
        spaced = (", ", ": ") if draw.random() < 0.1 else (",", ":")
        return json.dumps(event, ensure_ascii=draw.random() < 0.5, separators=spaced).encode()


def oracle_of(*traffics: Traffic) -> Oracle:
    oracle = Oracle()
    for traffic in traffics:
        oracle.add(traffic.oracle)
    return oracle


def deliver(server: Server, traffic: Traffic, elements: int | None = None) -> Body:
    """One body, once, to a server that is there; its answer is checked."""
    body = traffic.body(elements)
    answer = server.post(body.data, **body.headers)
    expect_equal(answer.status, body.status, f"POST: {answer.body[:300]!r}")
    answer = answer.json()
    if (answer["accepted"], answer["rejected"]) != (body.accepted, body.rejected):
        raise Failure(f"answer {answer} to a body of {body.accepted} good and {body.rejected} broken")
    return body
