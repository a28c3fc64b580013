#!/usr/bin/env python3
"""Runs clang-tidy on the C++ files: tools/lint.py BUILD_DIRECTORY [FILE...]

A file that passed is checked again only when it, a header of ours that it includes, .clang-tidy, its
compile command or clang-tidy changes. The hash of all these, with paths below the root of the
tree, names a stamp in ~/.cache/sightline/lint (or $XDG_CACHE_HOME), so that all clones of a machine
share them. A stamp that nobody asked for in 30 days is removed.

clang-tidy comes from tools/requirements.txt, not from Debian: since version 22 it does not search the
system's headers, and takes a third of the time.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
CLANG_TIDY = ROOT / ".deps" / "venv" / "bin" / "clang-tidy"
STAMPS = CACHE / "sightline" / "lint"
STAMP_DAYS_MAX = 30
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
# Instead of a check that costs more: .clang-tidy. CMakeLists.txt turns the last one off for clang, too.
WARNINGS = ["-Wreserved-identifier", "-Wreserved-macro-identifier", "-Wno-deprecated-declarations"]
# Options that only g++ knows.
DROP = re.compile(r"^-Wno-(maybe-uninitialized|stringop-over.*)$")


class Files:
    """The files of the tree, each read once, and which other files of the tree they include."""

    def __init__(self) -> None:
        self.known: dict[pathlib.Path, tuple[bytes, list[pathlib.Path]]] = {}

    def read(self, path: pathlib.Path, include_dirs: list[pathlib.Path]) -> None:
        if path in self.known:
            return
        content = path.read_bytes()
        found = []
        for name in INCLUDE.findall(content.decode(errors="replace")):
            for folder in (path.parent, *include_dirs):
                if (candidate := folder / name).is_file():
                    found.append(candidate.resolve())
                    break
        self.known[path] = (content, found)
        for include in found:
            self.read(include, include_dirs)

    def all_of(self, path: pathlib.Path, include_dirs: list[pathlib.Path]) -> list[pathlib.Path]:
        self.read(path, include_dirs)
        seen, todo = {path}, [path]
        while todo:
            for include in self.known[todo.pop()][1]:
                if include not in seen:
                    seen.add(include)
                    todo.append(include)
        return sorted(seen)

    def digest(self, path: pathlib.Path, include_dirs: list[pathlib.Path], command: list[str],
               tool: bytes) -> str:
        words = [word.replace(f"{ROOT}/", "").replace(str(ROOT), ".") for word in command]
        total = hashlib.sha256(json.dumps(words).encode() + tool)
        for part in self.all_of(path, include_dirs):
            name = str(part.relative_to(ROOT) if part.is_relative_to(ROOT) else part)
            content = self.known[part][0]
            total.update(f"{name}\0{len(content)}\0".encode() + content)
        return total.hexdigest()[:40]


def clang_command(entry: dict) -> list[str]:
    words = entry.get("arguments") or shlex.split(entry["command"])
    if "ccache" in words:
        words = words[words.index("ccache") + 1:]
    return ["clang++", *(word for word in words[1:] if not DROP.match(word)), *WARNINGS]


def lint(folder: pathlib.Path, path: pathlib.Path, stamp: pathlib.Path) -> str:
    done = subprocess.run([str(CLANG_TIDY), "--quiet", "-p", str(folder), str(path)],
                          capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        stamp.touch()
        return ""
    return done.stdout + (done.stderr if "error" not in done.stdout else "")


def is_fresh(stamp: pathlib.Path) -> bool:
    """Whether the file must be looked at; a stamp that is there counts as used."""
    try:
        os.utime(stamp)
    except FileNotFoundError:
        return True
    return False


def remove_old_stamps() -> None:
    oldest = time.time() - STAMP_DAYS_MAX * 24 * 3600
    for stamp in STAMPS.iterdir():
        try:
            if stamp.stat().st_mtime < oldest:
                stamp.unlink()
        except FileNotFoundError:
            pass  # another run was quicker


def main() -> int:
    build = pathlib.Path(sys.argv[1]).resolve()
    wanted = {pathlib.Path(name).resolve() for name in sys.argv[2:]}
    folder = build / "lint"
    folder.mkdir(exist_ok=True)
    STAMPS.mkdir(parents=True, exist_ok=True)
    tool = subprocess.run([str(CLANG_TIDY), "--version"], capture_output=True, check=True).stdout
    tool += (ROOT / ".clang-tidy").read_bytes()
    files, database, todo = Files(), [], {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        ours = path.suffix == ".cc" and path.is_relative_to(ROOT) and not path.is_relative_to(build)
        if not ours or (wanted and path not in wanted) or path in todo or not path.exists():
            continue
        command = clang_command(entry)
        include_dirs = [pathlib.Path(word[2:]) for word in command if word.startswith("-I")]
        include_dirs = [d for d in include_dirs if d.is_relative_to(ROOT)]
        todo[path] = STAMPS / files.digest(path, include_dirs, command, tool)
        database.append({"directory": entry["directory"], "file": str(path), "arguments": command})
    (folder / "compile_commands.json").write_text(json.dumps(database))

    fresh = [item for item in todo.items() if is_fresh(item[1])]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for output in pool.map(lambda item: lint(folder, *item), fresh):
            if output:
                failed += 1
                print(output, flush=True)
    remove_old_stamps()
    print(f"lint: {len(fresh)} of {len(todo)} files checked, {failed} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
