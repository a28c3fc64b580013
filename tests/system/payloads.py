"""payloads: detections as the tools that people have write them, with what each must be answered.

made(tool) returns what a tool sends. The values are invented; how they are written is not: separators, indentation,
line ends, encodings, and what becomes of numbers and times on the way.
"""

from __future__ import annotations

import datetime
import gzip
import json
from dataclasses import dataclass, field
from typing import Callable, Iterator

from server import now_ms

FIELDS = ("geographical_location_oid", "video_camera_oid", "detection_oid", "item_name", "timestamp_detected")


@dataclass
class Payload:
    tool: str
    body: bytes
    accepted: int
    rejected: int = 0
    reasons: tuple[str, ...] = ()  # each is among the answer's
    headers: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # by item; empty: all accepted count as "car"

    @property
    def status(self) -> int:
        return 422 if self.rejected and not self.accepted else 200


class Maker:
    """Detections of one place, each with an id of its own."""

    def __init__(self, place: int, first_id: int):
        self.place, self.next_id = place, first_id

    def event(self, **fields: object) -> dict:
        self.next_id += 1
        return dict(zip(FIELDS, (self.place, self.place * 10 + 1, self.next_id, "car", now_ms()))) | fields

    def events(self, count: int) -> list[dict]:
        return [self.event() for _ in range(count)]


def compact(event: object) -> str:
    return json.dumps(event, separators=(",", ":"))


def utc(pattern: str = "%Y-%m-%dT%H:%M:%S", ago_s: int = 1) -> str:
    """A time of UTC as `pattern` writes it."""
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=ago_s)).strftime(pattern)


# -- what is read as it comes ------------------------------------------------------------------------------------------


def curl(m: Maker) -> Iterator[Payload]:
    lines = [compact(event) for event in m.events(3)]
    yield Payload("curl --data-binary @file", ("\n".join(lines) + "\n").encode(), 3)
    # -d drops the line ends of a file, and says that it is a form.
    yield Payload("curl -d @file", "".join(compact(event) for event in m.events(3)).encode(), 3,
                  headers={"Content-Type": "application/x-www-form-urlencoded"})
    part = "\r\n".join(["--------------------------9d1", 'Content-Disposition: form-data; name="f"; filename="d.json"',
                        "Content-Type: application/octet-stream", "", compact(m.event()),
                        "--------------------------9d1--", ""])
    yield Payload("curl -F f=@file", part.encode(), 1, 4, ("not_json", "not_an_object"),
                  {"Content-Type": "multipart/form-data; boundary=------------------------9d1"})


def jq(m: Maker) -> Iterator[Payload]:
    yield Payload("jq .", "\n".join(json.dumps(event, indent=2) for event in m.events(3)).encode() + b"\n", 3)
    yield Payload("jq --tab .", "\n".join(json.dumps(event, indent="\t") for event in m.events(2)).encode(), 2)
    yield Payload("jq -c .", "\n".join(compact(event) for event in m.events(3)).encode(), 3)
    yield Payload("jq -s .", json.dumps(m.events(3), indent=2).encode() + b"\n", 3)
    yield Payload("jq --seq -c .", "".join(f"\x1e{compact(event)}\n" for event in m.events(2)).encode(), 2)
    yield Payload("jq -j .", "".join(compact(event) for event in m.events(3)).encode(), 3)
    yield Payload("jq -c '.[]' behind an array", (json.dumps(m.events(2), indent=2) + "\n"
                                                   + compact(m.event()) + "\n").encode(), 3)


def powershell(m: Maker) -> Iterator[Payload]:
    def to_json(event: dict) -> str:  # ConvertTo-Json of version 5.1
        rows = ",\r\n".join(f'    "{name}":  {json.dumps(value)}' for name, value in event.items())
        return "{\r\n" + rows + "\r\n}"

    yield Payload("ConvertTo-Json", to_json(m.event()).encode(), 1)
    yield Payload("ConvertTo-Json of several", ("[\r\n" + ",\r\n".join(map(to_json, m.events(3))) + "\r\n]").encode(), 3)
    yield Payload("Set-Content -Encoding utf8", b"\xef\xbb\xbf" + to_json(m.event()).encode() + b"\r\n", 1)
    yield Payload("> file", b"\xff\xfe" + (to_json(m.event()) + "\r\n").encode("utf-16-le"), 0, 1, ("utf_16",))
    yield Payload("ConvertTo-Json of a date", to_json(m.event(timestamp_detected="/Date(1763800020000)/")).encode(),
                  0, 1, ("wrong_type",))


def python(m: Maker) -> Iterator[Payload]:
    yield Payload("requests.post(json=event)", json.dumps(m.event()).encode(), 1,
                  headers={"Content-Type": "application/json"})
    yield Payload("requests.post(json=events)", json.dumps(m.events(2)).encode(), 2)
    yield Payload("str(event)", str(m.event()).encode(), 0, 1, ("not_json",))
    aware = m.event(timestamp_detected=utc("%Y-%m-%dT%H:%M:%S.%f+00:00"), detection_oid=str(m.next_id + 1))
    yield Payload("isoformat() with a zone", json.dumps(aware).encode(), 1)
    yield Payload("str(datetime)", json.dumps(m.event(timestamp_detected=utc("%Y-%m-%d %H:%M:%S.%f+00:00"))).encode(), 1)
    yield Payload("strftime('%z')", json.dumps(m.event(timestamp_detected=utc("%Y-%m-%dT%H:%M:%S+0000"))).encode(), 1)
    naive = m.event(timestamp_detected=utc("%Y-%m-%dT%H:%M:%S.%f"))
    yield Payload("isoformat() without a zone", json.dumps(naive).encode(), 0, 1, ("no_time_zone",))
    yield Payload("time.time()", json.dumps(m.event(timestamp_detected=now_ms() / 1000)).encode(), 0, 1, ("wrong_type",))
    uuid = m.event(detection_oid="550e8400-e29b-41d4-a716-446655440000")
    yield Payload("uuid4(), twice", (json.dumps(uuid) + "\n" + json.dumps(uuid)).encode(), 2, counts={"car": 1})
    # A column with gaps is one of floats. The whole number 17 would be another id than 17.0.
    frame = [m.event(detection_oid=float(m.next_id + 1)) for _ in range(2)]
    yield Payload("DataFrame.to_json(lines=True)", "\n".join(compact(row) for row in frame).encode(), 2)
    yield Payload("json.dumps of NaN", json.dumps(m.event(item_name=float("nan"))).encode(), 0, 1, ("wrong_type",))
    yield Payload("gzip.compress", gzip.compress(json.dumps(m.events(3)).encode()), 3,
                  headers={"Content-Encoding": "gzip"})


