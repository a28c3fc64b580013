#!/usr/bin/env python3
"""The parent of a shared server (shared.py): keeper.py NAME FOLDER SESSION. Starts it, says where it is, and
ends it and itself when no session uses it any more."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from brokers import SharedKafka
from hdfs import SharedHdfs
from s3 import SharedS3
from server import Failure
from shared import START_S, SharedServer, locked, process_id, users, write_state

SERVERS: dict[str, type[SharedServer]] = {"kafka": SharedKafka, "hdfs": SharedHdfs, "s3": SharedS3}


def keep(name: str, folder: pathlib.Path, session: str) -> None:
    own = pathlib.Path(tempfile.mkdtemp(prefix=f"sightline-shared-{name}-"))
    server = SERVERS[name](own)
    try:
        server.start()
        deadline = time.monotonic() + START_S - 10
        while not server.ready():
            if time.monotonic() > deadline:
                raise Failure(f"it is not ready after {START_S - 10} s; its log is {server.log()}")
            time.sleep(0.05)
        # Whoever started us waits for this, with the lock.
        write_state(folder, keeper=process_id(os.getpid()), address=server.address(), log=str(server.log()),
                    data=str(own))
        while not _is_over(folder):
            server.ready()  # a failure once it has ended by itself: the tests that come are told
            time.sleep(0.3)
    except Failure as failure:
        write_state(folder, failure=str(failure), session=session)
    finally:
        server.stop()
        shutil.rmtree(own, ignore_errors=True)


def _is_over(folder: pathlib.Path) -> bool:
    if users(folder):
        return False
    with locked(folder, wait=False) as is_ours:
        if not is_ours or users(folder):
            return False
        # From here on nobody finds us; the next one starts a server of its own.
        (folder / "state.json").unlink(missing_ok=True)
        return True


def _told_to_end(*_: object) -> None:
    sys.exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _told_to_end)
    keep(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3])
