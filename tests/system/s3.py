"""s3: an object store with the interface of S3 (versitygw), and a client of it that is not Sightline's."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
import http.client
import pathlib
import re
import socket
import socketserver
import subprocess
import threading
import urllib.parse
import uuid
from dataclasses import dataclass

import shared
from gateways import Connection
from server import PATIENCE, ROOT, Failure, Test, expect, free_port, wait_until

PROGRAM = ROOT / ".deps" / "s3" / "versitygw"
REGION = "us-east-1"


@dataclass(frozen=True)
class Key:
    id: str
    secret: str

    def environment(self) -> dict[str, str]:
        """How AWS's programs are told; nobody is to ask an instance's service for another one."""
        return {"AWS_ACCESS_KEY_ID": self.id, "AWS_SECRET_ACCESS_KEY": self.secret,
                "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}

    def write(self, path: pathlib.Path) -> pathlib.Path:
        """As access_key_file has it."""
        path.write_text(f"{self.id}\n{self.secret}\n")
        return path


ROOT_KEY = Key("rootaccess", "root-secret")


class S3:
    """S3 for the test itself."""

    def __init__(self, port: int, key: Key = ROOT_KEY):
        self.port, self.key = port, key

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: bytes = b"", **query: str) -> tuple[int, bytes]:
        """`path` begins with the bucket."""
        target = "/" + urllib.parse.quote(path, safe="/~")
        parameters = urllib.parse.urlencode(sorted(query.items()), quote_via=urllib.parse.quote, safe="~")
        host, payload = f"127.0.0.1:{self.port}", hashlib.sha256(body).hexdigest()
        time = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        names = "host;x-amz-content-sha256;x-amz-date"
        canonical = (f"{method}\n{target}\n{parameters}\nhost:{host}\nx-amz-content-sha256:{payload}\n"
                     f"x-amz-date:{time}\n\n{names}\n{payload}")
        scope = f"{time[:8]}/{REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.key.secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30 * PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, f"{target}?{parameters}" if parameters else target, body, {
                "x-amz-date": time, "x-amz-content-sha256": payload,
                "Authorization": f"AWS4-HMAC-SHA256 Credential={self.key.id}/{scope}, SignedHeaders={names}, "
                                 f"Signature={signature}"})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def ok(self, method: str, path: str, body: bytes = b"", **query: str) -> bytes:
        status, answer = self.call(method, path, body, **query)
        expect(status in (200, 204), f"{method} {path} {query}: {status} {answer[:500]!r}")
        return answer

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Of the objects below the prefix, without it, sorted; a thousand at most."""
        body = self.ok("GET", bucket, **{"list-type": "2", "prefix": prefix}).decode()
        return sorted(key.removeprefix(prefix) for key in re.findall("<Key>([^<]*)</Key>", body))

    def uploads(self, bucket: str, prefix: str) -> list[str]:
        """The keys of the multipart uploads that are not finished."""
        body = self.ok("GET", bucket, uploads="", prefix=prefix).decode()
        return re.findall("<Key>([^<]*)</Key>", body)


class Versitygw(S3):
    """A server, started; ready with `wait`. Its files lie in the test's folder."""

    def __init__(self, test: Test | shared.Owner, wait: bool = True):
        if not PROGRAM.exists():
            raise Failure(f"there is no {PROGRAM}: run tools/deps.sh test")
        super().__init__(free_port())
        self.test, self.log = test, test.folder / "versitygw.log"
        self.process: subprocess.Popen | None = None
        for name in ("objects", "users", "metadata"):
            (test.folder / name).mkdir()
        self.start()
        if wait:
            self.wait()

    def start(self) -> None:
        # With metadata beside the objects any file system will do. Without keep-alive no test would see a
        # connection that is used again.
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [PROGRAM, "--access", self.key.id, "--secret", self.key.secret, "--region", REGION,
                 "--port", f"127.0.0.1:{self.port}", "--iam-dir", self.test.folder / "users", "--keep-alive",
                 "posix", "--sidecar", self.test.folder / "metadata", self.test.folder / "objects"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, preexec_fn=shared.die_with_parent)
        self.test.processes.append(self.process)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ready(self) -> bool:
        if self.process.poll() is not None:
            raise Failure(f"versitygw has ended: {self.log.read_text(errors='replace')[-2000:]}")
        try:
            return self.call("GET", "")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait(self) -> None:
        wait_until(self.ready, 30, "versitygw is ready")

    def make_user(self, name: str) -> Key:
        key = Key(name, f"secret-of-{name}")
        done = subprocess.run(
            [PROGRAM, "admin", "--access", self.key.id, "--secret", self.key.secret, "--endpoint-url", self.url,
             "create-user", "--access", key.id, "--secret", key.secret, "--role", "user"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        expect(done.returncode == 0, f"create-user: {done.stdout}")
        return key


class SharedS3(shared.SharedServer):
    """As keeper.py has it. The address is the port."""

    def __init__(self, folder: pathlib.Path):
        self.owner = shared.Owner(folder)
        self.s3: Versitygw | None = None

    def start(self) -> None:
        self.s3 = Versitygw(self.owner, wait=False)

    def ready(self) -> bool:
        return self.s3.ready()

    def address(self) -> str:
        return str(self.s3.port)

    def log(self) -> pathlib.Path:
        return self.owner.folder / "versitygw.log"

    def stop(self) -> None:
        self.owner.close()


@dataclass
class Bucket:
    """A bucket that is a test's own."""
    s3: S3
    name: str


def shared_s3(test: Test) -> Bucket:
    """On the server that tests share. Not for a test that stops it or gives it users."""
    server = shared.address_of("s3", test.session)
    test.shared_logs.append(server.log)
    s3 = S3(int(server.text))
    name = f"{test.name.replace('_', '-')}-{uuid.uuid4().hex[:8]}"
    s3.ok("PUT", name)
    return Bucket(s3, name)


class KeptConnections:
    """In front of a server, with connections that are used again, which Gateway has not. `lose` closes one that has
    been used before, when the server has answered and the client does not know it: the client then cannot tell
    that from a connection that was closed while it was idle."""

    def __init__(self, target: int):
        self.target, self.port, self.replaced = target, free_port(), {b"\r\nConnection: close": b""}
        self.lose = b""  # words in the head of a request; one is lost
        self.requests: list[bytes] = []  # the first lines of all
        self.lost = 0
        kept = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                kept._serve(self.request)

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Listener(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, client: socket.socket) -> None:
        used = False
        while True:
            connection = Connection(self, client)
            if not connection.read_request():
                return
            self.requests.append(connection.head.split(b"\r\n")[0])
            connection.send_request()
            answer = connection.read_answer()
            connection.server.close()
            if used and self.lose and self.lose in connection.head:
                self.lose, self.lost = b"", self.lost + 1
                return
            client.sendall(answer)
            used = True
