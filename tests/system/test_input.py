"""Bad input over HTTP: what the sender is told, what the ledger says afterwards, and that nobody else
notices. Every case also carries good elements, which must count."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import socket
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field

from events import check_tops
from registry import test
from server import OUTCOMES, Server, Test, expect, expect_equal, lines, now_ms, wait_until

HOUR = 3_600_000
INT64_MAX, INT64_MIN = 2**63 - 1, -2**63
LOCATION = 42


class Maker:
    """Good detections, each with an id of its own, that are remembered as they should be counted."""

    def __init__(self) -> None:
        self.last_id = 1_000
        self.counts: dict[int, Counter] = {}

    def event(self, camera: int = 1, **fields: object) -> dict:
        self.last_id += 1
        return {"geographical_location_oid": LOCATION, "video_camera_oid": camera,
                "detection_oid": self.last_id, "item_name": "person",
                "timestamp_detected": now_ms(), **fields}

    def good(self, camera: int = 1, **fields: object) -> dict:
        event = self.event(camera, **fields)
        location = int(event["geographical_location_oid"])
        self.counts.setdefault(location, Counter())[event["item_name"]] += 1
        return event

    def without(self, name: str) -> dict:
        event = self.event()
        del event[name]
        return event

    def raw(self, **texts: str) -> bytes:
        """An event whose fields are written as the given JSON texts."""
        event = self.event()
        parts = [f'"{name}":{texts.get(name, json.dumps(value))}' for name, value in event.items()]
        parts += [f'"{name}":{text}' for name, text in texts.items() if name not in event]
        return ("{" + ",".join(parts) + "}").encode()


@dataclass
class Case:
    name: str
    body: bytes
    errors: list = field(default_factory=list)  # (line, reason) or (line, reason, field)
    status: int = 200  # 422 if elements are rejected and none is accepted
    headers: dict = field(default_factory=dict)
    rejected: int | None = None  # when it is not the number of errors
    # Outcomes; malformed is what is rejected, everything accepted counts unless it says otherwise.
    counted: int = 0
    heartbeats: int = 0
    future: int = 0
    too_late: int = 0
    duplicate: int = 0
    conflicts: int = 0


def _broken_elements(m: Maker) -> list[Case]:
    """NDJSON of one broken line between two good ones each."""
    def between(name: str, broken: bytes, reason: str, *of: str) -> Case:
        return Case(name, lines([m.good(), broken, m.good()]), [(2, reason, *of)], counted=2)

    def dumped(name: str, event: object, reason: str, *of: str) -> Case:
        return between(name, json.dumps(event).encode(), reason, *of)

    location, camera, detection, item, time_name = m.event()
    cases = [
        between("truncated JSON", json.dumps(m.event()).encode()[:-20], "not_json"),
        between("only a brace", b"{", "not_json"),
        between("no JSON at all", b"<html>502 Bad Gateway</html>", "not_json"),
        Case("two broken objects on a line", lines([m.good(), b"{} {}", m.good()]),
             [(2, "missing_field", location)] * 2, counted=2),
        between("text behind the object", json.dumps(m.event()).encode() + b" x", "not_json"),
        between("single quotes", json.dumps(m.event()).replace('"', "'").encode(), "not_json"),
        between("trailing comma", json.dumps(m.event()).encode()[:-1] + b",}", "not_json"),
        between("a comment", b"// detections", "not_json"),
        between("a number", b"17", "not_an_object"),
        between("a string", b'"person"', "not_an_object"),
        between("null", b"null", "not_an_object"),
        between("invalid UTF-8 in a name", m.raw(item_name='"X"').replace(b"X", b"caf\xe9"),
                "not_json"),
        between("invalid UTF-8 in an extra field", m.raw(note='"X"').replace(b"X", b"\xc3("),
                "not_json"),
        between("overlong UTF-8", m.raw(item_name='"X"').replace(b"X", b"\xc0\xaf"), "not_json"),
        between("a surrogate as UTF-8", m.raw(item_name='"X"').replace(b"X", b"\xed\xa0\x80"),
                "not_json"),
        between("half an escaped surrogate pair", m.raw(item_name='"\\ud83d"'), "not_json"),
        between("an unknown escape", m.raw(item_name='"\\x41"'), "not_json"),
        between("a NUL in a name", m.raw(item_name='"a\0b"'), "not_json"),
        between("a control character in a name", m.raw(item_name='"a\x01b"'), "not_json"),
        between("only NULs", b"\0" * 100, "not_json"),
        between("64 KiB of rubbish",
                b"{" + random.Random(1).randbytes(65_536).replace(b"\n", b"-"), "not_json"),
        between("an element of 2 MiB", m.raw(note='"' + "x" * (2 << 20) + '"'), "too_large"),
        between("nested 100,000 deep in a field", m.raw(item_name="[" * 100_000 + "]" * 100_000),
                "wrong_type", item),
        between("only open brackets in a field", m.raw(note="[" * 50_000), "not_json"),
        between("the empty object", b"{}", "missing_field", location),
        dumped("an item of 10 kB", m.event(item_name="x" * 10_240), "item_name", item),
        dumped("an item of 257 bytes", m.event(item_name="ü" * 128 + "x"), "item_name", item),
        dumped("an empty item", m.event(item_name=""), "item_name", item),
        between("a fraction", m.raw(video_camera_oid="1.5"), "wrong_type", camera),
        between("a fraction that is whole", m.raw(video_camera_oid="1.0"), "wrong_type", camera),
        between("an exponent", m.raw(video_camera_oid="1e3"), "wrong_type", camera),
        between("1e400", m.raw(geographical_location_oid="1e400"), "wrong_type", location),
        between("a time with a fraction", m.raw(timestamp_detected=f"{now_ms()}.5"), "wrong_type",
                time_name),
        between("beyond int64", m.raw(video_camera_oid=str(INT64_MAX + 1)), "out_of_range", camera),
        between("below int64", m.raw(video_camera_oid=str(INT64_MIN - 1)), "out_of_range", camera),
        between("beyond int64, as text", m.raw(video_camera_oid=f'"{INT64_MAX + 1}"'), "out_of_range",
                camera),
        between("an id of 129 bytes", m.raw(detection_oid='"' + "x" * 129 + '"'), "out_of_range", detection),
        between("an empty id", m.raw(detection_oid='""'), "wrong_type", detection),
        between("400 digits", m.raw(detection_oid="7" * 400), "out_of_range", detection),
        between("the year 10000", m.raw(timestamp_detected="253402300800000"), "out_of_range",
                time_name),
        between("before the year 1", m.raw(timestamp_detected="-62135596800001"), "out_of_range",
                time_name),
        between("the greatest number as time", m.raw(timestamp_detected=str(INT64_MAX)),
                "out_of_range", time_name),
        between("the 31st of February", m.raw(timestamp_detected='"2026-02-31T00:00:00Z"'),
                "wrong_type", time_name),
        between("a time without zone", m.raw(timestamp_detected='"2026-02-03T00:00:00"'),
                "no_time_zone", time_name),
        between("a heartbeat without location", b'{"video_camera_oid":1,"heartbeat":1}',
                "missing_field", location),
        between("a heartbeat of a text",
                b'{"video_camera_oid":1,"geographical_location_oid":42,"heartbeat":"soon"}',
                "wrong_type", "heartbeat"),
    ]
    for name in (location, camera, detection, item, time_name):
        cases.append(dumped(f"without {name}", m.without(name), "missing_field", name))
        cases.append(between(f"{name} twice", m.raw()[:-1] + b',"%s":1}' % name.encode(),
                             "duplicate_field", name))
        for text in ("null", "true", "[]", "{}", "[1]", '{"$numberLong":"1"}'):
            cases.append(between(f"{name} is {text}", m.raw(**{name: text}), "wrong_type", name))
    for name in (location, camera, time_name):
        for text in ('""', '" 1"', '"1 "', '"+1"', '"007"', '"0x10"', '"1_000"', '"yesterday"'):
            cases.append(between(f"{name} is {text}", m.raw(**{name: text}), "wrong_type", name))
    for text in ("5", "1.5"):
        cases.append(between(f"{item} is {text}", m.raw(item_name=text), "wrong_type", item))
    return cases


def _unusual_but_good(m: Maker) -> list[Case]:
    def good(name: str, *events: object) -> Case:
        body = lines(events)
        return Case(name, body, counted=body.count(b'"video_camera_oid"'))

    escaped = m.good(item_name="tab\t \u0000 \u2028 \U0001f6b2 <script>alert(1)</script> ' \" \\")
    backwards = dict(reversed(list(m.good().items())))
    spaced = m.good()
    return [
        good("negative oids", m.good(camera=-5, geographical_location_oid=-7,
                                     detection_oid=-1_000_000)),
        good("the extremes of int64", *(m.good(camera=oid, geographical_location_oid=oid,
                                               detection_oid=oid) for oid in (INT64_MIN, INT64_MAX))),
        good("beyond 2^53", *(m.good(detection_oid=2**53 + i) for i in range(4))),
        good("numbers as texts", m.good(camera=str(77), geographical_location_oid=str(LOCATION),
                                        detection_oid=str(2**60), timestamp_detected=str(now_ms()))),
        good("ids that are text", *(m.good(detection_oid=text) for text in ("x", "007", 1.5, 2**64 - 1, "é" * 64))),
        good("two objects on a line", json.dumps(m.good()).encode() + json.dumps(m.good()).encode()),
        good("RFC 3339", m.good(timestamp_detected=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())),
             m.good(timestamp_detected=time.strftime("%Y-%m-%dT%H:%M:%S.123456+00:00", time.gmtime()))),
        good("an item of 256 bytes", m.good(item_name="ü" * 128)),
        good("escapes in a name", escaped),
        good("extra fields", {**m.good(), "confidence": 0.5, "box": [1, [2, {"a": None}]], "": ""}),
        good("extra fields, nested 100 deep",
             json.dumps(m.good()).encode()[:-1] + b',"x":' + b"[" * 100 + b"]" * 100 + b"}"),
        good("an unreadable publish time", {**m.good(), "timestamp": "no time"}),
        good("fields in another order", backwards),
        good("an escaped field name",
             json.dumps(m.good()).replace("item_name", "item\\u005fname").encode()),
        good("spaces and tabs", b" \t " + json.dumps(spaced, separators=(" ,\t", " : ")).encode()
             + b" \t "),
        Case("a heartbeat between", lines([m.good(), {"video_camera_oid": 1, "heartbeat": now_ms(),
                                                      "geographical_location_oid": LOCATION}]),
             counted=1, heartbeats=1),
        Case("a heartbeat far in the future moves nothing",
             lines([{"video_camera_oid": 901, "heartbeat": now_ms() + 10 * HOUR,
                     "geographical_location_oid": LOCATION}, m.good(901)]), counted=1, heartbeats=1),
        good("an extra field, nested 100,000 deep",
             json.dumps(m.good()).encode()[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        Case("the same event three times", lines([m.good(902)] * 3), counted=1, duplicate=2),
        Case("copies that differ", lines([m.good(903), m.event(903, detection_oid=m.last_id,
                                                               item_name="other"),
                                          m.event(903, detection_oid=m.last_id - 1,
                                                  geographical_location_oid=43)]),
             counted=1, duplicate=2, conflicts=2),
    ]


def _times(m: Maker) -> list[Case]:
    def at(name: str, camera: int, time_ms: object, **outcome: int) -> Case:
        is_good = outcome.get("counted", 0) > 0
        odd = (m.good if is_good else m.event)(camera, timestamp_detected=time_ms)
        return Case(name, lines([m.good(950), odd]), counted=1 + outcome.pop("counted", 0), **outcome)

    return [
        at("time 0", 951, 0, too_late=1),
        at("a negative time", 951, -1, too_late=1),
        at("the year 1", 951, -62_135_596_800_000, too_late=1),
        at("the year 9999", 951, 253_402_300_799_999, future=1),
        at("the year 9999 as text", 951, "9999-12-31T23:59:59Z", future=1),
        at("seconds by mistake", 951, now_ms() // 1_000, too_late=1),
        at("an hour ahead", 952, now_ms() + HOUR, future=1),
        at("two minutes ahead", 952, now_ms() + 120_000, future=1),
        at("30 s ahead", 952, now_ms() + 30_000, counted=1),
        at("two hours behind, all of this camera", 953, now_ms() - 2 * HOUR, counted=1),
        at("eight days behind", 954, now_ms() - 8 * 24 * HOUR, too_late=1),
        Case("two hours behind its own camera",
             lines([m.good(955), m.event(955, timestamp_detected=now_ms() - 2 * HOUR), m.good(955)]),
             counted=2, too_late=1),
        Case("59 minutes behind its own camera",
             lines([m.good(956), m.good(956, timestamp_detected=now_ms() - 59 * 60_000)]), counted=2),
        Case("the future moves no watermark",
             lines([m.event(957, timestamp_detected=now_ms() + 5 * HOUR), m.good(957)]), counted=1,
             future=1),
        Case("microseconds by mistake", lines([m.good(), m.event(timestamp_detected=now_ms() * 1_000)]),
             [(2, "out_of_range", "timestamp_detected")], counted=1),
    ]


def _bodies(m: Maker) -> list[Case]:
    """Whole bodies: what is an element, and how lines are counted."""
    def text(*events: object) -> bytes:
        return b",".join(e if isinstance(e, bytes) else json.dumps(e).encode() for e in events)

    bom = b"\xef\xbb\xbf"
    pretty = json.dumps([m.good(), {"bad": 1}, m.good()], indent=2).encode()
    many = lines([b"{}"] * 150 + [m.good()])
    packed = gzip.compress(lines([m.event()]))
    return [
        Case("empty", b"", status=400),
        Case("white space", b" \r\n\t\n ", status=400),
        Case("only a byte order mark", bom, status=400),
        Case("empty, packed", gzip.compress(b""), status=400, headers={"Content-Encoding": "gzip"}),
        Case("an empty array", b"[]", counted=0),
        Case("a byte order mark", bom + lines([m.good(), b"{}"]), [(2, "missing_field",
                                                                    "geographical_location_oid")],
             counted=1),
        Case("CRLF", lines([m.good(), b"oops", m.good()]).replace(b"\n", b"\r\n"), [(2, "not_json")],
             counted=2),
        Case("empty lines", b"\n\n" + lines([m.good(), b"", b"oops", b"  ", m.good()]) + b"\n",
             [(5, "not_json")], counted=2),
        Case("no line end at the end", lines([m.good(), m.good()])[:-1], counted=2),
        Case("an array", b"[" + text(m.good(), m.good(), m.good()) + b"]", counted=3),
        Case("an array with broken elements", b"[" + text(m.good(), b"17", m.good(), b"{}", b"oops")
             + b"]", [(2, "not_an_object"), (4, "missing_field", "geographical_location_oid"),
                      (5, "not_json")], counted=2),
        Case("a pretty array", pretty, [(2, "missing_field", "geographical_location_oid")], counted=2),
        Case("a pretty array, CRLF", json.dumps([m.good(), m.good()], indent=4).encode()
             .replace(b"\n", b"\r\n"), counted=2),
        Case("a pretty object", json.dumps(m.good(), indent=2).encode(), counted=1),
        Case("an array that never ends", b"[" + text(m.good(), m.good(), b'{"a":'), [(3, "not_json")],
             counted=2),
        Case("an array with a comma at its end", b"[" + text(m.good()) + b",]", [(2, "not_json")],
             counted=1),
        Case("an array in an array", b"[" + text(m.good(), b"[1,2]") + b"]", [(2, "not_an_object")],
             counted=1),
        Case("arrays as lines", b"[" + text(m.good(), m.good()) + b"]\n[]\n[" + text(m.good(), b"1")
             + b"]\n", [(3, "not_an_object")], counted=3),
        Case("objects and arrays as lines", lines([m.good(), b"[" + text(m.good()) + b"]", m.good()]),
             counted=3),
        Case("100,000 brackets", b"[" * 100_000, [(1, "not_json")], 422),
        Case("100,000 braces", b'{"a":' * 100_000, None, 422, rejected=1),
        Case("150 broken lines", many, [(i, "missing_field", "geographical_location_oid")
                                        for i in range(1, 101)], rejected=150, counted=1),
        Case("gzip", gzip.compress(lines([m.good(), m.good()])), counted=2,
             headers={"Content-Encoding": "gzip"}),
        Case("GZIP in capitals", gzip.compress(lines([m.good()])), counted=1,
             headers={"Content-Encoding": "GZIP"}),
        Case("gzip of several members", gzip.compress(lines([m.good()]))
             + gzip.compress(lines([m.good()])), counted=2, headers={"Content-Encoding": "gzip"}),
        Case("gzip, truncated", packed[:-9], status=400, headers={"Content-Encoding": "gzip"}),
        Case("gzip, one byte changed", packed[:20] + bytes([packed[20] ^ 0xff]) + packed[21:],
             status=400, headers={"Content-Encoding": "gzip"}),
        Case("gzip with rubbish behind it", packed + b"rubbish", status=400,
             headers={"Content-Encoding": "gzip"}),
        Case("no gzip, but said so", lines([m.event()]), status=400,
             headers={"Content-Encoding": "gzip"}),
        Case("zlib, but said gzip", zlib.compress(lines([m.event()])), status=400,
             headers={"Content-Encoding": "gzip"}),
        Case("another encoding", lines([m.event()]), status=415, headers={"Content-Encoding": "br"}),
        Case("gzip that is not said", packed, None, 422),
        Case("only broken lines", lines([b"oops", b"{}"]),
             [(1, "not_json"), (2, "missing_field", "geographical_location_oid")], 422),
        Case("an array of broken elements", b"[" + text(b"{}") + b"]",
             [(1, "missing_field", "geographical_location_oid")], 422),
        Case("a broken line and a heartbeat", lines([b"oops", {"video_camera_oid": 1, "heartbeat": now_ms(),
                                                               "geographical_location_oid": LOCATION}]),
             [(1, "not_json")], heartbeats=1),
        Case("any content type", lines([m.good()]), counted=1,
             headers={"Content-Type": "application/x-www-form-urlencoded"}),
    ]


def _run_case(server: Server, case: Case) -> None:
    before = server.ledger()
    begin = time.monotonic()
    answer = server.request("POST", "/v1/detections", case.body, case.headers)
    took = time.monotonic() - begin
    expect_equal(answer.status, case.status, f"status ({answer.body[:300]!r})")
    expect(took < 5, f"the answer took {took:.1f} s")
    if case.status != 200:
        problem = answer.json()
        expect_equal(answer.headers["content-type"], "application/problem+json", "content type")
        expect(problem["status"] == case.status and problem["detail"], f"problem {problem}")
    if case.status not in (200, 422):
        expect_equal(server.ledger(), before, "the ledger after a refused body")
        return
    said = answer.json()
    accepted = case.counted + case.duplicate + case.future + case.too_late + case.heartbeats
    if case.errors is None:  # whatever it finds wrong, but nothing is accepted
        rejected = said["rejected"]
        expect(rejected >= 1 and (case.rejected is None or rejected == case.rejected),
               f"rejected: {said}")
    else:
        rejected = len(case.errors) if case.rejected is None else case.rejected
        found = [(e["line"], e["reason"], e.get("field")) for e in said["errors"]]
        expect_equal(found, [(*e, None)[:3] for e in case.errors], "errors")
        expect_equal(said["errors_truncated"], rejected > len(case.errors), "errors_truncated")
    if case.status == 422:
        first = said["errors"][0]
        expect(f": line {first['line']}: {first['reason']}" in said["detail"], f"detail: {said['detail']}")
    expect_equal((said["accepted"], said["rejected"]), (accepted, rejected), "accepted and rejected")
    wanted = {name: before[name] + getattr(case, name, 0) for name in OUTCOMES}
    wanted["malformed"] = before["malformed"] + rejected
    wanted["outside"] = before["outside"]
    wanted["heartbeats"] = before["heartbeats"] + case.heartbeats
    wanted["conflicts"] = before["conflicts"] + case.conflicts
    wanted["received"] = before["received"] + accepted - case.heartbeats + rejected
    server.wait_ledger(10, **wanted)


@test(seconds=600)
def bad_input(t: Test) -> None:
    """Every kind of bad element and body: the answer, the ledger, the health of the server."""
    m = Maker()
    server = t.server("--log_level", "debug")
    server.start()
    for make in (_broken_elements, _unusual_but_good, _times, _bodies):
        for case in make(m):
            with t.case(case.name):
                _run_case(server, case)
            expect(server.running, f"the server is gone after {case.name}")
    expect(server.healthy(), "not healthy at the end")
    if t.failed_cases:
        return  # then counts are not what the cases say, either
    before = server.ledger()
    in_two_minutes = now_ms() + 120_000  # some good ones are a bit ahead
    check_tops(server, m.counts, in_two_minutes)
    server.kill()  # everything, the broken ones too, is read from the log again
    server.start()
    server.wait_ledger(20, **before)
    check_tops(server, m.counts, in_two_minutes)
    server.stop()
    server.start()
    expect_equal(server.ledger(), before, "the ledger after a stop")
    check_tops(server, m.counts, in_two_minutes)
    server.expect_quiet_log()


@test(seconds=300)
def large_bodies(t: Test) -> None:
    """100 MB, with and without a length, and bombs of gzip: 413 soon, and memory stays small."""
    server = t.server()
    server.start()
    m = Maker()
    server.post_ok(lines([m.good()]))
    idle = server.memory_mib("VmRSS")
    chunk = lines([m.event()]) * 400

    def send(head: str, pieces) -> tuple[int, float]:
        """Sends until the server answers; the status, and after how many seconds."""
        begin = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
            connection.sendall(f"POST /v1/detections HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n\r\n"
                               .encode())
            try:
                for piece in pieces:
                    connection.sendall(piece)
            except OSError:
                pass  # it does not take any more, and says why
            answer = connection.recv(4096)
        return int(answer.split()[1]), time.monotonic() - begin

    def chunked(pieces):
        for piece in pieces:
            yield b"%x\r\n%s\r\n" % (len(piece), piece)
        yield b"0\r\n\r\n"

    def bomb(mib: int):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        for _ in range(mib):
            yield packer.compress(b" " * (1 << 20))
        yield packer.flush()

    pieces = 100_000_000 // len(chunk) + 1
    small_bomb = b"".join(bomb(1024))
    cases = {
        "100 MB": (f"Content-Length: {pieces * len(chunk)}", (chunk for _ in range(pieces))),
        "100 MB in chunks": ("Transfer-Encoding: chunked", chunked(chunk for _ in range(pieces))),
        "a bomb of 1 GiB": (f"Content-Encoding: gzip\r\nContent-Length: {len(small_bomb)}",
                            iter([small_bomb])),
        "a bomb of 1 GiB in chunks": ("Content-Encoding: gzip\r\nTransfer-Encoding: chunked",
                                      chunked(iter([small_bomb]))),
        "a bomb of bombs": (f"Content-Encoding: gzip\r\nContent-Length: {len(small_bomb) * 10}",
                            iter([small_bomb] * 10)),
        "10^18 bytes are announced": ("Content-Length: 1000000000000000000", iter([b"x"])),
    }
    for name, (head, body) in cases.items():
        with t.case(name):
            status, took = send(head, body)
            expect_equal(status, 413, "status")
            expect(took < 5, f"the answer took {took:.1f} s")
            expect(server.healthy(), "not healthy")
    # What is no number of bytes is refused as well.
    for length in ("99999999999999999999999", "-1", "0x10", "1, 2"):
        with t.case(f"Content-Length: {length}"):
            status, _ = send(f"Content-Length: {length}", iter([b"x" * 16]))
            expect(400 <= status < 500, f"status {status}")
    peak = server.memory_mib()
    expect(peak < idle + 150, f"{peak:.0f} MiB resident, {idle:.0f} when idle")
    server.post_ok(lines([m.good()]))
    server.wait_ledger(received=2, counted=2)
    # The largest body that is allowed.
    body = lines(m.event(camera=i % 50) for i in range(110_000))
    body += b"\n" * ((16 << 20) - len(body))
    expect_equal(server.post_ok(body)["accepted"], 110_000, "accepted of 16 MiB")
    expect_equal(send(f"Content-Length: {len(body) + 1}", iter([body, b"\n"]))[0], 413, "one byte more")
    server.wait_ledger(received=110_002, counted=110_002)
    server.expect_quiet_log()
    t.note(f"at most {peak:.0f} MiB resident, {idle:.0f} when idle")


@test(seconds=240)
def http_itself(t: Test) -> None:
    """Other methods, paths, hosts and origins; requests cut off; many connections."""
    server = t.server("--server.connections_max", 50)
    server.start()
    m = Maker()
    body = lines([m.event()])
    for method, path, status in (("GET", "/v1/detections", 405), ("PUT", "/v1/detections", 405),
                                 ("DELETE", "/v1/top", 405), ("GET", "/v1/nothing", 404),
                                 ("GET", "/../../etc/passwd", 404), ("GET", "/%2e%2e/%2e%2e/x", 404),
                                 ("GET", "/v1/top?window=5", 400), ("GET", "/v1/top?window=25h", 400),
                                 ("GET", "/v1/top?window=15s", 400), ("GET", "/v1/top?limit=0", 400),
                                 ("GET", "/v1/top?limit=1001", 400), ("GET", "/v1/top?at=x", 400),
                                 ("GET", "/v1/top?location=x", 400), ("GET", "/v1/top?colour=red", 400),
                                 ("GET", "/v1/top?limit=1&limit=2", 400),
                                 ("GET", "/v1/top?location=99999999999999999999", 400),
                                 ("GET", "/v1/stream?window=0s", 400), ("GET", "/v1/top", 200),
                                 ("GET", "/v1/top?location=-1&window=24h&at=0", 200),
                                 ("HEAD", "/healthz", 200), ("GET", "/metrics", 200), ("GET", "/", 200)):
        with t.case(f"{method} {path}"):
            answer = server.request(method, path, body if method == "PUT" else None)
            expect_equal(answer.status, status, f"status ({answer.body[:200]!r})")
    # Another site's page, through DNS rebinding or a form, must not reach a server on loopback.
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        with t.case(headers):
            answer = server.request("POST", "/v1/detections", body, headers)
            expect_equal(answer.status, 403, f"status ({answer.body[:200]!r})")
    for request in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n",
                    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"\0" * 1000,
                    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
                    b"POST /v1/detections HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{",
                    b"POST /v1/detections HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
                    b"\r\nZZ\r\n"):
        with t.case(request[:60]):
            with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                try:
                    answer = connection.recv(4096)
                except OSError:
                    answer = b""
            expect(answer == b"" or answer.split()[1][:1] == b"4", f"{answer[:100]!r}")
            expect(server.healthy(), "not healthy afterwards")
    # Two requests that follow each other without waiting.
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        one = (b"POST /v1/detections HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"
               % len(body)) + body
        connection.sendall(one + one.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n", 1))
        answers = b""
        while more := connection.recv(4096):
            answers += more
    expect_equal(answers.count(b"HTTP/1.1 200 OK"), 2, "answers to two requests in a row")
    server.wait_ledger(received=2, counted=1, duplicate=1)
    # More connections than allowed: those that have waited longest give way; afterwards all is well.
    crowd = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(80)]
    refused = 0
    for connection in crowd:
        try:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            refused += connection.recv(4096).split()[1] == b"503"
        except (OSError, IndexError):
            refused += 1
    for connection in crowd:
        connection.close()
    expect(25 <= refused <= 35, f"{refused} of 80 connections refused, 50 are allowed")
    wait_until(server.healthy, 10, "healthy after the crowd")
    server.expect_quiet_log()


@test()
def idle_connections(t: Test) -> None:
    """One client's 4,200 connections that ask nothing do not shut others out."""
    server = t.server()
    server.start()
    body = lines([Maker().event()])
    idle = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(4_200)]
    slowest = 0.0
    for number in range(20):
        with t.case(f"client {number}"):
            begin = time.monotonic()
            other = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10,
                                               source_address=(f"127.0.1.{number + 1}", 0))
            for _ in range(2):  # the second on the same connection: it has kept its place
                other.request("POST", "/v1/detections", body)
                answer = other.getresponse()
                expect_equal(answer.status, 200, f"a post meanwhile: {answer.read()!r}")
            slowest = max(slowest, time.monotonic() - begin)
    evicted = server.metric("sightline_http_connections_evicted_total")
    expect(evicted >= 4_200 - 4_096, f"{evicted} connections were evicted")
    expect_equal(server.metric("sightline_http_connections_refused_total"), 0, "refused")
    t.note(f"two posts took at most {slowest:.3f} s, {evicted:.0f} connections gave way")
    for connection in idle:
        connection.close()
    server.expect_quiet_log()


@test()
def listen_address(t: Test) -> None:
    """Any address of 127.0.0.0/8 can be listened on, by its own name; an address in use names the option."""
    server = t.server(listen="127.0.0.2")
    server.launch()

    def status(host: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.2", server.port, timeout=5)
        try:
            connection.request("GET", "/healthz", headers={"Host": host})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    wait_until(lambda: status(f"127.0.0.2:{server.port}") == 200, 20, "it answers to 127.0.0.2")
    expect_equal(status("127.0.0.2.evil.example"), 403, "another name")
    done = t.run("ledger", "--data", server.data)
    expect_equal(done.returncode, 0, f"`sightline ledger` asks the server: {done.stderr!r}")
    second = t.run("up", "--data", t.folder / "second", "--listen", f"127.0.0.2:{server.port}")
    expect(second.returncode == 1 and b"(listen)" in second.stdout + second.stderr,
           f"an address in use: {second.stderr!r}")
    server.stop()
    server.expect_quiet_log()
