"""`sightline camera` and `sightline replay`, as whole processes."""

from __future__ import annotations

import codecs
import csv
import gzip
import http.server
import io
import json
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time
from datetime import datetime, timezone

from registry import test
from server import (HERE, OUTCOMES, PATIENCE, ROOT, Failure, Server, Test, expect, expect_equal, free_port,
                    wait_until)

# data/pedestrians.ndjson: what is in it (counted here, so that the file cannot change unnoticed).
RECORDING = ROOT / "data" / "pedestrians.ndjson"
LINES, PERSONS = 2_268, 81
# Its times are long ago, and a server on files' terms has no limit of age.
OLD_TIMES = ("--pipeline.max_age", "off")


def _recording(t: Test) -> list[dict]:
    events = [json.loads(line) for line in RECORDING.read_text().splitlines()]
    expect_equal((len(events), len({e["detection_oid"] for e in events})), (LINES, PERSONS),
                 "lines and persons of data/pedestrians.ndjson")
    return events


def _end_of_recording(events: list[dict]) -> int:
    return (max(e["timestamp_detected"] for e in events) // 10_000 + 1) * 10_000


def _wait(process: subprocess.Popen, seconds: float, what: str) -> int:
    try:
        return process.wait(seconds * PATIENCE)
    except subprocess.TimeoutExpired:
        raise Failure(f"{what} still runs after {seconds * PATIENCE:g} s") from None


def _camera(t: Test, server: Server, name: str, *options: object) -> subprocess.Popen:
    return t.spawn("camera", "--url", f"http://127.0.0.1:{server.port}", "--spool",
                   t.folder / f"{name}-spool", *options, log=t.folder / f"{name}.log")


class Listener:
    """Answers POST /v1/detections as a server does, and keeps the lines that came, in order."""

    def __init__(self, port: int):
        lines: list[bytes] = []
        self.lines = lines

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).splitlines()
                lines.extend(body)
                said = json.dumps({"accepted": len(body), "rejected": 0, "errors": [],
                                   "errors_truncated": False}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


# -- camera ----------------------------------------------------------------------------------------

@test(seconds=300)
def camera_replay(t: Test) -> None:
    """The recording at full speed: 2,268 detections received, 81 persons counted; a second run, and
    one that is packed, change no count."""
    _recording(t)
    server = t.server(*OLD_TIMES)
    server.start()
    for run, options in enumerate(((), ("--gzip",), ()), 1):
        camera = _camera(t, server, f"camera{run}", "--replay", RECORDING, "--speed", 0, *options)
        expect_equal(_wait(camera, 30, "the camera"), 0, f"exit code of run {run}")
        ledger = server.wait_ledger(received=LINES * run, counted=PERSONS,
                                    duplicate=LINES * run - PERSONS)
        expect_equal(ledger["conflicts"], 0, "conflicts")
    # Without --pipeline.max_age off the same is too late, and nothing else.
    strict = t.server()
    strict.start()
    camera = _camera(t, strict, "strict", "--replay", RECORDING, "--speed", "max")
    expect_equal(_wait(camera, 30, "the camera"), 0, "exit code")
    strict.wait_ledger(received=LINES, too_late=LINES, counted=0)
    # Shifted to now, they are on the screen.
    camera = _camera(t, strict, "shifted", "--replay", RECORDING, "--speed", 100, "--shift-to-now")
    expect_equal(_wait(camera, 60, "the camera"), 0, "exit code")
    strict.wait_ledger(received=2 * LINES, counted=PERSONS)
    rows = {row["item"]: row["count"] for row in strict.top(7001, "60m")["rows"]}
    expect_equal(rows, {"person": PERSONS}, "top of location 7001")
    for each in (server, strict):
        each.stop()
        each.expect_quiet_log()


@test(seconds=300)
def camera_spool(t: Test) -> None:
    """The server is away while the camera runs: everything waits in the spool and arrives in order
    when it is there, also from a run that was killed in the middle."""
    _recording(t)
    server = t.server(*OLD_TIMES)
    # The camera gives up after drain_time without a server, says so, and keeps everything.
    camera = _camera(t, server, "edge", "--replay", RECORDING, "--speed", "max")
    code = _wait(camera, 60, "the camera without a server")
    expect(code > 0, "exit code 0, though nothing was delivered")
    log = (t.folder / "edge.log").read_text()
    expect("spool" in log and str(LINES) in log, f"does not say what waits in the spool: {log[-500:]}")
    shutil.copytree(t.folder / "edge-spool", t.folder / "order-spool")
    server.start()
    empty = t.folder / "empty.ndjson"
    empty.write_text("")
    camera = _camera(t, server, "edge", "--replay", empty, "--speed", "max")
    expect_equal(_wait(camera, 30, "the camera with the spool"), 0, "exit code with the spool")
    server.wait_ledger(received=LINES, counted=PERSONS)
    server.stop()
    # The same spool to a listener that writes down what comes.
    listener = Listener(server.port)
    camera = _camera(t, server, "order", "--replay", empty, "--speed", "max")
    expect_equal(_wait(camera, 30, "the camera with the listener"), 0, "exit code with the listener")
    listener.close()
    expect(listener.lines == RECORDING.read_bytes().splitlines(),
           f"{len(listener.lines)} lines came, not the recording's {LINES} in their order")

    # kill -9 of the camera in the middle, with the server away and then there.
    server = t.server(*OLD_TIMES)
    for life in range(3):
        camera = _camera(t, server, "killed", "--replay", RECORDING, "--speed", 30)
        time.sleep(0.7)  # in the middle of it: at this speed it takes seconds
        if life == 1:
            server.start()
        camera.send_signal(signal.SIGKILL)
        expect_equal(_wait(camera, 5, "a killed camera"), -9, "exit code")
    camera = _camera(t, server, "killed", "--replay", RECORDING, "--speed", "max")
    expect_equal(_wait(camera, 60, "the last camera"), 0, "exit code after three kills")
    ledger = server.wait_ledger(counted=PERSONS)
    expect(ledger["received"] >= LINES, f"received: {ledger}")
    expect_equal((ledger["conflicts"], ledger["malformed"]), (0, 0), "conflicts and malformed")
    server.stop()
    server.expect_quiet_log()


@test(seconds=400)
def camera_simulate(t: Test) -> None:
    """A simulated city over restarts and kills of the server: whatever the camera took from its
    capture is received by the server, in the words of both."""
    server = t.server()
    server.start()
    camera = _camera(t, server, "city", "--simulate", "--rate", 2_000, "--seed", 5, "--linger", 0.4,
                     "--retry", 0.05, "--malformed", 0.01)
    for life in range(4):
        time.sleep(1)  # of traffic, between two ends of the server
        expect(camera.poll() is None, "the camera has ended")
        if life % 2:
            server.stop()
        else:
            server.kill()
        time.sleep(0.3)  # of a server that is away
        server.start()
    time.sleep(1)
    camera.send_signal(signal.SIGTERM)
    expect_equal(_wait(camera, 10, "the camera after SIGTERM"), 0, "exit code of the camera")
    last = (t.folder / "city.log").read_text().strip().splitlines()[-1]
    numbers = re.search(r"(\d+) events .*?(\d+) acknowledged, (\d+) in memory, (\d+) in the spool",
                        last)
    expect(numbers, f"the camera's last line: {last!r}")
    offered, acknowledged, in_memory, in_spool = map(int, numbers.groups())
    expect("DROPPED" not in last, f"events were dropped: {last!r}")
    # A run that is over leaves the rest in the spool; another one delivers it.
    empty = t.folder / "empty.ndjson"
    empty.write_text("")
    rest = _camera(t, server, "city", "--replay", empty, "--speed", "max")
    expect_equal(_wait(rest, 60, "the camera with the rest"), 0, "exit code of the second run")
    expect_equal(in_memory, 0, "events left in memory")
    expect(offered >= 5_000, f"only {offered} events of 2,000/s")
    expect(acknowledged + in_spool >= offered, f"lost: {last!r}")

    def received() -> bool:
        ledger = server.ledger()
        return ledger["received"] + ledger["heartbeats"] >= offered

    wait_until(received, 20, f"{offered} elements received: {server.ledger()}")
    ledger = server.ledger()
    expect_equal(sum(ledger[name] for name in OUTCOMES), ledger["received"], "the ledger's sum")
    server.stop()
    server.expect_quiet_log()
    t.note(f"{offered} events; {last.split(', ', 1)[1]}")


@test(seconds=240)
def camera_mistakes(t: Test) -> None:
    """Options that make no sense, files that are not there, a spool in use: a code and a reason."""
    port = free_port()
    url = ("--url", f"http://127.0.0.1:{port}")
    for arguments, word in (((), "--replay"), (("--replay", RECORDING, "--simulate"), "--simulate"),
                            (("--replay", t.folder / "nowhere.ndjson"), "nowhere.ndjson"),
                            (("--replay", RECORDING, "--speed", "fast"), "speed"),
                            (("--replay", RECORDING, "--speed", "-1"), "speed"),
                            (("--replay", RECORDING, "--loop"), "shift"),
                            (("--simulate", "--rate", "-5"), "rate"),
                            (("--simulate", "--url", "nonsense://"), "nonsense")):
        with t.case(arguments):
            said = t.run("camera", *(url if "--url" not in arguments else ()), "--spool",
                         t.folder / "spool", *arguments, seconds=20)
            text = (said.stderr + said.stdout).decode()
            expect(said.returncode > 0, f"exit code {said.returncode}")
            expect(word in text, f"does not say {word!r}: {text!r}")
    first = t.spawn("camera", *url, "--spool", t.folder / "spool", "--simulate",
                    log=t.folder / "first.log")
    wait_until((t.folder / "spool" / "lock").exists, 20, "the first camera has its spool")
    time.sleep(0.1)  # it is there, and locked with the next call
    said = t.run("camera", *url, "--spool", t.folder / "spool", "--replay", RECORDING, seconds=20)
    expect(said.returncode > 0 and b"spool" in said.stderr, f"a spool in use: {said}")
    first.kill()


# -- replay ----------------------------------------------------------------------------------------

COLUMNS = ["geographical_location_oid", "geographical_location", "item_name", "window_start",
           "window_end", "item_count"]


def _counts(text: bytes) -> dict[tuple, int]:
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    return {(int(r["geographical_location_oid"]), r["item_name"], int(r["window_start"])):
            int(r["item_count"]) for r in rows}


def _excel_ms(text: str) -> int:
    at = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)
    return round(at.timestamp() * 1_000)


