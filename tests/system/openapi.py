"""openapi: web/openapi.json, and whether answers are as it says.

The part of JSON Schema that the file uses, and no more: an unknown keyword is a mistake. Standard library
only.
"""

from __future__ import annotations

import json
from typing import Any, Iterator

from server import ROOT, Answer, Failure, expect, expect_equal

SPEC = json.loads((ROOT / "web" / "openapi.json").read_text())
ANNOTATIONS = {"description", "default"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def operations() -> Iterator[tuple[str, str, dict]]:
    for path, methods in SPEC["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def mismatch(value: Any, schema: dict, where: str = "$") -> str | None:
    """Why `value` is not of `schema`; None if it is."""
    if "$ref" in schema:
        target: Any = SPEC
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return mismatch(value, target, where)
    for keyword, wanted in schema.items():
        if keyword in ANNOTATIONS:
            why = None
        elif keyword == "type":
            names = wanted if isinstance(wanted, list) else [wanted]
            right = any(_is(value, name) for name in names)
            why = None if right else f"{where} is {value!r:.80}, not of type {wanted}"
        elif keyword == "enum":
            why = None if value in wanted else f"{where} is {value!r:.80}, not one of {wanted}"
        elif keyword in ("oneOf", "anyOf"):
            reasons = [mismatch(value, each, where) for each in wanted]
            good = reasons.count(None)
            right = good == 1 if keyword == "oneOf" else good >= 1
            why = None if right else f"{where} is {good} of {keyword}: {reasons}"
        elif keyword == "required":
            missing = [name for name in wanted if isinstance(value, dict) and name not in value]
            why = f"{where} lacks {missing}" if missing else None
        elif keyword == "properties":
            why = next(filter(None, (mismatch(value[name], each, f"{where}.{name}")
                                     for name, each in wanted.items()
                                     if isinstance(value, dict) and name in value)), None)
        elif keyword == "items":
            why = next(filter(None, (mismatch(each, wanted, f"{where}[{i}]")
                                     for i, each in enumerate(value)
                                     if isinstance(value, list))), None)
        elif keyword == "minimum":
            why = None if value >= wanted else f"{where} is {value}, less than {wanted}"
        elif keyword == "maximum":
            why = None if value <= wanted else f"{where} is {value}, more than {wanted}"
        elif keyword == "maxLength":
            why = None if len(value) <= wanted else f"{where} is longer than {wanted}"
        elif keyword == "additionalProperties" and wanted is False:
            more = set(value) - set(schema["properties"])
            why = f"{where} has {more}" if more else None
        else:
            raise ValueError(f"{where}: this validator does not know {keyword!r}")
        if why:
            return why
    return None


def _is(value: Any, name: str) -> bool:
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def check(answer: Answer, path: str, method: str, what: str) -> None:
    """The answer's status, headers, type and body against the file."""
    responses = SPEC["paths"][path][method]["responses"]
    status = str(answer.status)
    expect(status in responses, f"{what}: status {status} is not documented: {answer.body[:300]!r}")
    documented = responses[status]
    kind = answer.headers["content-type"].split(";")[0]
    expect(kind in documented["content"], f"{what}: {status} is of type {kind}, which is not documented")
    for name, header in documented.get("headers", {}).items():
        value = answer.headers.get(name.lower())
        expect(value is not None or not header.get("required"), f"{what}: {status} has no {name}")
        if value is not None:
            typed = int(value) if header["schema"]["type"] == "integer" else value
            why = mismatch(typed, header["schema"], name)
            expect(why is None, f"{what}: {why}")
    if kind.endswith("json") and kind != "application/x-ndjson":
        why = mismatch(answer.json(), documented["content"][kind]["schema"])
        expect(why is None, f"{what}: {why}")
    if kind == "application/problem+json":
        problem = answer.json()
        expect_equal(problem["status"], answer.status, f"{what}: status in the body")
        expect(problem["title"] != "Unknown" and problem["detail"], f"{what}: {problem}")


def self_test() -> None:
    """The validator finds what is wrong."""
    step = {"$ref": "#/components/schemas/Step"}
    good = {"step_start": "2026-01-01T00:00:00.000Z", "item_count": 1}
    expect_equal(mismatch(good, step), None, "a good step")
    for bad in ({}, [], {**good, "item_count": "1"}, {**good, "item_count": True},
                {**good, "step_start": None}):
        expect(mismatch(bad, step) is not None, f"{bad} passes as a step")
    expect(mismatch([good, {}], {"type": "array", "items": step}) is not None, "a bad element passes")
    try:
        mismatch(1, {"multipleOf": 2})
    except ValueError:
        return
    raise Failure("an unknown keyword passes")