def spreadsheets(m: Maker) -> Iterator[Payload]:
    rows = [list(map(str, event.values())) for event in m.events(2)]
    for tool, separator, text in (("Excel, CSV UTF-8", ",", "\ufeff"), ("Excel, CSV", ";", "sep=;\r\n")):
        table = text + "".join(separator.join(row) + "\r\n" for row in (list(FIELDS), *rows))
        yield Payload(tool, table.encode(), 0, 1, ("csv",))
    table = "".join("\t".join(row) + "\r\n" for row in (list(FIELDS), *rows))
    yield Payload("Excel, Unicode text", b"\xff\xfe" + table.encode("utf-16-le"), 0, 1, ("utf_16",))


def boards(m: Maker) -> Iterator[Payload]:
    yield Payload("ArduinoJson serializeJson", compact(m.event()).encode(), 1)
    yield Payload("ArduinoJson, println", (compact(m.event()) + "\r\n" + compact(m.event()) + "\r\n").encode(), 2)
    pretty = json.dumps(m.event(), indent=2).replace("\n", "\r\n")
    yield Payload("ArduinoJson serializeJsonPretty", pretty.encode(), 1)
    # A buffer that was too small, and one of fixed size.
    yield Payload("ArduinoJson, cut off", (compact(m.event())[:-30] + "\n" + compact(m.event())).encode(), 1, 1,
                  ("not_json",))
    unsigned = [m.event(detection_oid=2**64 - 1 - m.next_id) for _ in range(2)]
    yield Payload("unsigned 64-bit ids", "\n".join(map(compact, unsigned)).encode(), 2)


def shippers(m: Maker) -> Iterator[Payload]:
    dated = [{"date": event["timestamp_detected"] / 1000, **event} for event in m.events(3)]
    yield Payload("fluent-bit, json", compact(dated).encode(), 3)
    yield Payload("fluent-bit, json_stream", "".join(map(compact, dated)).encode(), 3, counts={"car": 0})
    yield Payload("fluent-bit, json_lines", "\n".join(compact(event) for event in m.events(2)).encode(), 2)
    wrapped = {"source_type": "http_server", "timestamp": utc("%Y-%m-%dT%H:%M:%S.123456789Z"), **m.event()}
    yield Payload("vector, json", compact([wrapped]).encode(), 1)
    yield Payload("vector, newline_delimited", (compact({"host": "edge", **m.event()}) + "\n").encode(), 1)
    zeros = gzip.compress(compact(m.events(2)).encode()) + b"\0" * 512
    yield Payload("gzip in blocks of 512 bytes", zeros, 2, headers={"Content-Encoding": "x-gzip"})
    yield Payload("logstash, json_batch", json.dumps([{"@version": "1", **event} for event in m.events(2)]).encode(), 2)


def detectors(m: Maker) -> Iterator[Payload]:
    frigate = m.event(detection_oid="1707469187.139544-bk2da3", item_name="car")
    yield Payload("Frigate's ids", compact(frigate).encode(), 1)
    event = {"type": "new", "before": {"id": "1707469187.1-a"}, "after": {"id": "1707469187.1-a", "label": "person"}}
    yield Payload("Frigate's own events", compact(event).encode(), 0, 1, ("missing_field",))
    deepstream = {"version": "4.0", "id": "0", "@timestamp": utc("%Y-%m-%dT%H:%M:%S.000Z"), "sensorId": "cam",
                  "objects": ["1|10|20|30|40|Vehicle"]}
    yield Payload("DeepStream's minimal schema", json.dumps(deepstream, indent=2).encode(), 0, 1, ("missing_field",))
    names = [m.event(item_name=name) for name in ("Café", "Cafe\u0301")]
    yield Payload("one name in two forms", "\n".join(json.dumps(event) for event in names).encode(), 2,
                  counts={"Café": 1, "Cafe\u0301": 1})


def shells(m: Maker) -> Iterator[Payload]:
    whole = [compact(event) for event in m.events(3)]
    yield Payload("tail -c", (whole[0][25:] + "\n" + "\n".join(whole[1:]) + "\n").encode(), 2, 1, ("not_json",))
    lines = [compact(event) for event in m.events(3)]
    yield Payload("head -c", ("\n".join(lines)[:-40]).encode(), 2, 1, ("not_json",))
    array = json.dumps(m.events(3), indent=None, separators=(",", ":")).replace("},{", "},\n{")
    yield Payload("tail -n 2 of an array", array.split("\n", 1)[1].encode(), 2, 1, ("not_json",))
    yield Payload("cat of two arrays", (json.dumps(m.events(2)) + json.dumps(m.events(1))).encode(), 3)


TOOLS: tuple[Callable[[Maker], Iterator[Payload]], ...] = (
    curl, jq, powershell, python, spreadsheets, boards, shippers, detectors, shells)
