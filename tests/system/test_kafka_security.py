"""Logins, certificates and rights on a real broker: `up` needs what `topics acls` prints and no more,
and says what is wrong."""

from __future__ import annotations

import json
import shlex
import time
import uuid

from brokers import Cluster, Security
from events import Traffic, deliver
from registry import test
from server import Failure, Server, Test, expect, expect_equal, wait_until
from test_lake import SUM, ask

SAID_WITHIN = 20
STEPS = ("count", "join", "transform", "store", "serve")  # each as a user of its own name
CERTIFICATE_USER = "User:CN=sightline"


def secure_cluster(t: Test) -> tuple[Cluster, Security]:
    security = Security(t, {user: f"secret-{uuid.uuid4().hex}" for user in
                            ("sightline", "operator", "counter", "page", "keyer", "mover", *STEPS)})
    return Cluster(t, security=security), security


def acls(t: Test, security: Security, who: str, principal: str, *options: object) -> list[str]:
    """The commands that `topics acls` prints."""
    done = t.run("topics", "acls", "--for", who, "--principal", principal, "--kafka.brokers",
                 security.address("sasl"), *options)
    expect_equal(done.returncode, 0, f"topics acls: {done.stderr!r}")
    return done.stdout.decode().splitlines()


def check_no_password(t: Test, security: Security) -> None:
    for path in t.folder.glob("*.log"):
        text = path.read_text(errors="replace")
        for user, password in security.users.items():
            expect(password not in text, f"the password of {user} is in {path.name}")


def wait_said(server: Server, *words: str) -> None:
    """In the log or by /healthz, in time; the process goes on."""
    def said() -> bool:
        text = server.log()
        if server.running and server.answers():
            text += " ".join(server.health()["reasons"])
        return all(word.lower() in text.lower() for word in words)
    try:
        wait_until(said, SAID_WITHIN, f"{server.name} says {words}")
    except Failure as failure:
        raise Failure(f"{failure}; its log: {server.log()[-1000:]}") from None
    expect(server.running, f"{server.name} goes on: {server.last_line()}")


@test(seconds=600)
def kafka_logins(t: Test) -> None:
    """`up` counts over SASL_SSL with each mechanism and over mutual TLS, with the rights that
    `topics acls` prints; `topics`, `count` and `serve` work with their own."""
    cluster, security = secure_cluster(t)
    operator = security.options("SCRAM-SHA-512", "operator")
    done = t.run("topics", "apply", *operator, "--kafka.partitions", 2)
    expect(done.returncode == 1 and b"lacks the right to Describe" in done.stderr,
           f"topics apply without rights: {done.stderr!r}")
    for command in acls(t, security, "topics", "User:operator"):
        security.acl(cluster, command)
    done = t.run("topics", "apply", *operator, "--kafka.partitions", 2)
    expect_equal(done.returncode, 0, f"topics apply: {done.stderr!r}")
    done = t.run("topics", "check", *operator, "--format", "json")
    expect_equal({row["setting"] for row in json.loads(done.stdout)}, {"replication"},
                 f"findings on one broker; it says {done.stderr!r}")
    commands = [command for principal in ("User:sightline", CERTIFICATE_USER)
                for command in acls(t, security, "up", principal)]
    expect_equal(len(commands), 14, f"commands: {commands}")
    for command in commands:
        security.acl(cluster, command)
    traffic = Traffic(0)
    for mechanism in (*security.MECHANISMS, "mTLS"):
        with t.case(mechanism):
            # Each counts all of it, since its data folder is new.
            server = t.server(*security.options(mechanism), "--log_level", "debug", name=mechanism)
            took = server.start()
            for _ in range(5):
                deliver(server, traffic, 100)
            ledger = traffic.oracle.check(server, repeated=False)
            wait_until(lambda: cluster.counts()[1] == ledger, 30, "the topics have everything")
            expect_equal(cluster.counts()[0], traffic.oracle.counts, "located_item_counts")
            server.stop()
            server.expect_quiet_log()
            expect("nothing is published" not in server.log(whole=True), "all rights are printed")
            t.note(f"{mechanism} ready in {took:.1f} s")
    with t.case("count and serve"):
        for who, user in (("count", "counter"), ("serve", "page")):
            for command in acls(t, security, who, f"User:{user}"):
                security.acl(cluster, command)
        counter = t.server(*security.options("SCRAM-SHA-512", "counter"), name="counter")
        counter.command = "count"
        counter.start()
        page = t.serve(*security.options("SCRAM-SHA-512", "page"))
        page.start()
        deliver(page, traffic, 100)
        ledger = traffic.oracle.check(page, repeated=False)
        expect_equal(cluster.counts()[1], ledger, "the ledger in the topics")
        for process in (counter, page):
            process.stop()
            expect("nothing is published" not in process.log(whole=True), "all rights are printed")
    with t.case("rekey"):
        cluster.create_topic("keyed", 3, message_timestamp_type="LogAppendTime")
        copied = ("--from", "raw_camera_events", "--to", "keyed")
        options = (*copied, "--until-end", *security.options("SCRAM-SHA-512", "keyer"))
        expect_equal(t.run("topics", "acls", "--for", "rekey").returncode, 1, "acls of rekey without topics")
        for command in acls(t, security, "rekey", "User:keyer", *copied):
            security.acl(cluster, command)
        done = t.run("rekey", *options, "--data", t.folder / "keyer-data", "--listen", "127.0.0.1:0", seconds=120)
        expect_equal(done.returncode, 0, f"rekey: {done.stderr[-1000:]!r}")
        # Several cameras in a record become a record each.
        expect(len(cluster.read("keyed")) >= len(cluster.read("raw_camera_events")) > 100, "all are copied")
    with t.case("handover"):
        check_handover(t, cluster, security)
    check_no_password(t, security)


