#!/usr/bin/env python3
"""How a message is read, once more: docs/SEMANTICS.md, "Decoding", with Python's own JSON parser.

    decode.py FOLDER

compares it with the files of tests/conformance/decode: with each message that is one JSON text. Others are a matter
of splitting, which this program does not do.
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal, ROUND_FLOOR
from zoneinfo import ZoneInfo

FIELDS = ("geographical_location_oid", "video_camera_oid", "detection_oid", "item_name", "timestamp_detected")
FIRST_TIME, LAST_TIME = -62_135_596_800_000, 253_402_300_799_999
INT64_MIN, INT64_MAX = -2**63, 2**63 - 1
ID_BYTES_MAX, ITEM_BYTES_MAX = 128, 256
DATE_TIME = r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)"
TIMES = {1: re.compile(DATE_TIME + r"(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII),
         2: re.compile(DATE_TIME + r"(?:[.,](\d+))?(?: ?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?))?", re.ASCII)}
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
TO_MILLIS = {"s": Decimal(1_000), "ms": Decimal(1), "us": Decimal("1e-3"), "ns": Decimal("1e-6")}


class Malformed(Exception):
    pass


class Pairs(list):
    """A JSON object as its list of pairs, so that repeated fields are noticed."""


class Fraction(str):
    """A number that is no integer, as it was written."""


@dataclass
class Rules:
    timestamp_unit: str = "ms"
    timestamp_zone: str = ""
    detection_ids: str = "any"
    item_names: str = "as_sent"
    decoding: int = 2


def xxh64(data: bytes, seed: int) -> int:
    """XXH64, from its specification (github.com/Cyan4973/xxHash, doc/xxhash_spec.md), as an int64."""
    p1, p2, p3, p4, p5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
                          0x27D4EB2F165667C5)
    mask = 2**64 - 1

    def left(value: int, bits: int) -> int:
        return (value << bits | value >> (64 - bits)) & mask

    def word(at: int, size: int = 8) -> int:
        return int.from_bytes(data[at:at + size], "little")

    def mix(lane: int, value: int) -> int:
        return left((lane + value * p2) & mask, 31) * p1 & mask

    at = 0
    if len(data) >= 32:
        lanes = [(seed + p1 + p2) & mask, (seed + p2) & mask, seed, (seed - p1) & mask]
        while at + 32 <= len(data):
            lanes = [mix(lane, word(at + 8 * i)) for i, lane in enumerate(lanes)]
            at += 32
        hashed = sum(left(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & mask
        for lane in lanes:
            hashed = ((hashed ^ mix(0, lane)) * p1 + p4) & mask
    else:
        hashed = (seed + p5) & mask
    hashed = (hashed + len(data)) & mask
    while at + 8 <= len(data):
        hashed = (left(hashed ^ mix(0, word(at)), 27) * p1 + p4) & mask
        at += 8
    if at + 4 <= len(data):
        hashed = (left(hashed ^ word(at, 4) * p1 & mask, 23) * p2 + p3) & mask
        at += 4
    for byte in data[at:]:
        hashed = left(hashed ^ byte * p5 & mask, 11) * p1 & mask
    for bits, prime in ((33, p2), (29, p3), (32, 1)):
        hashed = (hashed ^ hashed >> bits) * prime & mask
    return hashed - 2**64 if hashed >= 2**63 else hashed


def integer(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9][0-9]*)", value):
        value = int(value)
    if type(value) is not int or not INT64_MIN <= value <= INT64_MAX:
        raise Malformed
    return value


def identity(value: object, rules: Rules) -> int:
    try:
        return integer(value)
    except Malformed:
        if rules.detection_ids == "integer":
            raise
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= ID_BYTES_MAX:
        raise Malformed
    return xxh64(value.encode(), 42)


def of_text(found: re.Match, rules: Rules) -> int:
    try:
        date = datetime(*map(int, found.groups()[:5])) + timedelta(seconds=int(found[6]))
    except ValueError:
        raise Malformed from None
    if int(found[6]) > 60:
        raise Malformed
    fraction = int((found[7] or "0").ljust(3, "0")[:3])
    minutes = found[11] or "0"
    if int(minutes) > 59 or int(found[10] or "0") > 23:
        raise Malformed
    if not (found[8] or found[9]):
        if not rules.timestamp_zone:
            raise Malformed
        date = date.replace(tzinfo=ZoneInfo(rules.timestamp_zone))  # fold 0: the earlier of two
    else:
        date = date.replace(tzinfo=timezone.utc)
    time = (date - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1) + fraction
    if found[9]:
        zone = (int(found[10]) * 60 + int(minutes)) * 60_000
        time -= zone if found[9] == "+" else -zone
    return time


def moment(value: object, rules: Rules) -> int:
    found = TIMES[rules.decoding].fullmatch(value) if isinstance(value, str) and not isinstance(value, Fraction) else None
    if found:
        time = of_text(found, rules)
    else:
        decimal = isinstance(value, str) and NUMBER.fullmatch(value)
        if decimal and rules.decoding == 2 and rules.timestamp_unit == "s":
            number = Decimal(value)
            if number.adjusted() > 20:
                raise Malformed
        else:
            number = Decimal(integer(value))
        time = int((number * TO_MILLIS[rules.timestamp_unit]).to_integral_value(ROUND_FLOOR))
    if not FIRST_TIME <= time <= LAST_TIME:
        raise Malformed
    return time


def item_name(value: object, rules: Rules) -> str:
    if not isinstance(value, str) or isinstance(value, Fraction):
        raise Malformed
    if rules.item_names == "nfc":
        value = unicodedata.normalize("NFC", value)
    if not 1 <= len(value.encode()) <= ITEM_BYTES_MAX:
        raise Malformed
    return value


def decode_element(element: object, rules: Rules) -> tuple:
    """(kind, location, camera, detection, item, time) of one parsed element."""
    if not isinstance(element, Pairs):
        raise Malformed
    known = [(name, value) for name, value in element if name in FIELDS or name == "heartbeat"]
    fields = dict(known)
    is_heartbeat = "heartbeat" in fields and not set(FIELDS[2:]) & set(fields)
    wanted = (*FIELDS[:2], "heartbeat") if is_heartbeat else FIELDS
    if any(sum(name == other for other, _ in known) != 1 for name in wanted):
        raise Malformed
    location, camera = (integer(fields[name]) for name in FIELDS[:2])
    if is_heartbeat:
        return "heartbeat", location, camera, None, None, moment(fields["heartbeat"], rules)
    return ("detection", location, camera, identity(fields["detection_oid"], rules),
            item_name(fields["item_name"], rules), moment(fields["timestamp_detected"], rules))


def no_constant(_: str) -> None:
    raise ValueError


def parsed(message: bytes) -> object:
    """ValueError: it is not one JSON text."""
    return json.loads(message.decode(), object_pairs_hook=Pairs, parse_constant=no_constant, parse_float=Fraction)


def decode(message: bytes, rules: Rules = Rules()) -> list[tuple]:
    """The elements of a message of one line; one that cannot be decoded has the kind 'malformed'."""
    malformed = ("malformed", None, None, None, None, None)
    try:
        value = parsed(message)
    except ValueError:
        return [malformed]
    elements = []
    for element in value if type(value) is list else [value]:
        try:
            elements.append(decode_element(element, rules))
        except (Malformed, UnicodeEncodeError):
            elements.append(malformed)
    return elements


def described(element: tuple) -> str:
    kind, location, camera, detection, item, time = element
    if kind == "detection":
        return f"detection {camera} {location} {detection} {time} {item.encode().decode('latin-1')}"
    return "malformed" if kind == "malformed" else f"heartbeat {camera} {location} {time}"


def differences(path: pathlib.Path, decoding: int) -> tuple[int, list[str]]:
    compared, different = 0, []
    for number, text in enumerate(path.read_text().rstrip("\n").split("\n"), 1):
        line = json.loads(text)
        message = line["bytes"].encode("latin-1")
        try:
            parsed(message.removeprefix(b"\xef\xbb\xbf"))
        except (ValueError, RecursionError):
            continue
        settings = {name: line[name] for name in ("timestamp_unit", "timestamp_zone", "detection_ids", "item_names")
                    if name in line}
        if decoding == 1:
            settings["detection_ids"] = "integer"
        wanted = [event if not event.startswith("malformed") else "malformed" for event in line["events"]]
        found = list(map(described, decode(message.removeprefix(b"\xef\xbb\xbf"), Rules(decoding=decoding, **settings))))
        compared += 1
        if found != wanted:
            different.append(f"{path.name}:{number}: {line['bytes'][:200]!r}: {found} instead of {wanted}")
    return compared, different


def main() -> int:
    folder = pathlib.Path(sys.argv[1])
    compared = 0
    different: list[str] = []
    for decoding, name in ((1, "first.jsonl"), (2, "second.jsonl")):
        number, found = differences(folder / name, decoding)
        compared += number
        different += found
    print("\n".join(different[:20]))
    print(f"{compared} messages compared, {len(different)} are read differently")
    return 1 if different or compared < 900 else 0


if __name__ == "__main__":
    sys.exit(main())
