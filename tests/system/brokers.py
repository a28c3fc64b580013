"""brokers: real Kafka brokers for the tests - KRaft, one or several, from .deps/kafka.

`Cluster` is a test's own: it may kill, pause, secure and configure its brokers. `shared_kafka` is the one broker
of all tests that do nothing of the kind. Both are a `Kafka` to its clients. A broker that does not start fails
the test, with the end of its log.
"""

from __future__ import annotations

import base64
import hashlib
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
from dataclasses import dataclass, field
from typing import IO

import shared
from clocks import Clock
from links import Links
from server import PATIENCE, ROOT, Failure, Test, expect, free_port, unhurried, wait_until

LIBS = ROOT / ".deps" / "kafka" / "libs"
PYTHON = ROOT / ".deps" / "venv" / "bin" / "python"
FOREIGN = ROOT / "tests" / "system" / "kafka_foreign.py"
SUMS = ROOT / "tests" / "system" / "kafka_sums.py"
HEAP = "-Xmx512m"
# The usual names, by the option kafka.* that can change them.
TOPICS = {"topic": "raw_camera_events", "counts_topic": "located_item_counts",
          "item_counts_topic": "item_counts", "lake_rows_topic": "lake_rows",
          "dead_letters_topic": "dead_letters", "late_detections_topic": "late_detections",
          "monitoring_topic": "monitoring", "alerts_topic": "alerts"}
LOG4J = """rootLogger.level=WARN
logger.start.name=kafka.server.KafkaRaftServer
logger.start.level=INFO
rootLogger.appenderRef.c.ref=C
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=[%d] %p %m (%c)%n
"""


def java(main: str, *arguments: object, lasting: bool = False, archive: pathlib.Path | None = None
         ) -> list[str]:
    """`lasting`: it runs for minutes, and is compiled accordingly. `archive`: of classes, see Prepared."""
    if shutil.which("java") is None or not LIBS.exists():
        raise Failure("there is no Java or no .deps/kafka: run tools/deps.sh test")
    compiler = [] if lasting else ["-XX:TieredStopAtLevel=1"]
    classes = [f"-XX:SharedArchiveFile={archive}", "-Xlog:disable"] if archive and archive.exists() else []
    return ["java", HEAP, "-XX:+UseSerialGC", *compiler, *classes, "-cp", f"{LIBS}/*", main,
            *map(str, arguments)]