def check_handover(t: Test, cluster: Cluster, security: Security) -> None:
    """Of a topic and of a data folder, with what `topics acls --for handover` prints."""
    def text_of(minute: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(minute * 60))

    def ready(to: str, *source: object) -> tuple[object, ...]:
        cluster.create_topic(to, 4, message_timestamp_type="LogAppendTime")
        for command in acls(t, security, "handover", "User:mover", *source, "--to", to):
            security.acl(cluster, command)
        return "--to", to, *security.options("SCRAM-SHA-512", "mover")

    minute = int(time.time()) // 60
    copied = ("--at", text_of(minute + 5), "--from", "raw_camera_events", *ready("moved", "--from", "raw_camera_events"))
    done = t.run("handover", *copied, "--dry-run", seconds=60)
    # It has read the counts topic; with T ahead that is a warning.
    expect(done.returncode == 0 and b"the old pipeline counts without an end" in done.stdout,
           f"dry run: {done.stdout!r} {done.stderr!r}")
    wanted = len(cluster.read("raw_camera_events"))
    expect(wanted > 100, "there is something to copy")
    copier = t.spawn("handover", *copied, log=t.folder / "copier.log")
    wait_until(lambda: len(cluster.read("moved")) >= wanted, 60, "the topic is copied")
    copier.terminate()
    expect_equal(copier.wait(30), 0, "exit code of a live copier after SIGTERM")

    until = ("--pipeline.count_until", text_of(minute - 2))
    embedded = t.server(*until, name="embedded")
    embedded.start()
    traffic = Traffic(1)
    for _ in range(3):
        deliver(embedded, traffic, 100)
    embedded.stop()
    done = t.run("handover", "--at", text_of(minute - 2), "--data", embedded.data, *ready("raised"), seconds=120)
    expect_equal(done.returncode, 0, f"handover of a data folder: {done.stdout!r} {done.stderr[-1000:]!r}")
    expect(len(cluster.read("raised")) > 100, "the data folder is copied")


def rights_of(commands: list[str]) -> list[tuple[str, str, str]]:
    """(command for one operation, operation, resource) of each right."""
    rights = []
    for command in commands:
        words = shlex.split(command)
        operations = [at + 1 for at, word in enumerate(words) if word == "--operation"]
        for kept in operations:
            one = [word for at, word in enumerate(words)
                   if not any(at in (other - 1, other) for other in operations if other != kept)]
            rights.append((shlex.join(one), words[kept], words[-3 if "prefixed" in words else -1]))
    return rights


