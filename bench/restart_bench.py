#!/usr/bin/env python3
"""Measures how long a restart takes with many remembered ids.

    restart_bench.py --binary SIGHTLINE --load HTTP_LOAD [--ids 10000000] [--repeat 3]

Fills a new data folder with distinct detections (through http_load, which checks its results), kills the
server with -9 and starts it again; then does the same with SIGTERM. Measures, from the start of the process,
the time until /healthz says 200, and the time until a new detection, posted at once, is counted and the
ledger has everything else, too (exactly the earlier numbers, and one more). Prints one JSON object. If a
number is wrong, the exit code is 1 and the reason is on stderr. Needs only the standard library.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

BATCH = 1_000_000  # of ids by one http_load, which holds them in memory


def fail(what: str) -> None:
    print(f"restart_bench: {what}", file=sys.stderr)
    sys.exit(1)


class Server:
    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, options: list[str]):
        self.binary, self.folder, self.options = binary, folder, options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen | None = None

    def launch(self) -> float:
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(self.binary), "up", "--data", str(self.folder / "data"), "--listen",
                 f"127.0.0.1:{self.port}", *self.options], stdout=log, stderr=log)
        return time.monotonic()

    def end(self, number: int) -> float:
        begin = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(60)
        if number == signal.SIGTERM and code != 0:
            fail(f"exit code {code} after SIGTERM")
        return time.monotonic() - begin

    def ask(self, path: str, body: bytes | None = None) -> dict | None:
        """None: it is not there, or not well."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", body, 60) as answer:
                return json.load(answer)
        except (OSError, urllib.error.URLError):
            return None

    def wait(self, holds, seconds: float, what: str) -> float:
        deadline = time.monotonic() + seconds
        while not holds():
            if self.process.poll() is not None:
                fail(f"the server ended with {self.process.returncode}: "
                     + (self.folder / "server.log").read_text()[-2000:])
            if time.monotonic() > deadline:
                fail(f"after {seconds:g} s still not: {what}; {self.ask('/v1/ledger')}, "
                     f"{self.ask('/healthz')}")
            time.sleep(0.005)
        return time.monotonic()


def memory_mib(pid: int) -> float:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0


def restart(server: Server, number: int, ledger: dict) -> tuple[dict, dict]:
    """One end and one start; what was measured, and the ledger afterwards (one detection more)."""
    ended = server.end(number)
    begin = server.launch()
    ready = server.wait(lambda: server.ask("/healthz"), 300, "healthy") - begin
    event = {"geographical_location_oid": 1, "video_camera_oid": 1, "item_name": "person",
             "detection_oid": -time.time_ns(), "timestamp_detected": time.time_ns() // 1_000_000}
    server.wait(lambda: server.ask("/v1/detections", json.dumps(event).encode()), 60, "taken")
    wanted = {**ledger, "received": ledger["received"] + 1, "counted": ledger["counted"] + 1}

    def whole() -> bool:
        now = server.ask("/v1/ledger") or {}
        if now.get("counted", 0) > wanted["counted"] or now.get("received", 0) > wanted["received"]:
            fail(f"the ledger after a restart is {now}, wanted {wanted}")
        return now == wanted

    counted = server.wait(whole, 600, f"the ledger {wanted}") - begin
    return ({"end_seconds": round(ended, 3), "ready_seconds": round(ready, 3),
             "new_event_counted_seconds": round(counted, 3),
             "resident_mib": memory_mib(server.process.pid)}, wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="the program `sightline`")
    parser.add_argument("--load", type=pathlib.Path, required=True, help="the program `http_load`")
    parser.add_argument("--ids", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=pathlib.Path, help="where the data directory is made")
    parser.add_argument("--option", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"),
                        help="of `sightline up`, such as engine.checkpoint_interval 10s")
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sightline-restart-", dir=arguments.folder))
    # The raw log must be able to keep it all, or retention would decide what a kill costs.
    options = ["--log.size_max", "100GiB"]
    for key, value in arguments.option:
        options += [f"--{key}", value]
    server = Server(arguments.binary.resolve(), folder, options)
    try:
        begin = server.launch()
        empty = server.wait(lambda: server.ask("/healthz"), 60, "healthy") - begin
        begin = time.monotonic()
        for first in range(0, arguments.ids, BATCH):
            events = min(BATCH, arguments.ids - first)
            done = subprocess.run([str(arguments.load.resolve()), "ingest", "--port", str(server.port),
                                   "--events", str(events), "--copies", "0", "--seed",
                                   str(first // BATCH)], stdout=subprocess.PIPE)
            if done.returncode != 0:
                fail("http_load failed")
        filled = time.monotonic() - begin
        ledger = server.ask("/v1/ledger")
        if ledger is None or ledger["counted"] != arguments.ids:
            fail(f"filled with {arguments.ids} ids, the ledger says {ledger}")
        resident = memory_mib(server.process.pid)
        results: dict[str, list] = {"kill": [], "term": []}
        for name, number in (("kill", signal.SIGKILL), ("term", signal.SIGTERM)):
            for _ in range(arguments.repeat):
                result, ledger = restart(server, number, ledger)
                results[name].append(result)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(json.dumps({"benchmark": "restart", "ids": arguments.ids, "fill_seconds": round(filled, 1),
                          "first_start_seconds": round(empty, 3), "resident_mib_filled": resident,
                          "data_mib": round(size / 2**20, 1), **results, "checked": True}))
    finally:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
