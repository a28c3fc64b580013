#!/usr/bin/env python3
"""Builds and runs the test suites of the Makefile: `tools/suites.py build | check | test`.

It prints one line per step, and everything that a step printed if that step failed.
At the end come the five slowest tests, the minutes of each step, and what was flaky. The last line is
`N passed, M failed`, over all suites; the exit code is 0 only when M is 0.

A GoogleTest program counts with each of its cases, every other test and every build as one. A case that
is skipped or disabled has proved nothing: it counts as failed. In the system and the browser suite,
where processes and browsers share a busy machine, a test that failed runs once more. When it then
passes it is a flake: both logs are shown, and build/flaky.txt and the summary name it.

`--self-test` runs the counting on written reports and a small ctest, and fails unless it is right.
"""

import datetime
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parent.parent
JOBS = os.cpu_count() or 1
SLOWEST = 5
# More failures than this are no flakes: they do not run again.
AGAIN_MAX = 5
# Of each log of a flake, the end.
LOG_LINES_MAX = 100
# So much of a passed test's output is in ctest's report (of a failed one's, 300 KiB).
PASSED_BYTES_MAX = 64 * 1024
# ThreadSanitizer cannot run where the kernel moves addresses about more than it expects.
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
    again: bool = False  # a failed test runs once more


BUILD = [Suite("build", "release")]
# Some unit tests mostly wait, so twice as many run side by side as there are cores.
UNIT = Suite("unit and check", "release", ["-L", "^(unit|check)$"], ["all", "headers"], jobs=2 * JOBS)
CHECK = [
    UNIT,
    Suite("fuzzers, a second each", "sanitizers", ["-L", "^fuzz$"], ["fuzzers"]),
]
TEST = [
    UNIT,
    Suite("fuzzers, and address and undefined-behaviour sanitizers", "sanitizers",
          ["-L", "^(unit|sanitized|fuzz)$"], ["sanitized_tests", "fuzzers"], jobs=2 * JOBS),
    Suite("thread sanitizer", "tsan", ["-L", "^threads$"], ["thread_tests"], jobs=2 * JOBS),
    Suite("full", "release", ["-L", "^full$"]),
    # In half cores, as tests/system/registry.py counts them.
    Suite("system", "release", ["-L", "^system$"], jobs=2 * JOBS, again=True),
    Suite("browser", "release", ["-L", "^browser$"], jobs=1, again=True),
]


@dataclass
class Case:
    """A test in ctest's report."""
    name: str
    status: str  # run (it passed), fail, notrun, disabled
    seconds: float
    log: str


@dataclass
class Flake:
    name: str
    logs: list[str]  # of the run that failed, of the one that passed


@dataclass
class Outcome:
    ok: bool
    output: str
    passed: int = 0
    failed: int = 0
    skipped: list[str] = field(default_factory=list)
    flakes: list[Flake] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)


def run(command: list[str], env: dict[str, str] | None = None) -> tuple[bool, str]:
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **(env or {})}, text=True,
                          errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode == 0, done.stdout


def build(suite: Suite) -> tuple[bool, str]:
    folder = ROOT / "build" / suite.preset
    configured = folder / "build.ninja"
    presets = ROOT / "CMakePresets.json"
    if not configured.exists() or configured.stat().st_mtime < presets.stat().st_mtime:
        ok, output = run(["cmake", "--fresh", "--preset", suite.preset])
        if not ok:
            return ok, output
    return run(["cmake", "--build", str(folder), "--target", *suite.targets])


def read_cases(report: pathlib.Path) -> list[Case]:
    if not report.exists():
        return []
    return [Case(test.get("name", ""), test.get("status", ""), float(test.get("time") or 0),
                 test.findtext("system-out") or "")
            for test in ElementTree.parse(report).getroot().iter("testcase")]


def count_program(report: pathlib.Path, outcome: Outcome) -> None:
    """Adds what the report of a GoogleTest program says beyond the program's line in ctest's."""
    try:
        root = ElementTree.parse(report).getroot()
    except ElementTree.ParseError:
        return  # the program died while it wrote: ctest's own line stays
    cases = int(root.get("tests", 0))
    broken = int(root.get("failures", 0)) + int(root.get("errors", 0))
    skipped = [f"{report.stem}: {case.get('classname')}.{case.get('name')}"
               for case in root.iter("testcase")
               if case.get("status") == "notrun" or case.get("result") in ("skipped", "suppressed")
               or case.find("skipped") is not None]
    if cases == 0:
        return
    outcome.skipped += skipped
    outcome.passed += cases - broken - len(skipped)
    outcome.failed += broken + len(skipped)
    if broken:
        outcome.failed -= 1  # one is there already: its line in ctest's report
    else:
        outcome.passed -= 1