def _first_copies(events: list[dict], window: int = 60_000) -> dict[tuple, int]:
    counts: dict[tuple, int] = {}
    seen: set = set()
    for e in events:
        if e["detection_oid"] in seen:
            continue
        seen.add(e["detection_oid"])
        start = e["timestamp_detected"] // window * window
        key = (e["geographical_location_oid"], e["item_name"], start)
        counts[key] = counts.get(key, 0) + 1
    return counts


@test(seconds=300)
def replay(t: Test) -> None:
    """The recording as it is, packed, from stdin, in pieces: always the same counts, equal to Python's;
    csv sorted, json and ledger parse and balance."""
    events = _recording(t)
    raw = RECORDING.read_bytes()
    wanted = _first_copies(events)
    expect_equal(sum(wanted.values()), PERSONS, "persons")
    packed, twice, array = (t.folder / name for name in ("p.ndjson.gz", "t.ndjson", "a.json"))
    packed.write_bytes(gzip.compress(raw[:1000]) + gzip.compress(raw[1000:]))
    twice.write_bytes(raw + raw)
    array.write_bytes(b"[" + b",\n".join(raw.splitlines()) + b"]")
    made_before = zst = HERE / "data" / "pedestrians.ndjson.zst"
    if shutil.which("zstd"):
        zst = t.folder / "p.ndjson.zst"
        subprocess.run(["zstd", "-q", "-o", str(zst), str(RECORDING)], check=True)
    ledger = t.folder / "ledger.json"
    first = None
    for arguments, stdin in (((RECORDING,), None), ((packed,), None), ((zst,), None), ((made_before,), None),
                             ((array,), None),
                             (("-",), raw), (("-",), packed.read_bytes()), (("-",), zst.read_bytes()),
                             ((twice,), None), ((RECORDING, RECORDING), None),
                             ((RECORDING, "--threads", 1), None), ((RECORDING, "--threads", 7), None)):
        said = t.run("replay", *arguments, "--ledger", ledger, input=stdin)
        expect_equal(said.returncode, 0, f"replay {arguments}: {said.stderr!r}")
        expect_equal(_counts(said.stdout), wanted, f"replay {arguments}")
        first = first or said.stdout
        expect_equal(said.stdout, first, f"bytes of replay {arguments}")
        _check_ledger(json.loads(ledger.read_text()), arguments)
    expect_equal(json.loads(ledger.read_text())["received"], LINES, "received")
    rows = list(csv.reader(io.StringIO(first.decode())))
    expect_equal(rows[0], COLUMNS, "columns")
    order = [(int(r[0]), r[2], int(r[3])) for r in rows[1:]]
    by_window = [(int(r[0]), int(r[3]), r[2]) for r in rows[1:]]
    by_time = [(int(r[3]), int(r[0]), r[2]) for r in rows[1:]]
    expect(any(keys == sorted(keys) for keys in (order, by_window, by_time)),
           f"rows are not sorted: {rows[1:6]}")

    said = t.run("replay", RECORDING, "--format", "json", "--locations", _table(t))
    parsed = json.loads(said.stdout)
    expect_equal({(r["geographical_location_oid"], r["item_name"], r["window_start"]): r["item_count"]
                  for r in parsed}, wanted, "--format json")
    expect_equal({r["geographical_location"] for r in parsed}, {'Square, "old"'}, "names")
    said = t.run("replay", RECORDING, "--locations", _table(t))
    expect_equal({r["geographical_location"] for r in csv.DictReader(io.StringIO(said.stdout.decode()))},
                 {'Square, "old"'}, "names in csv")
    said = t.run("replay", RECORDING, "--format", "excel-csv", "--locations", _table(t))
    expect(said.stdout.startswith(codecs.BOM_UTF8), f"a byte order mark: {said.stdout[:20]!r}")
    rows = list(csv.DictReader(io.StringIO(said.stdout.decode("utf-8-sig"), newline="")))
    expect_equal({(int(r["geographical_location_oid"]), r["item_name"], _excel_ms(r["window_start"])):
                  int(r["item_count"]) for r in rows}, wanted, "--format excel-csv")
    expect(all(_excel_ms(r["window_end"]) - _excel_ms(r["window_start"]) == 60_000 for r in rows), "windows")
    expect_equal({r["geographical_location"] for r in rows}, {'Square, "old"'}, "names in excel-csv")
    said = t.run("replay", RECORDING, "--window-ms", 10_000)
    expect_equal(_counts(said.stdout), _first_copies(events, 10_000), "--window-ms 10000")


