"""deploy/ and docs/OPERATIONS.md: every command and option in them exists. No image is built here."""

from __future__ import annotations

import re
import shutil
import subprocess

from registry import test
from server import ROOT, Failure, Test, expect

DEPLOY = ROOT / "deploy"


@test()
def deploy_files(t: Test) -> None:
    compose = (DEPLOY / "container" / "compose.yaml").read_text()
    unit = DEPLOY / "systemd" / "sightline@.service"
    commands = re.findall(r"^    command: (.+)$", compose, re.MULTILINE)
    steps = {command.split()[0] for command in commands}
    expect(steps == {"count", "join", "transform", "store", "serve"}, f"steps of compose.yaml: {steps}")
    commands += re.findall(r"docker compose run --rm \w+ (.+)$", compose, re.MULTILINE)
    commands += [f"{step} --config x" for step in (*steps, "up")]  # the unit's ExecStart
    expect("sightline %i --config /etc/sightline/%i.toml" in unit.read_text(), "the unit's command")
    for command in commands:
        with t.case(command):
            words = command.split()
            names = [word for word in words if word.startswith("--")]
            sub = words[:next(i for i, word in enumerate(words) if word.startswith("--"))]
            done = t.run(*sub, "--help")
            expect(done.returncode == 0, f"{sub}: {done.stderr!r}")
            for name in names:
                expect(re.search(rf"(^|[ ,]){re.escape(name)}\b", done.stdout.decode(), re.MULTILINE),
                       f"`sightline {' '.join(sub)}` has no {name}")
    with t.case("options that OPERATIONS.md names"):
        options = t.run("options").stdout.decode()
        section, known = "", set()
        for line in options.splitlines():
            if line.startswith("["):
                section = line.strip("[]") + "."
            elif found := re.match(r"(?:# )?(\w+) = ", line):
                known.add(section + found.group(1))
        text = (ROOT / "docs" / "OPERATIONS.md").read_text()
        named = set(re.findall(r"`((?:kafka|engine|lake|live|log|pipeline|server)\.\w+)`", text)) - {"log.db", "lake.json", "pipeline.settings"}  # files
        expect(len(named) > 10, f"OPERATIONS.md names only {named}")
        expect(named <= known, f"no such options: {sorted(named - known)}")
    if analyze := shutil.which("systemd-analyze"):
        with t.case("the unit"):
            instance = t.folder / "sightline@count.service"
            instance.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text()))
            done = subprocess.run([analyze, "verify", "--man=no", instance], capture_output=True,
                                  text=True, timeout=60)
            if "sightline" in done.stderr:
                raise Failure(f"systemd-analyze: {done.stderr[-1000:]}")