def count(results: pathlib.Path, ok: bool, output: str) -> Outcome:
    """Passed and failed, from ctest's report and those of the GoogleTest programs. `results`/again has
    the same of the tests that ran once more."""
    outcome = Outcome(ok, output, cases=read_cases(results / "ctest.xml"))
    second = {case.name: case for case in read_cases(results / "again" / "ctest.xml")}
    for case in outcome.cases:
        again = second.get(case.name)
        if case.status == "run":
            outcome.passed += 1
        elif case.status == "fail" and again is not None and again.status == "run":
            outcome.passed += 1
            outcome.flakes.append(Flake(case.name, [case.log, again.log]))
        else:
            outcome.failed += 1
            if case.status != "fail":
                outcome.skipped.append(case.name)
    if outcome.flakes and outcome.failed == 0:
        outcome.ok = True
    programs = {report.name: report for folder in (results, results / "again")
                for report in sorted(folder.glob("gtest/*.xml"))}
    for report in programs.values():
        count_program(report, outcome)
    if not outcome.cases or (not outcome.ok and outcome.failed == 0):
        outcome.failed += 1
    outcome.ok = outcome.failed == 0
    return outcome


def ctest(folder: pathlib.Path, select: list[str], results: pathlib.Path, jobs: int,
          before: list[str]) -> tuple[bool, str]:
    (results / "gtest").mkdir(parents=True)
    return run([*before, "ctest", "--test-dir", str(folder), *select, "--output-on-failure",
                "--no-tests=error", "--timeout", "1800", "-j", str(jobs),
                "--test-output-size-passed", str(PASSED_BYTES_MAX),
                "--output-junit", str(results / "ctest.xml")],
               {"GTEST_OUTPUT": f"xml:{results}/gtest/"})


def test(suite: Suite, folder: pathlib.Path) -> Outcome:
    results = folder / "results" / re.sub(r"\W+", "_", suite.name)
    shutil.rmtree(results, ignore_errors=True)
    before = WITHOUT_ASLR if suite.preset == "tsan" else []
    ok, output = ctest(folder, suite.select, results, suite.jobs, before)
    failed = [case.name for case in read_cases(results / "ctest.xml") if case.status == "fail"]
    if suite.again and 0 < len(failed) <= AGAIN_MAX:
        names = "|".join(re.sub(r"([^\w/])", r"\\\1", name) for name in failed)
        output += ctest(folder, ["-R", f"^({names})$"], results / "again", suite.jobs, before)[1]
    return count(results, ok, output)


class Report:
    """What is said about the whole run when it is over."""

    def __init__(self, flaky_file: pathlib.Path) -> None:
        self.flaky_file = flaky_file
        self.passed = self.failed = 0
        self.steps: list[tuple[str, float]] = []
        self.cases: list[tuple[str, Case]] = []
        self.flakes: list[Flake] = []
        self.skipped: list[str] = []

    def step(self, name: str, seconds: float) -> None:
        self.steps.append((name, seconds))

    def add(self, suite: Suite, outcome: Outcome) -> None:
        self.passed += outcome.passed
        self.failed += outcome.failed
        self.cases += [(suite.name, case) for case in outcome.cases]
        self.flakes += outcome.flakes
        self.skipped += [f"{name} ({suite.preset})" for name in outcome.skipped]
        if outcome.flakes:
            today = datetime.date.today().isoformat()
            with self.flaky_file.open("a") as file:
                file.writelines(f"{flake.name} {today}\n" for flake in outcome.flakes)

    def lines(self) -> list[str]:
        said = []
        for flake in self.flakes:
            for title, log in zip(("failed", "passed when it ran again"), flake.logs):
                said += [f"--- {flake.name}: {title}", *log.splitlines()[-LOG_LINES_MAX:]]
        slowest = sorted(self.cases, key=lambda item: -item[1].seconds)[:SLOWEST]
        if slowest:
            said += ["seconds  slowest tests",
                     *(f"{case.seconds:7.0f}  {case.name} ({suite})" for suite, case in slowest)]
        said += ["minutes  step", *(f"{seconds / 60:7.1f}  {name}" for name, seconds in self.steps),
                 f"{sum(seconds for _, seconds in self.steps) / 60:7.1f}  together"]
        said += [f"skipped, which counts as failed: {name}" for name in self.skipped]
        said += [f"flaky: {flake.name} failed and passed when it ran again" for flake in self.flakes]
        return [*said, f"{self.passed} passed, {self.failed} failed"]


