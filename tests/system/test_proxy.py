"""Real proxies in front of the server, with the lines of docs/OPERATIONS.md, "Behind a proxy".

Only what a test must not touch is replaced: ports, and the paths of the certificate. The proxies are
Debian's, in .deps/proxies.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import pathlib
import re
import socket
import ssl
import subprocess
import time
from typing import Iterator

from registry import test
from server import (PATIENCE, ROOT, Answer, Client, Failure, Server, Test, expect, expect_equal, free_port, lines,
                    now_ms, wait_until)

PROXIES = ROOT / ".deps" / "proxies"
NAME = "counts.example.org"
PUBLIC = f"https://{NAME}"
EVIL = "https://evil.example"


def documented() -> dict[str, str]:
    """The fenced blocks of the section, by their kind."""
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    section = re.search(r"^## Behind a proxy\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    expect_equal(set(blocks), {"toml", "nginx", "caddy", "haproxy", "yaml"}, "kinds of blocks")
    return blocks


def replaced(text: str, *pairs: tuple[str, object]) -> str:
    for old, new in pairs:
        expect(old in text, f"the documented lines have no {old!r}")
        text = text.replace(old, str(new))
    return text


class Browser:
    """Requests over TLS to NAME on a local port, each on a connection of its own."""

    def __init__(self, port: int, certificate: pathlib.Path):
        self.port = port
        self.context = ssl.create_default_context(cafile=str(certificate))

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.context.wrap_socket(plain, server_hostname=NAME)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(NAME, timeout=10)
        with self.connect() as connection.sock:
            connection.request(method, path, body, {name.replace("_", "-"): v for name, v in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, {n.lower(): v for n, v in response.getheaders()}, response.read())


@contextlib.contextmanager
def running(t: Test, name: str, *command: object) -> Iterator[None]:
    log = t.folder / f"{name}.log"
    with open(log, "ab") as out:
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, cwd=t.folder,
                                   env={**os.environ, "HOME": str(t.folder)})
    t.processes.append(process)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def nginx(t: Test, lines_: str, port: int, server: Server, pem: pathlib.Path) -> contextlib.AbstractContextManager:
    site = replaced(lines_, ("listen 443", f"listen 127.0.0.1:{port}"), ("127.0.0.1:8080", f"127.0.0.1:{server.port}"),
                    ("/etc/ssl/counts.pem", pem), ("/etc/ssl/counts.key", pem))
    paths = "".join(f"{kind}_temp_path {t.folder}/nginx-{kind};\n"
                    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path = t.folder / "nginx.conf"
    path.write_text(f"daemon off;\nmaster_process off;\npid {t.folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
                    f"http {{\naccess_log off;\n{paths}{site}}}\n")
    return running(t, "nginx", PROXIES / "usr/sbin/nginx", "-p", t.folder, "-e", "stderr", "-c", path)


def caddy(t: Test, lines_: str, port: int, server: Server, pem: pathlib.Path) -> contextlib.AbstractContextManager:
    site = replaced(lines_, (f"{NAME} {{", f"{NAME}:{port} {{\n    bind 127.0.0.1\n    tls {pem} {pem}"),
                    ("127.0.0.1:8080", f"127.0.0.1:{server.port}"))
    path = t.folder / "Caddyfile"
    path.write_text("{\n    admin off\n    auto_https disable_redirects\n}\n" + site)
    return running(t, "caddy", PROXIES / "usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", path)


def haproxy(t: Test, lines_: str, port: int, server: Server, pem: pathlib.Path) -> contextlib.AbstractContextManager:
    path = t.folder / "haproxy.cfg"
    path.write_text(replaced(lines_, ("bind :443", f"bind 127.0.0.1:{port}"), ("/etc/ssl/counts.pem", pem),
                             ("127.0.0.1:8080", f"127.0.0.1:{server.port}")))
    return running(t, "haproxy", PROXIES / "usr/sbin/haproxy", "-db", "-f", path)


STARTERS = {"nginx": nginx, "caddy": caddy, "haproxy": haproxy}


def detection(oid: int) -> dict:
    return {"geographical_location_oid": 7, "video_camera_oid": 1, "detection_oid": oid, "item_name": "bus",
            "timestamp_detected": now_ms()}


def page_stream_and_posts(browser: Browser, first: int) -> None:
    """What the page does, and what senders do, through one proxy. Adds three detections from `first` on."""
    page = browser.request("GET", "/")
    expect_equal((page.status, page.headers["content-type"]), (200, "text/html; charset=utf-8"), "the page")
    with browser.connect() as stream:
        stream.sendall(f"GET /v1/stream?window=5m HTTP/1.1\r\nHost: {NAME}\r\nSec-Fetch-Site: same-origin\r\n\r\n"
                       .encode())
        seen = b""

        def until(word: bytes) -> None:
            nonlocal seen
            end = time.monotonic() + 10
            while word not in seen:
                expect(time.monotonic() < end, f"the stream has no {word!r}: {seen[-300:]!r}")
                more = stream.recv(65_536)
                expect(more, f"the stream ended: {seen[-300:]!r}")
                seen += more
            seen = seen[seen.index(word) + len(word):]

        until(b"event: snapshot")
        expect_equal(browser.request("POST", "/v1/detections", lines([detection(first)]), Origin=PUBLIC).status, 200,
                     "a post of the page")
        begin = time.monotonic()
        until(b"event: change")
        expect(time.monotonic() - begin < PATIENCE, f"the change came after {time.monotonic() - begin:.3f} s: it was kept back")
        until(b"event: heartbeat")
    body = lines([detection(first + 1)] * 60_000)  # beyond every proxy's buffers
    answer = browser.request("POST", "/v1/detections", body)
    expect_equal((answer.status, answer.json()["accepted"]), (200, 60_000), f"{len(body)} bytes")
    answer = browser.request("POST", "/v1/detections", gzip.compress(lines([detection(first + 2)])),
                             Content_Encoding="gzip")
    expect_equal(answer.status, 200, "gzip")
    sql = b'{"sql": "SELECT 1 AS n"}'
    expect_equal(browser.request("POST", "/v1/query", sql, Origin=PUBLIC).status, 200, "a query of the page")
    for path in ("/v1/detections", "/v1/query"):
        expect_equal(browser.request("POST", path, sql, Origin=EVIL).status, 403, f"another site's post to {path}")
    expect_equal(browser.request("GET", "/v1/items", Sec_Fetch_Site="cross-site").status, 403, "another site's GET")


@test(seconds=60)
def proxies(t: Test) -> None:
    """nginx, Caddy and HAProxy with the documented lines; the kubelet's probe; without the options, 403."""
    if not (PROXIES / "stamp").exists():
        raise Failure("there is no .deps/proxies: run tools/deps.sh test")
    blocks = documented()
    pem = t.folder / "counts.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
                    "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", t.folder / "key", "-out", pem],
                   check=True, capture_output=True, timeout=30)
    pem.write_bytes(pem.read_bytes() + (t.folder / "key").read_bytes())
    config = t.folder / "sightline.toml"
    config.write_text(replaced(blocks["toml"], ('listen = "127.0.0.1:8080"\n', "")))
    server = t.server("--config", config)
    strict = t.server(name="strict")
    server.start()
    strict.start()
    for number, (name, start) in enumerate(STARTERS.items()):
        with t.case(name):
            browser = Browser(free_port(), pem)

            def answers() -> bool:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    return browser.request("GET", "/livez").status in (200, 403)
                return False

            with start(t, blocks[name], browser.port, server, pem):
                wait_until(answers, 10, f"{name} answers")
                wait_until(lambda: browser.request("GET", "/livez").status == 200, 10, f"{name} reaches the server")
                page_stream_and_posts(browser, 100 * number)
            server.wait_ledger(counted=3 * (number + 1))
            # Secure by default: a server that was told nothing answers no name but its own.
            with start(t, blocks[name], browser.port, strict, pem):
                wait_until(answers, 10, f"{name} answers")
                wait_until(lambda: browser.request("GET", "/livez").status == 403, 10, f"{name} is refused")
    with t.case("kubelet"):
        path, host = (re.search(rf"{key}: ([\w./]+)", blocks["yaml"])[1] for key in ("path", "value"))
        for name, status in (("10.42.0.7:8080", 403), (host, 200)):
            answer = Client(server.port).request("GET", path, headers={"Host": name})
            expect_equal(answer.status, status, f"a probe that says Host: {name}")
    server.stop()
    strict.stop()
    server.expect_quiet_log()
