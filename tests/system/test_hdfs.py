"""HDFS as the place of files: the port's suite, and every fault of NameNode, DataNode and network.

What happens to files under faults is seen by storage_probe (tests/conformance), which makes one call after
another on a storage, and by the test's own client of WebHDFS.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import re
import ssl
import subprocess
import threading
import time
from collections import Counter

from counted_lake import CountedLake
from gateways import Connection, Gateway, answer, cut_answer, cut_request, delay, lose_answer, lose_request, stall
from hdfs import Hdfs, Pair, WebHdfs, shared_hdfs
from registry import test
from server import PATIENCE, ROOT, Server, Test, expect, expect_equal, free_port, lines, wait_until
from test_gap import process
from test_lake import ask, check_readers, command
from test_monitor import event

MEBIBYTE = 1 << 20


@test(seconds=300)
def hdfs_conformance(t: Test) -> None:
    """The suites of the ports Storage and CheckpointStore, against a real HDFS."""
    place = shared_hdfs(t)
    program = t.build() / "tests" / "conformance" / "hdfs_conformance_test"
    done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500,
                          env={**os.environ, "SIGHTLINE_HDFS": place.hdfs.url,
                               "SIGHTLINE_HDFS_FOLDER": place.folder})
    ran = re.search(r"\[  PASSED  \] (\d+) tests", done.stdout)
    expect(done.returncode == 0 and ran, f"{program.name}: {done.stdout[-6000:]}")
    expect(int(ran.group(1)) >= 24, f"only {ran.group(1)} tests ran")
    t.note(f"{ran.group(1)} tests")


class Probe:
    """storage_probe on a folder of an HDFS. `namenodes`: URLs."""

    def __init__(self, t: Test, folder: str, *namenodes: str, **options: object):
        options = {"user": "sightline", **options}
        program = t.build() / "tests" / "conformance" / "storage_probe"
        self.process = subprocess.Popen(
            [program, f"hdfs://test{folder}", *(f"namenode={url}" for url in namenodes),
             *(f"{key}={value}" for key, value in options.items())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        t.processes.append(self.process)

    def begin(self, call: str) -> None:
        self.process.stdin.write(call + "\n")
        self.process.stdin.flush()

    def end(self) -> str:
        return self.process.stdout.readline().strip()

    def __call__(self, call: str) -> str:
        self.begin(call)
        return self.end()

    def expect(self, call: str, *words: str) -> str:
        """The answer begins with the first and has the others."""
        said = self(call)
        expect(said.startswith(words[0]) and all(word in said for word in words),
               f"'{call}' says '{said}', wanted {words}")
        return said


class World:
    """An HDFS of a test's own, with a gateway before each of its servers."""

    def __init__(self, t: Test):
        self.t = t
        self.hdfs = Hdfs(t)
        self.door = Gateway(self.hdfs.http_port, free_port())
        self.datanode_doors = [Gateway(node.http_port, free_port()) for node in self.hdfs.datanodes]
        for node, door in zip(self.hdfs.datanodes, self.datanode_doors):
            self.door.replaced[b":%d/" % node.http_port] = b":%d/" % door.port
        t.at_end.extend(door.close for door in self.doors)

    @property
    def doors(self) -> list[Gateway]:
        return [self.door, *self.datanode_doors]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.door.port}"

    def harm(self, words: bytes, *harm_and_times: object) -> None:
        for door in self.doors:
            door.harm(words, *harm_and_times)

    def heal(self) -> None:
        for door in self.doors:
            door.heal()

    def folder(self, name: str) -> str:
        self.hdfs.make_folder(f"/{name}")
        return f"/{name}"

    def harmed(self) -> int:
        return sum(door.harmed for door in self.doors)

    def expect_names(self, folder: str, *names: str) -> None:
        expect_equal(self.hdfs.names(folder), sorted(names), f"the files in {folder}")


