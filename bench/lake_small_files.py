#!/usr/bin/env python3
"""Measures one roll of many locations on the local disk and on a real HDFS: bench/lake_small_files.py BUILD_DIRECTORY

Each line has the median and the slowest of five rolls, next to the limit of its storage - the time to put as many
files of the same sizes - and locally next to `deltalake` writing the same number of rows with the same division.
The simulated day is `lake_small_files day` (bench/lake_small_files.cc). HDFS is that of the tests: one NameNode and
two DataNodes on this machine. Needs Java, .deps/hdfs and .deps/venv (make deps).
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "system"))
from hdfs import Hdfs  # noqa: E402
from shared import Owner  # noqa: E402

LOCATIONS = 1_000
TARGET_MS = 10_000


def call(*words: object) -> dict:
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def show(name: str, roll: dict) -> dict:
    print(f"{name:<42} {roll['ms_per_roll']:8.0f} ms, at most {roll['ms_max']:.0f} ms; {roll['rows_per_second'] / 1e3:6.0f} k "
          f"rows/s; {roll['files_per_roll']} files, {roll['bytes_per_roll'] / 1e6:.2f} MB; "
          f"{'limit %.0f ms; ' % roll['limit_ms'] if 'limit_ms' in roll else ''}load {os.getloadavg()[0]:.1f}", flush=True)
    return roll


def main() -> int:
    build = pathlib.Path(sys.argv[1]).resolve()
    bench = build / "bench" / "lake_small_files"
    python = ROOT / ".deps" / "venv" / "bin" / "python"
    good = False
    with tempfile.TemporaryDirectory(dir=build, prefix="small-") as folder:
        owner = Owner(pathlib.Path(folder) / "hdfs")
        owner.folder.mkdir()
        try:
            hdfs = Hdfs(owner)
            hdfs.make_folder("/bench")
            for layout in ("bucket", "location"):
                local, remote = f"{folder}/{layout}", f"hdfs://bench/bench/{layout}"
                rolls = [show(f"{LOCATIONS} locations by {layout}, local",
                              call(bench, "roll", local, "none", LOCATIONS, layout))]
                show("  the same, deltalake (no fsync)",
                     call(python, "-B", ROOT / "bench" / "lake_rivals.py", "roll", f"{local}/item_count_increments",
                          f"{folder}/rival-{layout}"))
                rolls.append(show(f"{LOCATIONS} locations by {layout}, HDFS",
                                  call(bench, "roll", remote, f"http://127.0.0.1:{hdfs.http_port}", LOCATIONS, layout)))
                # The other layout is what so many locations would be without the bound of 200.
                if layout == "bucket":
                    good = all(roll["ms_max"] < TARGET_MS for roll in rolls)
        finally:
            owner.close()
    print(f"every roll by bucket within {TARGET_MS / 1e3:.0f} s: {'yes' if good else 'no'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
