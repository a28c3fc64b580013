"""brokers: real Kafka brokers for the tests - KRaft, one or several, from .deps/kafka.

A broker that does not start fails the test, with the end of its log.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import time
import uuid
from collections import Counter
from typing import IO

from clocks import Clock
from links import Links
from server import ROOT, Failure, Test, expect, free_port, wait_until

LIBS = ROOT / ".deps" / "kafka" / "libs"
PYTHON = ROOT / ".deps" / "venv" / "bin" / "python"
FOREIGN = ROOT / "tests" / "system" / "kafka_foreign.py"
SUMS = ROOT / "tests" / "system" / "kafka_sums.py"
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


def java(main: str, *arguments: object, lasting: bool = False) -> list[str]:
    """`lasting`: it runs for minutes, and is compiled accordingly."""
    if shutil.which("java") is None or not LIBS.exists():
        raise Failure("there is no Java or no .deps/kafka: run tools/deps.sh test")
    compiler = [] if lasting else ["-XX:TieredStopAtLevel=1"]
    return ["java", HEAP, "-XX:+UseSerialGC", *compiler, "-cp", f"{LIBS}/*", main,
            *map(str, arguments)]


class Broker:
    """One node, broker and controller at once."""

    def __init__(self, cluster: "Cluster", number: int):
        self.cluster, self.number = cluster, number
        self.port, self.controller_port = free_port(), free_port()
        # For each of the cluster's links a listener, advertised where the link listens.
        self.link_ports = {name: free_port() for name in cluster.link_names}
        self.links = {name: cluster.links.link(port) for name, port in self.link_ports.items()}
        self.folder = cluster.test.folder / f"kafka{number}"
        self.log_path = cluster.test.folder / f"kafka{number}.log"
        self.process: subprocess.Popen | None = None
        self.log_start = 0  # where this life's part of the log begins

    def prepare(self) -> None:
        replicas = min(3, len(self.cluster.brokers))
        security = self.cluster.security
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
        if security is not None:
            settings = security.add_to(settings)
        for name, port in self.link_ports.items():
            settings["listeners"] += f",{name.upper()}://127.0.0.1:{port}"
            settings["advertised.listeners"] += f",{name.upper()}://127.0.0.1:{self.links[name].port}"
            settings["listener.security.protocol.map"] += f",{name.upper()}:PLAINTEXT"
        self.properties = self.folder / "server.properties"
        self.properties.write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        scram = security.scram() if security is not None else []
        done = subprocess.run(java("kafka.tools.StorageTool", "format", "-t", self.cluster.id, "-c",
                                   self.properties, *scram), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failure(f"a Kafka broker cannot be formatted: {done.stdout[-2000:]}")

    def start(self) -> None:
        clock = self.cluster.clock
        self.log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as out:
            command = java("kafka.Kafka", self.properties, lasting=self.cluster.lasting)
            command.insert(1, f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties")
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT,
                                            stdin=subprocess.DEVNULL,
                                            env=clock.environment() if clock else None)
        self.cluster.test.processes.append(self.process)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def ready(self) -> bool:
        """After start(); a failure if it has ended."""
        if not self.running:
            end = self.log_path.read_text(errors="replace")[-3000:]
            raise Failure(f"Kafka broker {self.number} ended with {self.process.returncode}: {end}")
        with open(self.log_path, "rb") as file:
            file.seek(self.log_start)
            return b"Kafka Server started" in file.read()

    def wait(self, seconds: float = 60) -> None:
        wait_until(self.ready, seconds, f"Kafka broker {self.number} is ready")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Asked to stop; it runs until it has."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float = 60) -> None:
        self.terminate()
        self.process.wait(seconds)

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


class Security:
    """Logins, certificates and ACLs of one broker: a listener for SASL_SSL (SCRAM-SHA-512,
    SCRAM-SHA-256, PLAIN), one for mutual TLS, and one for SASL_SSL whose certificate has expired.
    Nobody may do anything there but who has an ACL, and `admin`."""

    MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")

    def __init__(self, test: Test, users: dict[str, str]):
        """`users`: passwords by name. Clients with a certificate are `CN=sightline`."""
        self.test, self.users = test, {**users, "admin": f"admin-{uuid.uuid4().hex}"}
        self.ports = {name: free_port() for name in ("sasl", "mtls", "expired")}
        self.folder = test.folder / "tls"
        self.folder.mkdir()
        for authority in ("ca", "other-ca"):
            self._openssl("req", "-x509", *self.NEW_KEY, "-keyout", f"{authority}.key", "-out",
                          f"{authority}.pem", "-days", 2, "-subj", f"/CN={authority}")
        self._certificate("server", "server", "20000101000000Z", "20990101000000Z")
        self._certificate("expired", "server", "20000101000000Z", "20010101000000Z")
        self._certificate("client", "sightline", "20000101000000Z", "20990101000000Z")
        self._write("admin.properties", "\n".join((
            "security.protocol=SASL_SSL", "sasl.mechanism=SCRAM-SHA-512",
            f"sasl.jaas.config={self._login('scram.ScramLoginModule', 'admin')}",
            "ssl.truststore.type=PEM", f"ssl.truststore.location={self.folder / 'ca.pem'}", "")))

    NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def address(self, listener: str) -> str:
        return f"127.0.0.1:{self.ports[listener]}"

    def options(self, mechanism: str, user: str = "sightline", password: str | None = None,
                ca: str = "ca", listener: str | None = None) -> list[object]:
        """Of `sightline up` and `sightline topics`; `mechanism` may be "mTLS"."""
        options = ["--kafka.ssl_ca", self.folder / f"{ca}.pem"]
        if mechanism == "mTLS":
            return [*options, "--kafka.brokers", self.address("mtls"), "--kafka.security_protocol",
                    "SSL", "--kafka.ssl_certificate", self.folder / "client.pem", "--kafka.ssl_key",
                    self.folder / "client.key"]
        secret = self._write(f"password-{uuid.uuid4().hex}", password or self.users[user])
        return [*options, "--kafka.brokers", self.address(listener or "sasl"),
                "--kafka.security_protocol", "SASL_SSL", "--kafka.sasl_mechanism", mechanism,
                "--kafka.sasl_username", user, "--kafka.sasl_password_file", secret]

    def scram(self) -> list[str]:
        """Of `StorageTool format`."""
        return [word for name, password in self.users.items()
                for mechanism in self.MECHANISMS if mechanism.startswith("SCRAM")
                for word in ("--add-scram", f"{mechanism}=[name={name},password={password}]")]

    def add_to(self, settings: dict[str, object]) -> dict[str, object]:
        listeners = ",".join(f"{name.upper()}://{self.address(name)}" for name in self.ports)
        added: dict[str, object] = {
            **settings,
            "listener.security.protocol.map": f"{settings['listener.security.protocol.map']},"
                                              "SASL:SASL_SSL,MTLS:SSL,EXPIRED:SASL_SSL",
            "sasl.enabled.mechanisms": ",".join(self.MECHANISMS),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.folder / "ca.pem",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.folder / "server.store",
            "listener.name.expired.ssl.keystore.type": "PEM",
            "listener.name.expired.ssl.keystore.location": self.folder / "expired.store",
            "listener.name.mtls.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:admin",
        }
        for name in ("listeners", "advertised.listeners"):
            added[name] = f"{settings[name]},{listeners}"
        accounts = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        for listener in ("sasl", "expired"):
            for mechanism in ("scram-sha-512", "scram-sha-256"):
                added[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = \
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            added[f"listener.name.{listener}.plain.sasl.jaas.config"] = \
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {accounts};"
        return added

    def acl(self, cluster: "Cluster", command: str) -> str:
        """A command as `sightline topics acls` prints it, run as it stands."""
        words = shlex.split(command)
        expect(words[0] == "kafka-acls", f"no kafka-acls command: {command}")
        return cluster.tool("org.apache.kafka.tools.AclCommand", *words[1:], folder=self.folder,
                            seconds=120)

    def _login(self, module: str, user: str) -> str:
        return (f"org.apache.kafka.common.security.{module} required "
                f'username="{user}" password="{self.users[user]}";')

    def _certificate(self, name: str, subject: str, start: str, end: str) -> None:
        (self.folder / f"{name}.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\nserial=serial\ndatabase=index\nnew_certs_dir=.\n"
            "default_md=sha256\npolicy=p\nx509_extensions=x\nunique_subject=no\n"
            "[p]\ncommonName=supplied\n[x]\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n")
        (self.folder / "index").touch()
        (self.folder / "serial").write_text(f"{uuid.uuid4().int >> 68:030x}\n")
        self._openssl("req", "-new", *self.NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                      "-subj", f"/CN={subject}")
        self._openssl("ca", "-batch", "-notext", "-config", f"{name}.cnf", "-cert", "ca.pem",
                      "-keyfile", "ca.key", "-in", f"{name}.csr", "-out", f"{name}.pem",
                      "-startdate", start, "-enddate", end)
        (self.folder / f"{name}.store").write_text((self.folder / f"{name}.key").read_text()
                                                   + (self.folder / f"{name}.pem").read_text())

    def _openssl(self, *words: object) -> None:
        if shutil.which("openssl") is None:
            raise Failure("there is no openssl: run tools/deps.sh test")
        done = subprocess.run(["openssl", *map(str, words)], cwd=self.folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=30)
        expect(done.returncode == 0, f"openssl {words}: {done.stdout[-2000:]}")

    def _write(self, name: str, text: str) -> pathlib.Path:
        path = self.folder / name
        path.write_text(text)
        return path


class Cluster:
    """`brokers` nodes, started and ready. With `security`, one: `addresses` is then of a listener
    for the test itself, where everything is allowed. `clock`: what the brokers take for the time.
    `links`: names of links (links.py) to every broker, for `addresses_by`. `lasting`: for minutes."""

    def __init__(self, test: Test, brokers: int = 1, settings: dict[str, object] | None = None,
                 security: "Security | None" = None, clock: Clock | None = None,
                 links: tuple[str, ...] = (), lasting: bool = False):
        self.lasting = lasting
        self.test, self.settings, self.security = test, settings or {}, security
        self.clock = clock
        self.link_names = links
        self.links = Links() if links else None
        # Not one that Kafka's tools would take for an option.
        self.id = "-"
        while self.id.startswith("-"):
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

    def addresses_by(self, link: str) -> str:
        return ",".join(f"127.0.0.1:{broker.links[link].port}" for broker in self.brokers)

    def tool(self, main: str, *arguments: object, seconds: float = 60,
             stdin: bytes | None = None, folder: pathlib.Path | None = None) -> str:
        """One of the broker's own command line tools, to its end; what it printed."""
        done = subprocess.run(java(main, *arguments), input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=seconds, cwd=folder)
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

    def kcat(self, *words: object, stdin: bytes = b"", stdout: int | IO = subprocess.PIPE,
             seconds: float = 180) -> bytes | None:
        """kcat, to its end; what it printed, where it is not to print to `stdout`."""
        if shutil.which("kcat") is None:
            raise Failure("there is no kcat: run tools/deps.sh test")
        done = subprocess.run(["kcat", "-q", "-b", self.addresses, *map(str, words)], input=stdin,
                              stdout=stdout, stderr=subprocess.PIPE, timeout=seconds)
        expect(done.returncode == 0, f"kcat {words}: {done.stderr.decode(errors='replace')[-2000:]}")
        return done.stdout

    def elect_leaders(self) -> int:
        """Of the partitions whose leader is not the preferred one: how many moved."""
        return self.foreign("elect")[0]["moved"]

    def read(self, *topics: str, seconds: float = 60) -> list[dict]:
        """All committed records of topics, by a foreign client."""
        return self.foreign("read", *topics, seconds=seconds)

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
            elif "ledger" in value:
                ledger.update(value["ledger"])
        return counts, dict(ledger)

    def counts_of_many(self, topic: str = "located_item_counts", seconds: float = 600
                       ) -> tuple[dict[int, Counter], dict]:
        """As counts(), by kcat and DuckDB: for a topic of millions of records."""
        path = self.test.folder / f"{topic}.tsv"
        with open(path, "wb") as out:
            self.kcat("-C", "-t", topic, "-o", "beginning", "-e", "-f", "%k\t%s\n", stdout=out,
                      seconds=seconds)
        done = subprocess.run([PYTHON, "-B", SUMS, path], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE, timeout=seconds)
        expect(done.returncode == 0, f"{SUMS.name} {topic}: {done.stderr[-2000:]}")
        path.unlink()
        said = json.loads(done.stdout)
        counts: dict[int, Counter] = {}
        for location, item, count in said["cells"]:
            counts.setdefault(location, Counter())[item] = count
        return counts, said["ledger"]
