"""hdfs: a real HDFS for the tests - a NameNode and DataNodes, from .deps/hdfs.

`Hdfs` is a test's own: it may stop, kill and configure its servers. `shared_hdfs` is the one HDFS of all tests
that do nothing of the kind. A server that does not start fails the test, with the end of its log.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import uuid
from dataclasses import dataclass

import shared
from server import PATIENCE, ROOT, Failure, Test, expect, free_port, unhurried, wait_until

LIBS = ROOT / ".deps" / "hdfs" / "libs"
SUPERUSER = "hdfs"  # of simple authentication: whoever the NameNode runs as
HADOOP = "org.apache.hadoop.hdfs"
MAINS = {"namenode": f"{HADOOP}.server.namenode.NameNode", "datanode": f"{HADOOP}.server.datanode.DataNode",
         "admin": f"{HADOOP}.tools.DFSAdmin", "ha_admin": f"{HADOOP}.tools.DFSHAAdmin"}
LOG4J = """log4j.rootLogger=INFO,c
log4j.appender.c=org.apache.log4j.ConsoleAppender
log4j.appender.c.layout=org.apache.log4j.PatternLayout
log4j.appender.c.layout.ConversionPattern=%d %p %c{1}: %m%n
"""
COMMON = {
    "dfs.permissions.enabled": "true", "dfs.namenode.safemode.extension": 0,
    "dfs.client.block.write.replace-datanode-on-failure.policy": "NEVER",
    # Otherwise each created file takes 0.4 s longer.
    "dfs.client.block.write.locateFollowingBlock.initial.delay.ms": 10,
    # Dead DataNodes are found in eleven seconds: tests are short.
    "dfs.heartbeat.interval": "1s", "dfs.namenode.heartbeat.recheck-interval": 500,
    "dfs.datanode.du.reserved": 0}
# Both servers die without one.
WEB_APP = '<web-app version="2.4" xmlns="http://java.sun.com/xml/ns/j2ee"></web-app>\n'


@dataclass
class Prepared:
    """What every start has in common, made once for this checkout: the name space that a formatted NameNode
    begins with, and archives of Java classes, which shorten each start."""
    folder: pathlib.Path

    def archive(self, kind: str) -> pathlib.Path:
        return self.folder / f"{kind}.jsa"

    @property
    def name_space(self) -> pathlib.Path:
        return self.folder / "name_space"


def prepared() -> Prepared:
    if shutil.which("java") is None or not LIBS.exists():
        raise Failure("there is no Java or no .deps/hdfs: run tools/deps.sh test")
    stamp = LIBS.parent / "stamp"
    key = hashlib.sha256(f"{os.path.realpath(shutil.which('java'))}"
                         f"{stamp.read_text() if stamp.exists() else LIBS}".encode())
    made = Prepared(shared.FOLDER / f"hdfs-{key.hexdigest()[:12]}")
    with unhurried(), shared.locked(made.folder):
        if not made.archive("admin").exists():
            _prepare(made)
    return made


def _prepare(made: Prepared) -> None:
    """A whole life, with all that Java loads meanwhile."""
    folder = made.folder / "first"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(made.name_space, ignore_errors=True)
    folder.mkdir()
    owner = shared.Owner(folder)
    try:
        first = Hdfs(owner, datanodes=1, trained=made)
        first.put("/first", b"x" * 1000)
        expect(first.read("/first") == b"x" * 1000, "the first HDFS does not keep a file")
        first.admin("-safemode", "get", train=made.folder / "admin.partial")
        for process in owner.processes:
            process.send_signal(signal.SIGTERM)
        for process in owner.processes:
            process.wait(60 * PATIENCE)
        # The last of all: where it is, everything is.
        (made.folder / "admin.partial").replace(made.archive("admin"))
    finally:
        owner.close()
        shutil.rmtree(folder, ignore_errors=True)


class Node:
    """A NameNode or a DataNode, over as many lives as a test wants."""

    def __init__(self, hdfs: "Hdfs | Pair", kind: str, name: str, settings: dict[str, object]):
        self.hdfs, self.kind, self.name = hdfs, kind, name
        self.folder = hdfs.test.folder / name
        self.log = hdfs.test.folder / f"{name}.log"
        self.process: subprocess.Popen | None = None
        self.http_port = 0
        conf = self.folder / "conf"
        for web in ("hdfs", "datanode"):
            (conf / "webapps" / web / "WEB-INF").mkdir(parents=True)
            (conf / "webapps" / web / "WEB-INF" / "web.xml").write_text(WEB_APP)
        (conf / "log4j.properties").write_text(LOG4J)
        _write_settings(conf / "core-site.xml", {
            "fs.defaultFS": hdfs.default_fs, "hadoop.tmp.dir": self.folder / "tmp",
            "ipc.client.connect.max.retries": 100, "ipc.client.connect.retry.interval": 100})
        _write_settings(conf / "hdfs-site.xml", settings)
        self.conf = conf

    def command(self, main: str, *arguments: object, archive: str, train: pathlib.Path | None = None) -> list[str]:
        made = self.hdfs.prepared.archive(archive)
        if train is not None:
            classes = [f"-XX:ArchiveClassesAtExit={train}"]
        else:
            classes = [f"-XX:SharedArchiveFile={made}", "-Xlog:disable"] if made.exists() else []
        return ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *classes,
                "--add-opens=java.base/java.lang=ALL-UNNAMED", "-cp", f"{LIBS}/*:{self.conf}", main,
                *map(str, arguments)]

    def start(self) -> None:
        train = self.hdfs.prepared.archive(self.kind) if self.hdfs.trained else None
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                self.command(MAINS[self.kind], archive=self.kind, train=train), stdout=out,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, preexec_fn=shared.die_with_parent,
                env={**os.environ, "HADOOP_USER_NAME": SUPERUSER})
        self.hdfs.test.processes.append(self.process)

    def run(self, main: str, *arguments: object, train: pathlib.Path | None = None, stdin: str = "") -> str:
        """A program of HDFS with this node's settings, to its end; what it printed."""
        done = subprocess.run(self.command(MAINS[main], *arguments, archive=main, train=train), input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=60 * PATIENCE, env={**os.environ, "HADOOP_USER_NAME": SUPERUSER})
        expect(done.returncode == 0, f"{main} {arguments}: {done.stdout[-2000:]}")
        return done.stdout

    def expect_running(self) -> None:
        if self.process.poll() is not None:
            end = self.log.read_text(errors="replace")[-3000:]
            raise Failure(f"the HDFS {self.name} ended with {self.process.returncode}: {end}")

    def answers(self) -> bool:
        """Over HTTP. The NameNode thinks that a DataNode lives for some time after its end."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.http_port)) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def make_datanode(hdfs: "Hdfs | Pair", number: int, settings: dict[str, object]) -> Node:
    http_port = free_port()
    node = Node(hdfs, "datanode", f"datanode{number}", {
        **settings, "dfs.datanode.data.dir": f"file://{hdfs.test.folder}/datanode{number}/data",
        "dfs.datanode.address": f"127.0.0.1:{free_port()}",
        "dfs.datanode.http.address": f"127.0.0.1:{http_port}",
        "dfs.datanode.ipc.address": f"127.0.0.1:{free_port()}", "dfs.datanode.hostname": "127.0.0.1"})
    node.http_port = http_port
    return node


def _write_settings(path: pathlib.Path, settings: dict[str, object]) -> None:
    rows = "".join(f"<property><name>{name}</name><value>{value}</value></property>\n"
                   for name, value in settings.items())
    path.write_text(f"<configuration>\n{rows}</configuration>\n")


class WebHdfs:
    """WebHDFS for the test itself, by another client than Sightline's."""

    def __init__(self, http_port: int):
        self.http_port = http_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def call(self, method: str, path: str, op: str, user: str = SUPERUSER, body: bytes | None = None,
             **parameters: object) -> tuple[int, bytes]:
        """Follows the redirect to a DataNode, and gives it the body."""
        query = urllib.parse.urlencode({"op": op, "user.name": user, **parameters})
        url = f"{self.url}/webhdfs/v1{urllib.parse.quote(path)}?{query}"
        for hop in range(2):
            parts = urllib.parse.urlsplit(url)
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30 * PATIENCE)
            with contextlib.closing(connection):
                connection.request(method, f"{parts.path}?{parts.query}", body if hop else None)
                answer = connection.getresponse()
                data = answer.read()
            if answer.status != 307:
                break
            url = answer.headers["Location"]
        return answer.status, data

    def ok(self, method: str, path: str, op: str, **parameters: object) -> bytes:
        status, body = self.call(method, path, op, **parameters)
        expect(status in (200, 201), f"{op} {path}: {status} {body[:500]!r}")
        return body

    def put(self, path: str, body: bytes, user: str = SUPERUSER) -> None:
        self.ok("PUT", path, "CREATE", user=user, body=body, overwrite="true")

    def read(self, path: str) -> bytes:
        return self.ok("GET", path, "OPEN")

    def names(self, path: str) -> list[str]:
        """Of a directory's files and folders, sorted; none if it does not exist."""
        status, body = self.call("GET", path, "LISTSTATUS")
        if status == 404:
            return []
        expect(status == 200, f"LISTSTATUS {path}: {status} {body[:500]!r}")
        return sorted(file["pathSuffix"] for file in json.loads(body)["FileStatuses"]["FileStatus"])

    def status(self, path: str) -> dict:
        return json.loads(self.ok("GET", path, "GETFILESTATUS"))["FileStatus"]

    def make_folder(self, path: str, mode: str = "777") -> None:
        self.ok("PUT", path, "MKDIRS", permission=mode)

    def live_datanodes(self) -> int:
        """-1: the NameNode does not answer, or is not ready."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=5)
        try:
            with contextlib.closing(connection):
                connection.request("GET", "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState")
                beans = json.loads(connection.getresponse().read())["beans"]
            # One that is known but has not told its space yet is given nothing to store.
            usable = beans and beans[0]["FSState"] == "Operational" and beans[0]["CapacityRemaining"] > 0
            return beans[0]["NumLiveDataNodes"] if usable else -1
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return -1


class Hdfs(WebHdfs):
    """A NameNode and DataNodes, started; ready with `wait`. `settings` are those of hdfs-site.xml."""

    def __init__(self, test: Test | shared.Owner, datanodes: int = 2, settings: dict[str, object] | None = None,
                 trained: Prepared | None = None, wait: bool = True):
        begin = time.monotonic()
        self.test, self.trained = test, trained is not None
        self.prepared = trained or prepared()
        super().__init__(free_port())
        rpc_port = free_port()
        self.default_fs = f"hdfs://127.0.0.1:{rpc_port}"
        common = {
            **COMMON, "dfs.replication": datanodes,
            "dfs.namenode.rpc-address": f"127.0.0.1:{rpc_port}",
            "dfs.namenode.http-address": f"127.0.0.1:{self.http_port}", **(settings or {})}
        self.namenode = Node(self, "namenode", "namenode", {
            **common, "dfs.namenode.name.dir": f"file://{test.folder}/namenode/data",
            "dfs.namenode.edits.noeditlogchannelflush": "true"})
        self.datanodes = [make_datanode(self, number, common) for number in range(1, datanodes + 1)]
        self._format()
        for node in (self.namenode, *self.datanodes):
            node.start()
        if wait:
            self.wait()
            test.note(f"HDFS ready in {time.monotonic() - begin:.1f} s")

    def _format(self) -> None:
        data = self.namenode.folder / "data"
        if not self.trained:
            shutil.copytree(self.prepared.name_space, data)
            return
        self.namenode.run("namenode", "-format", "-force")
        shutil.copytree(data, self.prepared.name_space)

    def ready(self) -> bool:
        """A failure when it will never be."""
        for node in (self.namenode, *self.datanodes):
            node.expect_running()
        return self.live_datanodes() == len(self.datanodes) and all(node.answers() for node in self.datanodes)

    def wait(self, seconds: float = 60) -> None:
        wait_until(self.ready, seconds, "HDFS is ready")

    def admin(self, *arguments: object, train: pathlib.Path | None = None) -> str:
        """`hdfs dfsadmin ...`, to its end; what it printed."""
        return self.namenode.run("admin", *arguments, train=train)


class Pair(WebHdfs):
    """Two NameNodes over a shared folder of edits, `a` and `b`, both in standby at first, and one DataNode."""

    def __init__(self, test: Test):
        self.test, self.trained, self.prepared = test, False, prepared()
        super().__init__(0)  # of the active one, once there is one
        self.default_fs = "hdfs://pair"
        http_ports = {name: free_port() for name in "ab"}
        provider = f"{HADOOP}.server.namenode.ha.ConfiguredFailoverProxyProvider"
        common = {
            **COMMON, "dfs.replication": 1, "dfs.nameservices": "pair", "dfs.ha.namenodes.pair": "a,b",
            **{f"dfs.namenode.rpc-address.pair.{name}": f"127.0.0.1:{free_port()}" for name in "ab"},
            **{f"dfs.namenode.http-address.pair.{name}": f"127.0.0.1:{port}" for name, port in http_ports.items()},
            "dfs.namenode.shared.edits.dir": f"file://{test.folder}/edits", "dfs.ha.tail-edits.period": "1s",
            "dfs.ha.fencing.methods": "shell(/bin/true)", "dfs.client.failover.proxy.provider.pair": provider}
        self.namenodes = {name: Node(self, "namenode", f"namenode-{name}", {
            **common, "dfs.ha.namenode.id": name,
            "dfs.namenode.name.dir": f"file://{test.folder}/namenode-{name}/data"}) for name in "ab"}
        for name, node in self.namenodes.items():
            node.http_port = http_ports[name]
        self.datanode = make_datanode(self, 1, common)
        self.namenodes["a"].run("namenode", "-format", "-force")
        shutil.copytree(self.namenodes["a"].folder / "data", self.namenodes["b"].folder / "data")
        for node in (*self.namenodes.values(), self.datanode):
            node.start()

    def url_of(self, name: str) -> str:
        return f"http://127.0.0.1:{self.namenodes[name].http_port}"

    def wait_standby(self, name: str) -> None:
        def in_standby() -> bool:
            node = self.namenodes[name]
            return node.answers() and b"StandbyException" in WebHdfs(node.http_port).call("GET", "/", "LISTSTATUS")[1]
        wait_until(in_standby, 60, f"NameNode {name} is in standby")

    def activate(self, name: str) -> None:
        """The other one must be in standby or dead."""
        node = self.namenodes[name]
        node.run("ha_admin", "-transitionToActive", "--forceactive", name, stdin="Y\n")
        self.http_port = node.http_port
        wait_until(lambda: self.live_datanodes() == 1, 60, f"NameNode {name} is active and has its DataNode")


class SharedHdfs(shared.SharedServer):
    """As keeper.py has it. The address is the port of WebHDFS."""

    def __init__(self, folder: pathlib.Path):
        self.owner = shared.Owner(folder)
        self.hdfs: Hdfs | None = None

    def start(self) -> None:
        # One copy of each file: two cost the tests time, and show nothing more.
        self.hdfs = Hdfs(self.owner, settings={"dfs.replication": 1}, wait=False)

    def ready(self) -> bool:
        return self.hdfs.ready()

    def address(self) -> str:
        return str(self.hdfs.http_port)

    def log(self) -> pathlib.Path:
        return self.hdfs.namenode.log if self.hdfs else self.owner.folder / "namenode.log"

    def stop(self) -> None:
        self.owner.close()


@dataclass
class Place:
    """A folder of an HDFS that is a test's own, where everybody may write."""
    hdfs: WebHdfs
    folder: str


def shared_hdfs(test: Test) -> Place:
    """On the HDFS that tests share. Not for a test that stops it, lets it wait or changes it."""
    server = shared.address_of("hdfs", test.session)
    test.shared_logs.append(server.log)
    hdfs = WebHdfs(int(server.text))
    folder = f"/{test.name}-{uuid.uuid4().hex[:8]}"
    hdfs.make_folder(folder)
    return Place(hdfs, folder)
