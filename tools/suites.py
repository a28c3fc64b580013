#!/usr/bin/env python3
"""Builds and runs the test suites of the Makefile: `tools/suites.py build | check | test`.

It prints one line per step, and everything that a step printed if that step failed. The last line is
`N passed, M failed`, over all suites; the exit code is 0 only if M is 0. Each case of a GoogleTest
program counts as one, and so does every other test and every build.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parent.parent
JOBS = os.cpu_count() or 1
# ThreadSanitizer of GCC 12 cannot run where the kernel moves addresses about more than it expects.
WITHOUT_ASLR = ["setarch", "-R"]
if subprocess.run([*WITHOUT_ASLR, "true"], capture_output=True).returncode != 0:
    WITHOUT_ASLR = []  # a container that forbids it


@dataclass
class Suite:
    name: str
    preset: str
    # ctest's selection; empty: only build. Labels: unit, check, full, system, browser.
    select: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=lambda: ["all"])
    jobs: int = JOBS


BUILD = [Suite("build", "release")]
CHECK = [
    Suite("unit and check", "release", ["-L", "^(unit|check)$"], ["all", "headers"]),
    Suite("fuzzers, a second each", "fuzz", ["-L", "^check$"], ["fuzzers"]),
]
TEST = CHECK + [
    Suite("address and undefined-behaviour sanitizers", "asan-ubsan", ["-L", "^(unit|sanitized)$"],
          ["sanitized_tests"]),
    Suite("thread sanitizer", "tsan", ["-L", "^threads$"], ["thread_tests"]),
    Suite("full", "release", ["-L", "^full$"]),
    Suite("system", "release", ["-L", "^system$"], jobs=2),
    Suite("browser", "release", ["-L", "^browser$"], jobs=1),
]


def run(command: list[str], env: dict[str, str] | None = None) -> tuple[bool, str]:
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **(env or {})}, text=True,
                          errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode == 0, done.stdout


def build(suite: Suite) -> tuple[bool, str]:
    folder = ROOT / "build" / suite.preset
    if not (folder / "build.ninja").exists():
        ok, output = run(["cmake", "--preset", suite.preset])
        if not ok:
            return ok, output
    return run(["cmake", "--build", str(folder), "--target", *suite.targets])


def count(results: pathlib.Path, ok: bool) -> tuple[int, int]:
    """Passed and failed, from ctest's report and the reports of the GoogleTest programs."""
    report = results / "ctest.xml"
    if not report.exists():
        return 0, 1
    passed = failed = 0
    for test in ElementTree.parse(report).getroot().iter("testcase"):
        if test.get("status") == "run":
            passed += 1
        elif test.get("status") != "disabled":
            failed += 1
    for program in results.glob("gtest/*.xml"):
        try:
            root = ElementTree.parse(program).getroot()
        except ElementTree.ParseError:
            continue  # the program died while it wrote: ctest's own line stays
        cases = int(root.get("tests", 0)) - int(root.get("disabled", 0))
        broken = int(root.get("failures", 0)) + int(root.get("errors", 0))
        if broken:
            passed, failed = passed + cases - broken, failed + broken - 1
        elif cases > 0:
            passed += cases - 1  # one is there already: its line in ctest's report
    if not ok and failed == 0:
        failed = 1
    return passed, failed


def test(suite: Suite) -> tuple[bool, str, int, int]:
    results = ROOT / "build" / suite.preset / "results" / suite.name.replace(" ", "_")
    shutil.rmtree(results, ignore_errors=True)
    (results / "gtest").mkdir(parents=True)
    ok, output = run(
        [*(WITHOUT_ASLR if suite.preset == "tsan" else []),
         "ctest", "--test-dir", str(ROOT / "build" / suite.preset), *suite.select,
         "--output-on-failure", "--no-tests=error", "--timeout", "1800", "-j", str(suite.jobs),
         "--output-junit", str(results / "ctest.xml")],
        {"GTEST_OUTPUT": f"xml:{results}/gtest/"})
    return (ok, output, *count(results, ok))


def main() -> int:
    suites = {"build": BUILD, "check": CHECK, "test": TEST}[sys.argv[1]]
    passed = failed = 0
    for suite in suites:
        start = time.monotonic()
        ok, output = build(suite)
        if not ok:
            print(output)
            print(f"FAILED: the {suite.preset} build, so '{suite.name}' did not run", flush=True)
            failed += 1
            continue
        print(f"{suite.preset} build: {time.monotonic() - start:.0f} s", flush=True)
        if not suite.select:
            continue
        start = time.monotonic()
        ok, output, good, bad = test(suite)
        passed, failed = passed + good, failed + bad
        if not ok:
            print(output)
        print(f"{'' if ok else 'FAILED: '}{suite.name}: {good} passed, {bad} failed, "
              f"{time.monotonic() - start:.0f} s", flush=True)
    if suites is not BUILD:
        print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