@test(seconds=200)
def hdfs_refusals(t: Test) -> None:
    """What HDFS refuses is said with host, path, status, reason and what to do, and leaves nothing behind."""
    world = World(t)
    host = f"127.0.0.1:{world.door.port}"
    datanode = "' on 127.0.0.1:"  # it asks the NameNode in the user's name, and tells its refusal
    with t.case("no right to write"):
        folder = world.folder("mine")
        world.hdfs.ok("PUT", folder, "SETPERMISSION", permission="755")
        eve = Probe(t, folder, world.url, user="eve")
        eve.expect("put a/f if_absent 9 x", "stop cannot put 'hdfs://test/mine/a/f", datanode, "HTTP 403",
                   "AccessControlException", "Permission denied: user=eve", "give this user the right")
        world.hdfs.put(f"{folder}/secret", b"x")
        world.hdfs.ok("PUT", f"{folder}/secret", "SETPERMISSION", permission="600")
        eve.expect("read secret", "stop cannot read 'hdfs://test/mine/secret'", "AccessControlException")
        eve.expect("delete secret", "stop cannot delete", "AccessControlException")
        world.expect_names(folder, "secret")
    with t.case("quotas"):
        for quota, reason, advice in (("namespacequota", "NSQuotaExceededException", "-setQuota"),
                                      ("storagespacequota", "DSQuotaExceededException", "-setSpaceQuota")):
            folder = world.folder(quota)
            probe = Probe(t, folder, world.url)
            world.hdfs.ok("PUT", folder, "SETQUOTA", **{quota: 1})
            probe.expect("put f if_absent 9 x", f"retry cannot put 'hdfs://test/{quota}/f", datanode, "HTTP 403", reason,
                         advice)
            world.expect_names(folder)
            world.hdfs.ok("PUT", folder, "SETQUOTA", **{quota: 1 << 40})
            probe.expect("put f if_absent 9 x", "written")
            world.expect_names(folder, "f")
    with t.case("safe mode"):
        folder = world.folder("safe")
        probe = Probe(t, folder, world.url)
        probe.expect("put f if_absent 9 x", "written")
        world.hdfs.admin("-safemode", "enter")
        probe.expect("put g if_absent 9 x", "retry cannot put 'hdfs://test/safe/g", datanode, "SafeModeException", "-safemode leave")
        probe.expect("delete f", "retry cannot delete 'hdfs://test/safe/f", host, "SafeModeException")
        probe.expect("read f", "9 x")
        world.hdfs.admin("-safemode", "leave")
        probe.expect("put g if_absent 9 x", "written")
        world.expect_names(folder, "f", "g")
    with t.case("not WebHDFS"):
        for base_path in ("/elsewhere", "/webhdfs/v2"):
            probe = Probe(t, "/safe", world.url, base_path=base_path)
            probe.expect("read f", "stop ", host, "HTTP 404", "check that namenodes and base_path")
            probe.expect("put h if_absent 9 x", "stop ", host, "base_path")
    with t.case("modes"):
        folder = world.folder("modes")
        Probe(t, folder, world.url, directory_mode="770", file_mode="640").expect("put a/b/f replace 9 x", "written")
        expect_equal([world.hdfs.status(f"{folder}/{path}")["permission"] for path in ("a", "a/b", "a/b/f")],
                     ["770", "770", "640"], "the modes of what was made")
    with t.case("token"):
        _token(t, world, host)
    with t.case("certificate"):
        _certificate(t, world)


def _token(t: Test, world: World, host: str) -> None:
    """HDFS without Kerberos does not look at a token, so the gateway refuses it with HDFS's words."""
    path = t.folder / "token"
    probe = Probe(t, "/safe", world.url, token_file=path)
    probe.expect("read f", "stop ", str(path), "has no delegation token")
    path.write_text("SECRET-1\n")
    world.door.harm(b"delegation=SECRET-1", answer("403 Forbidden", (
        b'{"RemoteException":{"exception":"InvalidToken",'
        b'"javaClassName":"org.apache.hadoop.security.token.SecretManager$InvalidToken",'
        b'"message":"token (HDFS_DELEGATION_TOKEN token 7 for sightline) is expired"}}')), 99)
    said = probe.expect("read f", "stop ", host, "InvalidToken", "is expired", "token_file")
    expect("SECRET" not in said, f"the message shows the token: {said}")
    expect(b"user.name" not in world.door.heads[-1], "a token needs no user.name")
    path.write_text("SECRET-2\n")  # a new one is taken without a restart
    probe.expect("read f", "9 x")
    expect(b"delegation=SECRET-2" in world.door.heads[-1], "the new token is sent")
    world.heal()


