"""Random detections for the reference test: every row of the outcome table in
docs/SEMANTICS.md, and its edges.

`Maker(seed, ...)` writes elements as bytes, in the order of a log, each with an append time. The same
seed gives the same bytes.
"""

import datetime
import json
import random
from collections import deque

EPOCH = datetime.datetime(1970, 1, 1)
DAY = 86_400_000
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
LAST_TIME = 253_402_300_799_999
ITEMS = ["person", "car", "bus", "bicycle", "dog", "umbrella", "traffic light", "Fußgänger", "自転車",
         "🚲", "a,b", 'say "hi"', "back\\slash", "new\nline", "tab\there", " leading", "trailing ",
         "{brace", "]", "é" * 128, "x" * 256, "\u007f", "NULL", "Car", "cars", "'quote'", "0", "-"]
# Elements that cannot be decoded, each for a different reason. NAME stands for the five fields.
GOOD = {"geographical_location_oid": 1, "video_camera_oid": 2, "detection_oid": 3,
        "item_name": "car", "timestamp_detected": 1_763_800_000_000}
HEARTBEAT = {"geographical_location_oid": 1, "video_camera_oid": 2, "heartbeat": 1_763_800_000_000}


def malformed_elements() -> list[bytes]:
    text = json.dumps(GOOD)
    broken = [text[:-1], text[:20], text + "x", "{", "nonsense", '{"a":}', "{'a':1}",
              text.replace("car", "c\tar"), text.replace('"car"', '"\\ud800"'),
              text.replace('"car"', "car"), text.replace(",", ";"), text.replace(":", "", 1),
              text.replace('"car"', '"\\x"'), "17", '"text"', "true", "null", "{}"]
    out = [line.encode() for line in broken]
    out.append(text.replace("car", "c?r").encode().replace(b"?", b"\xff"))
    for name in GOOD:
        out.append(json.dumps({k: v for k, v in GOOD.items() if k != name}).encode())
        for value in (None, True, 1.5, [], {}, "", "x", "1x", "1.0", 2**63, -(2**63) - 1, 10**40):
            if not (name == "item_name" and isinstance(value, str) and value != ""):
                out.append(json.dumps({**GOOD, name: value}).encode())
        out.append(text[:-1].encode() + f', "{name}": {json.dumps(GOOD[name])}}}'.encode())
    for value in ("é" * 129, "x" * 257):
        out.append(json.dumps({**GOOD, "item_name": value}).encode())
    for value in (253_402_300_800_000, -62_135_596_800_001, "2025-13-01T00:00:00Z", "2025-02-29T00:00:00Z",
                  "2025-11-22T12:00:00", "2025-11-22", "12:00", "2025-11-22T24:00:00Z",
                  "2025-11-22T12:00:00+0100", "1763800000 000"):
        out.append(json.dumps({**GOOD, "timestamp_detected": value}).encode())
        out.append(json.dumps({**HEARTBEAT, "heartbeat": value}).encode())
    # Malformed only where ids must be integers.
    for value in ("0b86", 2**64 - 1, 0.1, "x" * 128, "x" * 129, "é"):
        out.append(json.dumps({**GOOD, "detection_oid": value}).encode())
    out.append(json.dumps({"video_camera_oid": 2, "heartbeat": 5}).encode())
    out.append(json.dumps({"geographical_location_oid": 1, "heartbeat": 5}).encode())
    return out


