"""clocks: the wall clock of single processes, set by a test while they run (wall_clock.cc).

Debian's faketime 0.9.10 cannot do it: a JVM hangs under it unless its steady clocks lie, too.
"""

from __future__ import annotations

import mmap
import os
import pathlib
import shutil
import struct
import subprocess

from server import HERE, Failure, Test, expect


class Clock:
    """Of every process that is started with `environment()`. At first it is the machine's. To let it
    stand still, kafka_foreign.py `log` writes to `path` as wall_clock.cc says."""

    def __init__(self, test: Test, name: str):
        self.library = test.folder / "wall_clock.so"
        if not self.library.exists():
            self._build(self.library)
        self.path = test.folder / f"{name}.clock"
        self.path.write_bytes(bytes(24))
        with open(self.path, "r+b") as file:
            self.setting = mmap.mmap(file.fileno(), 24)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "LD_PRELOAD": str(self.library), "SIGHTLINE_TEST_CLOCK": str(self.path)}

    def step(self, ms: int, synchronised: bool = False) -> None:
        """The clock goes on, so much off the machine's; `synchronised`: a time server keeps it there."""
        self.setting[:] = struct.pack("=qqq", ms * 1_000_000, 0, synchronised)

    @staticmethod
    def _build(library: pathlib.Path) -> None:
        if shutil.which("g++") is None:
            raise Failure("there is no g++: run tools/deps.sh run")
        done = subprocess.run(["g++", "-std=c++20", "-O1", "-shared", "-fPIC", "-o", library,
                               HERE / "wall_clock.cc", "-ldl", "-pthread"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60)
        expect(done.returncode == 0, f"wall_clock.cc: {done.stdout}")