def _certificate(t: Test, world: World) -> None:
    key, certificate = t.folder / "key.pem", t.folder / "certificate.pem"
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key,
                           "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect(done.returncode == 0, f"openssl: {done.stdout}")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    door = Gateway(world.hdfs.http_port, free_port(), tls=tls)
    t.at_end.append(door.close)
    url = f"https://127.0.0.1:{door.port}"
    trusting = Probe(t, "/safe", url, ca_file=certificate)
    trusting.expect("stat f", "9")
    # The DataNodes behind this gateway have no certificate.
    trusting.expect("read f", "stop cannot read ", "redirects to http://", "dfs.http.policy")
    Probe(t, "/safe", url, attempts_max=2).expect("stat f", "retry ", f"127.0.0.1:{door.port}", "certificate",
                                                   "ca_file")


@test(seconds=300)
def hdfs_network(t: Test) -> None:
    """Requests and answers are lost, late and cut: a put has happened once and whole, or not at all."""
    world = World(t)
    folder = world.folder("network")
    probe = Probe(t, folder, world.url, timeout_ms=2000)
    for name, lost, times, said in (("lost1", lose_answer, 1, "written"), ("lost2", lose_answer, 3, "written"),
                                    ("never", lose_request, 2, "written"), ("silent", stall, 1, "written"),
                                    ("gone", lose_request, 99, "retry cannot put ")):
        with t.case(f"RENAME {name}"):
            world.harm(b"op=RENAME", lost, times)
            probe.expect(f"put {name}/f if_absent 9 x", said)
            expect(world.harmed() >= min(times, 6), "the harm was met")
            world.heal()
            world.expect_names(f"{folder}/{name}", *(["f"] if said == "written" else []))
            probe.expect(f"read {name}/f", "9 x" if said == "written" else "absent")
    with t.case("a name that is taken, and a lost answer"):
        world.harm(b"op=RENAME", lose_answer, 1)
        probe.expect("put lost1/f if_absent 9 y", "taken")
        world.harm(b"op=RENAME", lose_answer, 1)
        probe.expect("put lost1/f replace 9 z", "written")
        probe.expect("read lost1/f", "9 z")
        world.expect_names(f"{folder}/lost1", "f")
    with t.case("all answers are lost after the RENAME took effect"):
        only = Probe(t, folder, world.url, attempts_max=1)
        world.harm(b"op=RENAME", lambda connection: (lose_answer(connection), world.harm(b"op=", lose_request, 99)))
        only.expect("put unknown/f if_absent 9 x", "rebuild it is unknown whether the file exists")
        world.heal()
        only.expect("read unknown/f", "9 x")
        only.expect("put unknown/f if_absent 9 x", "taken")
        world.expect_names(f"{folder}/unknown", "f")
    for name, harm in (("upload", cut_request), ("confirmation", lose_answer), ("nothing", lose_request)):
        with t.case(f"{name} of a body"):
            for door in world.datanode_doors:
                door.harm(b"op=CREATE", harm, 1)
            probe.expect(f"put {name}/f if_absent {MEBIBYTE} x", "written")
            expect(world.harmed() >= 1, "the harm was met")
            world.heal()
            probe.expect(f"read {name}/f", f"{MEBIBYTE} x")
            probe.expect(f"put {name}/g if_absent 9 x", "written")  # deletes what the attempts before it left
            world.expect_names(f"{folder}/{name}", "f", "g")
    with t.case("every upload is cut"):
        world.harm(b"op=CREATE", cut_request, 99)
        world.door.heal()
        probe.expect(f"put cut/f replace {MEBIBYTE} x", "retry cannot put ")
        world.heal()
        probe.expect("read cut/f", "absent")
        probe.expect("put cut/g if_absent 9 x", "written")
        world.expect_names(f"{folder}/cut", "g")
    with t.case("downloads"):
        world.harm(b"op=OPEN", cut_answer, 1)
        world.door.heal()
        probe.expect("read upload/f", f"{MEBIBYTE} x")
        for harm in (cut_answer, lose_answer):
            world.harm(b"op=OPEN", harm, 99)
            world.door.heal()
            probe.expect("read upload/f", "retry cannot read 'hdfs://test/network/upload/f' on 127.0.0.1:")
        world.heal()
    with t.case("lists, looks and deletes"):
        for words in (b"op=LISTSTATUS", b"op=GETFILESTATUS", b"op=DELETE"):
            world.harm(words, lose_answer, 2)
            probe.expect("list upload", "upload/f upload/g")
            probe.expect("stat upload/f", str(MEBIBYTE))
            probe.expect("delete upload/g", "done")
            probe.expect("put upload/g if_absent 9 x", "written")
    with t.case("everything is late"):
        world.harm(b"op=", delay, 99)
        probe.expect("put late/f if_absent 9 x", "written")
        probe.expect("read late/f", "9 x")
        world.heal()
        world.expect_names(f"{folder}/late", "f")
    with t.case("a gateway that fails"):
        world.harm(b"op=GETFILESTATUS", answer("502 Bad Gateway", b"<html>"), 2)
        probe.expect("stat late/f", "9")
        world.harm(b"op=GETFILESTATUS", answer("200 OK", b"<html>welcome"), 1)
        probe.expect("stat late/f", "retry ")


