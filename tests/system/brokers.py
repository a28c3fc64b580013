"""brokers: real Kafka brokers for the tests - KRaft, one or several, from .deps/kafka.

A broker that does not start fails the test, with the end of its log.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections import Counter

from server import ROOT, Failure, Test, expect, free_port, wait_until

LIBS = ROOT / ".deps" / "kafka" / "libs"
PYTHON = ROOT / ".deps" / "venv" / "bin" / "python"
FOREIGN = ROOT / "tests" / "system" / "kafka_foreign.py"
HEAP = "-Xmx512m"
LOG4J = """rootLogger.level=WARN
logger.start.name=kafka.server.KafkaRaftServer
logger.start.level=INFO
rootLogger.appenderRef.c.ref=C
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=[%d] %p %m (%c)%n
"""


def java(main: str, *arguments: object, heap: str = HEAP) -> list[str]:
    if shutil.which("java") is None or not LIBS.exists():
        raise Failure("there is no Java or no .deps/kafka: run tools/deps.sh test")
    return ["java", heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{LIBS}/*", main,
            *map(str, arguments)]


class Broker:
    """One node, broker and controller at once."""

    def __init__(self, cluster: "Cluster", number: int):
        self.cluster, self.number = cluster, number
        self.port, self.controller_port = free_port(), free_port()
        self.folder = cluster.test.folder / f"kafka{number}"
        self.log_path = cluster.test.folder / f"kafka{number}.log"
        self.process: subprocess.Popen | None = None
        self.log_start = 0  # where this life's part of the log begins

    def prepare(self) -> None:
        replicas = min(3, len(self.cluster.brokers))
        self.folder.mkdir()
        (self.folder / "log4j2.properties").write_text(LOG4J)
        voters = ",".join(f"{b.number}@127.0.0.1:{b.controller_port}" for b in self.cluster.brokers)
        settings = {
            "process.roles": "broker,controller",
            "node.id": self.number,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},"
                         f"CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.folder / "data",
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": max(1, replicas - 1),
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": max(1, replicas - 1),
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            # Dead brokers are found in a second, aborted transactions likewise: tests are short.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
            **self.cluster.settings,
        }
        self.properties = self.folder / "server.properties"
        self.properties.write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        done = subprocess.run(java("kafka.tools.StorageTool", "format", "-t", self.cluster.id, "-c",
                                   self.properties), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failure(f"a Kafka broker cannot be formatted: {done.stdout[-2000:]}")

    def start(self) -> None:
        with open(self.log_path, "ab") as out:
            command = java("kafka.Kafka", self.properties)
            command.insert(1, f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties")
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT,
                                            stdin=subprocess.DEVNULL)
        self.cluster.test.processes.append(self.process)

    def wait(self, seconds: float = 60) -> None:
        def ready() -> bool:
            if self.process.poll() is not None:
                end = self.log_path.read_text(errors="replace")[-3000:]
                raise Failure(f"Kafka broker {self.number} ended with {self.process.returncode}: {end}")
            return b"Kafka Server started" in self.log_path.read_bytes()[self.log_start:]
        wait_until(ready, seconds, f"Kafka broker {self.number} is ready")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log_start = self.log_path.stat().st_size

    def stop(self, seconds: float = 60) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(seconds)
        self.log_start = self.log_path.stat().st_size

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


class Cluster:
    """`brokers` nodes, started and ready."""

    def __init__(self, test: Test, brokers: int = 1, settings: dict[str, object] | None = None):
        self.test, self.settings = test, settings or {}
        self.id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self.brokers: list[Broker] = []
        self.brokers.extend(Broker(self, number) for number in range(1, brokers + 1))
        begin = time.monotonic()
        for broker in self.brokers:
            broker.prepare()
        for broker in self.brokers:
            broker.start()
        for broker in self.brokers:
            broker.wait()
        test.note(f"{brokers} Kafka broker{'s' if brokers > 1 else ''} ready in "
                  f"{time.monotonic() - begin:.1f} s")

    @property
    def addresses(self) -> str:
        return ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def tool(self, main: str, *arguments: object, seconds: float = 60,
             stdin: bytes | None = None) -> str:
        """One of the broker's own command line tools, to its end; what it printed."""
        done = subprocess.run(java(main, *arguments), input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=seconds)
        expect(done.returncode == 0,
               f"{main} {arguments}: {done.stderr.decode(errors='replace')[-2000:]}")
        return done.stdout.decode(errors="replace")

    def create_topic(self, name: str, partitions: int, **settings: object) -> None:
        configs = [part for key, value in settings.items()
                   for part in ("--config", f"{key.replace('_', '.')}={value}")]
        self.tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.addresses,
                  "--create", "--topic", name, "--partitions", partitions, "--replication-factor",
                  min(3, len(self.brokers)), *configs)

    def create_topics(self, partitions: int) -> None:
        """Those of docs/KAFKA.md that `up` needs."""
        self.create_topic("raw_camera_events", partitions, message_timestamp_type="LogAppendTime")
        for name in ("located_item_counts", "dead_letters", "late_detections"):
            self.create_topic(name, partitions)

    def foreign(self, *words: object, lines: list[dict] = (), seconds: float = 60) -> list[dict]:
        """kafka_foreign.py, to its end: what it wrote, a JSON object a line."""
        done = subprocess.run([PYTHON, "-B", FOREIGN, self.addresses, *map(str, words)],
                              input="".join(json.dumps(line) + "\n" for line in lines), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)
        expect(done.returncode == 0, f"kafka_foreign.py {words}: {done.stderr[-2000:]}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def read(self, topic: str, seconds: float = 60) -> list[dict]:
        """All committed records of a topic, by a foreign client."""
        return self.foreign("read", topic, seconds=seconds)

    def counts(self, topic: str = "located_item_counts") -> tuple[dict[int, Counter], dict]:
        """By the reader's rule: of a key the larger next_offset wins, the truth is the sum over keys.
        Location -> item -> count, and the ledger summed over the partitions."""
        newest: dict[str, dict] = {}
        for record in self.read(topic):
            value = json.loads(record["value"].encode("latin-1"))
            known = newest.get(record["key"])
            if known is None or known["next_offset"] < value["next_offset"]:
                newest[record["key"]] = value
        counts: dict[int, Counter] = {}
        ledger: Counter = Counter()
        for value in newest.values():
            if "item_name" in value:
                location = counts.setdefault(value["geographical_location_oid"], Counter())
                location[value["item_name"]] += value["item_count"]
            else:
                ledger.update(value["ledger"])
        return counts, dict(ledger)
