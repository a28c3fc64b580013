"""server: one `sightline` process under test - start, wait, kill, stop, and ask it over HTTP.

Everything that a process says goes to a log file in the test's folder; when a test fails, the runner
prints those logs. One thread at a time, unless said otherwise.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import functools
import gzip
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO, Callable, Iterable, Iterator

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUTCOMES = ("counted", "duplicate", "too_late", "future", "malformed", "outside")
# What no log may hold unless a test expects it. spdlog's level is the second word of a line.
TROUBLE = re.compile(r"^\S+ (error|critical) |CHECK failed|AddressSanitizer|ThreadSanitizer"
                     r"|runtime error:|terminate called|Assertion", re.MULTILINE)


class Failure(Exception):
    """A test's expectation that did not hold."""


def expect(condition: object, what: str) -> None:
    if not condition:
        raise Failure(what)


def expect_equal(actual: object, wanted: object, what: str) -> None:
    if actual != wanted:
        raise Failure(f"{what}: got {actual!r}, wanted {wanted!r}")


# SIGTERM drains and commits within it (README.md): `sigterm` and `kafka_stop` prove it.
STOP_S = 5
# A wait ends in failure after so many times what a quiet machine may need: noise is no finding.
PATIENCE = 3


def wait_until(holds: Callable[[], object], seconds: float, what: str) -> object:
    """The first true value of `holds`, asked every 20 ms."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"after {seconds * PATIENCE:g} s still not: {what}")
        time.sleep(0.02)


@contextlib.contextmanager
def unhurried() -> Iterator[None]:
    """What is done once for all tests does not count against the time limit of the one that comes first."""
    left = signal.alarm(0)
    try:
        yield
    finally:
        signal.alarm(left)


# A byte for each port, locked by the process that has it; of all test processes of this machine.
PORTS = pathlib.Path(tempfile.gettempdir()) / f"sightline-test-ports-{os.getuid()}"
ports_given: set[int] = set()
ports_file: list[IO] = []  # open as long as this process runs: to close it would give the locks back


def free_port() -> int:
    """Nobody listens on it now, no test that runs now was given it, and no outgoing connection comes to have
    it: those of Linux begin at 32768. It is ours until this process ends."""
    if not ports_file:
        ports_file.append(open(PORTS, "ab"))
    for _ in range(1000):
        port = random.SystemRandom().randrange(10_000, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in ports_given:
                fcntl.lockf(ports_file[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                ports_given.add(port)
                return port
    raise Failure("no free port between 10000 and 32767")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self) -> dict:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Failure(f"answer {self.status} is no JSON ({error}): {self.body[:300]!r}") from None


class Client:
    """A persistent connection. Not thread-safe. Raises OSError or HTTPException like http.client."""

    def __init__(self, port: int, timeout: float = 30):
        self.port, self.timeout = port, timeout
        self.connection: http.client.HTTPConnection | None = None

    def request(self, method: str, path: str, body: bytes | None = None,
                headers: dict[str, str] | None = None) -> Answer:
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port,
                                                         timeout=self.timeout)
        try:
            self.connection.request(method, path, body, headers or {})
            response = self.connection.getresponse()
            answer = Answer(response.status,
                            {name.lower(): value for name, value in response.getheaders()},
                            response.read())
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


@dataclass
class Test:
    """What a test function gets: the program, a folder of its own, and the processes it started."""
    binary: pathlib.Path
    name: str
    kills: int = 50
    seed: int = 1
    chaos_seconds: float = 45
    session: int = field(default_factory=os.getpid)  # the process with whose end shared servers end
    folder: pathlib.Path = field(init=False)
    servers: list["Server"] = field(default_factory=list)
    processes: list[subprocess.Popen] = field(default_factory=list)
    at_end: list[Callable[[], None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # numbers worth a look, printed with the result
    shared_logs: list[pathlib.Path] = field(default_factory=list)  # of servers that it shares
    cases: int = 0
    failed_cases: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"sightline-{self.name}-"))

    def server(self, *options: object, data: pathlib.Path | None = None,
               name: str | None = None, listen: str = "127.0.0.1") -> "Server":
        name = name or f"server{len(self.servers) + 1}"
        made = Server(self, name, data or self.folder / f"{name}-data", [str(o) for o in options],
                      listen)
        self.servers.append(made)
        return made

    def serve(self, *options: object, name: str = "serve") -> "Server":
        """`sightline serve`, which is asked as a server is."""
        made = self.server(*options, name=name)
        made.command = "serve"
        return made

    def build(self) -> pathlib.Path:
        """The build folder that the program is of: other programs of it are needed, too."""
        for folder in self.binary.parents:
            if (folder / "CMakeCache.txt").exists():
                return folder
        raise Failure(f"{self.binary} lies in no build folder")

    def run(self, *arguments: object, seconds: float = 60, **options) -> subprocess.CompletedProcess:
        """`sightline arguments...`, to its end."""
        command = [str(self.binary), *map(str, arguments)]
        try:
            return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  timeout=seconds * PATIENCE, cwd=self.folder, **options)
        except subprocess.TimeoutExpired:
            raise Failure(f"`sightline {' '.join(command[1:])}` runs for more than {seconds * PATIENCE:g} s") \
                from None

    def spawn(self, *arguments: object, log: pathlib.Path,
              environment: dict[str, str] | None = None) -> subprocess.Popen:
        """`sightline arguments...` in the background; everything it says goes to the end of `log`."""
        with open(log, "ab") as out:
            process = subprocess.Popen([str(self.binary), *map(str, arguments)], stdout=out,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                       cwd=self.folder, env=environment)
        self.processes.append(process)
        return process

    @contextlib.contextmanager
    def case(self, name: object) -> Iterator[None]:
        """One of many: if it fails, the test has failed, but the others still run."""
        self.cases += 1
        try:
            yield
        except Failure as failure:
            self.failed_cases.append(f"{name}: {failure}")

    def note(self, text: str) -> None:
        self.notes.append(text)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for undo in reversed(self.at_end):
            undo()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self, lines_max: int = 60) -> str:
        """The ends of all logs, for the report of a failure."""
        text = ""
        for path in (*sorted(self.folder.glob("*.log")), *filter(pathlib.Path.exists, self.shared_logs)):
            lines = path.read_text(errors="replace").splitlines()
            cut = f", its last {lines_max} of {len(lines)} lines" if len(lines) > lines_max else ""
            text += f"---- {path.name}{cut}\n" + "\n".join(lines[-lines_max:]) + "\n"
        return text


class Server:
    """`sightline up` on one port and one data directory, over as many lives as a test wants."""

    def __init__(self, test: Test, name: str, data: pathlib.Path, options: list[str], listen: str):
        self.test, self.name, self.data, self.options, self.listen = test, name, data, options, listen
        self.port = free_port()
        self.log_path = test.folder / f"{name}.log"
        self.process: subprocess.Popen | None = None
        self.log_start = 0  # where this life's part of the log begins
        self.command = "up"
        self.environment: dict[str, str] | None = None  # of the next life; None: the test's

    # -- its life --------------------------------------------------------------------------------

    def launch(self) -> None:
        """Starts the process and does not wait for anything."""
        self.log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.process = self.test.spawn(self.command, "--data", self.data, "--listen",
                                       f"{self.listen}:{self.port}", *self.options,
                                       log=self.log_path, environment=self.environment)

    def start(self, seconds: float = 60) -> float:
        """Until /healthz says 200; how many seconds that took."""
        begin = time.monotonic()
        self.launch()
        deadline = begin + seconds * PATIENCE
        while True:
            if self.process.poll() is not None:
                raise Failure(f"the server ended with {self.process.returncode} instead of "
                              f"starting: {self.last_line()}")
            try:
                if Client(self.port, timeout=2).request("GET", "/healthz").status == 200:
                    return time.monotonic() - begin
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > deadline:
                raise Failure(f"the server is not ready after {seconds * PATIENCE:g} s: {self.last_line()}")
            time.sleep(0.01)

    def wait_door(self, seconds: float = 20) -> bool:
        """After launch(): until it answers, whatever it says (True), or has ended (False)."""
        def open_or_ended() -> bool:
            if not self.running:
                return True
            try:
                Client(self.port, timeout=2).request("GET", "/healthz")
                return True
            except (OSError, http.client.HTTPException):
                return False

        wait_until(open_or_ended, seconds, "it answers or ends")
        return self.running

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = STOP_S) -> float:
        """SIGTERM; it must end by itself with exit code 0 in time. How long it took."""
        # In the first moments of its life nobody is there to take the signal.
        wait_until(lambda: not self.running or self._takes_signals(), 20, f"{self.name} takes signals")
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"still running {seconds:g} s after SIGTERM") from None
        expect_equal(code, 0, "exit code after SIGTERM")
        return time.monotonic() - begin

    def _takes_signals(self) -> bool:
        """It has blocked SIGTERM, and after that has come to ignore SIGPIPE: what can be seen from here."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        ignored = int(re.search(r"^SigIgn:\t(\w+)$", status, re.MULTILINE).group(1), 16)
        return bool(ignored & 1 << (signal.SIGPIPE - 1))

    def start_refused(self, *words: str, seconds: float = 20) -> str:
        """The start must fail with a code other than 0 (no signal), saying every one of `words`."""
        self.launch()
        try:
            code = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"started, or still trying after {seconds * PATIENCE:g} s, instead of refusing; "
                          f"it should say {words}") from None
        expect(code > 0, f"exit code {code} instead of a refusal")
        said = self.log()
        for word in words:
            expect(word.lower() in said.lower(), f"the refusal does not say {word!r}: {said!r}")
        for word in ("stopping", "stopped"):
            expect(not any(line.endswith(word) for line in said.splitlines()),
                   f"what has never started says {word!r}: {said!r}")
        return said

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    # -- what it says ----------------------------------------------------------------------------

    def log(self, whole: bool = False) -> str:
        """Of this life, or of all."""
        if not self.log_path.exists():
            return ""
        with open(self.log_path, "rb") as file:
            file.seek(0 if whole else self.log_start)
            return file.read().decode(errors="replace")

    def last_line(self) -> str:
        lines = self.log().strip().splitlines()
        return lines[-1] if lines else "(its log is empty)"

    def expect_quiet_log(self, *allowed: str) -> None:
        """No line of trouble, in any life, but those that match one of the patterns `allowed`."""
        for line in self.log(whole=True).splitlines():
            if TROUBLE.search(line) and not any(re.search(pattern, line) for pattern in allowed):
                raise Failure(f"the log has trouble: {line}")

    def memory_mib(self, what: str = "VmHWM") -> float:
        """VmHWM: the most resident memory so far; VmRSS: now."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+) kB", status).group(1)) / 1024

    # -- what it answers -------------------------------------------------------------------------

    def request(self, method: str, path: str, body: bytes | None = None,
                headers: dict[str, str] | None = None, timeout: float = 30) -> Answer:
        """On a connection of its own."""
        client = Client(self.port, timeout)
        try:
            return client.request(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            state = "running" if self.running else f"ended with {self.process.returncode}"
            raise Failure(f"{method} {path}: {error!r}; the server is {state}") from None
        finally:
            client.close()

    def get(self, path: str) -> dict:
        """A page that still reads what was counted is waited for."""
        answer = self.request("GET", path)
        deadline = time.monotonic() + 240  # millions of records, on a busy machine
        while answer.status == 503 and b"still being read" in answer.body and time.monotonic() < deadline:
            time.sleep(0.1)
            answer = self.request("GET", path)
        expect_equal(answer.status, 200, f"GET {path}: {answer.body[:300]!r}")
        return answer.json()

    def post(self, body: bytes, **headers: str) -> Answer:
        return self.request("POST", "/v1/detections", body,
                            {name.replace("_", "-"): value for name, value in headers.items()})

    def post_ok(self, body: bytes, **headers: str) -> dict:
        answer = self.post(body, **headers)
        expect_equal(answer.status, 200, f"POST: {answer.body[:300]!r}")
        return answer.json()

    def ledger(self) -> dict:
        return self.get("/v1/ledger")

    def top(self, location: object = "all", window: str = "24h", at: int | None = None) -> dict:
        return self.get(f"/v1/top?location={location}&window={window}&limit=1000"
                        + (f"&at={at}" if at is not None else ""))

    def locations(self, at: int | None = None) -> list:
        return self.get("/v1/locations?window=24h" + (f"&at={at}" if at is not None else ""))

    def metric(self, name: str, label: str = "") -> float:
        """Of /metrics, over all its labels or those with `label`, as in `partition="0"`."""
        text = self.request("GET", "/metrics").body.decode()
        labels = rf"{{.*{label}.*}}" if label else r"(?:{.*})?"
        values = re.findall(rf"^{name}{labels} (\S+)$", text, re.MULTILINE)
        expect(values, f"/metrics has no {name}")
        return sum(map(float, values))

    def health(self) -> dict:
        return self.request("GET", "/healthz").json()

    def answers(self) -> bool:
        """Whether it listens."""
        try:
            Client(self.port, timeout=2).request("GET", "/healthz")
            return True
        except (OSError, http.client.HTTPException):
            return False

    def healthy(self) -> bool:
        return self.request("GET", "/healthz").status == 200

    def wait_reason(self, seconds: float, *words: str) -> None:
        """Until the reasons in /healthz have all of `words`; other reasons may come before."""
        said: list[str] = []

        def tells() -> bool:
            said[:] = self.health()["reasons"]
            return all(word in " ".join(said) for word in words)

        try:
            wait_until(tells, seconds, f"/healthz says {words}")
        except Failure as failure:
            raise Failure(f"{failure}; it says {said}") from None

    def wait_ledger(self, seconds: float = 30, **wanted: int) -> dict:
        """Until the ledger says exactly `wanted`; at once a failure when one is beyond it."""
        ledger: dict = {}

        def reached() -> bool:
            ledger.update(self.ledger())
            for name, value in wanted.items():
                if ledger[name] > value:
                    raise Failure(f"ledger: {name} is {ledger[name]}, more than the {value} wanted: "
                                  f"{ledger}")
            return all(ledger[name] == value for name, value in wanted.items())

        try:
            wait_until(reached, seconds, f"ledger with {wanted}")
        except Failure as failure:
            raise Failure(f"{failure}; the ledger is {ledger}") from None
        return ledger


def remove_checkpoints(server: Server) -> None:
    """As docs/LAKE.md, "Damage", and docs/OPERATIONS.md have it: all but the settings of the pipeline."""
    for path in (server.data / "checkpoints").iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def start_all(servers: Iterable[Server]) -> None:
    """As start() of each, all at once."""
    all_at_once([server.start for server in servers])


def stop_all(servers: Iterable[Server], seconds: float = STOP_S) -> None:
    """As stop() of each, all at once: what one waits for the others need not."""
    all_at_once([functools.partial(server.stop, seconds) for server in servers])


def all_at_once(calls: list[Callable[[], object]]) -> None:
    with concurrent.futures.ThreadPoolExecutor(max(1, len(calls))) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result()


def lines(elements: Iterable[object]) -> bytes:
    """NDJSON; bytes are taken as they are."""
    return b"".join((element if isinstance(element, bytes) else json.dumps(element).encode()) + b"\n"
                    for element in elements)


def gzipped(body: bytes) -> bytes:
    return gzip.compress(body, 1)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def is_root() -> bool:
    return os.geteuid() == 0
