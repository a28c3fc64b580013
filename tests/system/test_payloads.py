"""What real senders send: each payload of payloads.py gets its answer and its counts, and a log that an older version
wrote is decided as before."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections import Counter

from askers import ask, rows_of
from events import check_tops
from hostile_sql import body_of
from payloads import TOOLS, Maker, compact, utc
from registry import test
from server import ROOT, Server, Test, expect, expect_equal, now_ms

DATA = ROOT / "tests/system/data"
STREAMED = 600_000
MEMORY_MIB = 110  # a few blocks and the remembered ids


def check_answer(answer, payload) -> None:
    expect_equal(answer.status, payload.status, f"{payload.tool}: {answer.body[:300]!r}")
    said = answer.json()
    expect_equal((said["accepted"], said["rejected"]), (payload.accepted, payload.rejected), payload.tool)
    reasons = {error["reason"] for error in said["errors"]}
    expect_equal(reasons, set(payload.reasons), f"{payload.tool}: reasons")
    if payload.status == 422:
        expect(all(reason in said["detail"] for reason in reasons), f"{payload.tool}: {said['detail']!r} names {reasons}")


@test()
def payloads(t: Test) -> None:
    """What curl, jq, PowerShell, Python, spreadsheets, boards, shippers and detectors write."""
    server = t.server()
    server.start()
    wanted: dict[int, Counter] = {}
    accepted = rejected = number = 0
    for tool in TOOLS:
        place = 100 + len(wanted)
        counts = wanted.setdefault(place, Counter())
        for payload in tool(Maker(place, place << 32)):
            number += 1
            with t.case(f"{tool.__name__}: {payload.tool}"):
                check_answer(server.request("POST", "/v1/detections", payload.body, payload.headers), payload)
            counts.update(payload.counts or {"car": payload.accepted})
            accepted += payload.accepted
            rejected += payload.rejected
    for counts in wanted.values():
        for item in [item for item, count in counts.items() if not count]:
            del counts[item]
    counted = sum(sum(counts.values()) for counts in wanted.values())
    server.wait_ledger(received=accepted + rejected, malformed=rejected, counted=counted,
                       duplicate=accepted - counted)
    check_tops(server, {place: counts for place, counts in wanted.items() if counts})
    t.note(f"{number} payloads, {accepted} accepted, {rejected} rejected, {counted} counted")


def counted_as(server: Server, wanted: dict[str, int], **ledger: int) -> None:
    server.wait_ledger(counted=sum(wanted.values()), **ledger)
    check_tops(server, {7: Counter(wanted)})


@test()
def payloads_of_settings(t: Test) -> None:
    """Seconds with a fraction, times without a zone, and names in two forms, by the options that are for them."""
    server = t.server("--pipeline.timestamp_unit", "s", "--pipeline.timestamp_zone", "Europe/Berlin",
                      "--pipeline.item_names", "nfc", "--pipeline.detection_ids", "integer")
    server.start()
    m = Maker(7, 0)
    seconds = now_ms() / 1000
    berlin = rows_of(ask(server, body_of("SELECT strftime(now() AT TIME ZONE 'Europe/Berlin', '%Y-%m-%dT%H:%M:%S.%f') "
                                         "AS now"), 10), "the time in Berlin")[0]["now"]
    events = [m.event(timestamp_detected=time) for time in (seconds, str(seconds), f"{seconds:.12e}", int(seconds), berlin,
                                                             utc("%Y-%m-%dT%H:%M:%SZ"))]
    events += [m.event(item_name=name, timestamp_detected=seconds) for name in ("Café", "Cafe\u0301")]
    server.post_ok("\n".join(map(compact, events)).encode())
    answer = server.post(compact(m.event(detection_oid="a", timestamp_detected=seconds)).encode())
    expect_equal((answer.status, answer.json()["errors"][0]["reason"]), (422, "wrong_type"), "text, where ids are integers")
    counted_as(server, {"car": 6, "Café": 2}, malformed=1, too_late=0, future=0)
    server.stop()
    server.start()  # by the settings that it has
    counted_as(server, {"car": 6, "Café": 2})
    server.stop()
    server.options[server.options.index("Europe/Berlin")] = "UTC"
    server.start_refused("pipeline.timestamp_zone was Europe/Berlin and is UTC now")


@test()
def log_of_first_decoding(t: Test) -> None:
    """A log that the program wrote before there was pipeline.decoding: all of it is counted again as it was counted
    then, new posts are read by the same rules, and a start cannot change them."""
    wanted = json.loads((DATA / "log_of_first_decoding.json").read_text())
    server = t.server("--partitions", 2, "--pipeline.max_age", "off", "--log.retention", "10000d")
    with tarfile.open(DATA / "log_of_first_decoding.tar.xz") as archive:
        archive.extractall(server.data)
    server.start()
    server.wait_ledger(**wanted["total"])

    def ledger() -> dict:
        return {row["video_camera_oid"]: row for row in server.get("/v1/ledger?group=camera")}

    expect_equal(ledger(), {row["video_camera_oid"]: row for row in wanted["ledger"]}, "the ledger by camera")
    sql = ("SELECT geographical_location_oid, item_name, window_start, sum(item_count)::BIGINT AS n FROM item_counts "
           "GROUP BY ALL ORDER BY ALL")
    rows = [[int(row["geographical_location_oid"]), row["item_name"], row["window_start"], row["n"]]
            for row in rows_of(ask(server, body_of(sql), 30), sql)]
    expect_equal(rows, wanted["counts"], "the counts")
    text = (server.data / "checkpoints/pipeline.settings").read_text()
    expect("decoding" not in text and "detection_ids" not in text, f"the settings are still the old ones: {text}")
    expect_equal(server.stop() >= 0, True, "stopped")
    server.options += ["--pipeline.detection_ids", "any"]
    server.start_refused("pipeline.detection_ids was integer and is any now")
    server.options[-1] = "integer"
    server.start()
    server.wait_ledger(**wanted["total"])


@test()
def replay_streams(t: Test) -> None:
    """A file is read in blocks, whatever the layout of its values: an array a line, one indented array, or values one
    behind the other."""
    event = ('{"geographical_location_oid":7,"video_camera_oid":71,"detection_oid":%d,"item_name":"car",'
             '"timestamp_detected":1763800020000}')
    indented = event.replace(",", ",\n    ")
    # How each begins and ends, and each of its events, the first apart.
    layouts = {"arrays": ("", f"[{event}]\n", f"[{event}]\n", ""),
               "indented": ("[\n  ", indented, f",\n  {indented}", "\n]\n"),
               "concatenated": ("", event, event, "")}
    path = t.folder / "events.json"
    for name, (begin, first, other, end) in layouts.items():
        with t.case(name):
            with open(path, "w") as file:  # piece by piece: a child's peak is at least what its parent has
                file.write(begin + first % 0)
                file.writelines(other % i for i in range(1, STREAMED))
                file.write(end)
            process = subprocess.Popen([t.binary, "replay", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            counts, ledger = process.stdout.read(), process.stderr.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            expect_equal(process.returncode, 0, f"exit: {ledger[:300]!r}")
            expect(counts.endswith(b",%d\n" % STREAMED), f"counts {counts[-200:]!r}")
            size, memory = path.stat().st_size >> 20, used.ru_maxrss >> 10
            t.note(f"{name}: {size} MiB with {memory} MiB")
            expect(memory < MEMORY_MIB, f"{memory} MiB for a file of {size} MiB")


@test()
def lost_rules(t: Test) -> None:
    """Without its checkpoints, a pipeline has lost the rules by which it reads messages, and must be told them."""
    server = t.server()
    server.start()
    server.post_ok(compact(Maker(7, 0).event(detection_oid="a")).encode())
    server.wait_ledger(counted=1)
    server.stop()
    for path in sorted((server.data / "checkpoints").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    server.start_refused("pipeline.detection_ids and pipeline.decoding")
    server.options += ["--pipeline.detection_ids", "any", "--pipeline.decoding", "2"]
    server.start()
    server.wait_ledger(counted=1, malformed=0)
