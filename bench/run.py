#!/usr/bin/env python3
"""End-to-end benchmark with a checked result: bench/run.py BUILD_DIRECTORY EVENTS [RUNS]

`generate` makes the events and, on its own, their counts; `sightline replay` counts them. The rows must
be the same, byte for byte, or the run fails. Prints the best run: wall time, CPU time, memory.
"""

import filecmp
import json
import os
import pathlib
import subprocess
import sys
import time


def measure(command: list, output: pathlib.Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, MB."""
    with open(output, "wb") as out, open(output.with_suffix(".log"), "wb") as log:
        start = time.monotonic()
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
    if status != 0:
        sys.exit(f"bench: {command[0]} failed:\n{output.with_suffix('.log').read_text()}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> int:
    build, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    folder = build / "bench_data"
    folder.mkdir(exist_ok=True)
    events, truth = folder / f"events_{count}.ndjson", folder / f"truth_{count}.csv"
    generate = build / "bench" / "generate"
    if not truth.exists() or truth.stat().st_mtime < generate.stat().st_mtime:
        subprocess.run([generate, "--events", str(count), "--out", events, "--truth", truth],
                       check=True, stdout=subprocess.DEVNULL)
    counts, ledger = folder / "counts.csv", folder / "ledger.json"
    command = [build / "src" / "app" / "sightline", "replay", events, "--ledger", ledger]
    measured = []
    for _ in range(runs):
        measured.append(measure(command, counts))
        if not filecmp.cmp(counts, truth, shallow=False):
            sys.exit(f"bench: WRONG: {counts} is not {truth}")
        sums = json.loads(ledger.read_text())
        if sums["received"] != count or sums["counted"] + sums["duplicate"] != count:
            sys.exit(f"bench: WRONG: the ledger says {sums}")
    wall, cpu, megabytes = min(measured)
    print(f"replay of {count} events ({events.stat().st_size / 1e6:.0f} MB), right in each of {runs} runs; "
          f"best: {wall:.2f} s = {count / wall / 1e6:.2f} M events/s, "
          f"{cpu:.2f} CPU s = {count / cpu / 1e6:.2f} M events per CPU s, {megabytes:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
