"""README.md does what it says: its shell lines are run as they stand, its outputs are compared.

Only what a test must not touch is replaced: the port 8080 and /srv. `make` is left to the suites.
"""

from __future__ import annotations

import csv
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess

from registry import test
from server import ROOT, Server, Test, expect, expect_equal, wait_until

README = ROOT / "README.md"
INDENT = "    "
COMMAND = re.compile(r"^\s*(\S*/)?(sightline|curl|make)\b", re.MULTILINE)
SECONDS = 30  # for one line


def blocks_of(text: str) -> list[list[str]]:
    """The indented code blocks, each as its lines without the indent. Fences hold drawings alone."""
    fences = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for kind, drawing in fences:
        expect_equal(kind, "text", "a fenced block of README.md, which is not run")
        expect(not COMMAND.search(drawing),
               f"a command in a fenced block of README.md, which is not run: {drawing}")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        is_code = line.startswith(INDENT) or (inside and not line.strip())
        if is_code and not inside:
            blocks.append([])
        if is_code:
            blocks[-1].append(line[len(INDENT):])
        inside = is_code
    return [[line for line in block if line.strip()] for block in blocks]


def steps_of(block: list[str]) -> list[tuple[str, str]]:
    """(command, output that is stated for it or ""), in order. A here-document belongs to its line."""
    steps: list[tuple[str, str]] = []
    lines = iter(block)
    for line in lines:
        if COMMAND.match(line):
            marker = re.search(r"<<(\w+)", line)
            while marker and not line.endswith("\n" + marker.group(1)):
                line += "\n" + next(lines)
            steps.append((line, ""))
        elif steps:
            steps[-1] = (steps[-1][0], steps[-1][1] + line + "\n")
        else:
            steps.append(("", line + "\n"))  # the output of the block before
    return steps


class Reader:
    """Someone who has Sightline built, a location table, a recording, and types what README.md says."""

    def __init__(self, t: Test, text: str):
        self.t, self.folder = t, t.folder
        self.server: Server | None = None
        self.done: list[str] = []
        self.last_stderr = ""
        binary = self.folder / "build/release/sightline"
        binary.parent.mkdir(parents=True)
        binary.symlink_to(t.binary)
        (self.folder / "data").mkdir()
        shutil.copy(ROOT / "data" / "pedestrians.ndjson", self.folder / "data")
        shutil.copy(ROOT / "data" / "pedestrians.ndjson", self.folder / "detections.ndjson")
        columns = re.findall(r"`(geographical_location_oid,\S+)`.*?`(latitude,\S+)`", text, re.DOTALL)
        expect_equal(len(columns), 1, "README.md names the columns of the location table")
        (self.folder / "locations.csv").write_text(",".join(columns[0]) +
                                                   "\n7,Harbour,53.5,9.9,Europe/Berlin,\n")
        self.environment = {**os.environ, "HOME": str(self.folder),
                            "PATH": f"{binary.parent}:{os.environ['PATH']}"}

    def type(self, command: str, output: str) -> None:
        self.done.append(command)
        words = shlex.split(command.split("\n")[0], comments=True)
        program = pathlib.Path(words[0]).name
        if program == "make":
            return
        if program == "sightline" and words[1] == "up":
            return self.start(words[2:])
        if program == "sightline" and words[1:3] == ["camera", "--simulate"]:
            return self.simulate(words[1:])
        expect(self.server is not None, f"README.md starts no server before `{command}`")
        said = subprocess.run(["bash", "-c", self.here(command)], cwd=self.folder, text=True,
                              env=self.environment, timeout=SECONDS, capture_output=True)
        expect_equal(said.returncode, 0, f"exit code of `{command}`: {said.stderr}")
        self.last_stderr = said.stderr
        if output:
            expect_equal(said.stdout.strip(), output.strip(), f"what `{command}` answers")
        if words[1] == "replay":
            counted = sum(int(row["item_count"]) for row in csv.DictReader(said.stdout.splitlines()))
            expect(f"counted {counted} " in said.stderr, f"{counted} counted, but {said.stderr}")
        if words[1] in ("explain", "top", "query", "ledger", "lake"):
            expect(said.stdout.strip(), f"`{command}` says nothing")

    def here(self, command: str) -> str:
        return (command.replace("127.0.0.1:8080", f"127.0.0.1:{self.server.port}")
                .replace("/srv/sightline", shlex.quote(str(self.server.data))))

    def start(self, options: list[str]) -> None:
        if self.server is not None:
            self.server.stop()
        if "--data" in options:  # the test's servers name it themselves
            at = options.index("--data")
            del options[at:at + 2]
        self.server = self.t.server(*options)
        self.server.start()
        if "--locations" in options:
            names = [row["name"] for row in self.server.locations()]
            expect_equal(names, ["Harbour"], "names of the location table")
        if "--partitions" in options:
            partitions = options[options.index("--partitions") + 1]
            metrics = self.server.request("GET", "/metrics").body.decode()
            expect_equal(metrics.count("sightline_engine_offset{"), int(partitions), "partitions")

    def simulate(self, words: list[str]) -> None:
        """Runs until it is stopped; what it sends is counted."""
        before = self.server.ledger()["counted"]
        process = self.t.spawn(*words, "--url", f"http://127.0.0.1:{self.server.port}",
                               log=self.folder / "camera.log")
        wait_until(lambda: self.server.ledger()["counted"] > before + 100, SECONDS, "100 are counted")
        process.send_signal(signal.SIGTERM)
        expect_equal(process.wait(SECONDS), 0, "exit code of the simulated camera after SIGTERM")


@test(seconds=240)
def readme(t: Test) -> None:
    """Every shell line of README.md runs, and answers what README.md says that it answers."""
    text = README.read_text()
    reader = Reader(t, text)
    for block in blocks_of(text):
        for command, output in steps_of(block):
            if command:
                reader.type(command, output)
            else:
                expect_equal(reader.last_stderr.strip(), output.strip(),
                             f"what `{reader.done[-1]}` says")
    reader.server.stop()
    reader.server.expect_quiet_log()
    kinds = " ".join(reader.done)
    for wanted in ("sightline up", "curl", "camera --replay", "camera --simulate", "sightline replay",
                   "sightline options", "sightline explain", "--config", "sightline query",
                   "sightline top", "sightline ledger", "sightline lake verify"):
        expect(wanted in kinds, f"README.md no longer shows `{wanted}`")
    t.note(f"{len(reader.done)} commands")