def run_java(command: list[str], **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


@dataclass
class Prepared:
    """What every broker's start has in common, made once for this checkout: the metadata that a formatted
    broker begins with, and archives of Java classes, which halve the start of a broker and of a tool."""
    bootstrap: pathlib.Path
    broker_classes: pathlib.Path
    tool_classes: pathlib.Path


def prepared() -> Prepared:
    java_home = os.path.realpath(shutil.which("java") or "java")
    stamp = LIBS.parent / "stamp"
    key = hashlib.sha256(f"{java_home}{stamp.read_text() if stamp.exists() else LIBS}".encode())
    folder = shared.FOLDER / f"kafka-{key.hexdigest()[:12]}"
    made = Prepared(folder / "bootstrap.checkpoint", folder / "broker.jsa", folder / "tool.jsa")
    with unhurried(), shared.locked(folder):
        if not made.bootstrap.exists():
            _prepare(made, folder / "first")
    return made


def _prepare(made: Prepared, folder: pathlib.Path) -> None:
    """A broker's whole life, with all that Java loads meanwhile."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    owner = shared.Owner(folder)
    try:
        broker = Cluster(owner, trained=made).brokers[0]
        topic = {"name": "first", "partitions": 2}
        record = {"topic": "first", "partition": 0, "key": "k", "value": "v"}
        kafka = Kafka(owner, f"127.0.0.1:{broker.port}")
        kafka.foreign("topics", lines=[topic])
        kafka.foreign("write", lines=[record, {"transaction": "commit", "records": [record]}])
        kafka.foreign("read", "first")
        tool = java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", kafka.addresses, "--create",
                    "--topic", "second", "--partitions", 1)
        run_java([tool[0], f"-XX:ArchiveClassesAtExit={made.tool_classes}", *tool[1:]], timeout=120)
        broker.stop()
        # The last of all: where it is, everything is.
        shutil.copyfile(broker.folder / "data" / "bootstrap.checkpoint", folder / "bootstrap.checkpoint")
        (folder / "bootstrap.checkpoint").replace(made.bootstrap)
    finally:
        owner.close()
        shutil.rmtree(folder, ignore_errors=True)


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
        if security is not None or self.cluster.trained is not None:
            self._format(security.scram() if security is not None else [])
            return
        # What formatting would write.
        data = self.folder / "data"
        data.mkdir()
        shutil.copyfile(self.cluster.prepared.bootstrap, data / "bootstrap.checkpoint")
        (data / "meta.properties").write_text(
            f"version=1\ncluster.id={self.cluster.id}\nnode.id={self.number}\n"
            f"directory.id={new_id()}\n")

    def _format(self, more: list[str]) -> None:
        archive = self.cluster.prepared.tool_classes if self.cluster.prepared else None
        done = run_java(java("kafka.tools.StorageTool", "format", "-t", self.cluster.id, "-c",
                             self.properties, *more, archive=archive))
        if done.returncode != 0:
            raise Failure(f"a Kafka broker cannot be formatted: {done.stdout[-2000:]}")

    def start(self) -> None:
        clock = self.cluster.clock
        self.log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as out:
            cluster = self.cluster
            command = java("kafka.Kafka", self.properties, lasting=cluster.lasting,
                           archive=cluster.prepared.broker_classes if cluster.prepared else None)
            command.insert(1, f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties")
            if cluster.trained is not None:
                command.insert(1, f"-XX:ArchiveClassesAtExit={cluster.trained.broker_classes}")
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT,
                                            stdin=subprocess.DEVNULL, preexec_fn=shared.die_with_parent,
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

    def revoke(self, cluster: "Cluster", command: str) -> None:
        """What a command as `sightline topics acls` prints it has granted; `grant` gives it again. By an
        admin client, in a fraction of the time that the broker's own tool takes."""
        cluster.foreign("acls", "remove", lines=self._rights(command))

    def grant(self, cluster: "Cluster", *commands: str) -> None:
        cluster.foreign("acls", "add", lines=[right for command in commands for right in self._rights(command)])

    @staticmethod
    def _rights(command: str) -> list[dict]:
        """Every word of the command must be understood."""
        words = iter(shlex.split(command))
        right, operations = {"pattern": "literal"}, []
        for word in words:
            if word in ("kafka-acls", "--add"):
                continue
            value = next(words, None) if word != "--cluster" else "kafka-cluster"
            if word == "--operation":
                operations.append(value)
            elif word == "--allow-principal":
                right["principal"] = value
            elif word == "--resource-pattern-type":
                right["pattern"] = value
            elif word in ("--topic", "--group", "--transactional-id", "--cluster"):
                right |= {"kind": word.removeprefix("--"), "resource": value}
            else:
                expect(word in ("--bootstrap-server", "--command-config"), f"unknown word in {command}: {word}")
        expect("resource" in right and "principal" in right and operations, f"no right: {command}")
        return [{**right, "operation": operation} for operation in operations]

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


class Kafka:
    """Brokers as their clients see them. The names of topics that a test gives and gets here are its own;
    the brokers know them with `prefix` in front, and `topic` says how they call one."""

    def __init__(self, test: Test | shared.Owner, addresses: str, prefix: str = "", replication: int = 1):
        self.test, self.addresses, self.prefix, self.replication = test, addresses, prefix, replication

    def topic(self, name: str) -> str:
        return self.prefix + name

    def options(self, deployment: str = "", **topics: str) -> list[str]:
        """Of `sightline`: where the brokers are and, where the names are not the usual ones, whose topics
        and groups are meant. `topics`: others than the usual, e.g. `counts_topic="item_counts"`."""
        named = {**TOPICS, **topics} if self.prefix else topics
        if self.prefix or deployment:
            named_deployment = ["--kafka.deployment", f"{self.prefix}{deployment or 'sightline'}"]
        else:
            named_deployment = []
        return ["--kafka.brokers", self.addresses, *named_deployment,
                *(word for option, name in named.items() for word in (f"--kafka.{option}", self.topic(name)))]

    def group(self, kind: str, deployment: str = "sightline") -> str:
        """The name of the consumer group of the processes `kind`."""
        return f"{self.prefix}{deployment}-{kind}"

    def tool(self, main: str, *arguments: object, seconds: float = 60,
             stdin: bytes | None = None, folder: pathlib.Path | None = None) -> str:
        """One of the broker's own command line tools, to its end; what it printed."""
        done = subprocess.run(java(main, *arguments, archive=prepared().tool_classes), input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds * PATIENCE, cwd=folder)
        expect(done.returncode == 0,
               f"{main} {arguments}: {done.stderr.decode(errors='replace')[-2000:]}")
        return done.stdout.decode(errors="replace")

    def create_topic(self, name: str, partitions: int, **settings: object) -> None:
        self.make_topics((name, partitions, settings))

    def create_topics(self, partitions: int, *more: str) -> None:
        """Those of docs/KAFKA.md that `up` needs, and `more`."""
        self.make_topics(("raw_camera_events", partitions, {"message_timestamp_type": "LogAppendTime"}),
                         *((name, partitions, {}) for name in
                           ("located_item_counts", "dead_letters", "late_detections", *more)))

    def make_topics(self, *topics: tuple[str, int, dict]) -> None:
        """Names, partitions and settings, these with _ for their dots."""
        self.foreign("topics", lines=[
            {"name": name, "partitions": partitions,
             "settings": {key.replace("_", "."): str(value) for key, value in settings.items()}}
            for name, partitions, settings in topics])

    def delete_topic(self, name: str) -> None:
        self.foreign("remove", lines=[{"name": name}])

    def alter_topic(self, name: str, **settings: object) -> None:
        """By hand."""
        self.foreign("alter", lines=[{"name": name, "settings": {
            key.replace("_", "."): str(value) for key, value in settings.items()}}])

    def foreign(self, *words: object, lines: list[dict] = (), seconds: float = 60) -> list[dict]:
        """kafka_foreign.py, to its end: what it wrote, a JSON object a line."""
        lines = [self._named(line) for line in lines]
        if words[0] == "topics":
            lines = [{"replication": self.replication, **line} for line in lines]
        if words[0] == "read":
            words = ("read", *map(self.topic, words[1:]))
        done = subprocess.run([PYTHON, "-B", FOREIGN, self.addresses, *map(str, words)],
                              input="".join(json.dumps(line) + "\n" for line in lines), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds * PATIENCE)
        expect(done.returncode == 0, f"kafka_foreign.py {words}: {done.stderr[-2000:]}")
        said = [json.loads(line) for line in done.stdout.splitlines()]
        if self.prefix:
            for line in said:
                line["topic"] = line["topic"].removeprefix(self.prefix)
        return said

    def _named(self, line: dict) -> dict:
        """A line for kafka_foreign.py, with the brokers' names of its topics."""
        if not self.prefix:
            return line
        named = {field: self.topic(line[field]) for field in ("topic", "delete", "name") if field in line}
        if "records" in line:
            named["records"] = [self._named(record) for record in line["records"]]
        return {**line, **named}

    def kcat(self, *words: object, stdin: bytes = b"", stdout: int | IO = subprocess.PIPE,
             seconds: float = 180) -> bytes | None:
        """kcat, to its end; what it printed, where it is not to print to `stdout`."""
        if shutil.which("kcat") is None:
            raise Failure("there is no kcat: run tools/deps.sh test")
        done = subprocess.run(["kcat", "-q", "-b", self.addresses, *map(str, words)], input=stdin,
                              stdout=stdout, stderr=subprocess.PIPE, timeout=seconds * PATIENCE)
        expect(done.returncode == 0, f"kcat {words}: {done.stderr.decode(errors='replace')[-2000:]}")
        return done.stdout

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
            self.kcat("-C", "-t", self.topic(topic), "-o", "beginning", "-e", "-f", "%k\t%s\n", stdout=out,
                      seconds=seconds)
        done = subprocess.run([PYTHON, "-B", SUMS, path], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE, timeout=seconds * PATIENCE)
        expect(done.returncode == 0, f"{SUMS.name} {topic}: {done.stderr[-2000:]}")
        path.unlink()
        said = json.loads(done.stdout)
        counts: dict[int, Counter] = {}
        for location, item, count in said["cells"]:
            counts.setdefault(location, Counter())[item] = count
        return counts, said["ledger"]


def new_id() -> str:
    """As Kafka makes them; not one that its tools would take for an option."""
    made = "-"
    while made.startswith("-"):
        made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return made


class Cluster(Kafka):
    """`brokers` nodes, started and ready. With `security`, one: `addresses` is then of a listener
    for the test itself, where everything is allowed. `clock`: what the brokers take for the time.
    `links`: names of links (links.py) to every broker, for `addresses_by`. `lasting`: for minutes.
    `trained`: archives of its classes are made when it stops."""

    def __init__(self, test: Test | shared.Owner, brokers: int = 1, settings: dict[str, object] | None = None,
                 security: "Security | None" = None, clock: Clock | None = None,
                 links: tuple[str, ...] = (), lasting: bool = False, trained: Prepared | None = None):
        begin = time.monotonic()
        self.lasting, self.trained = lasting, trained
        self.prepared = prepared() if trained is None else None
        self.test, self.settings, self.security = test, settings or {}, security
        self.clock = clock
        self.link_names = links
        self.links = Links() if links else None
        self.id = new_id()
        self.brokers: list[Broker] = []
        self.brokers.extend(Broker(self, number) for number in range(1, brokers + 1))
        super().__init__(test, ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers),
                         replication=min(3, brokers))
        for broker in self.brokers:
            broker.prepare()
        for broker in self.brokers:
            broker.start()
        for broker in self.brokers:
            broker.wait()
        test.note(f"{brokers} Kafka broker{'s' if brokers > 1 else ''} ready in "
                  f"{time.monotonic() - begin:.1f} s")

    def addresses_by(self, link: str) -> str:
        return ",".join(f"127.0.0.1:{broker.links[link].port}" for broker in self.brokers)

    def elect_leaders(self) -> int:
        """Of the partitions whose leader is not the preferred one: how many moved."""
        return self.foreign("elect")[0]["moved"]


class SharedKafka(shared.SharedServer):
    """One broker, as keeper.py has it."""

    def __init__(self, folder: pathlib.Path):
        self.owner = shared.Owner(folder)
        self.cluster: Cluster | None = None

    def start(self) -> None:
        self.cluster = Cluster(self.owner)

    def ready(self) -> bool:
        return self.cluster.brokers[0].ready()

    def address(self) -> str:
        return self.cluster.addresses

    def log(self) -> pathlib.Path:
        return self.owner.folder / "kafka1.log"

    def stop(self) -> None:
        self.owner.close()


def shared_kafka(test: Test) -> Kafka:
    """The broker that tests share. Topics, groups and transactions are this test's own, and of this run of
    it: their names begin with a prefix, which the methods of Kafka add and take away again. Not for a test
    that stops its broker, lets it wait or changes it."""
    server = shared.address_of("kafka", test.session)
    test.shared_logs.append(server.log)
    return Kafka(test, server.text, prefix=f"{test.name}-{uuid.uuid4().hex[:4]}-")
