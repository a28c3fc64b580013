"""What an operator does and gets wrong: location tables, options, data directories."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import sqlite3
import time

from events import Traffic, deliver
from registry import test
from server import Failure, Server, Test, expect, expect_equal, wait_until
from test_lake import command

HEADER = "geographical_location_oid,geographical_location\n"


# -- location table --------------------------------------------------------------------------------

def _names(server: Server) -> dict[str, str]:
    return {row["oid"]: row["name"] for row in server.locations()}


@test(seconds=300)
def locations(t: Test) -> None:
    """Names appear and change without a restart; a broken table is refused, by name and line, and the
    old one stays; /healthz says so until a good one is there."""
    table = t.folder / "locations.csv"
    table.write_text(HEADER + '7001,"Gate ""4"", north"\n-12,Plaza\n0,Zéro\n9007199254740993,Big\n')
    server = t.server("--locations", table, "--locations_refresh", "100ms")
    server.start()
    traffic = Traffic(0, trouble=False, locations=(7001, -12, 7002))
    for _ in range(5):
        deliver(server, traffic, 20)
    server.wait_ledger(counted=100)
    expect_equal(_names(server), {"7001": 'Gate "4", north', "-12": "Plaza", "0": "Zéro",
                                  "9007199254740993": "Big", "7002": ""}, "names")

    def replaced(text: str, names: dict, what: str) -> None:
        fresh = t.folder / "fresh.csv"
        fresh.write_text(text)
        os.replace(fresh, table)
        wait_until(lambda: _names(server) == names, 5, f"{what}: names {names}, not {_names(server)}")
        wait_until(lambda: server.health()["status"] == "ok", 5, f"{what}: healthy")

    replaced(HEADER + "7001,Gate 4\n7002,Harbour\n-12,Plaza\n0,Zero\n",
             {"7001": "Gate 4", "7002": "Harbour", "-12": "Plaza", "0": "Zero"}, "changed")
    replaced("\ufeffgeographical_location;time_zone;geographical_location_oid\r\nGate A, B;Europe/Oslo;"
             "7001\r\nHafen;;7002\r\nPlatz;;-12\r\n\r\n",
             {"7001": "Gate A, B", "7002": "Hafen", "-12": "Platz"}, "semicolons, CRLF and a mark")
    replaced("geographical_location_oid\tgeographical_location\n7001\tA\n7002\tB\n-12\tC\n5\tD\n",
             good := {"7001": "A", "7002": "B", "-12": "C", "5": "D"}, "tabs")
    totals = {row["oid"]: row["total"] for row in server.locations() if row["total"]}

    sent = 100

    def refused(text: str | bytes | None, *words: str) -> None:
        nonlocal sent
        if text is None:
            table.unlink()
        else:
            table.write_bytes(text if isinstance(text, bytes) else text.encode())
        deliver(server, traffic, 1)  # counting goes on
        sent += 1
        with t.case(repr(text)):
            server.wait_reason(5, *words, "locations.csv")
            expect(not server.healthy(), "/healthz is not ok")
            expect_equal(_names(server), good, "names")
            server.wait_ledger(counted=sent)

    refused(HEADER + "7001,A\n7002,B\n7001,C\n", "line 4", "7001")
    refused("oid,geographical_location\n7001,A\n", "geographical_location_oid")
    refused(HEADER, "no rows")
    refused("", "empty")
    refused(HEADER + "x,A\n", "line 2", "geographical_location_oid")
    refused(HEADER + '7001,"A\n7002,B\n', "line 2", "never closed")
    refused(HEADER + "7001,A\n", "half")
    refused(b"\x00\xff\xfe rubbish \x00", "geographical_location_oid")
    refused(b"geographical_location_oid,geographical_location\n7001,caf\xe9\n7002,B\n-12,C\n5,D\n",
            "line 2", "UTF-8")
    refused(None, "gone")
    replaced(HEADER + "7001,A\n7002,B\n-12,C\n5,D\n", good, "good again")
    server.wait_ledger(counted=sent)
    expect_equal(sum(row["total"] for row in server.locations()), sum(totals.values()) + sent - 100,
                 "totals")
    server.stop()
    expect("locations.csv" in server.log(), "the log does not name the table")


@test(seconds=300)
def locations_at_start(t: Test) -> None:
    """A table that cannot be used stops the start: exit code, the file's name, the line."""
    table = t.folder / "table.csv"
    for text, words in ((HEADER + "1,A\n1,B\n", ("line 3", "line 2", "1")),
                        ("geographical_location_oid,name\n1,A\n", ("geographical_location",)),
                        (HEADER, ("no rows",)), ("", ("empty",)),
                        (HEADER + "1:A\n", ("line 2",)),
                        (HEADER + "99999999999999999999,A\n", ("line 2", "99999999999999999999")),
                        ("geographical_location_oid:geographical_location\n1:A\n", ("missing",)),
                        (HEADER.encode() + b"1,caf\xe9\n", ("line 2", "UTF-8"))):
        table.write_bytes(text if isinstance(text, bytes) else text.encode())
        with t.case(repr(text)):
            t.server("--locations", table).start_refused("table.csv", *words)
    with t.case("a table that is not there"):
        t.server("--locations", t.folder / "nowhere.csv").start_refused("nowhere.csv")
    with t.case("a directory as table"):
        t.server("--locations", t.folder).start_refused(t.folder.name)


