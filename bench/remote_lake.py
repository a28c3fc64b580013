#!/usr/bin/env python3
"""Measures `top` for one location and day of a lake on a real HDFS, cold and warm, beside deltalake + DuckDB.

    .deps/venv/bin/python -B bench/remote_lake.py [BUILD] [LOCATIONS 20] [DAYS 2]

There is one file of 14,400 rows for each location and day (1,440 minutes x 10 items). Cold: nobody has asked for
the location and day before. Warm: asked again. deltalake reads HDFS by its own native client; DuckDB aggregates
the rows of that one file. Answers are compared. Prints milliseconds.
"""

from __future__ import annotations

import datetime
import http.client
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import deltalake
import duckdb

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "system"))

import shared  # noqa: E402
from hdfs import Hdfs  # noqa: E402
from server import free_port  # noqa: E402

DAY_MS = 86_400_000
MINUTES, ITEMS = 1440, 10


class Server:
    """`sightline up` on a data folder of its own."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, *options: str):
        self.port = free_port()
        self.log = open(folder.with_suffix(".log"), "wb")
        self.process = subprocess.Popen([binary, "up", "--data", folder, "--listen", f"127.0.0.1:{self.port}",
                                         *options], stdout=self.log, stderr=subprocess.STDOUT)
        while self.request("GET", "/healthz")[0] != 200:
            if self.process.poll() is not None:
                sys.exit(f"the server ended: {folder.with_suffix('.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            client.request(method, path, body)
            answer = client.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            client.close()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def fill(binary: pathlib.Path, folder: pathlib.Path, locations: int, days: int, first_ms: int) -> None:
    """A lake in a folder, packed into one file for each location and day."""
    server = Server(binary, folder)
    oid, sent = 0, 0
    for minute in range(days * MINUTES):
        start = first_ms + minute * 60_000
        body = []
        for location in range(1, locations + 1):
            for item in range(ITEMS):
                oid += 1
                body.append(f'{{"geographical_location_oid":{location},"video_camera_oid":{location},'
                            f'"detection_oid":{oid},"item_name":"item {item}","timestamp_detected":{start + item}}}')
        status, said = server.request("POST", "/v1/detections", "\n".join(body).encode())
        if status != 200:
            sys.exit(f"{status}: {said!r}")
        sent += len(body)
    while json.loads(server.request("GET", "/v1/ledger")[1])["counted"] < sent:
        time.sleep(0.1)
    server.stop()
    for words in (("compact", "--all-days"), ("verify",)):
        subprocess.run([binary, "lake", *words, "--data", folder], check=True, stdout=subprocess.DEVNULL)


def upload(hdfs: Hdfs, folder: pathlib.Path, to: str) -> int:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".put-")]
    for path in files:
        hdfs.put(f"{to}/{path.relative_to(folder)}", path.read_bytes(), user="sightline")
    return len(files)


def show(what: str, times: list[float]) -> None:
    times.sort()
    print(f"{what:<58} {statistics.median(times):9.1f} p50 {times[-1]:9.1f} max  ({len(times)} asked)", flush=True)


def by_sightline(server: Server, location: int, day_ms: int) -> list[tuple[str, int]]:
    status, body = server.request("GET", f"/v1/top?location={location}&from={day_ms}&to={day_ms + DAY_MS}&format=json")
    if status != 200:
        sys.exit(f"top: {status} {body!r}")
    return [(row["item_name"], row["item_count"]) for row in json.loads(body)]


def by_rivals(table: deltalake.DeltaTable, location: int, date: str) -> list[tuple[str, int]]:
    rows = table.to_pyarrow_table(filters=[("geographical_location_oid", "=", location),
                                           ("date", "=", datetime.date.fromisoformat(date))],
                                  columns=["item_name", "item_count"])
    assert rows.num_rows == MINUTES * ITEMS, rows.num_rows
    return duckdb.sql("SELECT item_name, sum(item_count)::BIGINT AS n FROM rows GROUP BY 1 ORDER BY n DESC, 1 LIMIT 10"
                      ).fetchall()


def main() -> None:
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "release").resolve()
    locations, days = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 3 else (20, 2)
    binary = build / "sightline"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sightline-bench-"))
    owner = shared.Owner(folder / "hdfs")
    first_ms = (int(time.time() * 1000) // DAY_MS - days - 1) * DAY_MS
    try:
        fill(binary, folder / "filled", locations, days, first_ms)
        hdfs = Hdfs(owner, datanodes=1)
        hdfs.make_folder("/lake")
        print(f"{upload(hdfs, folder / 'filled' / 'lake', '/lake/tables')} files of the lake on HDFS", flush=True)
        config = folder / "sightline.toml"
        config.write_text(f'[hdfs.bench]\nnamenodes = ["{hdfs.url}"]\nuser = "sightline"\n')
        server = Server(binary, folder / "asks", "--config", str(config), "--lake.dir", "hdfs://bench/lake/tables")
        questions = [(location, day) for location in range(1, locations + 1) for day in range(days)]
        by_sightline(server, 1, first_ms - DAY_MS)  # the worker has started
        cold, warm, answers = [], [], []
        for times in (cold, warm):
            for location, day in questions:
                begin = time.monotonic()
                answers.append(by_sightline(server, location, first_ms + day * DAY_MS))
                times.append((time.monotonic() - begin) * 1e3)
        wanted = [(f"item {item}", MINUTES) for item in range(ITEMS)]
        assert all(answer == wanted for answer in answers), answers[0]
        show("top, cold: its file is fetched", cold)
        show("top, warm: its file is in the cache", warm)
        url = f"{hdfs.default_fs}/lake/tables/item_count_increments"
        table = deltalake.DeltaTable(url)
        for opens, what in ((True, "table opened each time"), (False, "table open")):
            theirs = []
            for location, day in questions:
                date = datetime.datetime.fromtimestamp(first_ms / 1000 + day * 86_400, datetime.timezone.utc).date()
                begin = time.monotonic()
                answer = by_rivals(deltalake.DeltaTable(url) if opens else table, location, str(date))
                theirs.append((time.monotonic() - begin) * 1e3)
                assert answer == wanted, answer
            show(f"deltalake + DuckDB, {what}", theirs)
        server.stop()
    finally:
        owner.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
