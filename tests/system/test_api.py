"""The HTTP API against web/openapi.json, its own description."""

from __future__ import annotations

import codecs
import contextlib
import csv
import http.client
import io
import json
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

import openapi
from askers import children_of
from events import Traffic, deliver
from openapi import SPEC, check, operations
from registry import test
from server import ROOT, Answer, Client, Failure, Server, Test, expect, expect_equal, lines, now_ms, wait_until

LOCATIONS = (7001, -12, 2**63 - 1)
SLOW = ("/v1/counts", "/v1/items", "/v1/query")
NO_END = b'{"sql":"SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b"}'


def _filled(t: Test, *options: object) -> tuple[Server, Traffic]:
    """A server with a lake that has files and, for a moment, something pending."""
    server = t.server("--lake.roll_interval", "200ms", *options)
    server.start()
    traffic = Traffic(0, trouble=False, locations=LOCATIONS)
    for _ in range(5):
        deliver(server, traffic, 40)
        time.sleep(0.15)  # so that the lake has several files
    server.wait_ledger(counted=traffic.oracle.distinct)
    return server, traffic


def _head_of_stream(server: Server, target: str, headers: str = "") -> Answer:
    """The head of an answer that has no end, and its first bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stream:
        stream.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        text = b""
        while b"\n\n" not in text.replace(b"\r\n\r\n", b"", 1):
            more = stream.recv(65_536)
            if not more:
                break
            text += more
    head, _, body = text.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return Answer(int(first.split()[1]),
                  {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}, body)


def _values(parameter: dict) -> list[str]:
    """Values that are right; of an enum all."""
    schema, name = parameter["schema"], parameter["name"]
    if "enum" in schema:
        return list(schema["enum"])
    if "minimum" in schema:
        return [str(schema[bound]) for bound in ("minimum", "maximum", "default")]
    day = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime())
    return {"location": ["all", "7001", "-12", str(2**63 - 1), "5"], "item": ["bus", "%F0%9F%9A%B2", ""],
            "window": ["1m", "5m", "60m", "24h", "today"], "step": ["1m", "15m", "24h"],
            "at": [str(now_ms())], "from": [day, str(now_ms() - 600_000), "0"],
            "to": [str(now_ms() + 60_000), "2100-01-01T00:00:00Z"]}[name]


def _targets(path: str, parameters: list[dict]) -> list[str]:
    """Without parameters, with each value of each, and, for the lake's, each format of each."""
    targets = [path]
    formats = next((_values(p) for p in parameters if p["name"] == "format"), [])
    for parameter in parameters:
        for value in _values(parameter):
            targets.append(f"{path}?{parameter['name']}={value}")
            if parameter["name"] not in ("format", *(() if path == "/v1/top" else ("window", "at"))):
                step = "&step=24h" if path == "/v1/counts" and parameter["name"] == "from" else ""
                targets += [f"{targets[-1]}{step}&format={f}" for f in formats]
    # A minute steps a day, or a second of all time, is too many: the one that has a bound.
    return [t.replace("from=0", "from=0&step=24h") if path == "/v1/counts" and "step" not in t else t
            for t in targets]