# -- options ---------------------------------------------------------------------------------------

@test(seconds=300)
def config(t: Test) -> None:
    """Wrong options are refused before anything is touched, and the message says what is right."""
    file = t.folder / "sightline.toml"

    def refused(text: str, *words: str) -> None:
        file.write_text(text)
        with t.case(repr(text)):
            server = t.server("--config", file)
            server.start_refused(*words)
            expect(not server.data.exists(), "the data directory was made")

    def flag_refused(*options: object, words: tuple) -> None:
        with t.case(options):
            server = t.server(*options)
            server.start_refused(*words)
            expect(not server.data.exists(), "the data directory was made")

    refused("[pipeline]\nwindow_sise = '1m'\n", "sightline.toml:2", "pipeline.window_size")
    refused("listn = '127.0.0.1:1'\n", "sightline.toml:1", "listen")
    refused("[pipline]\nwindow_size = '1m'\n", "sightline.toml:1", "pipeline")
    refused("[engine]\n\n\ncommit_interval = 'soon'\n", "sightline.toml:4", "engine.commit_interval",
            "soon")
    refused("[pipeline]\ndedup_horizon = 3600\n", "sightline.toml:2", "pipeline.dedup_horizon", "write 3600s")
    refused("[pipeline]\nmax_age = '7'\n", "sightline.toml:2", "pipeline.max_age", "write 7s")
    refused("partitions = 0\n", "sightline.toml:1", "partitions", "1")
    refused("partitions = 1.5\n", "sightline.toml:1", "partitions")
    refused("partitions = [1]\n", "sightline.toml:1", "partitions")
    refused("[server]\nbody_max = '10 parsecs'\n", "sightline.toml:2", "server.body_max", "MiB")
    refused("[pipeline]\nwindow_size = '1m'\nwindow_size = '2m'\n", "sightline.toml:3")
    refused("[pipeline\n", "sightline.toml:1")
    refused("[pipeline]\nwindow_size = '1m'\npane_size = '7s'\n", "pane_size", "window_size")
    refused("[pipeline]\nmax_age = '30d'\n", "camera_ttl", "max_age")
    refused("log_level = 'loud'\n", "log_level", "debug")
    flag_refused("--config", t.folder / "nowhere.toml", words=("nowhere.toml",))
    flag_refused("--pipeline.window_size", "never", words=("pipeline.window_size", "never"))
    flag_refused("--lake.roll_interval", "200", words=("--lake.roll_interval", "write 200s, or 200ms"))
    flag_refused("--pipeline.window_sise", "1m", words=("pipeline.window_sise",))
    flag_refused("--partitions", "many", words=("partitions", "many"))
    flag_refused("--partitions", "-1", words=("partitions",))
    for listen in ("127.0.0.1", "127.0.0.1:99999", "127.0.0.1:", "nobody:8080"):
        said = t.run("up", "--data", t.folder / "unused", "--listen", listen)
        expect(said.returncode > 0 and listen in said.stderr.decode(), f"--listen {listen}: {said}")
    for address in ("0.0.0.0", "[::]", "192.0.2.1"):
        with t.case(address):
            server = t.server(listen=address)
            server.start_refused("--insecure", address)
            expect(not server.data.exists(), "the data directory was made")

    # The command line beats the file; the file beats the default.
    file.write_text("partitions = 3\n[server]\nbody_max = '1KiB'\n[engine]\ncommit_interval = '100ms'\n")
    server = t.server("--config", file, "--partitions", 2)
    server.start()
    expect_equal(server.post(b"{}\n" * 500).status, 413, "a body beyond the file's server.body_max")
    metrics = server.request("GET", "/metrics").body.decode()
    expect('partition="1"' in metrics and 'partition="2"' not in metrics, "not 2 partitions")
    # The port is taken.
    other = t.server()
    other.port = server.port
    other.start_refused(str(server.port))
    server.stop()

    server = t.server("--insecure", listen="0.0.0.0")
    server.start()
    server.stop()

    # `options` prints a file that `up` takes, and that changes nothing.
    printed = t.run("options")
    expect_equal(printed.returncode, 0, f"`options`: {printed.stderr!r}")
    file.write_bytes(printed.stdout)
    server = t.server("--config", file)
    server.start()
    server.stop()
    explained = t.run("explain", "--config", file)
    expect_equal((explained.returncode, explained.stdout), (0, t.run("explain").stdout),
                 "`explain` of the printed options and of none")