@test(seconds=300)
def hdfs_servers(t: Test) -> None:
    """DataNodes and the NameNode are killed and come back."""
    world = World(t)
    folder = world.folder("servers")
    # Both DataNodes are on one host here, so leaving out a host leaves out either. Two attempts in three reach the
    # one that lives; with the usual six, one run in a hundred finds only the dead one.
    probe = Probe(t, folder, world.url, attempts_max=40)
    probe.expect(f"put before if_absent {MEBIBYTE} x", "written")
    with t.case("a DataNode is killed during a write"):
        killed = []

        def kill(connection: Connection) -> None:
            """In the middle of the body that it is given."""
            cut_request(connection)
            number = world.datanode_doors.index(connection.gateway)
            killed.append(world.hdfs.datanodes[number])
            killed[0].kill()
            for door in world.datanode_doors:
                door.heal()

        for door in world.datanode_doors:
            door.harm(b"op=CREATE", kill)
        probe.expect(f"put during if_absent {8 * MEBIBYTE} y", "written")
        expect_equal(len(killed), 1, "DataNodes that were killed")
        probe.expect("read during", f"{8 * MEBIBYTE} y")
        probe.expect("read before", f"{MEBIBYTE} x")
        probe.expect("put after if_absent 9 z", "written")
        world.expect_names(folder, "after", "before", "during")
        killed[0].start()
        world.hdfs.wait()
    with t.case("no DataNode"):
        for node in world.hdfs.datanodes:
            node.kill()
        few = Probe(t, folder, world.url, attempts_max=4)
        few.expect("put none if_absent 9 x", "retry cannot put ", "127.0.0.1:")
        few.expect("read before", "retry cannot read ", "127.0.0.1:")
        few.expect("stat before", str(MEBIBYTE))
        for node in world.hdfs.datanodes:
            node.start()
        world.hdfs.wait()
        few.expect("read before", f"{MEBIBYTE} x")
    with t.case("the NameNode is gone, and restarted"):
        direct = Probe(t, folder, world.hdfs.url)
        patient = Probe(t, folder, world.hdfs.url, attempts_max=100)
        world.hdfs.namenode.kill()
        direct.expect("put gone if_absent 9 x", "retry cannot put ", f"127.0.0.1:{world.hdfs.http_port}",
                      "check that this server runs")
        direct.expect("list before", "retry cannot list ")
        patient.begin("put back if_absent 9 x")
        world.hdfs.namenode.start()
        expect_equal(patient.end(), "written", "a put that began while the NameNode was away")
        world.hdfs.wait()
        direct.expect("read before", f"{MEBIBYTE} x")
        direct.expect("put gone if_absent 9 x", "written")
        names = [name for name in world.hdfs.names(folder) if name not in ("after", "before", "during", "back", "gone")]
        expect_equal(names, [], "other files")
    with t.case("the second of two NameNodes is the one that answers"):
        pair = Probe(t, folder, f"http://127.0.0.1:{free_port()}", world.hdfs.url)
        pair.expect("put pair if_absent 9 x", "written")
        pair.expect("read pair", "9 x")
    with t.case("the NameNode is killed again and again while 8 write one log"):
        _log_under_kills(t, world)


