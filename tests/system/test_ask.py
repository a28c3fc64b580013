"""`sightline query`, `top`, `ledger` and `lake`: with a server, without one, and against a wrong one."""

from __future__ import annotations

import codecs
import csv
import io
import json
import pathlib
import shutil
import signal
import subprocess
import time
from datetime import datetime
from zoneinfo import ZoneInfo

from clocks import Clock
from events import deliver
from registry import test
from server import (OUTCOMES, Server, Test, expect, expect_equal, free_port, lines, now_ms,
                    wait_until)
from test_api import _filled
from test_monitor import event

TOTAL = "SELECT coalesce(sum(item_count), 0) AS n FROM item_counts"


def _rows(t: Test, *arguments: object, note: str = "") -> list[dict]:
    """What a command prints as JSON; on stderr only `note`."""
    said = t.run(*arguments, "--format", "json")
    text = said.stderr.decode()
    expect_equal(said.returncode, 0, f"exit code of {arguments}: {text!r}")
    expect(note in text if note else not text, f"{arguments} says {text!r} on stderr, not {note!r}")
    return json.loads(said.stdout)


def _refused(t: Test, *arguments: object, word: str) -> None:
    with t.case(arguments):
        said = t.run(*arguments)
        text = said.stderr.decode()
        expect(said.returncode > 0, f"exit code {said.returncode}, {text!r}")
        expect(word in text, f"does not say {word!r}: {text!r}")
        expect_equal(said.stdout, b"", "output, though it failed")


def _check_all(t: Test, where: tuple, ledger: dict, note: str = "") -> None:
    """All commands say what the live ledger said."""
    expect_equal(_rows(t, "query", TOTAL, *where, note=note), [{"n": ledger["counted"]}], "query")
    expect_equal(_rows(t, "ledger", *where, note=note), [ledger], "ledger")
    for group in ("location", "camera", "hour", "source"):
        rows = _rows(t, "ledger", "--group", group, *where, note=note)
        for name in (*OUTCOMES, "received", "conflicts", "heartbeats"):
            expect_equal(sum(row[name] for row in rows), ledger[name], f"{name} by {group}")
    top = _rows(t, "top", "--window", "60m", "--limit", 1000, *where, note=note)
    expect_equal(sum(row["item_count"] for row in top), ledger["counted"], "sum of top")


@test(seconds=300)
def ask(t: Test) -> None:
    """The same figures from the server, from its files when it has stopped or was killed, and never
    those of another server that has its address."""
    server, traffic = _filled(t)
    where = ("--data", server.data)
    ledger = server.ledger()
    expect_equal(ledger["counted"], traffic.oracle.distinct, "counted")
    _check_all(t, where, ledger)
    _check_all(t, ("--url", f"http://127.0.0.1:{server.port}/"), ledger)
    live = {row["item"]: row["count"] for row in server.top("7001", "60m")["rows"]}
    stored = {row["item_name"]: row["item_count"]
              for row in _rows(t, "top", "--location", 7001, "--window", "60m", "--limit", 1000, *where)}
    expect_equal(stored, live, "top of 7001 against live")
    names = {row["geographical_location_oid"]: row["received"]
             for row in _rows(t, "ledger", "--group", "location", *where)}
    over_http = {row["geographical_location_oid"]: row["received"]
                 for row in server.get("/v1/ledger?group=location")}
    expect_equal(names, over_http, "ledger by location against the API")

    # Another start in the same folder is refused, and the commands still find the first.
    second = t.server(data=server.data)
    second.start_refused(str(server.data))
    _check_all(t, where, ledger)

    server.stop()
    expect(not (server.data / "address").exists(), "the address is still there after a stop")
    _check_all(t, where, ledger)
    _check_all(t, ("--lake", server.data / "lake"), ledger)
    verified = _rows(t, "lake", "verify", *where)
    expect_equal({row["kind"] for row in verified}, {"ok"}, f"lake verify: {verified}")
    expect_equal([row["what"] for row in verified if row["object"] == "sums"],
                 [f"lake {ledger['counted']} = ledger {ledger['counted']}"], "sums of lake verify")

    server.start()
    server.wait_ledger(counted=ledger["counted"])
    wait_until(lambda: t.run("query", TOTAL, *where).returncode == 0, 10, "the lake after a restart")
    server.kill()
    expect((server.data / "address").exists(), "no address after kill -9")
    _check_all(t, where, ledger, note="does not answer")
    stranger = Server(t, "stranger", t.folder / "stranger-data", [], "127.0.0.1")
    stranger.port = server.port
    stranger.start()
    _check_all(t, where, ledger, note="another program has the address")
    said = t.run("redrive", *where)
    expect(said.returncode > 0 and b"another program has the address" in said.stderr,
           f"redrive to a stranger: {said}")
    stranger.stop()