@test(seconds=240)
def help_texts(t: Test) -> None:
    """--help of the program and of every subcommand: exit code 0, on stdout, with an example."""
    top = t.run("--help")
    expect_equal(top.returncode, 0, f"--help: {top.stderr!r}")
    text = top.stdout.decode()
    listed = re.split(r"(?im)^\s*subcommands:?\s*$", text.partition("\nExamples:")[0])
    expect(len(listed) == 2, f"--help lists no subcommands: {text}")
    commands = re.findall(r"^  ([a-z][a-z-]*)\s", listed[1], re.MULTILINE)
    for wanted in ("up", "camera", "replay", "options", "explain"):
        expect(wanted in commands, f"{wanted} is not among {commands}")
    for command in commands:
        said = t.run(command, "--help")
        expect_equal((said.returncode, said.stderr), (0, b""), f"{command} --help")
        expect(b"xample" in said.stdout and f"sightline {command}".encode() in said.stdout,
               f"{command} --help shows no example")
    for arguments in ((), ("nothing",), ("--nothing",), ("up", "--nothing"), ("replay",), ("camera",)):
        said = t.run(*arguments)
        expect(said.returncode > 0, f"{arguments}: exit code {said.returncode}")
        expect(said.stderr.strip() or said.stdout.strip(), f"{arguments}: says nothing")
    expect_equal(t.run("--version").returncode, 0, "--version")


# -- data directory --------------------------------------------------------------------------------

