#!/usr/bin/env python3
"""Runs all benchmarks and checks their results: bench/run.py BUILD_DIRECTORY [EVENTS] [--runs N] [--only events|lake]

Prints the machine's load and, for each figure, the median of N runs (min..max). `generate` makes the events
and, independently, their counts: the rows of replay must be the same, byte for byte. parse and insert are the
limits of the same machine in the same minutes. Only a wrong result fails; a slow one is a figure.
"""

import argparse
import filecmp
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time


def fail(what: str) -> None:
    sys.exit(f"bench: WRONG: {what}")


def show(name: str, values: list, unit: str, digits: int = 2) -> None:
    low, middle, high = min(values), statistics.median(values), max(values)
    print(f"{name:<58} {middle:>10.{digits}f} {unit:<12} ({low:.{digits}f}..{high:.{digits}f}, "
          f"{len(values)} runs, load {os.getloadavg()[0]:.1f})", flush=True)


def call(*command: object) -> dict:
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        fail(f"{command[0]} ended with {done.returncode}")
    return json.loads(done.stdout)


class Server:
    def __init__(self, binary: pathlib.Path):
        self.folder = tempfile.TemporaryDirectory(prefix="sightline-bench-")
        self.process = subprocess.Popen(
            [str(binary), "up", "--data", self.folder.name, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline().split("127.0.0.1:")[1].split()[0])

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def replay(sightline: pathlib.Path, folder: pathlib.Path, events: pathlib.Path,
           truth: pathlib.Path, count: int, threads: int) -> float:
    counts, ledger = folder / "counts.csv", folder / "ledger.json"
    begin = time.monotonic()
    with open(counts, "wb") as out:
        subprocess.run([str(sightline), "replay", str(events), "--ledger", str(ledger), "--threads",
                        str(threads)], stdout=out, stderr=subprocess.DEVNULL, check=True)
    seconds = time.monotonic() - begin
    if not filecmp.cmp(counts, truth, shallow=False):
        fail(f"{counts} is not {truth}")
    sums = json.loads(ledger.read_text())
    if sums["received"] != count or sums["counted"] + sums["duplicate"] != count:
        fail(f"the ledger says {sums}")
    return count / seconds / 1e6


def lake(build: pathlib.Path, runs: int) -> None:
    """The lake's writer, log and `top`, beside deltalake and DuckDB where tools/deps.sh has put them."""
    bench = build / "bench"
    python = pathlib.Path(__file__).resolve().parent.parent / ".deps" / "venv" / "bin" / "python"
    rivals = [python, "-B", pathlib.Path(__file__).resolve().parent / "lake_rivals.py"]
    if not python.exists():
        rivals = []
        print("  (without deltalake: no .deps/venv; make deps)")
    # On the disk that holds the build directory: what a commit takes is its fsyncs.
    for locations in (10, 200):
        done = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory(dir=build, prefix="lake-") as folder:
                done.append(call(bench / "lake_bench", "write", folder, locations))
        show(f"lake: a commit of {locations} locations, on disk", [run["ms_per_commit"] for run in done], "ms", 1)
        show("  the same, rows", [run["rows_per_second"] / 1e3 for run in done], "k rows/s", 1)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        commits = 10_000
        call(bench / "lake_bench", "make_log", folder, commits)
        ours, theirs = [], []
        for _ in range(runs):  # in turn
            ours.append(call(bench / "lake_bench", "open", folder, commits)["ms"])
            if rivals:
                theirs.append(call(*rivals, "open", f"{folder}/item_count_increments", commits))
        show("lake: open 10,000 commits and files (target 100)", ours, "ms", 1)
        if rivals:
            show("  the same, deltalake", [run["ms"] for run in theirs], "ms", 1)
            show("  the same, deltalake with its list of files", [run["files_ms"] for run in theirs], "ms", 1)
    ours, theirs = [], []
    command = " ".join(str(word) for word in [*rivals, "top"]) if rivals else "true"
    for _ in range(runs):
        done = subprocess.run([bench / "query_bench", "365", "1000", "200", command], stdout=subprocess.PIPE,
                              text=True)
        if done.returncode != 0:
            fail(f"query_bench ended with {done.returncode}: {done.stdout}")
        p50 = {line[:58].strip(): float(line[58:].split()[0]) for line in done.stdout.splitlines() if " p50 " in line}
        ours.append(p50["top, one location and day"])
        theirs += [value for name, value in p50.items() if name.startswith("deltalake")]
    show("lake: top, a location and day of 365,000, p50 (target 50)", ours, "ms", 1)
    if theirs:
        show("  the same, deltalake + DuckDB, table open", theirs, "ms", 1)


def events(options: argparse.Namespace) -> None:
    bench, count = options.build / "bench", options.events
    sightline = options.build / "sightline"
    folder = options.build / "bench_data"
    folder.mkdir(exist_ok=True)
    events, truth = folder / f"events_{count}.ndjson", folder / f"truth_{count}.csv"
    if not truth.exists():
        subprocess.run([bench / "generate", "--events", str(count), "--out", events, "--truth",
                        truth], check=True, stdout=subprocess.DEVNULL)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {count} events, "
          f"{events.stat().st_size / 1e6:.0f} MB", flush=True)
    figures: dict[str, list] = {"parse": [], "insert": [], "1": [], "2": []}
    for _ in range(options.runs):  # in turn: all meet the same machine
        for threads in (1, 2):
            figures[str(threads)].append(replay(sightline, folder, events, truth, count, threads))
        figures["parse"].append(call(bench / "limits", "parse", events)["per_second"] / 1e6)
        figures["insert"].append(call(bench / "limits", "insert", count)["per_second"] / 1e6)
    show("replay, 2 threads (target 2)", figures["2"], "M events/s")
    show("replay, 1 thread (target 1.2)", figures["1"], "M events/s")
    show("  limit: parse only, 1 thread", figures["parse"], "M events/s")
    show("  limit: hash insert only, 1 thread", figures["insert"], "M ids/s")
    memory = [call(bench / "limits", "memory", count)["bytes_per_id_max"] for _ in range(options.runs)]
    show(f"memory, most over {count // 2}..{count} ids (target 32)", memory, "bytes/id", 1)
    with Server(sightline) as server:
        runs = [call(bench / "http_load", "ingest", "--port", server.port, "--events", 1_000_000)
                for _ in range(options.runs)]
        show("ingest over HTTP, acknowledged (target 300)",
             [run["events_per_second"] / 1e3 for run in runs], "k events/s", 0)
        show("  the same, counted", [run["counted_per_second"] / 1e3 for run in runs], "k events/s", 0)
    with Server(sightline) as server:
        runs = [call(bench / "http_load", "latency", "--port", server.port, "--seconds", 10)
                for _ in range(options.runs)]
        for key, target in (("p50", 5), ("p99", 20)):
            show(f"POST sent to SSE received, {key} (target {target})",
                 [run["post_to_stream_ms"][key] for run in runs], "ms")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("events", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=("events", "lake"))
    options = parser.parse_args()
    if options.only != "lake":
        events(options)
    if options.only != "events":
        lake(options.build, options.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