def run_suites(suites: list[Suite], report: Report) -> None:
    for suite in suites:
        start = time.monotonic()
        ok, output = build(suite)
        seconds = time.monotonic() - start
        report.step(f"{suite.preset} build", seconds)
        if not ok:
            print(output)
            print(f"FAILED: the {suite.preset} build, so '{suite.name}' did not run", flush=True)
            report.failed += 1
            continue
        print(f"{suite.preset} build: {seconds:.0f} s", flush=True)
        if not suite.select:
            continue
        start = time.monotonic()
        outcome = test(suite, ROOT / "build" / suite.preset)
        seconds = time.monotonic() - start
        report.step(suite.name, seconds)
        report.add(suite, outcome)
        if not outcome.ok:
            print(outcome.output)
        print(f"{'' if outcome.ok else 'FAILED: '}{suite.name}: {outcome.passed} passed, "
              f"{outcome.failed} failed, {seconds:.0f} s", flush=True)


# The self-test.

GTEST = """<?xml version="1.0"?>
<testsuites tests="{tests}" failures="{failures}" disabled="{disabled}" errors="0" name="AllTests">
<testsuite name="Suite">{cases}</testsuite></testsuites>"""
GOOD = '<testcase name="Good{}" classname="Suite" status="run" result="completed" time="0.1"/>'
SKIP = ('<testcase name="Skips" classname="Suite" status="run" result="skipped" time="0">'
        '<skipped message="no such thing here"/></testcase>')
OFF = '<testcase name="DISABLED_Off" classname="Suite" status="notrun" result="suppressed" time="0"/>'
BAD = ('<testcase name="Bad" classname="Suite" status="run" result="completed" time="0.1">'
       '<failure message="1 is not 2"/></testcase>')


def write_gtest(path: pathlib.Path, cases: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GTEST.format(tests=len(cases), failures=cases.count(BAD),
                                 disabled=cases.count(OFF), cases="".join(cases)))


