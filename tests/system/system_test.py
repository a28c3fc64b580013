#!/usr/bin/env python3
"""Tests of the whole program as processes: `system_test.py --binary PATH [--only NAME] [--kills N]`.

One line a test: `ok NAME seconds, cpu seconds`, or `FAILED NAME reason` and below it the logs of its
processes. The last line is `N passed, M failed`, the exit code 0 only when M is 0. Each test has a folder of
its own, free ports on 127.0.0.1 and a time limit; whatever it started is gone when it ends. Some share a server
(shared.py), which is gone when this program ends or, with `--share`, when the one that started it does: ctest.
Only the standard library, Python 3.9 or later, Linux.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback

# In the order of running: what is quick and tells most comes first.
import test_commands
import test_deploy
import test_doctor
import test_readme
import test_proxy
import test_api
import test_ask
import test_operation
import test_monitor
import test_repair
import test_switches
import test_operator
import test_hostile
import test_input
import test_payloads
import test_clocks
import test_stream
import test_durability
import test_gap
import test_lake
import test_lake_away
import test_lake_move
import test_hdfs
import test_s3
import test_hdfs_checkpoints
import test_kafka
import test_kafka_golden
import test_kafka_handover
import test_kafka_rekey
import test_kafka_security
import test_kafka_locations
import test_kafka_steps
import test_kafka_tools
import test_kafka_topics
import test_chaos
import test_chaos_stores
import shared
from registry import LOAD, TESTS, Entry
from server import PATIENCE, Failure, Test

MODULES = (test_commands, test_deploy, test_readme, test_api, test_ask, test_operation, test_repair, test_switches, test_operator, test_hostile, test_input,
           test_stream, test_doctor,
           test_durability, test_gap, test_lake, test_lake_away, test_lake_move, test_hdfs, test_hdfs_checkpoints, test_s3, test_kafka, test_kafka_golden, test_kafka_handover, test_kafka_rekey, test_kafka_tools,
           test_kafka_steps, test_kafka_locations, test_kafka_topics,
           test_kafka_security, test_chaos, test_chaos_stores)
LIMIT_S = 1_600  # of any test; ctest's own comes later (tools/suites.py)
# Tests that mount a file system: without the right to, they run in a namespace where they have it.
MOUNTING = ("full_disk", "spill", "lake_read_only", "unreadable_counts", "kafka_chaos", "operator_hour")


class OutOfTime(Exception):
    pass


def _out_of_time(*_: object) -> None:
    raise OutOfTime


def cpu_seconds() -> float:
    """Of this process and of all children that have ended, and theirs."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run(entry: Entry, arguments: argparse.Namespace) -> bool:
    begin, cpu = time.monotonic(), cpu_seconds()
    test = Test(arguments.binary, entry.name, arguments.kills, arguments.seed, arguments.seconds,
                session=session(arguments))
    reason = None
    signal.signal(signal.SIGALRM, _out_of_time)
    limit = min(LIMIT_S, entry.seconds * PATIENCE) + int(arguments.seconds)
    signal.alarm(limit)
    try:
        entry.run(test)
        if test.failed_cases:
            raise Failure(f"{len(test.failed_cases)} of {test.cases} cases:\n    "
                          + "\n    ".join(test.failed_cases))
    except OutOfTime:
        where = traceback.extract_tb(sys.exc_info()[2])
        ours = [frame for frame in where if "test_" in frame.filename][-1]
        reason = f"not done after {limit} s, at {pathlib.Path(ours.filename).name}:{ours.lineno}"
    except Failure as failure:
        ours = [frame for frame in traceback.extract_tb(failure.__traceback__)
                if pathlib.Path(frame.filename).name.startswith("test_")]
        where = f" ({pathlib.Path(ours[-1].filename).name}:{ours[-1].lineno})" if ours else ""
        reason = f"{failure}{where}"
        if test.failed_cases and not str(failure).startswith(f"{len(test.failed_cases)} of "):
            reason += "\n    before it: " + "\n    before it: ".join(test.failed_cases)
    except Exception:  # a mistake in the test is a failure, too
        reason = traceback.format_exc()
    finally:
        signal.alarm(0)
    took = time.monotonic() - begin
    if reason is not None:
        print(f"FAILED {entry.name} {reason}", flush=True)
        print(test.logs(), flush=True)
    if arguments.keep:
        print(f"---- kept: {test.folder}", flush=True)
        for process in test.processes:
            process.kill()
    else:
        test.close()
    if reason is None:
        notes = "; ".join(([f"{test.cases} cases"] if test.cases else []) + test.notes)
        print(f"ok {entry.name} {took:.1f}, cpu {cpu_seconds() - cpu:.1f}" + (f"   ({notes})" if notes else ""),
              flush=True)
    return reason is None


def session(arguments: argparse.Namespace) -> int:
    """The process with whose end shared servers end."""
    return os.getppid() if arguments.share else os.getpid()


def run_in_namespace(entry: Entry, arguments: argparse.Namespace) -> bool:
    """As a user who may mount, in a namespace where only this test sees it."""
    command = ["unshare", "--map-root-user", "--mount", sys.executable, __file__, "--binary",
               str(arguments.binary), "--only", entry.name, "--in-namespace", "--seed",
               str(arguments.seed), "--seconds", str(arguments.seconds), "--kills", str(arguments.kills)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines and lines[-1] == "1 passed, 0 failed":
        print(lines[0], flush=True)
        return True
    if lines and lines[-1].endswith(" passed, 1 failed"):
        print("\n".join(lines[:-1]), flush=True)
    else:
        print(f"FAILED {entry.name} cannot mount here, neither as root nor with unshare: "
              f"{done.stdout.strip()}", flush=True)
    return False


def can_mount() -> bool:
    return os.geteuid() == 0 or shutil.which("unshare") is None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="the program `sightline`")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this test; repeatable")
    parser.add_argument("--kills", type=int, default=50, help="of the test `crash`")
    parser.add_argument("--seed", type=int, default=1, help="of the tests that draw, such as `kafka_chaos`")
    parser.add_argument("--seconds", type=float, default=45, help="of `kafka_chaos`, `operator_hour` and "
                                                                  "`hostile_askers`")
    parser.add_argument("--list", action="store_true", help="the names of the tests")
    parser.add_argument("--load", action="store_true", help="with --list: and half cores and seconds of each")
    parser.add_argument("--share", action="store_true", help="servers with the other tests of the process "
                                                             "that starts this one")
    parser.add_argument("--keep", action="store_true", help="leave the tests' folders where they are")
    parser.add_argument("--in-namespace", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.binary = arguments.binary.resolve()
    if arguments.list:
        print("\n".join(" ".join(map(str, (name, *(entry.load if arguments.load else ()))))
                        for name, entry in TESTS.items()))
        return 0
    unknown = [name for name in (*(arguments.only or ()), *LOAD) if name not in TESTS]
    if unknown:
        parser.error(f"no test {', '.join(unknown)}; there are {', '.join(TESTS)}")
    passed = failed = 0
    for name, entry in TESTS.items():
        if arguments.only and name not in arguments.only:
            continue
        if name in MOUNTING and not arguments.in_namespace and not can_mount():
            good = run_in_namespace(entry, arguments)
        else:
            good = run(entry, arguments)
        passed, failed = passed + good, failed + (not good)
    if not arguments.share:
        shared.leave(os.getpid())
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
