"""senders: threads that deliver bodies as edges do - each repeats a body until the answer is 200."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass

from events import Oracle, Traffic, oracle_of
from server import PATIENCE, Client, Failure, Server, expect


@dataclass
class Tally:
    bodies: int = 0
    elements: int = 0
    cut: int = 0                    # no answer: the server was gone
    refused_429: int = 0
    refused_503: int = 0
    slowest: float = 0              # seconds until an answer, whatever it was


class Sender(threading.Thread):
    """Sends until told to stop, then finishes the body in hand. Read `tally` at any time."""

    def __init__(self, server: Server, traffic: Traffic, pause: float, patience: float,
                 retry_after_max: float):
        super().__init__(daemon=True)
        self.server, self.traffic, self.pause, self.patience = server, traffic, pause, patience
        self.retry_after_max = retry_after_max
        self.tally = Tally()
        self.failure: str | None = None
        self.stopping = threading.Event()
        self.abandoned = threading.Event()

    def run(self) -> None:
        client = Client(self.server.port)
        try:
            while not self.stopping.is_set():
                self._deliver(client)
                time.sleep(self.pause)
        except Exception as error:  # told to whoever waits for this thread
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            client.close()

    def _deliver(self, client: Client) -> None:
        body = self.traffic.body()
        deadline = time.monotonic() + self.patience * PATIENCE
        while not self.abandoned.is_set():
            if time.monotonic() > deadline:
                raise Failure(f"a body of {len(body.data)} bytes is not taken within "
                              f"{self.patience * PATIENCE:g} s: {self.tally}")
            begin = time.monotonic()
            try:
                answer = client.request("POST", "/v1/detections", body.data, body.headers)
            except (OSError, http.client.HTTPException):
                self.tally.cut += 1
                time.sleep(0.02)
                continue
            self.tally.slowest = max(self.tally.slowest, time.monotonic() - begin)
            if answer.status == body.status:
                said = answer.json()
                expect((said["accepted"], said["rejected"]) == (body.accepted, body.rejected),
                       f"answer {said} to {body.accepted} good and {body.rejected} broken elements")
                self.tally.bodies += 1
                self.tally.elements += body.accepted + body.rejected
                return
            expect(answer.status in (429, 503), f"status {answer.status}: {answer.body[:300]!r}")
            expect(answer.headers.get("retry-after", "").isdigit(),
                   f"status {answer.status} without Retry-After: {answer.headers}")
            expect(answer.headers.get("content-type") == "application/problem+json",
                   f"status {answer.status} is no problem+json: {answer.headers}")
            if answer.status == 429:
                self.tally.refused_429 += 1
            else:
                self.tally.refused_503 += 1
            time.sleep(min(float(answer.headers["retry-after"]), self.retry_after_max))


class Senders:
    """`patience`: how long a body may be repeated. `retry_after_max`: a longer Retry-After is cut,
    so that a test does not wait for nothing."""

    def __init__(self, server: Server, count: int, pause: float = 0.005, patience: float = 60,
                 retry_after_max: float = 0.2, **traffic):
        self.senders = [Sender(server, Traffic(number, **traffic), pause, patience, retry_after_max)
                        for number in range(count)]
        for sender in self.senders:
            sender.start()

    def tally(self) -> Tally:
        total = Tally()
        for sender in self.senders:
            for name in ("bodies", "elements", "cut", "refused_429", "refused_503"):
                setattr(total, name, getattr(total, name) + getattr(sender.tally, name))
            total.slowest = max(total.slowest, sender.tally.slowest)
        return total

    def check(self) -> None:
        """None of them has failed."""
        for sender in self.senders:
            if sender.failure:
                self.abandon()
                raise Failure(f"a sender: {sender.failure}")

    def finish(self, seconds: float = 60) -> Oracle:
        """Every body in hand is delivered; the oracle of all that was sent."""
        for sender in self.senders:
            sender.stopping.set()
        deadline = time.monotonic() + seconds * PATIENCE
        for sender in self.senders:
            sender.join(max(0.0, deadline - time.monotonic()))
            if sender.is_alive():
                self.abandon()
                raise Failure(f"a sender cannot deliver its last body within {seconds * PATIENCE:g} s: "
                              f"{sender.tally}")
        self.check()
        return oracle_of(*(sender.traffic for sender in self.senders))

    def abandon(self) -> None:
        for sender in self.senders:
            sender.stopping.set()
            sender.abandoned.set()
