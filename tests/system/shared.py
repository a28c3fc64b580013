"""shared: servers that tests share - one Kafka broker for all tests that do nothing to it.

A test asks for `address_of("kafka", session)`. The first one to ask starts the server, through keeper.py, which
is its parent; whoever asks later gets the same address. It lives as long as a session that uses it: a session
is a process, ctest where ctest runs the tests (`system_test.py --share`) and otherwise the runner itself.
keeper.py looks whether they live, and ends the server and itself when none does: a test that is killed, a
ctest that is interrupted and a run that comes later leave nothing behind and meet nothing stale.

A server that cannot be started is a Failure with the reason, for every test of the session that asks.

Another one - HDFS, an object store, Spark - is a class with `start`, `ready`, `address` and `stop` as
SharedServer has them, and a line in keeper.py. What keeps tests apart on it - a folder, a bucket, a prefix of
names - is that server's client's business, as topics and groups are Kafka's (brokers.py, `shared_kafka`).

In the folder of a server:
    lock        held by whoever looks at the rest, changes it or starts the server; one at a time
    state.json  {"keeper": process, "address", "log", "data"}, or {"failure", "session"}
    users/      a file for each session, named like it
A process is "pid-start": its number and the kernel's clock when it began, so that no other is taken for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Iterator

from server import HERE, ROOT, Failure, unhurried

# Of all builds of this checkout; `make clean` removes it.
FOLDER = ROOT / "build" / "system_tests"
START_S = 300


@dataclass
class Owner:
    """What a server wants of its test, for one that is no test's."""
    folder: pathlib.Path
    processes: list[subprocess.Popen] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def die_with_parent() -> None:
    """In a child: SIGKILL when the thread that made it ends, however that comes."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class SharedServer:
    """What keeper.py starts. All of it on one thread."""

    def __init__(self, folder: pathlib.Path):
        """`folder` is there and empty, and is removed after stop()."""
        raise NotImplementedError

    def start(self) -> None:
        """Begins; a Failure if it cannot."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Asked again and again after start(); a Failure when it will never be."""
        raise NotImplementedError

    def address(self) -> str:
        """Once it is ready: what its clients want to know."""
        raise NotImplementedError

    def log(self) -> pathlib.Path:
        """For the report of a test that fails."""
        raise NotImplementedError

    def stop(self) -> None:
        """At once; whatever is left of it. Also of one that was never started."""
        raise NotImplementedError


@dataclass
class Address:
    text: str
    log: pathlib.Path


def process_id(pid: int) -> str | None:
    """None: there is none."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else f"{pid}-{rest[18]}"


def lives(process: str) -> bool:
    return process_id(int(process.partition("-")[0])) == process


@contextlib.contextmanager
def locked(folder: pathlib.Path, wait: bool = True) -> Iterator[bool]:
    """False: somebody else has it, and we were not to wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def read_state(folder: pathlib.Path) -> dict:
    try:
        return json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        return {}


def write_state(folder: pathlib.Path, **state: str) -> None:
    fresh = folder / f"state.{os.getpid()}"
    fresh.write_text(json.dumps(state))
    fresh.replace(folder / "state.json")


def users(folder: pathlib.Path) -> list[str]:
    """The sessions that live; the others are forgotten."""
    living = []
    for path in (folder / "users").glob("*"):
        if lives(path.name):
            living.append(path.name)
        else:
            path.unlink(missing_ok=True)
    return living


def address_of(name: str, session_pid: int) -> Address:
    """Of the server `name` of keeper.py, which runs when this returns, and until the session ends."""
    folder = FOLDER / name
    session = process_id(session_pid)
    with unhurried(), locked(folder):
        (folder / "users").mkdir(exist_ok=True)
        (folder / "users" / session).touch()
        state = read_state(folder)
        if state.get("session") == session:
            raise Failure(f"the shared server '{name}' could not be started: {state['failure']}")
        if "keeper" not in state or not lives(state["keeper"]):
            state = _start(name, folder, session)
        return Address(state["address"], pathlib.Path(state["log"]))


def _start(name: str, folder: pathlib.Path, session: str) -> dict:
    """Called with the lock held."""
    if dead := read_state(folder).get("data"):  # a keeper that was killed could not
        shutil.rmtree(dead, ignore_errors=True)
    (folder / "state.json").unlink(missing_ok=True)
    said = folder / "keeper.log"
    with open(said, "wb") as log:
        keeper = subprocess.Popen([sys.executable, "-B", HERE / "keeper.py", name, folder, session],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                  start_new_session=True)
    deadline = time.monotonic() + START_S
    while True:
        ended = keeper.poll() is not None
        if state := read_state(folder):
            break
        if ended or time.monotonic() > deadline:
            keeper.kill()
            keeper.wait()
            why = said.read_text(errors="replace")[-3000:] or f"nothing said within {START_S} s"
            state = {"failure": why, "session": session}
            write_state(folder, **state)
            break
        time.sleep(0.05)
    if "failure" in state:
        raise Failure(f"the shared server '{name}' cannot be started: {state['failure']}")
    return state


def leave(session_pid: int) -> None:
    """The session is over, though its process lives: what only it used is gone when this returns."""
    session = process_id(session_pid)
    for mine in FOLDER.glob(f"*/users/{session}"):
        folder = mine.parent.parent
        keeper = read_state(folder).get("keeper")
        mine.unlink()
        deadline = time.monotonic() + 30
        while keeper and lives(keeper) and not users(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