@test(seconds=900)
def kafka_step_rights(t: Test) -> None:
    """Each step is a user of its own with the rights that `topics acls` prints: they count, join,
    transform, store and serve. Without any one of these rights a step says which, and goes on when
    it is there."""
    cluster, security = secure_cluster(t)
    operator = security.options("SCRAM-SHA-512", "operator")
    for command in acls(t, security, "topics", "User:operator", "--steps"):
        security.acl(cluster, command)
    done = t.run("topics", "apply", "--steps", *operator, "--kafka.partitions", 2)
    expect_equal(done.returncode, 0, f"topics apply: {done.stderr!r}")
    own = {"count": ("--kafka.counts_topic", "item_counts"), "serve": ("--lake.dir", t.folder / "lake"),
           "store": ("--lake.dir", t.folder / "lake", "--lake.roll_interval", "300ms")}
    commands, steps = {}, {}
    for kind in STEPS:
        commands[kind] = acls(t, security, kind, f"User:{kind}", *(own[kind] if kind == "count" else ()))
        for command in commands[kind]:
            security.acl(cluster, command)
        steps[kind] = t.server(*security.options("SCRAM-SHA-512", kind), *own.get(kind, ()),
                               "--kafka.session_timeout", "6s", "--kafka.group_interval", "6s", name=kind)
        steps[kind].command = kind
        steps[kind].launch()
    page = steps["serve"]
    page.wait_door()
    traffic = Traffic(0)

    def check() -> None:
        deliver(page, traffic, 100)
        ledger = traffic.oracle.check(page, repeated=False)
        expect_equal(cluster.counts_of_many("item_counts"), (traffic.oracle.counts, ledger), "item_counts")
        wait_until(lambda: all(step.healthy() for step in steps.values()), 60, "all are well")
        wait_until(lambda: ask(page, SUM)[0]["n"] == traffic.oracle.distinct, 150, "the lake has everything")

    check()
    for kind, step in steps.items():
        expect("nothing is published" not in step.log(whole=True), f"all rights of {kind} are printed")
    for kind in ("join", "transform", "store"):
        for one, operation, what in rights_of(commands[kind]):
            with t.case(f"{kind}: {operation} {what}"):
                steps[kind].stop()
                security.acl(cluster, one.replace("--add", "--remove --force"))
                steps[kind].launch()
                deliver(page, traffic, 20)
                try:
                    wait_said(steps[kind], what)
                finally:
                    security.acl(cluster, one)
                wait_until(lambda: steps[kind].answers() and steps[kind].healthy(), 60, "it goes on")
    check()
    for kind in reversed(STEPS):
        steps[kind].stop()
    check_no_password(t, security)


@test(seconds=600)
def kafka_locked_out(t: Test) -> None:
    """Wrong password, unknown mechanism, expired certificate, unknown CA, no client certificate, a
    user without any right: said within 20 s, in words, without the password."""
    cluster, security = secure_cluster(t)
    cluster.create_topics(1)
    wrong = f"secret-{uuid.uuid4().hex}"
    security.users["nobody"] = wrong  # never to be seen
    cases = [
        *((f"wrong password, {mechanism}", security.options(mechanism, password=wrong),
           ("authentication",)) for mechanism in security.MECHANISMS),
        ("expired", security.options("SCRAM-SHA-512", listener="expired"),
         ("certificate", "it has expired")),
        ("unknown CA", security.options("SCRAM-SHA-512", ca="other-ca"),
         ("certificate", "not signed by an authority")),
        ("no client certificate",
         [*security.options("mTLS")[:2], "--kafka.brokers", security.address("mtls"),
          "--kafka.security_protocol", "SSL"], ("certificate",)),
        ("no TLS", ["--kafka.brokers", security.address("sasl")], ("no answer within",)),
        ("no right", security.options("PLAIN"), ("lacks the right to describe", "raw_camera_events")),
    ]
    for name, options, words in cases:
        with t.case(name):
            server = t.server(*options, "--log_level", "debug", name=name.replace(", ", "-").replace(" ", "-"))
            begin = time.monotonic()
            server.launch()
            wait_said(server, "waiting for Kafka", *words)
            t.note(f"{name} {time.monotonic() - begin:.1f} s")
            done = t.run("topics", "plan", *options, "--timeout", "3s")
            said = done.stderr.decode()
            expect(done.returncode == 1 and all(word in said.lower() for word in words),
                   f"topics plan: {said}")
            expect(wrong not in said, f"the password is said: {said}")
            server.process.terminate()
            expect(server.process.wait(10) >= 0, "it ends by itself when told to")
    with t.case("a certificate that is no file"):
        t.server(*security.options("mTLS")[:-1], t.folder / "none.key", name="key").start_refused(
            "none.key")
    check_no_password(t, security)