@test(seconds=200)
def ask_copy(t: Test) -> None:
    """A copy of a running folder is answered from its own files, and a renamed folder by its server."""
    server = t.server("--lake.roll_interval", "200ms")
    server.start()
    server.post_ok(lines([event(n % 7, 7001) for n in range(100)]))
    server.wait_ledger(counted=100)
    wait_until(lambda: _rows(t, "query", TOTAL, "--lake", server.data / "lake") == [{"n": 100}], 20,
               "the lake has everything")
    copies = [t.folder / "cp", t.folder / "rsync"]
    subprocess.run(["cp", "-a", server.data, copies[0]], check=True)
    if shutil.which("rsync"):
        subprocess.run(["rsync", "-a", f"{server.data}/", f"{copies[1]}/"], check=True)
    else:  # what rsync does: files are made again, with their times
        shutil.copytree(server.data, copies[1])
    server.post_ok(lines([event(n % 7, 7001) for n in range(50)]))
    server.wait_ledger(counted=150)
    expect_equal(_rows(t, "query", TOTAL, "--data", server.data), [{"n": 150}], "the original")
    for copy in copies:
        expect((copy / "address").exists(), f"{copy} has an address")
        expect_equal(_rows(t, "query", TOTAL, "--data", copy), [{"n": 100}], f"the copy {copy.name}")
        said = t.run("redrive", "--data", copy)
        expect(said.returncode > 0 and b"no server of" in said.stderr, f"redrive from a copy: {said}")
    wait_until(lambda: _rows(t, "query", TOTAL, "--lake", server.data / "lake") == [{"n": 150}], 20,
               "the lake has the rest")
    server.kill()
    renamed = t.folder / "renamed"
    server.data.rename(renamed)
    expect_equal(_rows(t, "query", TOTAL, "--data", renamed, note="does not answer"), [{"n": 150}],
                 "the renamed folder still names its server")
    again = t.server(data=renamed)
    again.start()
    expect_equal(_rows(t, "query", TOTAL, "--data", renamed), [{"n": 150}], "its new server")
    again.stop()


