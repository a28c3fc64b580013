"""HDFS as the place of files: the port's suite, and every fault of NameNode, DataNode and network."""

from __future__ import annotations

import os
import re
import subprocess

from hdfs import shared_hdfs
from registry import test
from server import Test, expect


@test(seconds=300)
def hdfs_conformance(t: Test) -> None:
    """The suite of the port Storage, against a real HDFS."""
    place = shared_hdfs(t)
    program = t.build() / "tests" / "conformance" / "hdfs_conformance_test"
    done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500,
                          env={**os.environ, "SIGHTLINE_HDFS": place.hdfs.url,
                               "SIGHTLINE_HDFS_FOLDER": place.folder})
    ran = re.search(r"\[  PASSED  \] (\d+) tests", done.stdout)
    expect(done.returncode == 0 and ran, f"{program.name}: {done.stdout[-6000:]}")
    expect(int(ran.group(1)) >= 12, f"only {ran.group(1)} tests ran")
    t.note(f"{ran.group(1)} tests")