@test(seconds=200)
def hdfs_standby(t: Test) -> None:
    """Two NameNodes, one of them in standby: whichever is active is found, also while they change."""
    pair = Pair(t)
    pair.wait_standby("a")
    pair.wait_standby("b")
    urls = [pair.url_of(name) for name in "ab"]
    few = Probe(t, "/pair", *urls, attempts_max=4)
    few.expect("read f", "retry cannot read ", "StandbyException", "name the other NameNodes")
    pair.activate("a")
    pair.make_folder("/pair")
    few.expect("put f if_absent 9 x", "written")
    patient = Probe(t, "/pair", *urls, attempts_max=200)
    patient.expect("read f", "9 x")
    pair.namenodes["a"].kill()
    patient.begin("put g if_absent 9 y")
    pair.activate("b")
    expect_equal(patient.end(), "written", "a put that began while no NameNode was active")
    pair.namenodes["a"].start()
    pair.wait_standby("a")
    for probe in (few, patient, Probe(t, "/pair", *urls)):
        probe.expect("read f", "9 x")
        probe.expect("read g", "9 y")
        probe.expect("put g if_absent 9 z", "taken")
    expect_equal(pair.names("/pair"), ["f", "g"], "the files")
    Probe(t, "/pair", urls[0], attempts_max=2).expect("read f", "retry cannot read ", "StandbyException")


def _log_under_kills(t: Test, world: World) -> None:
    """Each name of the log has one winner, whose bytes it has."""
    folder = world.folder("log")
    won: dict[int, list[int]] = {number: [] for number in range(10)}

    def write(writer: int) -> None:
        probe = Probe(t, folder, world.hdfs.url, attempts_max=100)
        for number in won:
            said = probe(f"put {number} if_absent {writer + 1} x")
            if said.startswith("rebuild") and probe(f"read {number}") == f"{writer + 1} x":
                said = "written"
            if said == "written":
                won[number].append(writer + 1)

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for writer in writers:
        writer.start()
    for _ in range(2):
        world.hdfs.namenode.kill()
        world.hdfs.namenode.start()
        world.hdfs.wait()
    for writer in writers:
        writer.join(120 * PATIENCE)
        expect(not writer.is_alive(), "a writer does not end")
    for number, winners in won.items():
        expect_equal(len(winners), 1, f"winners of {number}")
        expect_equal(world.hdfs.read(f"{folder}/{number}"), b"x" * winners[0], f"bytes of {number}")


SUMS = ("SELECT geographical_location_oid AS location, sum(item_count)::BIGINT AS n FROM item_counts "
        "GROUP BY ALL ORDER BY ALL")


def sums(server: Server) -> dict[int, int]:
    """What POST /v1/query says was counted, by location."""
    return {row["location"]: row["n"] for row in ask(server, SUMS)}


def documented_config(url: str) -> str:
    """The section of docs/LAKE.md, for a server without a certificate."""
    text = (ROOT / "docs" / "LAKE.md").read_text()
    block = text[text.index("    [hdfs.prod]"):].split("\n\n")[0]
    lines = [line.strip() for line in block.splitlines() if "ca_file" not in line]
    return "\n".join(f'namenodes = ["{url}"]' if line.startswith("namenodes") else line for line in lines) + "\n"