@test(seconds=300)
def ask_commands(t: Test) -> None:
    """Formats, standard input, --watch, limits, --help, and what is refused."""
    server, traffic = _filled(t)
    where = ("--data", server.data)
    sql = "SELECT item_name, sum(item_count) AS n FROM item_counts GROUP BY ALL ORDER BY n DESC, 1"
    for mode in (where, ("--lake", server.data / "lake")):
        for name in ("table", "csv", "excel-csv", "json", "ndjson", "parquet"):
            for command in (("query", sql), ("top",), ("ledger", "--group", "camera")):
                with t.case((*command, name, *mode)):
                    said = t.run(*command, *mode, "--format", name)
                    expect_equal((said.returncode, said.stderr), (0, b""), "exit code and stderr")
                    _check_output(said.stdout, name)
    for command in ("verify", "describe", "history", "files", "compact", "vacuum"):
        for name in ("table", "csv", "excel-csv", "json", "ndjson", "parquet"):
            with t.case(("lake", command, name)):
                more = ("--dry-run",) if command in ("compact", "vacuum") else ()
                said = t.run("lake", command, *more, *where, "--format", name)
                expect_equal((said.returncode, said.stderr), (0, b""), "exit code and stderr")
                _check_output(said.stdout, name)

    piped = t.run("query", "-", *where, "--format", "csv", input=sql.encode())
    argued = t.run("query", sql, *where, "--format", "csv")
    expect_equal((piped.returncode, piped.stdout), (0, argued.stdout), "query -")
    for mode in (where, ("--lake", server.data / "lake")):
        cut = t.run("query", "FROM range(10)", "--limit", 3, *mode, "--format", "csv")
        expect_equal((cut.returncode, cut.stdout), (0, b"range\r\n0\r\n1\r\n2\r\n"), "--limit 3")
        expect(b"only the first 3 rows" in cut.stderr, f"a cut answer says {cut.stderr!r}")

    watch = subprocess.Popen([t.binary, "top", "--watch", "--format", "ndjson", *map(str, where)],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=t.folder)
    t.processes.append(watch)
    tables: list[float] = []  # when each came
    for line in watch.stdout:
        if json.loads(line)["position"] == 1:
            tables.append(time.monotonic())
        if len(tables) == 3:
            break
    expect_equal(len(tables), 3, "tables of --watch")
    expect(tables[2] - tables[0] > 1.5, f"--watch asks each second; three tables came within {tables}")
    watch.send_signal(signal.SIGINT)
    _, err = watch.communicate(timeout=15)
    expect(watch.returncode in (0, -signal.SIGINT), f"--watch after SIGINT: {watch.returncode} {err!r}")

    for command in (("query",), ("top",), ("ledger",), ("lake",)):
        said = t.run(*command, "--help").stdout.decode()
        expect("Examples:\n  sightline " in said, f"{command} --help has no examples: {said!r}")

    missing = t.folder / "nowhere"
    for mode in (where, ("--lake", server.data / "lake")):
        for bad, word in (("SELEC", "line 1, column 1"), ("SELECT 1; SELECT 2", "one statement"),
                          ("DROP TABLE ledger", "one SELECT"), ("SELECT nothing FROM ledger", "nothing"),
                          ("", "statement"), ("COPY ledger TO '/tmp/x'", "one SELECT"),
                          ("SELECT * FROM '/etc/passwd'", "passwd")):
            _refused(t, "query", bad, *mode, word=word)
        _refused(t, "top", "--location", "Gate", *mode, word="location")
        _refused(t, "ledger", "--group", "item", *mode, word="group")
        _refused(t, "ledger", "--from", "yesterday", *mode, word="from")
        _refused(t, "top", "--format", "xml", *mode, word="xml")
    nobody = f"http://127.0.0.1:{free_port()}"
    for command in (("query", "SELECT 1"), ("top",), ("ledger",)):
        _refused(t, *command, "--url", nobody, word="does not answer")
        _refused(t, *command, "--data", missing, word="nowhere")
        _refused(t, *command, *where, "--format", "xml", word="xml")
        _refused(t, *command, "--nonsense", word="nonsense")
    for arguments, word in ((("query",), "sql"), (("query", "SELECT 1", "--limit", 0), "limit"),
                            (("top", "--window", "5x", *where), "5x"),
                            (("top", "--window", "30s", *where), "30s"),
                            (("top", "--window", "25h", *where), "25h"),
                            (("top", "--at", "yesterday", *where), "yesterday"),
                            (("top", "--limit", 1001, *where), "limit"),
                            (("lake",), "subcommand"), (("lake", "verify", "--lake", missing), "nowhere"),
                            (("lake", "files", "--version", 9999, *where), "9999"),
                            (("lake", "files", "--at", "yesterday", *where), "yesterday"),
                            (("lake", "files", "--at", "0", *where), "version"),
                            (("lake", "files", "--table", "x", *where), "table"),
                            (("lake", "retain", "--days", 0, *where), "day"),
                            (("lake", "retain", *where), "days"),
                            (("lake", "vacuum", "--retention", "soon", *where), "soon"),
                            (("lake", "vacuum", "--retention", "7", *where), "--retention: '7' needs a unit"),
                            (("lake", "history", "--format", "xml", *where), "xml")):
        _refused(t, *arguments, word=word)

    midnight = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime())
    said = t.run("top", "--window", "today", "--at", midnight, *where)
    expect_equal(said.returncode, 0, f"today, at midnight: {said.stderr!r}")

    # Packing changes no sum; damage is named, with exit code 1.
    server.stop()
    before = _rows(t, "query", sql, *where)
    packed = _rows(t, "lake", "compact", "--all-days", *where)
    expect(any(row["files_after"] < row["files_before"] for row in packed), f"compact: {packed}")
    expect_equal(_rows(t, "query", sql, *where), before, "counts after compact")
    expect_equal(t.run("lake", "verify", *where).returncode, 0, "verify after compact")
    files = _rows(t, "lake", "files", "--table", "item_count_increments", *where)
    (server.data / "lake" / files[0]["path"]).unlink()
    said = t.run("lake", "verify", *where)
    expect_equal(said.returncode, 1, "exit code of verify with a file missing")
    expect(pathlib.Path(files[0]["path"]).name in said.stdout.decode(), f"verify names the file: {said}")
    server.expect_quiet_log()