def write_ctest(path: pathlib.Path, cases: list[tuple[str, str, float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("<testsuite>" + "".join(
        f'<testcase name="{name}" time="{seconds}" status="{status}">'
        f"<system-out>log of {name}</system-out></testcase>"
        for name, status, seconds in cases) + "</testsuite>")


def counted(ctest_cases: list[tuple[str, str, float]], gtest: dict[str, list[str]],
            again: list[tuple[str, str, float]] | None = None,
            gtest_again: dict[str, list[str]] | None = None) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        results = pathlib.Path(folder)
        write_ctest(results / "ctest.xml", ctest_cases)
        for name, cases in gtest.items():
            write_gtest(results / "gtest" / f"{name}.xml", cases)
        if again is not None:
            write_ctest(results / "again" / "ctest.xml", again)
            for name, cases in (gtest_again or {}).items():
                write_gtest(results / "again" / "gtest" / f"{name}.xml", cases)
        return count(results, all(status == "run" for _, status, _ in ctest_cases), "")


def self_test_counts(expect) -> None:
    two = [GOOD.format(1), GOOD.format(2)]
    got = counted([("unit/a", "run", 1), ("check/b", "run", 1)], {"a_test": two})
    expect("all good", (got.ok, got.passed, got.failed), (True, 3, 0))
    got = counted([("unit/a", "run", 1)], {"a_test": [*two, SKIP]})
    expect("skipped case", (got.ok, got.passed, got.failed, got.skipped),
           (False, 2, 1, ["a_test: Suite.Skips"]))
    got = counted([("unit/a", "run", 1)], {"a_test": [*two, OFF]})
    expect("disabled case", (got.ok, got.passed, got.failed, got.skipped),
           (False, 2, 1, ["a_test: Suite.DISABLED_Off"]))
    got = counted([("unit/a", "run", 1)], {"a_test": [SKIP]})
    expect("nothing but skipped", (got.ok, got.passed, got.failed), (False, 0, 1))
    got = counted([("unit/a", "fail", 1)], {"a_test": [*two, BAD, SKIP]})
    expect("bad and skipped", (got.ok, got.passed, got.failed), (False, 2, 2))
    got = counted([("unit/a", "fail", 1)], {"a_test": two})
    expect("died at the end", (got.ok, got.passed, got.failed), (False, 1, 1))
    got = counted([("system/a", "notrun", 0), ("system/b", "disabled", 0)], {})
    expect("not run", (got.ok, got.passed, got.failed, got.skipped),
           (False, 0, 2, ["system/a", "system/b"]))
    got = counted([], {})
    expect("no report", (got.ok, got.failed), (False, 1))


def self_test_flakes(expect) -> None:
    good = [GOOD.format(1)]
    got = counted([("system/a", "fail", 1), ("system/b", "run", 1)], {"a_test": [BAD, *good]},
                  [("system/a", "run", 1)], {"a_test": good * 2})
    expect("flake", (got.ok, got.passed, got.failed, [flake.name for flake in got.flakes]),
           (True, 3, 0, ["system/a"]))
    got = counted([("system/a", "fail", 1), ("system/b", "fail", 1)], {},
                  [("system/a", "run", 1), ("system/b", "fail", 1)])
    expect("one of two", (got.ok, got.passed, got.failed, [flake.name for flake in got.flakes]),
           (False, 1, 1, ["system/a"]))
    got = counted([("system/a", "fail", 1)], {}, [("system/a", "fail", 1)])
    expect("twice", (got.ok, got.failed, got.flakes), (False, 1, []))


def self_test_runs(expect) -> None:
    """A real ctest: one test that passes the second time, one that never does."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "CTestTestfile.cmake").write_text(
            f'add_test(system/once sh -c "echo this is a log; test -e {folder}/been || {{ touch '
            f'{folder}/been; exit 1; }}")\n'
            'add_test(system/never-1.5 false)\nadd_test(system/always true)\n')
        selections = {"both": ["-R", "."], "once": ["-R", "once|always"]}
        got = {}
        for key, select in selections.items():
            (folder / "been").unlink(missing_ok=True)
            got[key] = test(Suite("system", "release", select, again=True), folder)
        expect("run again", [(o.ok, o.passed, o.failed, [f.name for f in o.flakes])
                             for o in got.values()],
               [(False, 2, 1, ["system/once"]), (True, 2, 0, ["system/once"])])
        (folder / "been").unlink()
        once = test(Suite("full", "release", selections["once"]), folder)
        expect("not run again", (once.ok, once.passed, once.failed, once.flakes),
               (False, 1, 1, []))

        report = Report(folder / "flaky.txt")
        report.step("system", 90)
        report.add(Suite("system", "release"), got["once"])
        report.add(Suite("unit", "release"), Outcome(
            True, "", 7, 0, cases=[Case(f"unit/{i}", "run", i + 10, "") for i in range(7)]))
        said = report.lines()
        expect("last line", said[-1], "9 passed, 0 failed")
        expect("flaky line", said[-2], "flaky: system/once failed and passed when it ran again")
        expect("both logs", said.count("this is a log"), 2)
        slowest = said.index("seconds  slowest tests")
        expect("slowest", said[slowest + 1:slowest + 7],
               [f"     {i + 10}  unit/{i} (unit)" for i in (6, 5, 4, 3, 2)] + ["minutes  step"])
        expect("minutes", said[slowest + 7], "    1.5  system")
        expect("flaky.txt", report.flaky_file.read_text(),
               f"system/once {datetime.date.today().isoformat()}\n")


def self_test() -> int:
    wrong, checks = [], 0

    def expect(what: str, got, wanted) -> None:
        nonlocal checks
        checks += 1
        if got != wanted:
            wrong.append(f"{what}: {got!r}, not {wanted!r}")

    self_test_counts(expect)
    self_test_flakes(expect)
    self_test_runs(expect)
    print("\n".join(wrong) if wrong else f"{checks} counts are right")
    return 1 if wrong else 0


def main() -> int:
    if sys.argv[1] == "--self-test":
        return self_test()
    report = Report(ROOT / "build" / "flaky.txt")
    report.flaky_file.parent.mkdir(exist_ok=True)
    if sys.argv[1] == "test":
        report.flaky_file.write_text("")
    print(f"load average {os.getloadavg()[0]:.1f} on {JOBS} cores", flush=True)
    run_suites({"build": BUILD, "check": CHECK, "test": TEST}[sys.argv[1]], report)
    lines = report.lines()
    if sys.argv[1] == "build":
        lines.pop()  # it counts no tests
    print("\n".join(lines))
    return 0 if report.failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