@test(seconds=600)
def kafka_rights(t: Test) -> None:
    """Each right that `topics acls` prints is needed: without it the process says which topic or id
    it is about, and goes on by itself when the right is there."""
    cluster, security = secure_cluster(t)
    cluster.create_topics(1)
    for topic in ("monitoring", "alerts"):
        cluster.create_topic(topic, 1)
    commands = acls(t, security, "up", "User:sightline")
    detection = {"geographical_location_oid": 1, "video_camera_oid": 1, "item_name": "bus",
                 "timestamp_detected": int(time.time() * 1000)}
    server = t.server(*security.options("PLAIN"), name="no-right")
    server.launch()
    wait_said(server, "waiting for Kafka", "raw_camera_events", "lacks the right to Describe")
    for command in commands:
        security.acl(cluster, command)
    wait_until(lambda: server.answers() and server.healthy(), 30, "it goes on")
    posted = json.dumps({**detection, "detection_oid": 20_000}).encode()
    wait_until(lambda: server.post(posted).status == 200, 30, "posts are taken")
    server.wait_ledger(counted=1)
    wait_until(lambda: cluster.read("monitoring"), 30, "its numbers are published")
    server.stop()
    counted, malformed, late = 1, 0, 0
    rights = rights_of(commands)
    expect_equal(len(rights), 12, f"rights: {rights}")
    for one, operation, what in rights:
        name = f"{operation}-{what.strip(':')}"
        with t.case(name):
            security.acl(cluster, one.replace("--add", "--remove --force"))
            server = t.server(*security.options("PLAIN"), "--log_level", "debug", name=name)
            server.launch()
            # What is written only when there is something: a detection, a broken and a late one.
            batch = [{**detection, "detection_oid": counted}, {"broken": True},
                     {**detection, "detection_oid": -1 - counted,
                      "timestamp_detected": detection["timestamp_detected"] - 10 * 86_400_000}]
            cluster.foreign("write", lines=[
                {"topic": "raw_camera_events", "partition": 0, "key": "1",
                 "value": json.dumps(element)} for element in batch])
            counted, malformed, late = counted + 1, malformed + 1, late + 1
            posted = {**detection, "detection_oid": 10_000}
            try:
                if name == "Write-raw_camera_events":
                    wait_until(server.answers, 20, "it answers")
                    answer = server.post(json.dumps(posted).encode())
                    expect_equal(answer.status, 503, f"POST without the right: {answer.body!r}")
                    wait_said(server, what, "authorization failed")
                elif what in ("monitoring", "alerts"):
                    # Counting goes on without them. Write brings Describe along.
                    lacks = "lacks the right to " + ("Describe it" if operation == "Write" else operation)
                    wait_said(server, f"nothing is published to '{what}' yet", lacks)
                elif what.startswith("sightline"):
                    wait_said(server, "transactional", "authorization failed")
                else:
                    wait_said(server, what, "authorization failed" if "Configs" not in operation
                              else "lacks the right to DescribeConfigs")
            finally:
                begin = time.monotonic()
                security.acl(cluster, one)
            wait_until(lambda: server.answers() and server.healthy(), 30, "it goes on")
            if name == "Write-raw_camera_events":
                wait_until(lambda: server.post(json.dumps(posted).encode()).status == 200, 30,
                           "posts go on")
                counted += 1
            ledger = server.wait_ledger(counted=counted, malformed=malformed, too_late=late)
            wait_until(lambda: cluster.counts()[1] == ledger, 30, "the topics have everything")
            t.note(f"{name} goes on after {time.monotonic() - begin:.1f} s")
            expect_equal((len(cluster.read("dead_letters")), len(cluster.read("late_detections"))),
                         (malformed, late), "what was set aside")
            server.stop()
            expect(what in ("monitoring", "alerts") or "nothing is published" not in server.log(whole=True),
                   "its numbers and alerts may be published")
    check_no_password(t, security)