@test(seconds=120)
def ask_files(t: Test) -> None:
    """Without a server: `top --watch` follows what another process commits, and a lake that lies
    elsewhere is found by the configuration of `up`."""
    elsewhere = t.folder / "elsewhere"
    server, traffic = _filled(t, "--lake.dir", elsewhere)
    lake = ("--lake", elsewhere)
    wait_until(lambda: _rows(t, "query", TOTAL, *lake) == [{"n": traffic.oracle.distinct}], 20,
               "everything in the files")
    watch = t.folder / "watch.ndjson"
    with open(watch, "wb") as out:
        watcher = subprocess.Popen([t.binary, "top", "--watch", "--window", "60m", "--limit", "1000",
                                    "--format", "ndjson", *map(str, lake)],
                                   stdout=out, stderr=subprocess.PIPE, cwd=t.folder)
    t.processes.append(watcher)

    def newest() -> int:
        """The sum of the last table that is whole."""
        sums: list[int] = []
        for line in watch.read_bytes().splitlines(keepends=True):
            row = json.loads(line) if line.endswith(b"\n") else {"position": 0, "item_count": 0}
            sums += [0] if row["position"] == 1 else []
            sums[-1] += row["item_count"]
        return max(sums, default=0)

    wait_until(lambda: newest() == traffic.oracle.distinct, 10, "the first table")
    for _ in range(2):
        deliver(server, traffic, 40)
        wait_until(lambda: newest() == traffic.oracle.distinct, 20, "a table with what was committed")
    watcher.send_signal(signal.SIGINT)
    watcher.communicate(timeout=15)

    server.stop()
    wanted = [{"n": traffic.oracle.distinct}]
    _refused(t, "query", TOTAL, "--data", server.data, word="--config")
    config = t.folder / "elsewhere.toml"
    config.write_text(f"data = '{server.data}'\n[lake]\ndir = '{elsewhere}'\n")
    for command in (("verify",), ("describe",)):
        expect(len(_rows(t, "lake", *command, "--config", config)) > 0, f"lake {command}")
        _refused(t, "lake", *command, "--data", server.data, word="--config")
    expect_equal(_rows(t, "query", TOTAL, "--config", config), wanted, "query --config")
    expect_equal(_rows(t, "query", TOTAL, "--config", config, "--data", server.data), wanted, "and --data")
    config.rename(t.folder / "sightline.toml")
    for where in ((), ("--data", server.data)):
        expect_equal(_rows(t, "query", TOTAL, *where), wanted, "query beside sightline.toml")
        expect_equal(_rows(t, "ledger", *where)[0]["counted"], traffic.oracle.distinct, "ledger")
        expect_equal(sum(row["item_count"] for row in
                         _rows(t, "top", "--window", "60m", "--limit", 1000, *where)),
                     traffic.oracle.distinct, "top")
        expect(all(row["kind"] == "ok" for row in _rows(t, "lake", "verify", *where)), "verify")
    _refused(t, "query", TOTAL, "--data", t.folder / "nowhere", word="nowhere")
    (t.folder / "sightline.toml").write_text("[lake]\ndirr = 'x'\n")
    _refused(t, "query", TOTAL, word="sightline.toml:2")
    (t.folder / "sightline.toml").unlink()
    server.expect_quiet_log()


