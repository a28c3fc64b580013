"""S3 as the place of files: the port's suite, and every fault of keys, rights, server and network.

What happens to files under faults is seen by storage_probe (tests/conformance), which makes one call after
another on a storage, and by the test's own client of S3.
"""

from __future__ import annotations

import http.server
import json
import os
import random
import re
import ssl
import subprocess
import threading

import test_hdfs
from clocks import Clock
from counted_lake import CountedLake
from gateways import Connection, Gateway, answer, cut_answer, cut_request, lose_answer, lose_request, stall
from registry import test
from s3 import ROOT_KEY, Key, KeptConnections, Versitygw, shared_s3
from server import ROOT, Test, expect, expect_equal, free_port, wait_until
from test_hdfs import SUMS, sums
from test_lake import command

MEBIBYTE = 1 << 20
LARGE = 20 * MEBIBYTE  # goes up in parts


def refusal(code: str, message: str = "no") -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@test(seconds=120)
def s3_conformance(t: Test) -> None:
    """The suite of the port Storage, against a real S3."""
    bucket = shared_s3(t)
    program = t.build() / "tests" / "conformance" / "s3_conformance_test"
    # Only where one of many wins is anything else worth a look.
    for what in ("*OneWins*", "-*OneWins*"):
        done = subprocess.run([program, f"--gtest_filter={what}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=300,
                              env={**os.environ, **ROOT_KEY.environment(), "SIGHTLINE_S3": bucket.s3.url,
                                   "SIGHTLINE_S3_FOLDER": f"{bucket.name}/{'race' if what[0] == '*' else 'rest'}"})
        ran = re.search(r"\[  PASSED  \] (\d+) test", done.stdout)
        expect(done.returncode == 0 and ran, f"{program.name}: {done.stdout[-6000:]}")
    expect(int(ran.group(1)) >= 11, f"only {ran.group(1)} tests ran")
    t.note(f"{ran.group(1)} tests")


class Probe(test_hdfs.Probe):
    """storage_probe on a folder of a bucket. Its key is the environment's, if there is no access_key_file."""

    def __init__(self, t: Test, place: str, endpoint: str, environment: dict[str, str] | None = None,
                 **options: object):
        program = t.build() / "tests" / "conformance" / "storage_probe"
        self.said = t.folder / f"probe-{len(t.processes)}.log"
        with open(self.said, "wb") as said:
            self.process = subprocess.Popen(
                [program, f"s3://{place}", f"endpoint={endpoint}", *(f"{key}={value}" for key, value in options.items())],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
                env={**os.environ, **ROOT_KEY.environment(), **(environment or {})})
        t.processes.append(self.process)


class World:
    """A bucket of a test's own, with a gateway before its server."""

    def __init__(self, t: Test):
        self.t = t
        bucket = shared_s3(t)
        self.s3, self.bucket = bucket.s3, bucket.name
        self.door = Gateway(self.s3.port, free_port())
        t.at_end.append(self.door.close)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.door.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def probe(self, folder: str, **options: object) -> Probe:
        return Probe(self.t, f"{self.bucket}/{folder}", self.url, **options)

    def expect_names(self, folder: str, *names: str) -> None:
        expect_equal(self.s3.names(self.bucket, f"{folder}/"), sorted(names), f"the files in {folder}")
        expect_equal(self.s3.uploads(self.bucket, f"{folder}/"), [], f"the unfinished uploads in {folder}")


@test(seconds=100)
def s3_refusals(t: Test) -> None:
    """What S3 refuses is said with host, path, status, reason and what to do, and leaves nothing behind."""
    world = World(t)
    place = f"{world.bucket}/mine"
    good = world.probe("mine")
    good.expect("put f if_absent 9 x", "written")
    with t.case("a wrong secret, an unknown key"):
        for key, reason in ((Key(ROOT_KEY.id, "WRONG-SECRET"), "SignatureDoesNotMatch"),
                            (Key("nobody", "WRONG-SECRET"), "InvalidAccessKeyId")):
            probe = world.probe("mine", environment=key.environment())
            for call, doing in (("put g if_absent 9 x", "put"), ("read f", "read"), ("list d", "list"),
                                ("stat f", "look at"), ("delete f", "delete")):
                said = probe.expect(call, f"stop cannot {doing} 's3://{place}/", world.host, "HTTP 403", reason,
                                    "correct the key in access_key_file")
                expect("WRONG-SECRET" not in said, f"the message shows the secret: {said}")
    with t.case("a bucket that is missing"):
        probe = Probe(t, "no-such-bucket/x", world.url)
        for call in ("put f if_absent 9 x", "put f replace 9 x", "read f", "list d", "stat f"):
            probe.expect(call, "stop cannot ", "'s3://no-such-bucket/x/", "HTTP 404", "NoSuchBucket", "create the bucket")
    with t.case("another region"):
        world.probe("mine", region="eu-west-7").expect("read f", "stop ", "region")
    with t.case("not S3"):
        for status, body in (("404 Not Found", b"<html>Not Found</html>"), ("302 Found", b""), ("401 Unauthorized", b"{}")):
            world.door.harm(b"/mine/f", answer(status, body), 99)
            for call in ("read f", "put f if_absent 9 x", "delete f"):
                good.expect(call, "stop cannot ", world.host, f"HTTP {status[:3]}", "without a reason of S3", "endpoint")
        for body in (b"<html>welcome", b"<html/>", b""):
            world.door.harm(b"list-type=2", answer("200 OK", body), 99)
            good.expect("list d", "retry cannot list ", world.host, "not a list of S3")
            good.expect("stat f", "retry cannot look at ", world.host, "not a list of S3")
        world.door.heal()
    with t.case("a key that expires"):
        _expired(t, world)
    with t.case("where a key is found"):
        _chain(t, world)
    with t.case("a wrong clock"):
        _clock(t, world)
    with t.case("certificate"):
        _certificate(t, world)
    with t.case("encryption"):
        for options, header in (({"encryption": "sse-s3"}, b"x-amz-server-side-encryption: AES256"),
                                ({"encryption": "sse-kms"}, b"x-amz-server-side-encryption: aws:kms"),
                                ({"encryption": "sse-kms", "kms_key": "arn:aws:kms:k"},
                                 b"x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:k")):
            for size, words in ((9, b"PUT "), (LARGE, b"POST ")):
                world.door.heads.clear()
                world.door.harm(words, answer("403 Forbidden", refusal("KMS.DisabledException", "not enabled")), 1)
                world.probe("mine", **options).expect(f"put e replace {size} x", "stop ", "KMS.DisabledException",
                                                      "kms:GenerateDataKey")
                head = world.door.heads[0]
                expect(header in head and header.split(b":")[0] in re.search(rb"SignedHeaders=(\S+),", head)[1],
                       f"{header} is sent and signed: {head}")
        world.door.heal()
    world.expect_names("mine", "f")


def _expired(t: Test, world: World) -> None:
    path = t.folder / "key"
    probe = world.probe("mine", access_key_file=path)
    probe.expect("read f", "stop ", str(path), "has no key")
    path.write_text("temporary\nSECRET-1\nTOKEN-1\n")
    world.door.harm(b"x-amz-security-token: TOKEN-1", answer("400 Bad Request", refusal(
        "ExpiredToken", "The provided token has expired.")), 99)
    for call in ("read f", "put g if_absent 9 x"):
        said = probe.expect(call, "stop ", world.host, "ExpiredToken", "has expired", "renew the temporary key")
        expect("SECRET" not in said and "TOKEN" not in said, f"the message shows the key: {said}")
    ROOT_KEY.write(path)  # a new one is taken without a restart
    probe.expect("read f", "9 x")
    expect(b"x-amz-security-token" not in world.door.heads[-1], "a lasting key has no token")
    world.door.heal()


def _chain(t: Test, world: World) -> None:
    none = Key("", "").environment()
    said = world.probe("mine", environment=none).expect("read f", "stop ", "no key was found", "AWS_ACCESS_KEY_ID")
    expect(ROOT_KEY.secret not in said, said)
    profiles = t.folder / "profiles"
    profiles.write_text(f"[shop]\naws_access_key_id = {ROOT_KEY.id}\naws_secret_access_key = {ROOT_KEY.secret}\n")
    world.probe("mine", environment={**none, "AWS_SHARED_CREDENTIALS_FILE": str(profiles), "AWS_PROFILE": "shop"}
                ).expect("read f", "9 x")
    with Instance() as instance:
        world.probe("mine", environment={
            **none, "AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": instance.url,
        }).expect("read f", "stop ", world.host)  # versitygw knows no session tokens
    expect(b"x-amz-security-token: OF-THE-ROLE" in world.door.heads[-1], "the role's token is sent")


class Instance:
    """What gives a machine in a cloud the key of its role."""

    def __enter__(self) -> "Instance":
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self._say("a-token")

            def do_GET(self) -> None:
                key = {"Code": "Success", "AccessKeyId": ROOT_KEY.id, "SecretAccessKey": ROOT_KEY.secret,
                       "Token": "OF-THE-ROLE", "Expiration": "2099-01-01T00:00:00Z"}
                self._say(json.dumps(key) if self.path.endswith("/role") else "role")

            def _say(self, text: str) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def _clock(t: Test, world: World) -> None:
    clock = Clock(t, "probe")
    probe = world.probe("mine", environment={**clock.environment(), **ROOT_KEY.environment()})
    for hours, words in ((3, "ahead of the server's"), (-50, "behind the server's"), (0, "")):
        clock.step(hours * 3_600_000)
        probe.expect(f"put clock{hours} if_absent 9 x", "written")
        probe.expect(f"read clock{hours}", "9 x")
        expect(words in probe.said.read_text(), f"'{words}' is said: {probe.said.read_text()}")
        world.s3.ok("DELETE", f"{world.bucket}/mine/clock{hours}")
    clock.step(3 * 3_600_000)
    world.door.replaced = {b"Date:": b"X-Date:"}  # nobody says what time it is
    said = Probe(t, f"{world.bucket}/mine", world.url, clock.environment()).expect(
        "put f if_absent 9 x", "stop cannot put ", world.host, "RequestTimeTooSkewed", "set the clock of this machine")
    expect("server's" not in said, said)
    world.door.replaced = {}


def _certificate(t: Test, world: World) -> None:
    key, certificate = t.folder / "key.pem", t.folder / "certificate.pem"
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key,
                           "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect(done.returncode == 0, f"openssl: {done.stdout}")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    door = Gateway(world.s3.port, free_port(), tls=tls)
    t.at_end.append(door.close)
    url, place = f"https://127.0.0.1:{door.port}", f"{world.bucket}/mine"
    Probe(t, place, url, ca_file=certificate).expect("read f", "9 x")
    Probe(t, place, url, attempts_max=2).expect("read f", "retry ", f"127.0.0.1:{door.port}", "certificate", "ca_file")


# What a process needs that writes a lake, and the call that each right is for.
RIGHTS = {"s3:GetObject": "read d/f", "s3:PutObject": "put d/g if_absent 9 x", "s3:DeleteObject": "delete d/f",
          "s3:ListBucket": "stat d/f", "s3:ListBucketMultipartUploads": "list d", "s3:AbortMultipartUpload": ""}


@test(seconds=100)
def s3_rights(t: Test) -> None:
    """The policy of docs/LAKE.md is enough, and whatever is taken away is named by the error."""
    s3 = Versitygw(t)
    key = s3.make_user("sightline")
    s3.ok("PUT", "counts")
    documented = _documented_policy()
    statements = [{**one, "Principal": [key.id]} for one in documented["Statement"]]
    expect_equal(sorted(action for one in statements for action in one["Action"]), sorted(RIGHTS), "the rights")
    probe = Probe(t, "counts/lake", s3.url, access_key_file=key.write(t.folder / "key"))

    def allow(without: str = "") -> None:
        kept = [{**one, "Action": [action for action in one["Action"] if action != without]} for one in statements]
        policy = {**documented, "Statement": [one for one in kept if one["Action"]]}
        s3.ok("PUT", "counts", json.dumps(policy).encode(), policy="")

    def begin_upload() -> str:
        """The path that a list has for one that was left."""
        s3.ok("POST", "counts/lake/d/left", uploads="")
        names = [name for name in probe("list d").split() if name.startswith("d/.put-")]
        expect(len(names) == 1 and names[0].endswith("+left"), f"the upload is listed: {names}")
        return names[0]

    allow()
    for call, said in (("put d/f if_absent 9 x", "written"), ("put d/f if_absent 9 y", "taken"),
                       (f"put d/large replace {LARGE} x", "written"), ("read d/f", "9 x"), ("stat d/f", "9"),
                       ("read d/none", "absent"), ("list d", "d/f d/large"), ("delete d/large", "done"),
                       ("delete d/none", "done")):
        probe.expect(call, said)
    probe.expect(f"delete {begin_upload()}", "done")
    expect_equal(s3.uploads("counts", "lake/"), [], "the unfinished uploads")
    for right, call in RIGHTS.items():
        with t.case(right):
            allow()
            probe.expect("put d/f replace 9 x", "written")
            call = call or f"delete {begin_upload()}"
            allow(without=right)
            where = "counts" if "ListBucket" in right else "counts/lake/*"
            probe.expect(call, "stop cannot ", "HTTP 403, AccessDenied", f"give this key the right {right} on arn:aws:s3:::{where}")
            allow()
            said = probe(call)
            expect(said.split()[0] in ("9", "written", "done", "d/f"), f"'{call}' with the right: {said}")
    with t.case("elsewhere"):
        Probe(t, "counts/other", s3.url, access_key_file=t.folder / "key").expect(
            "put f if_absent 9 x", "stop ", "s3:PutObject on arn:aws:s3:::counts/other/*")


def _documented_policy() -> dict:
    text = (ROOT / "docs" / "LAKE.md").read_text()
    return json.loads(re.search(r"```json s3-policy\n(.*?)```", text, re.DOTALL)[1])


@test(seconds=200)
def s3_network(t: Test) -> None:
    """Requests and answers are lost, late and cut: a put has happened once and whole, or not at all."""
    world = World(t)
    probe, hasty = world.probe("network"), world.probe("network", timeout_ms=2000)
    for name, lost, times, said in (("lost1", lose_answer, 1, "written"), ("lost2", lose_answer, 3, "written"),
                                    ("never", lose_request, 2, "written"), ("silent", stall, 1, "written"),
                                    ("cut", cut_request, 2, "written"), ("gone", lose_request, 99, "rebuild it is unknown")):
        with t.case(f"PUT {name}"):
            world.door.harm(b"PUT ", lost, times)
            (hasty if lost is stall else probe).expect(f"put {name}/f if_absent 9000 x", said)
            expect(world.door.harmed >= min(times, 6), "the harm was met")
            world.door.heal()
            world.expect_names(f"network/{name}", *(["f"] if said == "written" else []))
            probe.expect(f"read {name}/f", "9000 x" if said == "written" else "absent")
    with t.case("412 after a lost answer: a name that another file has"):
        world.door.harm(b"PUT ", lose_answer, 1)
        probe.expect("put lost1/f if_absent 9 y", "taken")
        world.door.harm(b"PUT ", lose_answer, 1)
        probe.expect("put lost1/f replace 9 z", "written")
        probe.expect("read lost1/f", "9 z")
    with t.case("all answers are lost after the PUT took effect"):
        only = world.probe("network", attempts_max=1)
        world.door.harm(b"PUT ", lose_answer, 1)
        only.expect("put unknown/f if_absent 9 x", "rebuild it is unknown whether the file exists")
        only.expect("put unknown/f if_absent 9 x", "taken")
    with t.case("nobody listens"):
        said = Probe(t, f"{world.bucket}/network", f"http://127.0.0.1:{free_port()}", attempts_max=2).expect(
            "put f if_absent 9 x", "retry cannot put ", "endpoint")
        expect("unknown" not in said, said)
    _kept(t, world)
    with t.case("SlowDown"):
        for words, call, said in ((b"PUT ", "put slow/f if_absent 9 x", "written"), (b"GET ", "read slow/f", "9 x"),
                                  (b"list-type", "stat slow/f", "9"), (b"DELETE ", "delete slow/f", "done")):
            world.door.harm(words, answer("503 Slow Down", refusal("SlowDown", "Please reduce your request rate.")), 3)
            probe.expect(call, said)
            expect_equal(world.door.harmed, 3, "refusals")
        world.door.harm(b"PUT ", answer("503 Slow Down", refusal("SlowDown")), 99)
        probe.expect("put slow/f if_absent 9 x", "retry cannot put ", world.host, "HTTP 503, SlowDown", "fewer requests")
        expect_equal(world.door.harmed, 6, "attempts")
        world.door.heal()
    with t.case("failures of the server"):
        world.door.harm(b"PUT ", answer("500 Internal Server Error", refusal("InternalError")), 2)
        probe.expect("put failing/f if_absent 9 x", "written")
        world.door.harm(b"PUT ", answer("409 Conflict", refusal("ConditionalRequestConflict")), 2)
        probe.expect("put failing/g if_absent 9 x", "written")
        world.door.harm(b"GET ", answer("502 Bad Gateway", b"<html>"), 2)
        probe.expect("stat failing/f", "9")
    with t.case("downloads"):
        probe.expect(f"put down/f if_absent {MEBIBYTE} x", "written")
        world.door.harm(b"GET ", cut_answer, 2)
        probe.expect("read down/f", f"{MEBIBYTE} x")
        for harm in (cut_answer, lose_answer):
            world.door.harm(b"GET ", harm, 99)
            probe.expect("read down/f", f"retry cannot read 's3://{world.bucket}/network/down/f' on {world.host}: ")
        world.door.harm(b"GET ", _with_another_byte, 1)
        probe.expect("read down/f", "retry ", "other bytes than its checksum says")
        world.door.heal()
    with t.case("lists and deletes"):
        for words in (b"list-type", b"uploads", b"DELETE "):
            world.door.harm(words, lose_answer, 2)
            probe.expect("list down", "down/f")
            probe.expect("stat down/f", str(MEBIBYTE))
            probe.expect("delete down/f", "done")
            probe.expect(f"put down/f if_absent {MEBIBYTE} x", "written")
            expect_equal(world.door.harmed, 2, "lost answers")


def _with_another_byte(connection: Connection) -> None:
    connection.send_request()
    connection.client.sendall(connection.read_answer()[:-1] + b"!")


def _kept(t: Test, world: World) -> None:
    """libcurl repeats by itself what it sent on a connection that it had used before."""
    door = KeptConnections(world.s3.port)
    t.at_end.append(door.close)
    probe = Probe(t, f"{world.bucket}/network", door.url, attempts_max=1)
    for size in (9, 0):
        with t.case(f"the answer is lost on a connection that is used again, {size} bytes"):
            probe.expect(f"put kept{size}/warm replace 9 x", "written")
            door.lose = b"PUT "
            probe.expect(f"put kept{size}/f if_absent {size} x", "written")
            expect_equal(sum(f"kept{size}/f ".encode() in line for line in door.requests if line[:4] == b"PUT "), 2, "PUTs")
            probe.expect(f"put kept{size}/warm replace 9 x", "written")
            door.lose = b"PUT "
            probe.expect(f"put kept{size}/f if_absent 7 y", "taken")
    expect_equal(door.lost, 4, "lost answers")


@test(seconds=200)
def s3_parts(t: Test) -> None:
    """A file above 8 MiB goes up in parts: it is there once and whole, and nothing is left of an upload that fails."""
    world = World(t)
    probe = world.probe("parts")
    with t.case("whole"):
        world.door.heads.clear()
        probe.expect(f"put whole/f replace {LARGE} x", "written")
        parts = {number for head in world.door.heads for number in re.findall(rb"partNumber=(\d+)", head)}
        expect_equal(parts, {b"1", b"2", b"3"}, "the parts")
        probe.expect("read whole/f", f"{LARGE} x")
        world.door.heads.clear()
        probe.expect(f"put whole/g if_absent {LARGE} x", "written")  # one PUT, which knows the condition
        expect(all(b"partNumber" not in head for head in world.door.heads), "a put if absent has no parts")
        # The server refuses before it has the body; a gateway in between would lose that answer.
        Probe(t, f"{world.bucket}/parts", world.s3.url).expect(f"put whole/g if_absent {LARGE} y", "taken")
        probe.expect("read whole/g", f"{LARGE} x")
        world.expect_names("parts/whole", "f", "g")
    for name, words, harm in (("part", b"partNumber=2", lose_answer), ("cut", b"partNumber=3", cut_request),
                              ("lost", b"partNumber=1", lose_request), ("complete", b"POST", _lose_completion)):
        with t.case(f"once: {name}"):
            world.door.harm(words, harm, 2 if harm is _lose_completion else 1)
            probe.expect(f"put {name}/f replace {LARGE} x", "written")
            expect(world.door.harmed > 0, "the harm was met")
            world.door.heal()
            probe.expect(f"read {name}/f", f"{LARGE} x")
            world.expect_names(f"parts/{name}", "f")
    with t.case("200 with a refusal in its body"):
        only = world.probe("parts", attempts_max=1)
        world.door.harm(b"POST ", _refuse_completion, 2)
        only.expect(f"put late/f replace {LARGE} x", "rebuild it is unknown", "InternalError")
        world.expect_names("parts/late")
    with t.case("always: the upload is aborted"):
        world.door.harm(b"partNumber=2", lose_request, 99)
        probe.expect(f"put failed/f replace {LARGE} x", "retry cannot put ")
        world.door.heal()
        world.expect_names("parts/failed")
    with t.case("what is left of a crash is listed, and can be deleted"):
        world.door.harm(b"POST ", lose_answer, 1)  # nobody knows this upload
        probe.expect(f"put left/a/f+%.x replace {LARGE} x", "written")
        left = [name for name in probe("list left").split() if "/.put-" in name]
        expect(len(left) == 1 and left[0].startswith("left/a/.put-") and left[0].endswith("+f+%.x"), f"left: {left}")
        for _ in range(2):
            probe.expect(f"delete {left[0]}", "done")
        probe.expect("list left", "left/a/f+%.x")
        world.expect_names("parts/left", "a/f+%.x")
    with t.case("a process that is killed"):
        killed = world.probe("parts")
        world.door.harm(b"partNumber=2", lambda connection: (killed.process.kill(), killed.process.wait()), 1)
        killed.begin(f"put killed/f replace {LARGE} x")
        killed.process.wait()
        expect(world.door.harmed == 1, "it was killed in the middle")
        left = probe("list killed").split()
        expect(len(left) == 1 and left[0].endswith("+f"), f"left: {left}")
        probe.expect(f"delete {left[0]}", "done")
        world.expect_names("parts/killed")


def _lose_completion(connection: Connection) -> None:
    """Of the POSTs, the one that ends an upload."""
    lose_answer(connection) if b"uploadId=" in connection.head else connection.pass_on()


def _refuse_completion(connection: Connection) -> None:
    if b"uploadId=" in connection.head:
        answer("200 OK", refusal("InternalError"))(connection)
    else:
        connection.pass_on()


@test(seconds=300)
def s3_lake(t: Test) -> None:
    """`count` writes its lake to S3 while it and the server are killed and answers are lost; then the lake has every
    count once, as `lake verify` and deltalake see it."""
    draw = random.Random(t.seed)
    s3 = Versitygw(t)
    s3.ok("PUT", "counts")
    door = Gateway(s3.port, free_port())
    t.at_end.append(door.close)
    config = t.folder / "sightline.toml"
    config.write_text(f'[s3.counts]\nendpoint = "http://127.0.0.1:{door.port}"\n'
                      f'access_key_file = "{s3.key.write(t.folder / "key")}"\n')
    lake = "s3://counts/a/lake"
    counted = CountedLake(t, lake, config, draw)

    def kill_server() -> None:
        s3.kill()
        counted.send()
        s3.start()
        s3.wait()

    def lose_answers() -> None:
        door.harm(b"PUT ", lose_answer, 3)

    def slow_down() -> None:
        door.harm(b"/counts", answer("503 Slow Down", refusal("SlowDown")), 20)

    counted.suffer([counted.kill_counter, lose_answers, slow_down, kill_server] * 2)
    door.heal()
    counted.wait_well()
    door.harm(b"PUT ", lose_answer)
    counted.send()
    counted.wait_complete()
    counted.check_metrics()
    with t.case("a stop does not wait for a server that does not answer"):
        door.harm(b"/counts", stall, 10_000)
        counted.send()
        wait_until(lambda: door.harmed > 0, 20, "the lake is written")
        counted.counter.stop()
        door.heal()
        counted.counter.launch()
        counted.wait_complete()
    counted.counter.stop()
    with t.case("vacuum aborts an upload that was left"):
        s3.ok("POST", "counts/a/lake/ledger/left", uploads="")
        expect(any("left" in json.dumps(row) for row in command(t, "lake", "verify", *counted.place)), "verify notes it")
        command(t, "lake", "vacuum", *counted.place, "--retention", "0s")
        expect_equal(s3.uploads("counts", "a/lake/"), [], "the unfinished uploads")
    counted.run_commands()
    for name in s3.names("counts", "a/lake/"):
        copy = t.folder / "copy" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(s3.ok("GET", f"counts/a/lake/{name}"))
    counted.check_copy(t.folder / "copy")
    with t.case("who asks it"):
        server = t.server("--config", config, "--lake.dir", lake)
        server.start()
        wait_until(lambda: sums(server) == dict(counted.sent), 30, "`up` reads what was counted")
        server.stop()
        rows = command(t, "query", SUMS, *counted.place)
        expect_equal({row["location"]: row["n"] for row in rows}, dict(counted.sent), "`sightline query`")
    with t.case("what is not there"):
        counted.check_absent("s3://other/lake", "[s3.other]", "s3://counts/none")
