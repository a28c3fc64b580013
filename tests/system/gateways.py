"""gateways: an HTTP gateway in front of one server, which harms the requests that a test chooses.

It answers each request on a connection of its own. What it replaces in an answer's head, as the address in a
redirect, is how a gateway brings the client's next request to another gateway.
"""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
import time
from typing import Callable


class Connection:
    """The client's, and once it is open the server's, with what has been read of the request."""

    def __init__(self, gateway: "Gateway", client: socket.socket):
        self.gateway, self.client = gateway, client
        self.server: socket.socket | None = None
        self.head = b""
        self.body = b""

    def read_request(self) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.client.recv(1 << 16)
            if not piece:
                return False
            data += piece
        self.head, _, self.body = data.partition(b"\r\n\r\n")
        if b"\r\nexpect: 100-continue" in self.head.lower():
            self.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(self.body) < self.body_size():
            piece = self.client.recv(1 << 16)
            if not piece:
                return False
            self.body += piece
        return True

    def body_size(self) -> int:
        for line in self.head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return int(line.split(b":")[1])
        return 0

    def send_request(self, body_bytes: int | None = None) -> None:
        """All of it, or so much of its body."""
        self.server = socket.create_connection(("127.0.0.1", self.gateway.target), timeout=60)
        head = self.head.split(b"\r\n")
        kept = [line for line in head[1:] if not line.lower().startswith((b"connection:", b"expect:"))]
        self.server.sendall(b"\r\n".join([head[0], *kept, b"Connection: close"]) + b"\r\n\r\n" + self.body[:body_bytes])

    def read_answer(self) -> bytes:
        data = b""
        while piece := self.server.recv(1 << 16):
            data += piece
        head, end, body = data.partition(b"\r\n\r\n")
        for old, new in self.gateway.replaced.items():
            head = head.replace(old, new)
        return head + end + body

    def pass_on(self) -> None:
        self.send_request()
        self.client.sendall(self.read_answer())


Harm = Callable[[Connection], None]


def lose_answer(connection: Connection) -> None:
    connection.send_request()
    connection.read_answer()


def lose_request(connection: Connection) -> None:
    pass


def cut_request(connection: Connection) -> None:
    """In the middle of the body."""
    connection.send_request(len(connection.body) // 2)


def cut_answer(connection: Connection) -> None:
    """In the middle of the body."""
    connection.send_request()
    answer = connection.read_answer()
    head = answer.index(b"\r\n\r\n") + 4
    connection.client.sendall(answer[:head + (len(answer) - head) // 2])


def delay(connection: Connection) -> None:
    time.sleep(0.5)
    connection.pass_on()


def stall(connection: Connection) -> None:
    """Until the client goes."""
    connection.send_request()
    connection.client.recv(1)


def answer(status: str, body: bytes) -> Harm:
    def harm(connection: Connection) -> None:
        connection.client.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
                                  % (status.encode(), len(body), body))
    return harm


class Gateway:
    """To a port of this machine. `tls`: certificate and key of the gateway."""

    def __init__(self, target: int, port: int, tls: ssl.SSLContext | None = None):
        self.target, self.port, self.tls = target, port, tls
        self.replaced: dict[bytes, bytes] = {}
        self.heads: list[bytes] = []  # of all requests
        self.harmed = 0
        self._harm: tuple[bytes, Harm, int] | None = None
        self._lock = threading.Lock()
        gateway = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                gateway._serve(self.request)

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Listener(("127.0.0.1", port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def harm(self, words: bytes, harm: Harm, times: int = 1) -> None:
        """The next requests whose head has these words, so many times; it replaces what was there."""
        with self._lock:
            self._harm, self.harmed = (words, harm, times), 0

    def heal(self) -> None:
        with self._lock:
            self._harm = None

    def _take(self, head: bytes) -> Harm:
        with self._lock:
            self.heads.append(head)
            if self._harm is None or self._harm[0] not in head or self.harmed >= self._harm[2]:
                return Connection.pass_on
            self.harmed += 1
            return self._harm[1]

    def _serve(self, client: socket.socket) -> None:
        try:
            if self.tls is not None:
                client = self.tls.wrap_socket(client, server_side=True)
            connection = Connection(self, client)
            if connection.read_request():
                self._take(connection.head)(connection)
            if connection.server is not None:
                connection.server.close()
        except OSError:
            pass
        finally:
            client.close()