def _check_output(out: bytes, name: str) -> None:
    if name == "json":
        expect(isinstance(json.loads(out), list), f"json: {out[:100]!r}")
    elif name == "ndjson":
        for line in out.splitlines():
            expect(isinstance(json.loads(line), dict), f"ndjson: {line!r}")
    elif name in ("csv", "excel-csv"):
        expect_equal(out.startswith(codecs.BOM_UTF8), name == "excel-csv", "a byte order mark")
        rows = list(csv.reader(io.StringIO(out.decode("utf-8-sig"), newline="")))
        expect(rows and {len(row) for row in rows} == {len(rows[0])}, f"csv: {out[:100]!r}")
    elif name == "parquet":
        expect(out[:4] == out[-4:] == b"PAR1", f"parquet: {out[:20]!r}")
    else:
        expect(out.splitlines()[1].startswith(b"-"), f"table: {out[:100]!r}")


def _midnight(zone: str, at: float) -> int:
    """The start of the day there, in Unix ms."""
    day = datetime.fromtimestamp(at, ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    return int(day.timestamp() * 1_000)


@test(seconds=120)
def top_is_the_pages(t: Test) -> None:
    """`top` goes by the server's time and by the day of the location, as the page does; with and without
    a server."""
    zones = {7001: "Europe/Berlin", 7002: "Asia/Kolkata", 7003: "America/Los_Angeles", 7004: ""}
    table = t.folder / "locations.csv"
    table.write_text("geographical_location_oid,geographical_location,time_zone\n"
                     + "".join(f"{oid},Place {oid},{zone}\n" for oid, zone in zones.items()))
    server = t.server("--locations", table, "--lake.roll_interval", "200ms")
    server.start()
    while any(_midnight(zone or "UTC", time.time()) != _midnight(zone or "UTC", time.time() + 60)
              for zone in zones.values()):
        time.sleep(1)  # not over a midnight
    now = now_ms()
    midnights = {oid: _midnight(zone or "UTC", now / 1_000) for oid, zone in zones.items()}
    # Around each midnight, and now. Each event has a camera of its own: none is too late.
    times = [moment for start in midnights.values() for moment in (start - 1_000, start + 1_000)
             if moment < now] + [now]
    server.post_ok(lines({"geographical_location_oid": oid, "video_camera_oid": 100 * oid + n,
                          "detection_oid": 100 * oid + n, "item_name": "bus", "timestamp_detected": moment}
                         for oid in zones for n, moment in enumerate(times)))
    wait_until(lambda: server.ledger()["counted"] == len(zones) * len(times), 20, "all are counted")
    since = {oid: sum(moment >= start for moment in times) for oid, start in midnights.items()}
    everywhere = len(zones) * since[7004]
    days = lambda where: {oid: sum(row["item_count"] for row in _rows(
        t, "top", "--window", "today", "--location", oid, *where)) for oid in zones}
    page = {oid: server.get(f"/v1/top?window=today&location={oid}")["total"] for oid in zones}
    expect_equal(page, since, "today on the page")
    with_server = ("--url", f"http://127.0.0.1:{server.port}")
    expect_equal(days(with_server), since, "today by `top`")
    expect_equal(sum(row["item_count"] for row in _rows(t, "top", "--window", "today", *with_server)),
                 everywhere, "today of all locations: in UTC")
    expect_equal(sum(row["item_count"] for row in _rows(
        t, "top", "--window", "today", "--location", 7001, "--at", midnights[7001], *with_server)),
        sum(moment < midnights[7001] for moment in times), "the day that ends at --at")

    # Somebody whose clock is a week ahead asks about the server's five minutes.
    clock = Clock(t, "asker")
    clock.step(7 * 86_400_000)
    said = t.run("top", "--window", "5m", "--location", 7001, "--format", "json", *with_server,
                 env=clock.environment())
    expect_equal(said.returncode, 0, f"five minutes: {said.stderr!r}")
    counted = sum(row["item_count"] for row in json.loads(said.stdout))
    expect(sum(moment > now - 240_000 for moment in times) <= counted
           <= sum(moment > now - 310_000 for moment in times), f"five minutes: {counted} of {times}")
    server.stop()
    expect_equal(days(("--data", server.data)), since, "today by `top`, from the files")
    server.expect_quiet_log()
