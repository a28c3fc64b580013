#!/usr/bin/env python3
"""Runs clang-tidy on the C++ files: tools/lint.py BUILD_DIRECTORY [FILE...]

A file that passed is checked again only when it, a header of ours that it includes, .clang-tidy or its
compile command changes. For this, BUILD_DIRECTORY/lint has one stamp per file, named by the hash of all
these. Files with coroutines are skipped, because clang 14 cannot read the coroutines of GCC's library.
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

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
COROUTINE = re.compile(r"\bco_(await|return|yield)\b|#include <coroutine>|asio::awaitable")
# Options that only g++ knows, or that are about precompiled headers, which clang cannot read.
DROP = re.compile(r"^(-Winvalid-pch|-fpch-preprocess|-fmodules-ts|-Wno-maybe-uninitialized|-Wno-stringop-over.*)$")


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

    def digest(self, path: pathlib.Path, include_dirs: list[pathlib.Path], command: list[str]) -> str:
        total = hashlib.sha256(json.dumps(command).encode() + (ROOT / ".clang-tidy").read_bytes())
        for part in self.all_of(path, include_dirs):
            total.update(str(part).encode() + b"\0" + self.known[part][0])
        return total.hexdigest()[:40]

    def has_coroutines(self, path: pathlib.Path, include_dirs: list[pathlib.Path]) -> bool:
        return any(COROUTINE.search(self.known[part][0].decode(errors="replace"))
                   for part in self.all_of(path, include_dirs))


def clang_command(entry: dict) -> list[str]:
    words = entry.get("arguments") or shlex.split(entry["command"])
    if "ccache" in words:
        words = words[words.index("ccache") + 1:]
    kept, skip = ["clang++-14"], False
    for i, word in enumerate(words[1:], 1):
        if skip:
            skip = False
        elif word == "-include" and "cmake_pch" in words[i + 1]:
            skip = True
        elif not DROP.match(word):
            kept.append(word)
    return kept


def lint(folder: pathlib.Path, path: pathlib.Path, stamp: pathlib.Path) -> str:
    done = subprocess.run(["clang-tidy-14", "--quiet", "-p", str(folder), str(path)],
                          capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        stamp.touch()
        return ""
    return done.stdout + (done.stderr if "error" not in done.stdout else "")


def main() -> int:
    build = pathlib.Path(sys.argv[1]).resolve()
    wanted = {pathlib.Path(name).resolve() for name in sys.argv[2:]}
    folder = build / "lint"
    folder.mkdir(exist_ok=True)
    files, database, todo = Files(), [], []
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        ours = path.is_relative_to(ROOT) and not path.is_relative_to(build)
        if not ours or (wanted and path not in wanted) or any(path == p for p, _ in todo):
            continue
        command = clang_command(entry)
        include_dirs = [pathlib.Path(word[2:]) for word in command if word.startswith("-I")]
        include_dirs = [d for d in include_dirs if d.is_relative_to(ROOT)]
        if not path.exists() or files.has_coroutines(path, include_dirs):
            continue
        stamp = folder / files.digest(path, include_dirs, command)
        database.append({"directory": entry["directory"], "file": str(path), "arguments": command})
        todo.append((path, stamp))
    (folder / "compile_commands.json").write_text(json.dumps(database))

    fresh = [(path, stamp) for path, stamp in todo if not stamp.exists()]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for output in pool.map(lambda item: lint(folder, *item), fresh):
            if output:
                failed += 1
                print(output, flush=True)
    if not wanted:
        current = {stamp for _, stamp in todo}
        for path in folder.iterdir():
            if path not in current and path.suffix != ".json":
                path.unlink()
    print(f"lint: {len(fresh)} of {len(todo)} files checked, {failed} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