@test(seconds=120)
def replay_wrong_time(t: Test) -> None:
    """A thousand lines of a camera, the hundredth of 2099: all are counted, and the jump is told."""
    start, in_2099 = 1_763_800_020_000, 4_070_908_800_000
    path = t.folder / "thousand.ndjson"
    events = [{"geographical_location_oid": 1, "video_camera_oid": 71, "detection_oid": n,
               "item_name": "bus", "timestamp_detected": in_2099 if n == 100 else start + n * 1_000}
              for n in range(1, 1_001)]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    said = t.run("replay", path)
    text = said.stderr.decode()
    expect_equal((said.returncode, _counts(said.stdout)), (0, _first_copies(events)), f"replay: {text}")
    expect_equal(sum(_counts(said.stdout).values()), 1_000, "counted")
    warnings = [line for line in text.splitlines() if line.startswith("warning: ")]
    expect_equal(len(warnings), 1, f"warnings in {text!r}")
    expect("went back" in warnings[0] and "camera 71" in warnings[0], f"the warning: {warnings[0]}")
    free = t.run("replay", path, "--watermark-step", "free")
    expect_equal(sum(_counts(free.stdout).values()), 100, "counted with a free step: 99 and that of 2099")
    expect("warning" not in free.stderr.decode(), f"{free.stderr!r}")
    path.write_text("".join(json.dumps(event) + "\n" for event in events if event["detection_oid"] != 100))
    said = t.run("replay", path)
    expect("warning" not in said.stderr.decode(), f"a file without a wrong time: {said.stderr!r}")