@test(seconds=400)
def hdfs_query(t: Test) -> None:
    """`up` has its lake on HDFS. Whoever asks gets the same rows, to the last one: also after kill -9, and after
    DataNodes and the NameNode were away. What is in the cache is answered meanwhile, and the rest says why not."""
    world = World(t)
    lake = f"hdfs://prod{world.folder('lake')}/tables"
    config = t.folder / "sightline.toml"
    config.write_text(documented_config(world.url))
    place = ("--lake", lake, "--config", config)
    server = t.server("--config", config, "--lake.dir", lake, "--lake.roll_interval", "300ms",
                      "--engine.checkpoint_interval", "300ms", "--lake.maintenance_interval", "1h")
    server.start()
    sent: Counter = Counter()

    def send(count: int = 20) -> None:
        locations = [1 + number % 4 for number in range(count)]
        server.post_ok(lines(event(location, location) for location in locations))
        sent.update(locations)

    def files() -> dict[str, int]:
        """Of the counts, without those that a compaction may have replaced."""
        return {row["path"]: row["bytes"] for row in command(t, "lake", "files", *place)}

    def in_lake() -> bool:
        said = t.run("query", SUMS, *place, "--format", "json")
        return said.returncode == 0 and {row["location"]: row["n"] for row in json.loads(said.stdout)} == sent

    def of(metric: str) -> float:
        return server.metric(f"sightline_lake_cache_{metric}")

    with t.case("the same rows for all who ask"):
        for _ in range(4):
            send()
            time.sleep(0.4)
        wait_until(in_lake, 60, "the lake has what was sent")
        expect_equal(sums(server), sent, "POST /v1/query")
        rows = command(t, "query", SUMS, "--data", server.data)
        expect_equal({row["location"]: row["n"] for row in rows}, sent, "`sightline query`, which asks the server")
        expect(of("misses_total") > 0 and of("fetched_bytes_total") > 0, "files were fetched")
        before = of("misses_total"), of("hits_total")
        expect_equal(sums(server), sent, "POST /v1/query")
        expect_equal(of("misses_total"), before[0], "misses of a question that was asked before")
        expect(of("hits_total") > before[1], "hits")
        top = server.request("GET", "/v1/top?location=1&window=60m&format=json").json()
        expect_equal([(row["item_name"], row["item_count"]) for row in top], [("bus", sent[1])], "top")
    with t.case("kill -9: what was fetched is used again"):
        server.kill()
        server.start()
        wait_until(lambda: sums(server) == sent, 30, "the same sums")
        expect_equal(of("misses_total"), 0, "files that were fetched again")
    with t.case("no DataNode"):
        send()
        wait_until(in_lake, 30, "the lake has files that nobody asked for through the server")
        for node in world.hdfs.datanodes:
            node.kill()
        rows = ask(server, SUMS.replace("item_counts", "item_counts WHERE window_start < '2020-01-01'"))
        expect_equal(rows, [], "a question that needs no files")
        said = server.request("POST", "/v1/query", json.dumps({"sql": SUMS}).encode(), timeout=120)
        expect_equal(said.status, 503, f"a question whose files cannot be fetched: {said.body!r}")
        expect(b"cannot read 'hdfs://prod/lake/tables" in said.body or b"not all of them came" in said.body, said.body)
        server.wait_reason(60, "queries fail, because a file of the lake cannot be read")
        send()
        for node in world.hdfs.datanodes:
            node.start()
        world.hdfs.wait()
        wait_until(lambda: server.healthy(), 60, f"healthy again: {server.health()}")
        expect_equal(sums(server), sent, "afterwards")
    with t.case("a start without the NameNode"):
        wait_until(in_lake, 30, "the lake has all")
        server.kill()
        world.hdfs.namenode.kill()
        server.launch()
        server.wait_door(60)
        server.wait_reason(60, "lake", "check that this server runs")
        said = server.request("POST", "/v1/query", json.dumps({"sql": SUMS}).encode())
        expect(said.status == 503 and b"has not been read yet" in said.body, f"a question: {said.body!r}")
        send()  # is durable, and counted later
        world.hdfs.namenode.start()
        world.hdfs.wait()
        wait_until(server.healthy, 60, f"healthy again: {server.health()}")
        wait_until(lambda: sums(server) == sent, 30, "what came meanwhile is counted")
        wait_until(in_lake, 30, "the lake has it")
    with t.case("the bound of the cache"):
        while sum(files().values()) < 100_000:
            send()
            time.sleep(0.4)
        wait_until(in_lake, 30, "the lake has all")
        server.stop()
        server.options += ["--query.cache_max", "64KiB"]
        server.start()
        said = server.request("POST", "/v1/query", json.dumps({"sql": SUMS}).encode())
        expect_equal(said.status, 507, f"a question beyond the bound: {said.body!r}")
        expect(b"query.cache_max" in said.body and lake.encode() in said.body, said.body)
        one = ask(server, SUMS.replace("FROM item_counts", "FROM item_counts WHERE geographical_location_oid = 1"))
        expect_equal([row["n"] for row in one], [sent[1]], "a smaller question")
        expect(of("bytes") <= 65_536, "the cache keeps to its bound")
        cached = sum(path.stat().st_size for path in (server.data / "lake_cache" / "lake").rglob("*") if path.is_file())
        expect_equal(cached, of("bytes"), "bytes on disk")
    server.stop()
    rows = command(t, "query", SUMS, "--data", server.data, "--config", config, "--lake", lake)
    expect_equal({row["location"]: row["n"] for row in rows}, sent, "`sightline query` of the files")
    rows = command(t, "lake", "verify", *place)
    expect({row["kind"] for row in rows} <= {"ok", "note"}, f"verify: {rows}")
    fetch(world.hdfs, "/lake/tables", t.folder / "copy")
    check_readers(t, t.folder / "copy", {location: Counter(bus=count) for location, count in sent.items()})


