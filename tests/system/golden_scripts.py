"""golden_scripts: the scripts of tests/golden as records for a topic, with what must come of each.

Scripts with the same settings may share a topic: each gets cameras, ids and locations of its own.
"""

from __future__ import annotations

import json
import pathlib
import re
import shlex
from collections import Counter
from dataclasses import dataclass, field

from server import ROOT, Failure

FOLDER = ROOT / "tests" / "golden" / "scripts"
FIRST_DAY = 20_414 * 86_400_000  # 2025-11-22
UNITS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
OIDS = re.compile(rb'("(?:geographical_location|video_camera|detection)_oid"\s*:\s*"?)(-?\d+)')
OWN_MAX = 10**9  # larger numbers in the scripts are about being large, and no other script has them


@dataclass
class Message:
    append_time: int | None
    payload: bytes
    outcomes: list[str]  # in the order of its elements


@dataclass
class Script:
    name: str
    settings: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)  # (location, item, window start) -> n
    ledger: Counter = field(default_factory=Counter)

    @property
    def is_file(self) -> bool:
        return all(message.append_time is None for message in self.messages)


def length_ms(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([a-z]+)", text).groups()
    return int(number) * UNITS[unit]


def moment(text: str) -> int:
    """As golden/script.cc: "12:00:01.250", "day9/12:00", "@-1500"."""
    if text.startswith("@"):
        return int(text[1:])
    found = re.fullmatch(r"(?:day(-?\d+)/)?(\d\d):(\d\d)(?::(\d\d)(?:\.(\d\d\d))?)?", text)
    if found is None:
        raise Failure(f"'{text}' is no time")
    day, hour, minute, second, ms = (int(part or 0) for part in found.groups())
    return FIRST_DAY + day * UNITS["d"] + ((hour * 60 + minute) * 60 + second) * 1_000 + ms


def payload(text: str) -> bytes:
    if not text.startswith(("camera ", "heartbeat ")):
        return re.sub(rb"<([0-9A-F]{2})>", lambda found: bytes([int(found[1], 16)]), text.encode())
    words = shlex.split(text)
    is_heartbeat = words[0] == "heartbeat"
    words = words[is_heartbeat:]
    fields = dict(zip(words[::2], words[1::2]))
    event = {"geographical_location_oid": int(fields["location"]),
             "video_camera_oid": int(fields["camera"])}
    if is_heartbeat:
        event["heartbeat"] = moment(fields["time"])
    else:
        event |= {"detection_oid": int(fields["id"]), "item_name": fields["item"],
                  "timestamp_detected": moment(fields["time"])}
    return json.dumps(event).encode()


def read_script(path: pathlib.Path) -> Script:
    script = Script(path.stem)
    block = None
    for line in path.read_text().splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if "|" in line:
            time, _, rest = line.partition("|")
            rest, _, outcomes = rest.removeprefix(" ").rpartition(" -> ") if " -> " in rest \
                else (rest.removeprefix(" "), "", "")
            told = [outcome.strip() for outcome in outcomes.split(",") if outcome.strip()]
            if time.strip():
                at = None if time.strip() == "-" else moment(time.strip())
                script.messages.append(Message(at, payload(rest.rstrip()), told))
            else:
                script.messages[-1].payload += b"\n" + payload(rest.rstrip())
                script.messages[-1].outcomes += told
        elif text.startswith("set "):
            _, name, value = text.split()
            script.settings[name] = value
        elif text.startswith("ledger "):
            words = text.split()[1:]
            script.ledger.update({name: int(n) for name, n in zip(words[::2], words[1::2])})
        elif text in ("counts", "corrections"):
            block = text
        elif block == "counts":
            window, location, item, count = shlex.split(text)
            script.counts[int(location), item, moment(window)] += int(count)
        elif block is None:
            raise Failure(f"{path.name}: what is '{text}'?")
    return script


def read_scripts() -> list[Script]:
    return [read_script(path) for path in sorted(FOLDER.glob("*.txt"))]


def own(script: Script, number: int) -> Script:
    """The same with cameras, ids and locations that no other number gives."""
    def moved(oid: int) -> int:
        return oid + number * OWN_MAX if abs(oid) < OWN_MAX else oid

    def bytes_of(text: bytes) -> bytes:
        return OIDS.sub(lambda found: found[1] + b"%d" % moved(int(found[2])), text)

    return Script(script.name, script.settings,
                  [Message(m.append_time, bytes_of(m.payload), m.outcomes) for m in script.messages],
                  Counter({(moved(location), item, start): n
                           for (location, item, start), n in script.counts.items()}), script.ledger)


def camera_of(message: Message) -> str | None:
    """The key of its record: the camera of its first element that says one."""
    found = re.search(rb'"video_camera_oid"\s*:\s*"?(-?\d+)', message.payload)
    readable = any(not outcome.startswith("malformed") for outcome in message.outcomes)
    return found[1].decode() if found and readable else None