def _table(t: Test) -> pathlib.Path:
    table = t.folder / "table.csv"
    table.write_text('geographical_location_oid,geographical_location\n7001,"Square, ""old"""\n')
    return table


def _check_ledger(ledger: dict, what: object) -> None:
    for part in [ledger, *ledger["by_camera"]]:
        expect_equal(sum(part[name] for name in OUTCOMES), part["received"], f"{what}: {part}")
    for name in (*OUTCOMES, "received", "conflicts", "heartbeats"):
        expect_equal(sum(part[name] for part in ledger["by_camera"]), ledger[name],
                     f"{what}: {name} by camera")


@test(seconds=300)
def replay_mistakes(t: Test) -> None:
    """Broken, cut, missing, empty and strange files: an error with the file's name, or the right
    count; never a count of half a file with exit code 0."""
    raw = RECORDING.read_bytes()

    def refused(arguments: tuple, *words: str, stdin: bytes | None = None) -> None:
        with t.case(arguments):
            said = t.run("replay", *arguments, input=stdin)
            text = said.stderr.decode(errors="replace")
            expect(said.returncode > 0, f"exit code {said.returncode}, {text!r}")
            for word in words:
                expect(word in text, f"does not say {word!r}: {text!r}")
            expect_equal(said.stdout, b"", "counts, though it failed")

    def file(name: str, content: bytes) -> pathlib.Path:
        path = t.folder / name
        path.write_bytes(content)
        return path

    packed = gzip.compress(raw)
    refused((file("cut.gz", packed[:-20]),), "cut.gz")
    refused((file("half.gz", packed[:len(packed) // 2]),), "half.gz")
    refused((file("flipped.gz", packed[:5_000] + bytes([packed[5_000] ^ 1]) + packed[5_001:]),),
            "flipped.gz")
    refused((file("crc.gz", packed[:-8] + b"\0\0\0\0" + packed[-4:]),), "crc.gz")
    refused((file("tail.gz", packed + b"rubbish"),), "tail.gz")
    zst = (HERE / "data" / "pedestrians.ndjson.zst").read_bytes()
    refused((file("cut.zst", zst[:-10]),), "cut.zst")
    refused((file("flipped.zst", zst[:3_000] + bytes([zst[3_000] ^ 1]) + zst[3_001:]),), "flipped.zst")
    refused(("-",), stdin=packed[:-20])
    refused((t.folder / "nowhere.ndjson",), "nowhere.ndjson")
    refused((t.folder,), t.folder.name)
    refused((RECORDING, t.folder / "nowhere.ndjson"), "nowhere.ndjson")
    refused((RECORDING, "--locations", file("bad.csv", b"a,b\n")), "bad.csv")
    refused((RECORDING, "--format", "xml"), "xml")
    refused((RECORDING, "--window-ms", 0), "window")
    refused((RECORDING, "--window-ms", -5), "window")
    unreadable = file("unreadable.ndjson", raw)
    unreadable.chmod(0)
    try:
        unreadable.read_bytes()  # root may read everything
    except PermissionError:
        refused((unreadable,), "unreadable.ndjson")
    said = t.run("replay", RECORDING, "--ledger", t.folder / "no" / "such" / "folder.json")
    expect(said.returncode > 0 and b"folder.json" in said.stderr, f"--ledger into nowhere: {said}")

    def counted(content: bytes, ledger: dict, *says: str, code: int = 0) -> None:
        path, out = file("strange.ndjson", content), t.folder / "ledger.json"
        with t.case(content[:60]):
            said = t.run("replay", path, "--ledger", out)
            expect_equal(said.returncode, code, f"exit code ({said.stderr!r})")
            text = said.stderr.decode()
            for words in says:
                expect(words in text, f"does not say {words!r}: {text!r}")
            expect_equal("malformed elements" in text or "could be decoded" in text, bool(ledger.get("malformed")),
                         f"said of malformed elements: {text!r}")
            found = json.loads(out.read_text())
            _check_ledger(found, "the ledger")
            expect_equal({name: found[name] for name in ledger}, ledger, "the ledger")

    good = raw.splitlines()[0]
    counted(b"", {"received": 0})
    counted(gzip.compress(b""), {"received": 0})
    counted(b"\n\n \r\n", {"received": 0})
    counted(b"[]", {"received": 0})
    counted(good, {"received": 1, "counted": 1})
    counted(b"\xef\xbb\xbf" + good + b"\r\n" + good + b"\r\n", {"received": 2, "counted": 1,
                                                               "duplicate": 1})
    counted(b"\n\nrubbish\n" + good + b"\n{}\n{}\n", {"received": 4, "counted": 1, "malformed": 3},
            "warning: malformed elements: 3 of 4 (2 missing_field geographical_location_oid, 1 ",
            "; the first is line 3 of ")
    counted(b"[" + good + b",17," + good + b"]", {"received": 3, "counted": 1, "malformed": 1,
                                                 "duplicate": 1}, "(1 not_an_object); the first is element 2 of ")
    counted(good + b"\n" + good[:-10], {"received": 2, "counted": 1, "malformed": 1},
            "1 of 2 (1 not_json); the first is line 2 of ")
    # Nothing is left of these: replay says why, and fails.
    counted(b"\0" * 100_000, {"counted": 0, "malformed": 1}, "nothing could be decoded: line 1 of ", code=1)
    counted(b"[" + b"\n17," * 9 + b"\n17]", {"received": 10, "malformed": 10},
            "nothing could be decoded: element 1 of ", "strange.ndjson': not_an_object; element 2 of ",
            "; and 7 more\n", code=1)
    heartbeat = b'{"video_camera_oid":1,"geographical_location_oid":1,"heartbeat":1}\n'
    counted(b"{}\n" + heartbeat, {"received": 1, "malformed": 1, "heartbeats": 1},
            "warning: malformed elements: 1 of 2 (1 missing_field")
    with t.case("the place of a line behind many blocks, in the second file"):
        line = good + b"\n"
        long = file("long.ndjson", line * (5 * (1 << 20) // len(line)) + b"\n{}\n" + line)
        said = t.run("replay", RECORDING, long)
        expect(f"the first is line {5 * (1 << 20) // len(line) + 2} of '{long}'" in said.stderr.decode(),
               f"the place: {said.stderr!r}")
    counted(b"x" * 3_000_000 + b"\n" + good + b"\n", {"received": 2, "counted": 1, "malformed": 1})


# -- the demo --------------------------------------------------------------------------------------

@test(seconds=120)
def demo_alone(t: Test) -> None:
    """The program copied alone into an empty folder shows the demo: the recording's town square and
    the simulated city, with their names."""
    alone = t.folder / "alone" / "sightline"
    alone.parent.mkdir()
    shutil.copy(t.binary, alone)
    t.binary = alone
    server = t.server("--demo")
    server.start()
    square = str(json.loads(RECORDING.open().readline())["geographical_location_oid"])
    seen: dict[str, dict] = {}

    def counted() -> bool:
        seen.update({row["oid"]: row for row in server.locations() if row["total"] > 0})
        return square in seen and len(seen) > 5

    wait_until(counted, 60, f"location {square} and the city are counted")
    expect(seen[square]["name"] != "" and seen[square]["top"] == "person", f"{seen[square]}")
    expect_equal([row for row in seen.values() if row["name"] == ""], [], "locations without a name")
    health = server.health()
    expect_equal((health["status"], health["reasons"]), ("ok", []), "/healthz")
    wait_until(lambda: server.top(square)["total"] >= 3, 60, "the square goes on")
    server.stop()
    server.expect_quiet_log()