def _filled(t: Test, name: str, elements: int = 2_000, options: tuple = ()) -> tuple[Server, Traffic]:
    server = t.server(*options, name=name)
    server.start()
    traffic = Traffic(0, trouble=False)
    for _ in range(elements // 100):
        deliver(server, traffic, 100)
    server.wait_ledger(counted=elements)
    return server, traffic


@test(seconds=300)
def data_directory(t: Test) -> None:
    """Somebody else's, another version's, another pipeline's: refused, with the reason, and unharmed."""
    server, traffic = _filled(t, "first")
    with t.case("held by another process"):
        t.server(data=server.data, name="second").start_refused(str(server.data),
                                                                str(server.process.pid))
    traffic.oracle.check(server, repeated=False)
    server.stop()
    log = server.data / "log.db"

    with t.case("another number of partitions"):
        t.server("--partitions", 8, data=server.data, name="partitions").start_refused(
            str(server.data), "partitions", "8", "4")
    with t.case("other pipeline settings"):
        t.server("--pipeline.dedup_horizon", "2h", data=server.data, name="settings").start_refused(
            "pipeline.dedup_horizon was 3600000 ms and is 7200000 ms now", "sightline handover")

    copy = t.folder / "stamped"
    shutil.copytree(server.data, copy)
    with sqlite3.connect(copy / "log.db") as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    with t.case("another version"):
        t.server(data=copy, name="version").start_refused("log.db", "format", "99")

    alien = t.folder / "alien"
    alien.mkdir()
    with sqlite3.connect(alien / "log.db") as database:
        database.execute("CREATE TABLE somebody(s)")
    database.close()
    before = (alien / "log.db").read_bytes()
    with t.case("another program's file"):
        t.server(data=alien, name="alien").start_refused("log.db", "not")
        expect_equal((alien / "log.db").read_bytes(), before, "its bytes")

    rubbish = t.folder / "rubbish"
    rubbish.mkdir()
    (rubbish / "log.db").write_bytes(b"these are no detections " * 1_000)
    with t.case("rubbish"):
        t.server(data=rubbish, name="rubbish").start_refused("log.db")
    a_file = t.folder / "file"
    a_file.write_text("")
    with t.case("a file"):
        t.server(data=a_file, name="file").start_refused(a_file.name)
    with t.case("below a file"):
        t.server(data=a_file / "below", name="below").start_refused("below")

    expect(log.exists(), "log.db is gone")
    server.start()
    traffic.oracle.check(server, repeated=False)
    deliver(server, traffic, 10)
    traffic.oracle.check(server, repeated=False)
    server.stop()
    server.expect_quiet_log()


@test(seconds=120)
def settings_of_a_folder(t: Test) -> None:
    """A start with another option is refused before any partition counts by it: also where only some have a
    checkpoint, where none has one, and in a folder of a version that stored no settings."""
    server = t.server("--partitions", 16, "--engine.checkpoint_interval", "1h", name="first")
    server.start()
    traffic = Traffic(0, trouble=False)  # of four cameras: most partitions stay empty
    for _ in range(5):
        deliver(server, traffic, 100)
    settings = server.data / "checkpoints" / "pipeline.settings"

    def refused(option: str, value: str, *says: str) -> None:
        with t.case(f"{option} {value}"):
            t.server("--partitions", 16, f"--pipeline.{option}", value, data=server.data,
                     name=f"{option}-{value}").start_refused(*says, "Restore the settings")

    changes = [("window_size", "5m", "pipeline.window_size was 60000 ms and is 300000 ms now"),
               ("dedup_horizon", "2h", "pipeline.dedup_horizon was 3600000 ms and is 7200000 ms now"),
               ("identity", "camera_and_detection", "pipeline.identity was detection"),
               ("timestamp_unit", "s", "pipeline.timestamp_unit was ms and is s now"),
               ("watermark_step", "bounded", "pipeline.watermark_step was free and is bounded now")]
    server.kill()  # no checkpoint yet: what is stored alone can tell
    for change in changes:
        refused(*change)
    server.start()
    traffic.oracle.check(server, repeated=False)
    server.stop()
    # As an earlier version has left it: the checkpoints have their settings' fingerprint.
    settings.unlink()
    for option, value, _ in changes:
        refused(option, value, "other pipeline settings")
    expect(not settings.exists(), "a refused start has stored settings")
    server.start()
    expect(settings.exists(), "the settings of the folder are stored")
    for _ in range(5):
        deliver(server, traffic, 100)
    traffic.oracle.check(server, repeated=False)
    server.stop()
    command(t, "lake", "verify", "--lake", server.data / "lake")
    server.expect_quiet_log()


@test(seconds=600)
def corrupt_page(t: Test) -> None:
    """Pages of the database are overwritten, one at a time, after a stop and after a kill. Each time
    the server says so (it does not start, or /healthz and the log tell), or every count is right."""
    detected = harmless = 0
    for clean in (True, False):
        server, traffic = _filled(t, f"clean-{clean}", elements=6_000,
                                  options=("--engine.checkpoint_interval", "1h"))
        if clean:
            server.stop()
        else:
            server.kill()
        _fold_write_ahead_log(server.data)  # or most pages would still be in log.db-wal
        size = (server.data / "log.db").stat().st_size
        page = 8192
        pages = size // page
        expect(pages >= 20, f"only {pages} pages")
        step = max(1, pages // 12)
        for number in [1, *range(2, pages, step), pages // 2]:
            what = f"page {number} of {pages}, {'stopped' if clean else 'killed'}"
            copy = t.folder / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(server.data, copy)
            with open(copy / "log.db", "r+b") as file:
                file.seek((number - 1) * page + 200 if number == 1 else (number - 1) * page)
                file.write(b"\xa5" * (page - 200))
            victim = t.server("--engine.checkpoint_interval", "1h", data=copy,
                              name=f"page-{'stopped' if clean else 'killed'}-{number}")
            with t.case(what):
                if _tells(victim, traffic, what):
                    detected += 1
                else:
                    harmless += 1
            victim.kill()
    expect(detected >= 4, f"only {detected} pages were found broken")
    t.note(f"{detected} told, {harmless} harmless")


@test(seconds=240)
def damaged_write_ahead_log(t: Test) -> None:
    """A damaged frame of the write-ahead log: SQLite takes it for the torn end of an unfinished write
    and drops all behind it in silence. The checkpoints know of more, so the server must stop there."""
    server = t.server("--engine.checkpoint_interval", "100ms")
    server.start()
    traffic = Traffic(0, trouble=False)
    for _ in range(30):
        deliver(server, traffic, 100)
    server.wait_ledger(counted=3_000)
    wait_until(lambda: server.metric("sightline_engine_checkpoint_offset") == 3_000, 20, "checkpoints")
    server.kill()
    ahead = server.data / "log.db-wal"
    with open(ahead, "r+b") as file:
        file.seek(ahead.stat().st_size // 4)
        file.write(b"\xa5" * 64)
    server.launch()
    wait_until(lambda: not server.running or " error " in server.log(), 20, "it stops, or says so")
    if server.wait_door():
        server.wait_reason(10, "lost")
        expect(server.ledger()["counted"] <= 3_000, f"counted twice: {server.ledger()}")
    else:
        expect(server.process.returncode > 0, f"exit code {server.process.returncode}")


def _fold_write_ahead_log(data: pathlib.Path) -> None:
    database = sqlite3.connect(data / "log.db")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def _tells(server: Server, traffic: Traffic, what: str) -> bool:
    """Whether the server tells of the damage; a Failure if it neither tells nor counts right."""
    server.launch()
    deadline = time.monotonic() + 20
    ledger: dict = {}
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            expect(server.process.returncode > 0,
                   f"{what}: exit code {server.process.returncode}: {server.last_line()}")
            expect("log.db" in server.log(), f"{what}: the message does not name the file: "
                                             f"{server.last_line()}")
            return True
        try:
            answer = server.request("GET", "/healthz", timeout=2)
            if answer.status != 200:
                expect(answer.json()["reasons"], f"{what}: /healthz says no reason")
                expect(server.ledger()["counted"] <= traffic.oracle.distinct, f"{what}: counted twice")
                return True
            ledger = server.ledger()
        except Failure:
            time.sleep(0.05)
            continue
        if ledger["counted"] == traffic.oracle.distinct:
            # All is there. New events must be counted, too, or be refused aloud.
            fresh = Traffic(9, trouble=False)
            body = fresh.body(50)
            if server.post(body.data).status != 200:
                return True
            try:
                server.wait_ledger(5, counted=ledger["counted"] + 50)
            except Failure:
                if not server.healthy():
                    return True
                raise Failure(f"{what}: new events are acknowledged and not counted, and /healthz "
                              f"says ok: {server.ledger()}") from None
            if not server.healthy():
                return True
            try:
                for location, items in fresh.oracle.counts.items():
                    traffic_items = dict(traffic.oracle.counts.get(location, {}))
                    for item, n in items.items():
                        traffic_items[item] = traffic_items.get(item, 0) + n
                    rows = {r["item"]: r["count"] for r in server.top(location)["rows"]}
                    expect_equal(rows, traffic_items, f"{what}: location {location}")
            except Failure:
                if not server.healthy():
                    return True
                raise
            return False
        time.sleep(0.1)
    if server.running and not server.healthy():
        return True
    raise Failure(f"{what}: neither told nor right after 20 s: {ledger}, {traffic.oracle.distinct} "
                  f"were acknowledged; {server.last_line()}")