def fetch(hdfs: WebHdfs, folder: str, into: pathlib.Path) -> None:
    """Everything below a folder of HDFS."""
    into.mkdir(parents=True)
    for name in hdfs.names(folder):
        if hdfs.status(f"{folder}/{name}")["type"] == "DIRECTORY":
            fetch(hdfs, f"{folder}/{name}", into / name)
        else:
            (into / name).write_bytes(hdfs.read(f"{folder}/{name}"))


@test(seconds=400)
def hdfs_lake(t: Test) -> None:
    """`count` writes its lake to HDFS while it, the NameNode and a DataNode are killed and answers are lost; then
    the lake has every count once, as `lake verify` and deltalake see it."""
    draw = random.Random(t.seed)
    world = World(t)
    folder = world.folder("lake")
    config = t.folder / "sightline.toml"
    config.write_text(f'[hdfs.prod]\nnamenodes = ["{world.url}"]\nuser = "sightline"\ndirectory_mode = "770"\n')
    lake = f"hdfs://prod{folder}/tables"
    counted = CountedLake(t, lake, config, draw)

    def kill_namenode() -> None:
        world.hdfs.namenode.kill()
        counted.send()
        world.hdfs.namenode.start()
        world.hdfs.wait()

    def kill_datanode() -> None:
        node = draw.choice(world.hdfs.datanodes)
        node.kill()
        counted.send()
        node.start()
        world.hdfs.wait()

    def lose_answers() -> None:
        world.harm(draw.choice((b"op=RENAME", b"op=CREATE")), lose_answer, 3)

    counted.suffer([counted.kill_counter, lose_answers] * 3 + [kill_namenode, kill_datanode])
    world.heal()
    counted.wait_well()
    world.door.harm(b"op=RENAME", lose_answer)
    counted.send()
    counted.wait_complete()
    counted.check_metrics()
    with t.case("a stop does not wait for a NameNode that does not answer"):
        world.door.harm(b"op=", stall, 10_000)
        counted.send()
        wait_until(lambda: world.door.harmed > 0, 20, "the lake is written")
        counted.counter.stop()
        world.heal()
        counted.counter.launch()
        counted.wait_complete()
    counted.counter.stop()
    counted.run_commands()
    fetch(world.hdfs, f"{folder}/tables", t.folder / "copy")
    counted.check_copy(t.folder / "copy")
    with t.case("`serve` asks it"):
        serve = process(t, counted.cluster, "serve", 2, "--config", config, "--lake.dir", lake)
        serve.start()
        expect_equal(sums(serve), dict(counted.sent), "what `serve` reads")
        serve.stop()
    with t.case("what is not there"):
        counted.check_absent(f"hdfs://other{folder}", "[hdfs.other]", f"hdfs://prod{folder}/none")
