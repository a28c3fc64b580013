#!/usr/bin/env python3
"""Enforces the arrows between the rooms of src/, and the homes of third-party libraries.

What is checked, for every tracked or new file:
- #include "room/...": the including room must have an arrow to that room (ROOMS); connectors see
  only the engine's port headers; the LINKS of each room's CMakeLists.txt follow the same arrows.
- #include <third/party.h>: only in its home (HOMES); port headers include none at all; no room
  includes a header of another room that includes one.
- operators, model, pipeline and the task use no clock, randomness, thread or environment.
- every header has #pragma once; no file or folder is called utils, common, helpers or misc.
- x.cc and x_test.cc include x.h before all others, which shows that it is self-contained
  (cmake/rooms.cmake compiles only the remaining headers alone).
- the arrows form no circle; no room but a connector has more than 4,000 lines, tests not counted.
Functions longer than 70 lines are listed as warnings and do not fail.

`--draw` prints each room with its files, its lines and the arrows that its includes take.
`--self-test` plants each violation in a copy of a small tree and fails unless it is found.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# room -> rooms that it may include, from the bottom to the top.
ROOMS = {
    "base": "",
    "model": "base",
    "pipeline": "model base",
    "operators": "pipeline model base",
    "engine": "operators pipeline model base",
    "ingest": "operators pipeline model base",
    "monitor": "model base",
    "live": "model base",
    "sql": "model base",
    "query": "sql model base",
    "workers": "query sql model base",
    "camera": "model base",
    "connectors/checkpoint_files": "connectors/storage engine model base",
    "connectors/embedded_log": "ingest engine model base",
    "connectors/locations": "model base",
    "connectors/storage": "base",
    "connectors/lake": "connectors/storage engine model base",
    "connectors/kafka": "ingest engine operators pipeline model base",
    "server": "ingest query sql live operators pipeline model base",
    "config": "connectors/kafka connectors/storage monitor engine operators pipeline model base",
    "history": "query sql connectors/lake connectors/storage connectors/checkpoint_files engine "
               "operators model base",
    "telemetry": "config monitor connectors/kafka engine model base",
    "batch": "operators pipeline model base",
    "doctor": "operators pipeline model base",
    "processes": "server telemetry history workers query config ingest live monitor camera "
                 "connectors/kafka connectors/embedded_log connectors/checkpoint_files "
                 "connectors/locations connectors/storage "
                 "engine operators pipeline model base",
    "admin": "processes telemetry config camera connectors/kafka connectors/embedded_log "
             "connectors/checkpoint_files connectors/lake connectors/storage connectors/locations "
             "engine operators pipeline model base",
    "cli": "admin processes doctor batch history server workers query config camera "
           "connectors/kafka connectors/lake connectors/storage connectors/locations operators "
           "pipeline model base",
}
ARROWS = {room: set(others.split()) for room, others in ROOMS.items()}
# What connectors may include of these rooms: the ports that they implement.
PORTS = {"engine/source.h", "engine/sink.h", "engine/async_answer.h", "engine/checkpoint_store.h",
         "engine/settings_store.h", "engine/store_worker.h", "ingest/detection_log.h"}
PORT_ROOMS = {"engine", "ingest"}
# A room with more lines should be split into two.
ROOM_LINES_MAX = 4000

# Third-party include prefix -> rooms where it may appear. None: everywhere.
HOMES = {
    "boost/unordered": None,
    "fmt": None,
    "sqlite3.h": {"connectors/embedded_log"},
    "zstd.h": {"connectors/embedded_log", "batch"},
    "boost/beast": {"server"},
    "boost/asio": {"server"},
    "boost/system": {"server"},
    "prometheus": {"server"},
    "zlib.h": {"server", "connectors/embedded_log", "connectors/checkpoint_files", "camera",
               "batch"},
    "curl": {"camera", "connectors/storage"},
    "duckdb.h": {"query"},
    "simdjson.h": {"operators", "connectors/lake"},
    "utf8proc.h": {"operators"},
    "xxhash.h": {"operators"},
    "openssl": {"connectors/storage"},
    "pugixml.hpp": {"connectors/storage"},
    "arrow": {"connectors/lake", "connectors/locations", "connectors/storage"},
    "parquet": {"connectors/lake", "connectors/locations"},
    "toml++": {"config"},
    "CLI": {"cli"},
    "date": {"base"},
    "boost/json": {"live", "sql", "query", "server", "camera", "connectors/kafka",
                   "connectors/storage", "config", "telemetry",
                   "history", "batch", "doctor", "admin", "cli"},
    "librdkafka": {"connectors/kafka"},
    "spdlog": {"base"},
}
TEST_ONLY = ("gtest", "gmock", "benchmark")
# Rooms that reach the operating system only through a port.
PURE = {"model", "pipeline", "operators", "engine"}
C_HEADERS = {"assert.h", "errno.h", "inttypes.h", "limits.h", "math.h", "stddef.h", "stdint.h",
             "stdio.h", "stdlib.h", "string.h", "time.h"}
POSIX = re.compile(r"^(sys|netinet|arpa|linux|net)/|^(dirent|dlfcn|fcntl|getopt|netdb|poll|pthread|"
                   r"pwd|sched|signal|spawn|termios|unistd|execinfo|syslog|ucontext)\.h$")

NO_PORT = re.compile(
    r"#include <(thread|mutex|shared_mutex|condition_variable|future|random|chrono|ctime|atomic|"
    r"semaphore|latch|barrier|stop_token)>"
    r"|\b(getenv|secure_getenv|std::rand|srand|random_device|mt19937(_64)?|clock_gettime|"
    r"gettimeofday|system_clock|steady_clock|std::thread|std::jthread|std::mutex|sleep_for)\b"
    r"|\bstd::time\(|\btime\((nullptr|NULL|0)\)")
NO_PORT_FILES = re.compile(r"^src/(operators|model|pipeline)/|^src/engine/partition_task\.(h|cc)$"
                           r"|^src/monitor/alerts\.(h|cc)$")
NO_ROOM = re.compile(r"(^|[_.-])(utils?|commons?|helpers?|misc)([_.-]|$)", re.IGNORECASE)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
LINES_MAX = 70


def room_of(path: str) -> str | None:
    """The room of a path below src/. Each folder of connectors/ is a room of its own."""
    parts = path.split("/")
    if len(parts) < 2:
        return None
    return "/".join(parts[:2]) if parts[0] == "connectors" else parts[0]


def arrows(room: str) -> set[str]:
    return ARROWS.get(room, set())


def home_of(include: str) -> str | None:
    for prefix in HOMES:
        if include == prefix or include.startswith((prefix + "/", prefix + ".")):
            return prefix
    return None


def is_standard(include: str) -> bool:
    return ("/" not in include and "." not in include) or include in C_HEADERS


class Tree:
    def __init__(self, root: pathlib.Path):
        self.root = root
        self.broken: list[str] = []
        self.warnings: list[str] = []
        self.text: dict[str, str] = {}
        self.files = self.list_files()
        for name in self.files:
            if name.endswith((".h", ".cc")):
                self.text[name] = (root / name).read_text(encoding="utf-8", errors="replace")

    def list_files(self) -> list[str]:
        listed = subprocess.run(
            ["git", "-C", str(self.root), "ls-files", "--cached", "--others", "--exclude-standard"],
            capture_output=True, text=True)
        if listed.returncode == 0:
            names = listed.stdout.splitlines()
        else:  # an export without .git
            names = [str(path.relative_to(self.root)) for path in self.root.rglob("*")]
        return sorted(name for name in set(names) if (self.root / name).is_file()
                      and not name.startswith((".deps/", "build/")) and "node_modules/" not in name)

    def fail(self, name: str, offset: int, message: str) -> None:
        line = self.text.get(name, "").count("\n", 0, offset) + 1
        self.broken.append(f"{name}:{line}: {message}")

    def check(self) -> None:
        for name in self.files:
            for part in pathlib.PurePath(name).parts:
                if NO_ROOM.search(part):
                    self.fail(name, 0, f"'{part}' says nothing: a thing without a room means that "
                                       "a room is missing")
            if name.startswith("src/") and name.endswith("/CMakeLists.txt"):
                self.check_links(name)
        for name, text in self.text.items():
            if name.endswith(".h") and "#pragma once" not in text:
                self.fail(name, 0, "no '#pragma once'")
            if name.startswith("src/"):
                self.check_includes(name)
                self.check_first_include(name)
                if NO_PORT_FILES.search(name) and not name.endswith("_test.cc"):
                    for use in NO_PORT.finditer(text):
                        if not self.in_comment(text, use.start()):
                            self.fail(name, use.start(), f"'{use.group(0)}': clock, randomness, "
                                      "threads and environment come in through a port")
            self.check_lengths(name)
        self.check_sizes()

    def sizes(self) -> dict[str, tuple[int, int]]:
        """The numbers of files and lines of each room, without its tests."""
        sizes: dict[str, tuple[int, int]] = {}
        for name, text in self.text.items():
            room = room_of(name.removeprefix("src/")) if name.startswith("src/") else None
            if room is not None and not name.endswith("_test.cc"):
                files, lines = sizes.get(room, (0, 0))
                sizes[room] = files + 1, lines + text.count("\n")
        return sizes

    def check_sizes(self) -> None:
        for room, (_, lines) in self.sizes().items():
            if lines > ROOM_LINES_MAX and not room.startswith("connectors/"):
                self.broken.append(f"src/{room}: {lines} lines; a room has at most "
                                   f"{ROOM_LINES_MAX}: split it")

    def draw(self) -> str:
        taken: dict[str, set[str]] = {}
        for name, text in self.text.items():
            room = room_of(name.removeprefix("src/")) if name.startswith("src/") else None
            if room is None or name.endswith("_test.cc"):
                continue
            others = {room_of(include) for quote, include in INCLUDE.findall(text)
                      if quote == '"' and f"src/{include}" in self.text}
            taken.setdefault(room, set()).update(others - {room, None})
        lines = []
        sizes = self.sizes()
        order = [room for room in ROOMS if room in sizes]
        for room in order + sorted(set(sizes) - set(order)):
            files, length = sizes[room]
            arrows_out = " ".join(other for other in reversed(order) if other in taken[room])
            lines.append(f"{room:28} {files:4} files {length:6} lines  -> {arrows_out or '-'}")
        lines.append(f"{len(sizes)} rooms, {sum(map(len, taken.values()))} arrows")
        return "\n".join(lines)

    @staticmethod
    def in_comment(text: str, offset: int) -> bool:
        line = text[text.rfind("\n", 0, offset) + 1:offset]
        return "//" in line

    def test_links(self, name: str) -> set[str]:
        """The additional rooms that the tests beside `name` may include: TEST_LINKS of CMakeLists.txt."""
        lists = self.root / name.rsplit("/", 1)[0] / "CMakeLists.txt"
        if not lists.exists():
            return set()
        found = re.search(r"TEST_LINKS\s+([^)]*?)(?=\b[A-Z_]{4,}\b|\))", lists.read_text())
        return set(found.group(1).split()) if found else set()

    def check_links(self, name: str) -> None:
        room = room_of(name.removeprefix("src/"))
        found = re.search(r"sightline_room\(\S+\s+LINKS\s+([^)]*?)(?=\b[A-Z_]{4,}\b|\))",
                          (self.root / name).read_text())
        if room is None or found is None:
            return
        for link in found.group(1).split():
            if link != room and link not in arrows(room):
                self.broken.append(f"{name}:1: {room} links {link}, but has no arrow to it")

    def check_includes(self, name: str) -> None:
        inside = name.removeprefix("src/")
        room = room_of(inside)
        if room is None:
            return
        if room not in ROOMS:
            self.fail(name, 0, f"'{room}' is not a room that tools/check_layers.py knows")
            return
        is_test = inside.endswith("_test.cc")
        for found in INCLUDE.finditer(self.text[name]):
            quote, include = found.groups()
            if quote == '"':
                self.check_ours(name, found.start(), room, include, is_test)
            elif not is_standard(include):
                self.check_theirs(name, found.start(), room, include, is_test)

    def check_first_include(self, name: str) -> None:
        if not name.endswith(".cc"):
            return
        header = name.removesuffix(".cc").removesuffix("_test") + ".h"
        first = INCLUDE.search(self.text[name])
        if header in self.text and first and first.group(2) != header.removeprefix("src/"):
            self.fail(name, first.start(), f"'{header.removeprefix('src/')}' must be included before "
                      "all others, which shows that it is self-contained")

    def check_ours(self, name: str, offset: int, room: str, include: str, is_test: bool) -> None:
        other = room_of(include)
        if other is None or f"src/{include}" not in self.text:
            # For example a generated header: whether it exists is the compiler's to check.
            return
        if other == room:
            return
        if is_test and other in self.test_links(name):
            return
        if other not in arrows(room):
            self.fail(name, offset, f"{room} has no arrow to {other}: '{include}'")
        elif room.startswith("connectors/") and other in PORT_ROOMS and include not in PORTS:
            self.fail(name, offset, f"{room} may include only the ports of {other}: '{include}'")
        else:
            shown = self.shown(include, set())
            if shown:
                self.fail(name, offset, f"'{include}' shows <{shown}> to another room")
        if name.removeprefix("src/") in PORTS and other not in {"base", "model"}:
            self.fail(name, offset, f"a port includes only base and model: '{include}'")

    def shown(self, header: str, seen: set[str]) -> str | None:
        """The third-party header that a header of the tree includes, if there is one."""
        if header in seen or f"src/{header}" not in self.text:
            return None
        seen.add(header)
        for quote, include in INCLUDE.findall(self.text[f"src/{header}"]):
            if quote == "<":
                home = home_of(include)
                if home is not None and HOMES[home] is not None:
                    return include
            else:
                deeper = self.shown(include, seen)
                if deeper:
                    return deeper
        return None

    def check_theirs(self, name: str, offset: int, room: str, include: str, is_test: bool) -> None:
        if include.split("/")[0] in TEST_ONLY:
            if not is_test:
                self.fail(name, offset, f"<{include}> belongs to tests")
            return
        if POSIX.search(include):
            if room in PURE and not is_test:
                self.fail(name, offset, f"<{include}>: {room} reaches the system through a port")
            return
        home = home_of(include)
        if home is None:
            self.fail(name, offset, f"<{include}> has no home: add one to tools/check_layers.py")
        elif name.removeprefix("src/") in PORTS:
            self.fail(name, offset, f"a port shows no third party: <{include}>")
        elif HOMES[home] is not None and room not in HOMES[home]:
            self.fail(name, offset, f"<{include}> lives in {', '.join(sorted(HOMES[home]))} only")

    def check_lengths(self, name: str) -> None:
        start = None
        for number, line in enumerate(self.text[name].splitlines(), 1):
            if re.match(r"[A-Za-z_~].*\{$", line) and not re.match(
                    r"(inline )?(namespace|struct|class|enum|union|extern)\b", line) \
                    and "=" not in line:
                start = number
            elif line.startswith("}") and start is not None:
                if number - start + 1 > LINES_MAX:
                    self.warnings.append(f"{name}:{start}: {number - start + 1} lines; a function "
                                         f"fits a screen ({LINES_MAX})")
                start = None


def circle(arrows_out: dict[str, set[str]]) -> list[str]:
    """The rooms of a circle of arrows, with the first one again at the end. Empty: there is none."""
    done: set[str] = set()

    def walk(room: str, path: list[str]) -> list[str]:
        if room in path:
            return path[path.index(room):] + [room]
        if room in done:
            return []
        for other in sorted(arrows_out.get(room, set())):
            if found := walk(other, path + [room]):
                return found
        done.add(room)
        return []

    for room in arrows_out:
        if found := walk(room, []):
            return found
    return []


def check(root: pathlib.Path) -> tuple[list[str], list[str]]:
    tree = Tree(root)
    tree.check()
    if found := circle(ARROWS):
        tree.broken.append(f"tools/check_layers.py: a circle of arrows: {' -> '.join(found)}")
    return tree.broken, tree.warnings


CLEAN = {
    "src/base/check.h": "#pragma once\n",
    "src/base/log.cc": "#include <spdlog/spdlog.h>\n",
    "src/model/types.h": '#pragma once\n#include "base/check.h"\n#include <string>\n',
    "src/operators/decode.h": '#pragma once\n#include "model/types.h"\n',
    "src/operators/decode.cc": '#include "operators/decode.h"\n#include <simdjson.h>\n'
                               "// no std::thread here\n",
    "src/engine/source.h": '#pragma once\n#include "model/types.h"\n',
    "src/engine/runtime.h": "#pragma once\n#include <thread>\n",
    "src/engine/runtime_test.cc":
        '#include "engine/runtime.h"\n#include <gtest/gtest.h>\n'
        '#include "connectors/checkpoint_files/file.h"\n',
    "src/engine/CMakeLists.txt":
        "sightline_room(engine LINKS operators base TEST_LINKS connectors/checkpoint_files\n"
        "               EXTERNAL fmt::fmt)",
    "src/connectors/checkpoint_files/file.h":
        '#pragma once\n#include "engine/source.h"\n#include <fcntl.h>\n',
    "src/connectors/storage/storage.h": '#pragma once\n#include "base/check.h"\n',
    "src/connectors/lake/lake.h": '#pragma once\n#include "connectors/storage/storage.h"\n',
    "src/connectors/lake/rows.cc": "#include <arrow/api.h>\n#include <parquet/arrow/writer.h>\n",
    "src/live/live.h": "#pragma once\n#include <boost/unordered/unordered_flat_map.hpp>\n",
    "src/server/internal.h": "#pragma once\n#include <boost/beast/http.hpp>\n",
    "src/server/server.h": '#pragma once\n#include "live/live.h"\n',
    "src/cli/main.cc": '#include <CLI/CLI.hpp>\n#include "server/server.h"\n',
    "tests/sim/sim.cc": '#include "engine/runtime.h"\n#include <random>\n',
}
# file, text, words that the finding must hold
PLANTED = [
    ("src/base/up.h", '#pragma once\n#include "model/types.h"\n', "base has no arrow to model"),
    ("src/operators/up.cc", '#include "engine/source.h"\n', "operators has no arrow to engine"),
    ("src/engine/up.cc", '#include "connectors/checkpoint_files/file.h"\n', "engine has no arrow to connec"),
    ("src/engine/up.cc", '#include "live/live.h"\n', "engine has no arrow to live"),
    ("src/live/up.cc", '#include "engine/source.h"\n', "live has no arrow to engine"),
    ("src/server/up.cc", '#include "engine/runtime.h"\n', "server has no arrow to engine"),
    ("src/connectors/checkpoint_files/up.cc", '#include "engine/runtime.h"\n', "only the ports of engine"),
    ("src/connectors/embedded_log/up.cc", '#include "connectors/checkpoint_files/file.h"\n', "no arrow to connec"),
    ("src/engine/up_test.cc", '#include "server/server.h"\n', "engine has no arrow to server"),
    ("src/engine/sink.h", '#pragma once\n#include "operators/decode.h"\n', "a port includes only"),
    ("src/engine/sink.h", "#pragma once\n#include <fmt/format.h>\n", "a port shows no third"),
    ("src/live/db.cc", "#include <sqlite3.h>\n", "connectors/embedded_log only"),
    ("src/cli/web.cc", "#include <boost/asio.hpp>\n", "<boost/asio.hpp> lives in server only"),
    ("src/cli/web.cc", '#include "server/internal.h"\n', "shows <boost/beast/http.hpp>"),
    ("src/cli/sql.cc", "#include <duckdb.h>\n", "<duckdb.h> lives in query only"),
    ("src/server/json.cc", "#include <simdjson.h>\n", "lives in connectors/lake, operators only"),
    ("src/connectors/storage/up.cc", '#include "connectors/lake/lake.h"\n', "no arrow to connec"),
    ("src/connectors/embedded_log/up.cc", '#include "connectors/storage/storage.h"\n', "no arrow to con"),
    ("src/cli/arrow.cc", "#include <arrow/api.h>\n", "<arrow/api.h> lives in"),
    ("src/cli/parquet.cc", "#include <parquet/api/reader.h>\n", "lives in connectors/lake"),
    ("src/cli/orc.cc", "#include <orc/reader.hh>\n", "has no home"),
    ("src/cli/t.cc", "#include <gtest/gtest.h>\n", "belongs to tests"),
    ("src/operators/io.cc", "#include <unistd.h>\n", "reaches the system through a port"),
    ("src/operators/t.cc", "#include <thread>\n", "come in through a port"),
    ("src/operators/t.cc", 'auto home = getenv("HOME");\n', "come in through a port"),
    ("src/operators/t.cc", "auto now = std::chrono::system_clock::now();\n", "through a port"),
    ("src/engine/partition_task.cc", "#include <random>\n", "come in through a port"),
    ("src/base/check.cc", "#include <string>\n", "must be included before all others"),
    ("src/base/check_test.cc", '#include <string>\n#include "base/check.h"\n', "must be included before"),
    ("src/model/guard.h", "#include <string>\n", "no '#pragma once'"),
    ("src/model/utils.h", "#pragma once\n", "'utils.h' says nothing"),
    ("tests/sim/helpers/x.cc", "\n", "'helpers' says nothing"),
    ("src/model/CMakeLists.txt", "sightline_room(model LINKS base engine)", "model links engine"),
    ("src/attic/x.cc", "\n", "is not a room"),
]


def write(root: pathlib.Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def self_test() -> int:
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder), CLEAN)
        wrong += [f"found in a clean tree: {line}" for line in check(pathlib.Path(folder))[0]]
    for name, text, words in PLANTED:
        with tempfile.TemporaryDirectory() as folder:
            write(pathlib.Path(folder), {**CLEAN, name: text})
            broken = check(pathlib.Path(folder))[0]
            if not any(line.startswith(name + ":") and words in line for line in broken):
                wrong.append(f"not found: {name} with {text!r} ({words}); found {broken}")
            if len(broken) > 1:
                wrong.append(f"found too much: {name} with {text!r}: {broken}")
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder), {"src/base/long.cc": "int F() {\n" + "  ;\n" * 70 + "}\n"})
        if len(check(pathlib.Path(folder))[1]) != 1:
            wrong.append("the long function is not in the warnings")
    with tempfile.TemporaryDirectory() as folder:
        lines = "// a line\n" * (ROOM_LINES_MAX + 1)
        write(pathlib.Path(folder), {"src/live/long.cc": lines, "src/connectors/kafka/x.cc": lines})
        found = check(pathlib.Path(folder))[0]
        if len(found) != 1 or not found[0].startswith("src/live: "):
            wrong.append(f"the room that is too large is not found: {found}")
    if circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) != ["b", "c", "b"]:
        wrong.append("the circle of arrows is not found")
    print("\n".join(wrong) if wrong else f"{len(PLANTED)} planted violations found")
    return 1 if wrong else 0


def main() -> int:
    if "--self-test" in sys.argv:
        return self_test()
    if "--draw" in sys.argv:
        print(Tree(ROOT).draw())
        return 0
    broken, warnings = check(ROOT)
    for line in warnings:
        print(f"warning: {line}")
    print("\n".join(broken) if broken else "layers: as docs/ARCHITECTURE.md draws them")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