@test(seconds=300)
def api_spec(t: Test) -> None:
    """Every path, method, parameter, enum value and format of openapi.json, and nothing else."""
    openapi.self_test()
    server, _ = _filled(t)
    served = server.get("/openapi.json")
    expect_equal(served, SPEC, "the served openapi.json")

    source = (ROOT / "src" / "server" / "routes.cc").read_text()
    routes = set(re.findall(r'^    \{"(/[^"]+)", "', source, re.MULTILINE))
    expect(len(routes) >= 10, f"routes in routes.cc: {routes}")
    expect_equal(set(SPEC["paths"]), routes | {"/openapi.json"}, "paths of the file against routes.cc")

    for path, method, operation in operations():
        if method != "get":
            continue
        parameters = operation.get("parameters", [])
        for target in _targets(path, parameters):
            with t.case(target):
                answer = (_head_of_stream(server, target) if path == "/v1/stream"
                          else server.request("GET", target))
                expect_equal(answer.status, 200, f"{target}: {answer.body[:200]!r}")
                check(answer, path, method, target)
                _check_format(answer, target)
                if path == "/v1/items" or path == "/v1/top" and "format=" in target:
                    cut = "limit=1&" in target + "&"
                    expect("x-truncated" in answer.headers or not cut, f"{target} is cut and does not say so")
        if path == "/openapi.json":
            continue
        with t.case(f"{path}?nonsense"):
            answer = server.request("GET", f"{path}?nonsense=1")
            if path in ("/healthz", "/livez", "/readyz", "/metrics"):  # those take whatever a probe adds
                expect_equal(answer.status, 200, "status")
                continue
            expect_equal(answer.status, 400, "status")
            check(answer, path, method, f"{path}?nonsense")
        # What the server says it takes is what the file says, for the lake's parameters and live's.
        said: set = set()
        for more in ("", "&from=0", "&location=all"):
            detail = server.request("GET", f"{path}?nonsense=1{more}").json()["detail"]
            said |= set(re.search(r": use (.*)$", detail)[1].split(", "))
        expect_equal(said - {"none"}, {p["name"] for p in parameters}, f"parameters of {path}")

    for path, method, operation in operations():  # no other method works
        for other in {"get", "post", "put", "delete", "patch", "options"} - set(SPEC["paths"][path]):
            with t.case(f"{other} {path}"):
                answer = server.request(other.upper(), path, b"")
                expect_equal(answer.status, 405, "status")
                allowed = {name.strip().lower() for name in answer.headers["allow"].split(",")}
                expect_equal(allowed - {"head"}, set(SPEC["paths"][path]), "Allow")

    schema = SPEC["paths"]["/v1/query"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    for name in schema["properties"]["format"]["enum"]:
        for more in ({}, {"limit": 1}, {"limit": 1_000_000}):
            body = {"sql": "SELECT item_name, sum(item_count) AS n FROM item_counts GROUP BY ALL",
                    "format": name, **more}
            expect_equal(openapi.mismatch(body, schema), None, "the request against its schema")
            with t.case(body):
                answer = server.request("POST", "/v1/query", json.dumps(body).encode())
                expect_equal(answer.status, 200, f"{answer.body[:200]!r}")
                check(answer, "/v1/query", "post", str(body))
                _check_format(answer, f"format={name}")
                expect_equal("x-truncated" in answer.headers, more.get("limit") == 1, "X-Truncated")
    answer = server.post(lines([{"geographical_location_oid": 7001, "video_camera_oid": 1,
                                 "detection_oid": 1, "item_name": "x", "timestamp_detected": now_ms()},
                                {}]))
    check(answer, "/v1/detections", "post", "POST /v1/detections")
    answer = server.post(b"{}")
    expect_equal(answer.status, 422, "status of a body without a good element")
    check(answer, "/v1/detections", "post", "POST {}")
    server.stop()
    server.expect_quiet_log()


def _check_format(answer: Answer, target: str) -> None:
    """That the body is what its type says."""
    kind = answer.headers["content-type"].split(";")[0]
    found = re.search(r"format=([\w-]+)", target)
    if found:
        expect_equal(kind, {"json": "application/json", "ndjson": "application/x-ndjson",
                            "csv": "text/csv", "excel-csv": "text/csv", "table": "text/plain",
                            "parquet": "application/vnd.apache.parquet"}[found[1]], "type")
    if kind == "application/x-ndjson":
        for line in answer.body.splitlines():
            expect(isinstance(json.loads(line), dict), f"a line of {target}: {line!r}")
    elif kind == "text/csv":
        rows = list(csv.reader(io.StringIO(answer.body.decode("utf-8-sig"), newline="")))
        expect_equal({len(row) for row in rows}, {len(rows[0])}, f"fields a row of {target}")
    elif kind == "application/vnd.apache.parquet":
        expect(answer.body[:4] == answer.body[-4:] == b"PAR1", f"{target} is no Parquet file")


@test(seconds=120)
def excel_csv(t: Test) -> None:
    """What Excel would execute, round or not read as a time is written so that it does none of that, over HTTP
    and by the command, with and without a server."""
    server = t.server()
    server.start()
    names = ["=1+1", '=HYPERLINK("http://x","y")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "bus", "a,b", 'say "x"',
             "two\nlines", "自転車", " =1", "1=1", str(2**53 + 1)]
    oids = [7, 10**15 - 1, 10**15, 2**53 + 1, -(2**63)]
    start = now_ms() // 60_000 * 60_000 - 60_000
    server.post_ok(lines({"geographical_location_oid": oid, "video_camera_oid": 1, "detection_oid": 1_000 * i + n,
                          "item_name": name, "timestamp_detected": start}
                         for i, oid in enumerate(oids) for n, name in enumerate(names)))
    server.wait_ledger(counted=len(oids) * len(names))
    sql = ("SELECT geographical_location_oid AS oid, item_name, window_start AS \"=start\", date, "
           "sum(item_count)::BIGINT AS n, NULL AS nothing FROM item_counts GROUP BY ALL")
    at = time.strftime("%Y-%m-%d %H:%M:00.000", time.gmtime(start / 1_000))
    escaped = {name: f"'{name}" if name[0] in "=+-@\t\r" else name for name in names} | {names[-1]: f'="{names[-1]}"'}
    wanted = {(f'="{oid}"' if len(str(abs(oid))) > 15 else str(oid), escaped[name], at, at[:10], "1", "")
              for oid in oids for name in names}

    def check_file(body: bytes, what: str) -> None:
        expect(body.startswith(codecs.BOM_UTF8) and body.endswith(b"\r\n"), f"{what}: {body[:40]!r}")
        head, *rows = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        expect_equal(head, ["oid", "item_name", "'=start", "date", "n", "nothing"], f"{what}: the columns")
        expect_equal((len(rows), set(map(tuple, rows))), (len(wanted), wanted), f"{what}: the cells")

    answer = server.request("POST", "/v1/query", json.dumps({"sql": sql, "format": "excel-csv"}).encode())
    expect_equal(answer.status, 200, f"{answer.body[:200]!r}")
    check_file(answer.body, "HTTP")
    for running in (True, False):
        said = t.run("query", sql, "--data", server.data, "--format", "excel-csv")
        expect_equal((said.returncode, said.stderr), (0, b""), f"query, server running: {running}")
        check_file(said.stdout, f"query, server running: {running}")
        if running:
            server.stop()
    server.expect_quiet_log()


@test(seconds=300)
def api_errors(t: Test) -> None:
    """Every error that openapi.json documents for what asks the lake, and can be provoked."""
    server, _ = _filled(t, "--query.running_max", 1)
    seen: set[tuple[str, int]] = set()

    def provoked(status: int, path: str, method: str, answer: Answer, what: str) -> None:
        with t.case(f"{what} -> {status}"):
            expect_equal(answer.status, status, f"{answer.body[:200]!r}")
            check(answer, path, method, what)
            seen.add((path, status))

    def ask(body: bytes, **headers: str) -> Answer:
        return server.request("POST", "/v1/query", body,
                              {name.replace("_", "-"): value for name, value in headers.items()})

    gets = [path for path, method, operation in operations()
            if method == "get" and "404" in operation["responses"]]
    for path in gets:
        provoked(400, path, "get", server.request("GET", f"{path}?format=xml"), f"{path}?format=xml")
        provoked(403, path, "get", server.request("GET", path, headers={"Host": "evil.example"}),
                 f"{path} by another name")
    sql = b'{"sql":"SELECT 1"}'
    for body in (b"", b"{}", b"[]", b"x", b'{"sql":1}', b'{"sql":"SELECT 1","more":1}',
                 b'{"sql":"SELECT 1; SELECT 2"}', b'{"sql":"DROP TABLE ledger"}', b'{"sql":"SELEC"}',
                 b'{"sql":"COPY ledger TO \'/tmp/x\'"}', b'{"sql":"SELECT 1","limit":0}',
                 b'{"sql":"SELECT 1","format":"xml"}', b'{"sql":"SELECT * FROM \'/etc/passwd\'"}'):
        provoked(400, "/v1/query", "post", ask(body), repr(body))
    provoked(403, "/v1/query", "post", ask(sql, Origin="http://evil.example"), "another site")
    provoked(413, "/v1/query", "post", ask(b" " * 300_000), "300 kB")
    provoked(415, "/v1/query", "post", ask(sql, Content_Encoding="gzip"), "gzip")
    provoked(411, "/v1/query", "post", ask(iter([sql]), Transfer_Encoding="chunked"), "chunks")

    provoked(507, "/v1/query", "post", ask(b'{"sql":"SELECT len(list(i)) FROM range(1000000000) t(i)"}'),
             "a list of a billion")
    for step in ("1s", "30s", "61s"):
        with t.case(f"step={step}"):
            answer = server.request("GET", f"/v1/counts?step={step}")
            provoked(400, "/v1/counts", "get", answer, f"step={step}")
            expect("multiple of 1m" in answer.json()["detail"], f"does not name the smallest: {answer.body!r}")

    # A question whose process ends by itself. Here a signal ends it, while it waits for its turn to run. On a busy
    # machine the question may have come to a process that did not exist yet: then it is answered, and asked again.
    def crashed(ask_it: Callable[[], Answer]) -> Answer:
        for _ in range(10):
            time.sleep(1.2)  # until there is an idle worker of each kind, and none is on its way out
            workers = children_of(server.process.pid)

            def send(number: signal.Signals, workers: list[int] = workers) -> None:
                for pid in workers:
                    with contextlib.suppress(ProcessLookupError):  # it was on its way out
                        os.kill(pid, number)

            send(signal.SIGSTOP)
            with ThreadPoolExecutor(1) as asker:
                asked = asker.submit(ask_it)
                time.sleep(0.3)
                send(signal.SIGSEGV)
                send(signal.SIGCONT)
                answer = asked.result()
            if answer.status != 200:
                break
        return answer

    provoked(500, "/v1/query", "post", crashed(lambda: ask(b'{"sql":"SELECT 500"}')), "a crash")
    for path in gets:
        provoked(500, path, "get", crashed(lambda path=path: server.request("GET", f"{path}?format=json")),
                 f"{path}, a crash")

    # Who leaves takes his question with him: all places are taken by those who do.
    for _ in range(70):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as leaves:
            leaves.sendall(b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
                           % (len(NO_END), NO_END))
    start = time.monotonic()
    wait_until(lambda: server.request("GET", "/v1/items").status == 200, 5, "an answer after 70 who left")
    t.note(f"the next was answered after {time.monotonic() - start:.3f} s")

    # One place: one runs, 64 wait, the next is refused.
    full = threading.Event()

    def run() -> None:
        client = Client(server.port, timeout=120)
        try:
            while client.request("POST", "/v1/query", NO_END).status in (429, 504):
                full.set()  # once a question was refused, only those whose time is over make room
                time.sleep(0.05)
        except (OSError, http.client.HTTPException):
            pass  # the server stops below
        client.close()

    runners = [threading.Thread(target=run, daemon=True) for _ in range(70)]
    for runner in runners:
        runner.start()
    expect(full.wait(60), "70 questions are too many")
    wait_until(lambda: ask(sql).status == 429, 20, "too many questions")
    provoked(429, "/v1/query", "post", ask(sql), "full")
    expect_equal(server.request("GET", "/v1/items").status, 200, "a fixed question meanwhile")
    # The fixed questions have places of their own. They are full when no worker answers, nor one that was just
    # being started.
    def hold_workers() -> None:
        for pid in children_of(server.process.pid):
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, signal.SIGSTOP)

    def ask_items() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):  # the server stops below
            while Client(server.port, timeout=120).request("GET", "/v1/items").status == 200:
                pass

    hold_workers()

    fixed = [threading.Thread(target=ask_items, daemon=True) for _ in range(70)]
    for asker in fixed:
        asker.start()
    wait_until(lambda: hold_workers() or server.metric("sightline_query_waiting") == 128, 20,
               "too many fixed questions")
    for path in gets:
        provoked(429, path, "get", server.request("GET", f"{path}?format=json"), f"{path}, full")
    expect_equal(server.request("GET", "/v1/top").status, 200, "live meanwhile")
    took = server.stop()
    t.note(f"stopped in {took:.2f} s with 65 questions under way")
    for runner in runners:
        runner.join(10)
        expect(not runner.is_alive(), "a question has no end")
    server.expect_quiet_log()

    bare = t.server("--lake.enabled", "false")
    bare.start()
    for path in gets:
        provoked(404, path, "get", bare.request("GET", f"{path}?format=json"), f"{path}, no lake")
    provoked(404, "/v1/query", "post", bare.request("POST", "/v1/query", sql), "no lake")
    bare.stop()

    # 503 needs a server that is just starting, 504 half a minute, 507 of a fixed question a larger lake:
    # src/server/api_test.cc has them.
    for path, method, operation in operations():
        if "404" in operation["responses"]:
            documented = {int(status) for status in operation["responses"]} - {200, 503, 504}
            documented -= set() if path == "/v1/query" else {507}
            expect_equal({status for p, status in seen if p == path}, documented,
                         f"errors of {path} that were provoked")