class Maker:
    def __init__(self, seed: int, rule: dict, with_append_time: bool, count: int):
        self.random = random.Random(seed)
        self.rule = rule
        self.with_append_time = with_append_time
        self.count = count  # elements to come: the log jumps a few times, however many there are
        r = self.random
        self.now = r.choice([1_763_800_020_000, 1_763_800_020_000, 0, -3 * DAY,
                             -62_135_596_800_000 + 20 * DAY, 253_402_300_799_999 - 900 * DAY])
        # Times on a grid hit the edges often.
        self.grid = r.choice([1, 1_000, 10_000])
        self.cameras = [INT64_MIN, INT64_MAX, 0, -1] + [r.randrange(1, 10**r.randint(2, 18))
                                                         for _ in range(r.choice([4, 30]))]
        self.locations = [INT64_MIN, INT64_MAX, 0] + [r.randrange(10**4) for _ in range(8)]
        self.skew = {camera: r.choice([0, 0, 0, -1_000, -5_000, -3_600_000, 30_000, 59_990, 60_001])
                     for camera in self.cameras}
        self.bounded = rule["watermark_step"] == "bounded" and not with_append_time
        self.greatest: dict[int, int] = {}  # the time that the camera's watermark follows
        self.last: dict[int, tuple] = {}       # (detection, time) of the camera's newest record
        self.reference: dict[int, int] = {}    # the last time of the moment before
        self.heard: dict[int, int] = {}
        self.recent: deque = deque(maxlen=3_000)  # (camera, location, id, item, time)
        self.next_id = r.choice([1, INT64_MIN, INT64_MAX - 10**9])
        self.malformed = malformed_elements()
        self.pending: list = []

    def element(self) -> bytes:
        r = self.random
        self.tick()
        if self.pending:
            return self.pending.pop()
        what = r.random()
        if what < 0.02:
            return r.choice(self.malformed)
        if what < 0.06:
            return self.write_heartbeat(r.choice(self.cameras))
        if what < 0.06 + 10 / self.count and self.recent and self.with_append_time:
            return self.edge_of_silence()
        if what < 0.06 + 60 / self.count and self.recent:
            return self.edge_of_memory()
        if what < 0.45 and self.recent:
            return self.copy()
        camera = r.choice(self.cameras)
        return self.write(camera, r.choice(self.locations), self.fresh_id(), self.item(),
                          self.time(camera))

    def line(self) -> bytes:
        """Makes a message: mostly one element, sometimes an array."""
        if self.random.random() < 0.97:
            return self.element()
        elements = [self.element() for _ in range(self.random.randrange(4))]
        # A broken element affects only itself as long as the array around it is well-formed.
        whole = []
        for element in elements:
            try:
                json.loads(element)
                whole.append(element)
            except ValueError:
                pass
        return b"[" + b", ".join(whole) + b"]"

    def tick(self) -> None:
        r = self.random
        jump = r.random()
        if jump < 2 / self.count:
            self.now += r.choice([DAY, 7 * DAY, 8 * DAY, 8 * DAY + 60_001, 9 * DAY])
        elif jump < 15 / self.count:
            self.now += r.choice([60_000, 600_000, 3_600_000, 7_200_000])
        elif jump < 0.3:
            self.now += r.randrange(500)

    def item(self) -> str:
        return ITEMS[min(int(self.random.expovariate(0.2)), len(ITEMS) - 1)]

    def fresh_id(self) -> int:
        self.next_id += self.random.choice([1, 1, 1, 2, 1000])
        return self.next_id

    def time(self, camera: int) -> int:
        r = self.random
        rule = self.rule
        where = r.random()
        greatest = self.greatest.get(camera, self.now)
        late = greatest - rule["out_of_orderness"] - rule["dedup_horizon"]
        if where < 0.03:
            return late + r.choice([-1, 0, 1])
        if where < 0.05:
            return self.now + rule["future_tolerance"] + r.choice([-1, 0, 1])
        if where < 0.06:
            return self.now - (rule["max_age"] or 7 * DAY) + r.choice([-1, 0, 1])
        if where < 0.10:
            return late + r.randrange(-60_000, 3_600_000)
        if self.bounded and 0.2 < where < 0.2 + 60 / self.count:
            return self.jump(camera)
        if where < 0.10 + 10 / self.count:
            return self.now + r.choice([3_600_000, -7_200_000, -30 * DAY])
        if where < 0.11 and rule["count_from"] is not None:
            return rule["count_from"] + r.choice([-1, 0, 1])
        if where < 0.115 and rule["count_until"] is not None:
            return rule["count_until"] + r.choice([-1, 0, 1])
        time = self.now + self.skew[camera] - int(r.expovariate(1 / 4_000))
        return time - time % self.grid

    def jump(self, camera: int) -> int:
        """A clock that is wrong: by much, or by what a step may just be."""
        r = self.random
        last = self.last[camera][1] if camera in self.last else self.now
        if r.random() < 0.5:
            return last + self.rule["dedup_horizon"] + r.choice([-1, 0, 1])
        return min(self.now + r.choice([3_600_000, DAY, 60 * DAY, 36_000 * DAY, -36_000 * DAY]), LAST_TIME)

    def follow(self, camera: int, identity: int | None, time: int) -> None:
        """The record moves its camera's watermark, as far as it may."""
        if self.bounded:
            before = self.last.get(camera)
            self.last[camera] = identity, time
            if before is not None and time != before[1] and (identity is None or identity != before[0]):
                self.reference[camera] = before[1]
            if camera not in self.reference:
                return
            time = min(time, self.reference[camera] + self.rule["dedup_horizon"])
        elif self.with_append_time and time > self.now + self.rule["future_tolerance"]:
            return
        self.greatest[camera] = max(time, self.greatest.get(camera, time))

    def copy(self) -> bytes:
        r = self.random
        camera, location, identity, item, time = r.choice(self.recent)
        how = r.random()
        if how < 0.20:
            time += r.choice([-1, 1, 1_000, -1_000, 5_000])
        elif how < 0.20 + 30 / self.count:
            time += r.choice([60_000, 1_800_000, 3_600_000, 3_610_000, -3_600_000])
        elif how < 0.25:
            time = self.time(camera)
        if r.random() < 0.1:
            camera = r.choice(self.cameras)
            if r.random() < 0.5:
                time = self.time(camera)
        if r.random() < 0.05:
            location = r.choice(self.locations)
        if r.random() < 0.05:
            item = self.item()
        return self.write(camera, location, identity, item, time)

    def edge_of_memory(self) -> bytes:
        """The first copy's camera moves its watermark to the edge of forgetting; then another copy arrives."""
        r = self.random
        camera, location, identity, item, time = self.recent[r.randrange(len(self.recent))]
        edge = time + self.rule["dedup_horizon"] + self.rule["out_of_orderness"] + r.choice([-1, 0, 1])
        other = r.choice(self.cameras)
        again = self.write(other, location, identity, item, self.time(other))
        self.pending.append(again)
        return self.write_heartbeat(camera, edge)

    def edge_of_silence(self) -> bytes:
        """The first copy's camera returns at the edge of camera_ttl."""
        r = self.random
        camera, location, identity, item, _ = self.recent[-r.randrange(1, min(50, len(self.recent)) + 1)]
        self.now = max(self.now, self.heard[camera] + self.rule["camera_ttl"] + r.choice([0, 0, 1]))
        other = r.choice(self.cameras)
        again = self.write(other, location, identity, item, self.time(other))
        self.pending.append(again)
        return self.write_heartbeat(camera, self.greatest.get(camera, self.now))

    def write(self, camera: int, location: int, identity: int, item: str, time: int) -> bytes:
        self.recent.append((camera, location, identity, item, time))
        self.heard[camera] = self.now
        self.follow(camera, identity, time)
        return self.dump({"geographical_location_oid": self.integer(location),
                          "video_camera_oid": self.integer(camera),
                          "detection_oid": self.integer(identity),
                          "item_name": item, "timestamp_detected": self.moment(time)})

    def write_heartbeat(self, camera: int, time: int | None = None) -> bytes:
        if time is None:
            time = self.time(camera)
        self.heard[camera] = self.now
        self.follow(camera, None, time)
        return self.dump({"video_camera_oid": self.integer(camera),
                          "geographical_location_oid": self.integer(self.random.choice(self.locations)),
                          "heartbeat": self.moment(time)})

    def integer(self, value: int) -> int | str:
        return str(value) if self.random.random() < 0.05 else value

    def moment(self, time: int) -> int | str:
        how = self.random.random()
        if how < 0.9 or not -62_135_596_800_000 + DAY < time < 253_402_300_799_999 - DAY:
            return time
        if how < 0.95:
            return str(time)
        zone = self.random.choice([0, 0, 90, -480])
        local = EPOCH + datetime.timedelta(milliseconds=time + zone * 60_000)
        text = f"{local.year:04}-{local:%m-%dT%H:%M:%S}"
        if local.microsecond or self.random.random() < 0.5:
            text += f".{local.microsecond // 1000:03}"
        sign = "-" if zone < 0 else "+"
        return text + ("Z" if zone == 0 else f"{sign}{abs(zone) // 60:02}:{abs(zone) % 60:02}")

    def dump(self, fields: dict) -> bytes:
        r = self.random
        how = r.random()
        if how < 0.3:
            pairs = list(fields.items())
            if r.random() < 0.5:
                pairs.append(("note", r.choice([None, {"a": ["}", "\"", {"item_name": "x"}]}, 1e300, "ü"])))
            if r.random() < 0.3:
                pairs.append(("timestamp", r.choice([self.now, "2025-11-22T12:00:00Z", "?", None])))
            r.shuffle(pairs)
            return json.dumps(dict(pairs), ensure_ascii=r.random() < 0.5,
                              separators=r.choice([(",", ":"), (", ", ": "), (" ,\t", "  :")])).encode()
        return json.dumps(fields, ensure_ascii=how < 0.6, separators=(",", ":")).encode()
