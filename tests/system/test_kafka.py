"""Raw events from Kafka, counts into Kafka, on real brokers: exactly once, whatever dies."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import threading
import time

from events import BROKEN_LINES, Oracle, Traffic, deliver
from brokers import Cluster, Kafka, shared_kafka
from registry import test
from senders import Senders
from server import PATIENCE, Server, Test, expect, expect_equal, now_ms, start_all, stop_all, wait_until
from test_lake import SUM, ask, check_readers, command

# librdkafka tells of brokers that are away, and tasks are built again: no trouble of ours.
AWAY = (r" error kafka: ",)


def kafka_server(t: Test, cluster: Kafka, *options: object, **named) -> Server:
    return t.server(*cluster.options(), *options, **named)


def check_topics(cluster: Kafka, oracle: Oracle, ledger: dict, many: bool = False) -> None:
    """What a foreign client reads is what was sent, cell for cell, and the ledger is the server's."""
    counts, told = cluster.counts_of_many() if many else cluster.counts()
    expect_equal(counts, oracle.counts, "located_item_counts by the reader's rule")
    expect_equal(told, ledger, "the ledger in the progress records")
    dead = cluster.read("dead_letters")
    expect_equal(len(dead), ledger["malformed"] + ledger["future"], "records in dead_letters")
    expect_equal(len({record["key"] for record in dead}), len(dead), "their distinct keys")


@test(seconds=600)
def kafka_conformance(t: Test) -> None:
    """The suites of the ports Source and Sink, against a broker."""
    cluster = shared_kafka(t)
    program = t.build() / "tests" / "conformance" / "kafka_conformance_test"
    done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "SIGHTLINE_KAFKA": cluster.addresses}, timeout=500)
    ran = re.search(r"\[  PASSED  \] (\d+) tests", done.stdout)
    expect(done.returncode == 0 and ran, f"{program.name}: {done.stdout[-6000:]}")
    expect(int(ran.group(1)) >= 20, f"only {ran.group(1)} tests ran")
    t.note(f"{ran.group(1)} tests")


@test(seconds=300)
def kafka_fused(t: Test) -> None:
    """HTTP -> Kafka -> counts, screen, lake, topics; after a restart, with nothing read again."""
    cluster = shared_kafka(t)
    cluster.create_topics(4)
    server = kafka_server(t, cluster, "--lake.roll_interval", "500ms")
    server.start()
    traffic = Traffic(0)
    for _ in range(30):
        deliver(server, traffic, 200)
    ledger = traffic.oracle.check(server, repeated=False)
    check_topics(cluster, traffic.oracle, ledger)
    for record in cluster.read("raw_camera_events"):
        if record["key"] is not None:
            expect_equal(record["key"],
                         str(json.loads(record["value"].encode("latin-1"))["video_camera_oid"]),
                         "a raw record's key is its camera")
    server.stop()
    server.start()
    expect_equal(server.ledger(), ledger, "the ledger of the first moment after a start")
    wait_until(lambda: server.log().count("runs from offset") == 4, 20, "4 partitions run")
    time.sleep(0.5)  # in which they would read what nobody wants
    expect_equal(server.metric("sightline_engine_records_total"), 0, "records read again")
    check_topics(cluster, traffic.oracle, ledger)
    server.stop()
    verified = command(t, "lake", "verify", "--data", server.data)
    expect(verified, "lake verify says nothing")
    check_readers(t, server.data / "lake", traffic.oracle.counts)
    server.expect_quiet_log(*AWAY)


@test(seconds=300)
def kafka_foreign_records(t: Test) -> None:
    """What other producers write: null keys, tombstones, headers, arrays, lines, broken ones, a
    megabyte, every codec, records of aborted transactions in between."""
    cluster = shared_kafka(t)
    cluster.create_topics(2)
    cluster.alter_topic("raw_camera_events", max_message_bytes=4 << 20)
    server = kafka_server(t, cluster)
    server.start()
    now = int(time.time() * 1000)

    def event(oid: int, **more) -> dict:
        return {"geographical_location_oid": 1, "video_camera_oid": oid % 7, "detection_oid": oid,
                "item_name": "bus", "timestamp_detected": now, **more}

    topic = {"topic": "raw_camera_events"}
    lines = [
        {**topic, "partition": 0, "key": None, "value": json.dumps(event(1))},
        {**topic, "partition": 0, "key": "1", "value": None},                      # malformed
        {**topic, "partition": 0, "key": "1", "value": ""},
        {**topic, "partition": 1, "key": "x", "value": json.dumps([event(2), event(3)]),
         "headers": {"trace": "17"}},
        {**topic, "partition": 1, "key": "x", "value": f"{json.dumps(event(4))}\n{json.dumps(event(5))}"},
        {**topic, "partition": 0, "key": "x", "value": json.dumps(event(6, note="n" * 1_000_000))},
        {"transaction": "abort", "records": [
            {**topic, "partition": p, "key": "x", "value": json.dumps(event(100 + p))} for p in (0, 1)]},
        {"transaction": "commit", "records": [
            {**topic, "partition": p, "key": "x", "value": json.dumps(event(200 + p))} for p in (0, 1)]},
        {"transaction": "abort", "records": [
            {**topic, "partition": 1, "key": "x", "value": json.dumps(event(300))}]},
        {**topic, "partition": 1, "key": "x", "value": json.dumps(event(7))},
        *({**topic, "partition": 0, "key": "x", "value": line.decode("latin-1")} for line in BROKEN_LINES),
    ]
    cluster.foreign("write", lines=lines)
    for number, codec in enumerate(("none", "gzip", "snappy", "lz4", "zstd")):
        cluster.tool("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", cluster.addresses,
                     "--topic", cluster.topic("raw_camera_events"), "--compression-codec", codec,
                     stdin="".join(json.dumps(event(1_000 + 100 * number + n)) + "\n"
                                   for n in range(50)).encode())
    counted = 7 + 2 + 5 * 50
    server.wait_ledger(counted=counted)
    time.sleep(0.5)  # in which more would come
    ledger = server.ledger()
    expect_equal(ledger["counted"], counted, "counted, of what was not aborted")
    expect_equal(ledger["duplicate"], 0, "duplicates")
    expect(ledger["malformed"] >= len(BROKEN_LINES), f"broken ones are set aside: {ledger}")
    expect_equal(sum(ledger[o] for o in ("counted", "duplicate", "malformed")), ledger["received"],
                 "the ledger balances")
    counts, told = cluster.counts()
    expect_equal(counts, {1: {"bus": counted}}, "located_item_counts")
    expect_equal(told, ledger, "the ledger in the progress records")
    server.stop()
    server.start()
    expect_equal(server.ledger(), ledger, "the ledger after a restart")
    server.stop()
    server.expect_quiet_log(*AWAY)


@test(seconds=600)
def kafka_crash(t: Test) -> None:
    """kill -9 of Sightline and of the broker at random moments under load, each life with other
    intervals. Then topics, screen and lake agree with what was sent."""
    draw = random.Random(3)
    cluster = Cluster(t)
    cluster.create_topics(4)
    broker = cluster.brokers[0]

    def options() -> list[str]:
        return ["--kafka.brokers", cluster.addresses,
                "--engine.checkpoint_interval", draw.choice(("100ms", "400ms", "30s")),
                "--engine.commit_interval", draw.choice(("1ms", "20ms", "250ms")),
                "--kafka.commit_interval", draw.choice(("1ms", "50ms", "1s")),
                "--lake.roll_interval", draw.choice(("100ms", "1s", "5s")),
                "--engine.threads", str(draw.randint(1, 3))]

    server = t.server(*options())
    server.start()
    senders = Senders(server, count=4, pause=0.01)
    kills = broker_kills = 0
    for round_ in range(max(8, t.kills // 4)):
        time.sleep(draw.uniform(0.2, 1.3))  # a life
        senders.check()
        expect(server.running, f"the server ended by itself in round {round_}: {server.last_line()}")
        if round_ % 4 == 3:
            broker.kill()
            time.sleep(draw.uniform(0, 1.5))  # without a broker
            broker.start()
            broker.wait()
            broker_kills += 1
            if draw.random() < 0.5:
                continue
        server.kill()
        server.options = options()
        server.start()
        kills += 1
    oracle = senders.finish()
    ledger = oracle.check(server, repeated=True, seconds=120)
    tally = senders.tally()
    expect(tally.cut >= kills // 2, f"only {tally.cut} requests were cut by {kills} kills")
    wait_until(lambda: cluster.counts()[1] == ledger, 60, "the topics have everything")
    check_topics(cluster, oracle, ledger)
    server.stop()
    command(t, "lake", "verify", "--data", server.data)
    check_readers(t, server.data / "lake", oracle.counts)
    t.note(f"{kills} kills, {broker_kills} of the broker, {tally.elements} elements")


@test(seconds=300)
def kafka_zombie(t: Test) -> None:
    """A process that sleeps (SIGSTOP) while another takes over, and then wakes: what it had under way
    takes no effect. Each has a data folder of its own, as on two machines."""
    cluster = shared_kafka(t)
    cluster.create_topics(2)
    first = kafka_server(t, cluster, name="first")
    first.start()
    traffic = Traffic(0, trouble=False)
    for _ in range(20):
        deliver(first, traffic, 100)
    first.wait_ledger(counted=traffic.oracle.distinct)
    for _ in range(20):
        deliver(first, traffic, 100)
    os.kill(first.process.pid, signal.SIGSTOP)
    second = kafka_server(t, cluster, name="second")
    second.start()
    for _ in range(20):
        deliver(second, traffic, 100)
    second.wait_ledger(counted=traffic.oracle.distinct)
    os.kill(first.process.pid, signal.SIGCONT)
    for _ in range(20):
        deliver(second, traffic, 100)
    wait_until(lambda: "a newer task owns the counts" in first.log(), 30,
               "the first finds that it is fenced")
    first.kill()
    ledger = traffic.oracle.check(second, repeated=False, seconds=60)
    wait_until(lambda: cluster.counts()[1] == ledger, 60, "the topics have everything")
    check_topics(cluster, traffic.oracle, ledger)
    second.stop()


@test(seconds=300)
def kafka_away(t: Test) -> None:
    """A broker that is away at the start and later: said, waited for, gone on. Senders get 503, then
    everything counts. Retention that passes a stopped reader stops it, with the reason."""
    cluster = Cluster(t)
    cluster.create_topics(1)
    broker = cluster.brokers[0]
    broker.stop()
    server = kafka_server(t, cluster)
    server.launch()
    wait_until(lambda: "waiting for Kafka" in server.log(), 20, "it says what it waits for")
    expect(server.running, "it waits")
    broker.start()
    broker.wait()
    wait_until(lambda: server.wait_door(1) and server.healthy(), 30, "it goes on")
    traffic = Traffic(0, trouble=False)
    deliver(server, traffic, 100)
    server.wait_ledger(counted=100)
    broker.kill()
    body = traffic.body(100)
    answers: list[int] = []
    sender = threading.Thread(target=lambda: answers.append(server.post(body.data).status))
    sender.start()
    time.sleep(1)  # of a post that waits for the broker
    broker.start()
    broker.wait()
    sender.join(60)
    expect(answers and answers[0] in (200, 503), f"the answer while the broker was away: {answers}")
    if answers[0] == 503:
        expect_equal(server.post(body.data).status, 200, "the same again")
    server.wait_ledger(counted=200)
    broker.kill()
    server.wait_reason(20, "does not answer")
    server.stop(seconds=5)  # also while it is away
    broker.start()
    broker.wait()

    # Retention passes what is not counted yet.
    cluster.foreign("write", lines=[{"topic": "raw_camera_events", "partition": 0, "key": "1",
                                     "value": f"broken {n}"} for n in range(10)])
    end = max(r["offset"] for r in cluster.read("raw_camera_events"))
    cluster.foreign("write", lines=[{"delete": "raw_camera_events", "partition": 0, "offset": end}])
    server.launch()
    expect(server.wait_door(), f"it runs: {server.last_line()}")
    server.wait_reason(30, "retention has removed the offsets", f", {end})", ": 9 offsets are lost",
                       "engine.on_gap = count")
    before = server.ledger()
    expect_equal((before["counted"], before["lost"]), (200, 0), "counted, and lost")
    server.stop()
    server.options += ["--engine.on_gap", "count"]  # and told so, it goes on
    server.start()
    server.wait_ledger(counted=200, lost=9, malformed=before["malformed"] + 1)
    expect_equal(cluster.counts()[1]["lost"], 9, "lost, in the topic")
    server.stop()


@test(seconds=200)
def kafka_refused(t: Test) -> None:
    """Options and topics that cannot be: a clear word and an end, no waiting."""
    cluster = shared_kafka(t)
    with t.case("no topic"):
        kafka_server(t, cluster, name="topic").start_refused(
            f"no topic '{cluster.topic('raw_camera_events')}'", "topics apply")
    with t.case("unknown protocol"):
        kafka_server(t, cluster, "--kafka.security_protocol", "TLS", name="protocol").start_refused(
            "security.protocol")
    with t.case("no password file"):
        kafka_server(t, cluster, "--kafka.sasl_password_file", t.folder / "none",
                     name="password").start_refused("password file", "none")
    secret = t.folder / "secret"
    secret.write_text("hunter2-very-secret\n")
    with t.case("a password is never said"):
        server = kafka_server(t, cluster, "--kafka.security_protocol", "SASL_PLAINTEXT",
                              "--kafka.sasl_mechanism", "NOPE", "--kafka.sasl_username", "u",
                              "--kafka.sasl_password_file", secret, "--log_level", "debug",
                              name="secret")
        said = server.start_refused("sasl")
        expect("hunter2" not in said, f"the password is in the log: {said}")


@test(seconds=300)
def kafka_topic_again(t: Test) -> None:
    """The topic is deleted and made again while Sightline runs: the old counts stay, the new records
    count from their first, and after a restart nothing is counted twice. The second time the new topic
    is longer than the old one at once: what lies at the old offset is never taken for the old source's."""
    cluster = shared_kafka(t)
    cluster.create_topics(2)
    server = kafka_server(t, cluster)
    server.start()
    traffic = Traffic(0, trouble=False)
    for _ in range(5):
        deliver(server, traffic, 100)
    server.wait_ledger(counted=500)

    def write(elements: int) -> None:
        body = traffic.body(elements)
        cluster.foreign("write", lines=[{"topic": "raw_camera_events", "partition": 1, "key": "x",
                                         "value": line.decode("latin-1")}
                                        for line in body.data.splitlines()])

    for again in (1, 2):
        cluster.delete_topic("raw_camera_events")
        if again == 1:
            wait_until(lambda: not server.healthy(), 30, "/healthz tells that the topic is gone")
        cluster.create_topic("raw_camera_events", 2, message_timestamp_type="LogAppendTime")
        write(2_000 * again)
        wait_until(lambda: server.log().count("was deleted and created again") == again, 30,
                   "it finds the new topic")
        wait_until(server.healthy, 30, "it is well again")
        server.wait_ledger(counted=traffic.oracle.distinct)
        deliver(server, traffic, 100)
        ledger = traffic.oracle.check(server, repeated=False)
    wait_until(lambda: cluster.counts()[1] == ledger, 30, "the topics have everything")
    counts, _ = cluster.counts()
    expect_equal(counts, traffic.oracle.counts, "located_item_counts, of all three topics")
    # `count` goes on with the new one, too.
    counter = t.server(*cluster.options("other", counts_topic="other_counts"), name="count")
    counter.command = "count"
    cluster.create_topic("other_counts", 2)
    counter.start()
    server.stop()
    server.start()
    expect_equal(server.top(window="24h")["total"], traffic.oracle.distinct, "after a restart")
    server.stop()
    cluster.delete_topic("raw_camera_events")
    wait_until(lambda: not counter.healthy(), 30, "count tells that its topic is gone")
    cluster.create_topic("raw_camera_events", 2, message_timestamp_type="LogAppendTime")
    before = sum(cluster.counts("other_counts")[0].get(31, {}).values())
    expect_equal(before, 0, "counts of location 31")
    now = now_ms()
    cluster.foreign("write", lines=[
        {"topic": "raw_camera_events", "partition": 1, "key": "5", "value": json.dumps({
            "geographical_location_oid": 31, "video_camera_oid": 5, "detection_oid": n, "item_name": "bus",
            "timestamp_detected": now})} for n in range(700)])
    wait_until(lambda: cluster.counts("other_counts")[0].get(31) == {"bus": 700}, 60,
               "what came after it was made again is counted")
    wait_until(counter.healthy, 30, "count is well again")
    counter.stop()
    command(t, "lake", "verify", "--data", server.data)
    check_readers(t, server.data / "lake", traffic.oracle.counts)


@test(seconds=200)
def kafka_serve_refuses(t: Test) -> None:
    """Records of the counts topic that contradict each other: `serve` does not go on with wrong counts, it ends
    with exit code 1, and so does the next start."""
    cluster = shared_kafka(t)
    cluster.create_topics(2)
    server = kafka_server(t, cluster)
    server.start()
    traffic = Traffic(0, trouble=False)
    deliver(server, traffic, 200)
    ledger = server.wait_ledger(received=200)
    wait_until(lambda: cluster.counts()[1] == ledger, 30, "the topic has everything")
    server.stop()
    page = t.serve(*cluster.options())
    page.start()
    page.wait_ledger(received=200)
    # The progress of a source partition, in another partition of the topic than all before.
    progress = [record for record in cluster.read("located_item_counts") if "ledger" in json.loads(record["value"])][-1]
    cluster.foreign("write", lines=[{"topic": "located_item_counts", "partition": 1 - progress["partition"],
                                     "key": progress["key"], "value": progress["value"]}])
    for life in ("the one that ran", "the next"):
        with t.case(life):
            expect_equal(page.process.wait(30 * PATIENCE), 1, f"exit code, {page.last_line()!r}")
            expect("do not continue those before: start `serve` again" in page.last_line(), page.log())
        if life == "the one that ran":
            page.launch()


@test(seconds=300)
def kafka_camera(t: Test) -> None:
    """`camera --kafka`: a recording through a broker that dies twice, and the spool of a simulated city
    that began while the broker was away. Every event counts once."""
    cluster = Cluster(t)
    cluster.create_topics(4)
    broker = cluster.brokers[0]
    server = kafka_server(t, cluster, "--pipeline.max_age", "off", "--pipeline.dedup_horizon", "30d",
                          "--pipeline.camera_ttl", "40d")
    server.start()
    traffic = Traffic(0, trouble=False)
    recording = t.folder / "recording.ndjson"
    recording.write_bytes(b"".join(traffic.body(500).data for _ in range(200)))
    camera = t.spawn("camera", "--replay", recording, "--speed", "max", "--kafka", cluster.addresses,
                     "--spool", t.folder / "spool", log=t.folder / "camera.log")
    for _ in range(2):
        time.sleep(0.3)  # of sending
        broker.kill()
        time.sleep(0.5)
        broker.start()
        broker.wait()
    expect_equal(camera.wait(240), 0, "the camera's exit code")
    oracle = traffic.oracle
    server.wait_ledger(60, counted=oracle.distinct)
    ledger = server.ledger()
    # A broker that was killed may have left the end of the newest transaction out: it is seen later.
    wait_until(lambda: cluster.counts()[0] == oracle.counts, 90, "located_item_counts has them")
    server.stop()

    broker.stop()
    city = t.spawn("camera", "--simulate", "--rate", "500", "--kafka", cluster.addresses, "--spool",
                   t.folder / "city-spool", log=t.folder / "city.log")
    wait_until(lambda: sum(file.stat().st_size for file in (t.folder / "city-spool").glob("*")) > 1 << 16, 30,
               "the spool fills while the broker is away")
    broker.start()
    broker.wait()
    server.start()
    wait_until(lambda: server.ledger()["counted"] > ledger["counted"] + 1_000, 60,
               "the city's detections count")
    city.send_signal(signal.SIGTERM)
    expect_equal(city.wait(60), 0, "the city's exit code")
    server.stop()


@test(seconds=300)
def kafka_serve(t: Test) -> None:
    """`serve` shows what `up --kafka` counts, cell for cell, through kill -9 of both; it is never ahead
    of what is committed, moves by itself, and takes posts."""
    cluster = shared_kafka(t)
    cluster.create_topics(4)
    engine = kafka_server(t, cluster, "--pipeline.idle_timeout", "2s")
    engine.start()
    page = t.serve(*cluster.options(), "--pipeline.idle_timeout", "2s")
    page.start()
    senders = Senders(page, count=2, pause=0.01)
    for round_ in range(4):
        time.sleep(0.7)  # of both together
        senders.check()
        (engine if round_ % 2 else page).kill()
        (engine if round_ % 2 else page).start()
        expect(page.ledger()["received"] <= cluster.counts()[1].get("received", 0),
               "the page says more than the topic has")
    oracle = senders.finish()
    ledger = oracle.check(engine, repeated=True)
    expect_equal(oracle.check(page, repeated=True), ledger, "the ledger of the page")
    wait_until(lambda: page.top(window="1h")["complete_until"] >= now_ms() - 15_000, 30,
               "silent partitions are complete on the page")
    page.stop()
    page.start()
    expect_equal(page.ledger(), ledger, "the page's ledger in its first moment after a start")
    page.stop()
    engine.stop()
    page.expect_quiet_log(*AWAY)


@test(seconds=300)
def kafka_serve_reads(t: Test) -> None:
    """A page that has much to read at its start takes posts at once. Until it has read what was counted
    it says so to whoever asks, and never shows a part for the whole."""
    cluster = Cluster(t, links=("page",))
    cluster.create_topics(1)
    engine = kafka_server(t, cluster)
    engine.start()
    traffic = Traffic(0, trouble=False)
    deliver(engine, traffic, 200)
    wait_until(lambda: engine.ledger()["counted"] == traffic.oracle.distinct, 30, "counted")
    # None of Sightline's, but to be read before what follows; random, so that no codec makes it small.
    draw = random.Random(5)
    text = "".join(chr(draw.randrange(32, 127)) for _ in range(500_000))
    cluster.foreign("write", lines=[{"topic": "located_item_counts", "value": text}] * 60)
    deliver(engine, traffic, 200)
    wait_until(lambda: engine.ledger()["counted"] == traffic.oracle.distinct, 30, "counted")
    page = t.serve("--kafka.brokers", cluster.addresses_by("page"))
    link = cluster.brokers[0].links["page"]
    link.slow(0.05)
    page.launch()
    begin = time.monotonic()
    expect(page.wait_door(10), page.last_line())
    opened = time.monotonic() - begin
    deliver(page, traffic, 100)
    for path in ("/v1/ledger", "/v1/top", "/v1/locations", "/v1/stream", "/readyz", "/healthz"):
        answer = page.request("GET", path)
        expect_equal(answer.status, 503, f"{path}: {answer.body[:300]!r}")
        expect(b"'located_item_counts' is still being read" in answer.body, f"{path}: {answer.body!r}")
    link.mend()
    waited = page.ledger()["counted"]
    expect(waited >= traffic.oracle.distinct - 100, f"{waited} of {traffic.oracle.distinct} in its first answer")
    traffic.oracle.check(page, repeated=True)
    page.stop()
    engine.stop()
    t.note(f"its door is open after {opened:.1f} s")


@test(seconds=600)
def kafka_count(t: Test) -> None:
    """Three processes count a topic's 8 partitions together; they are killed, put to sleep and woken,
    stopped and started again while events come. The page, the topics and the lake that they share have
    every event once."""
    draw = random.Random(8)
    cluster = shared_kafka(t)
    cluster.create_topics(8)
    counters = [t.server(*cluster.options(), "--engine.checkpoint_uri", t.folder / "checkpoints",
                         "--engine.checkpoint_interval", "500ms",
                         "--kafka.session_timeout", "6s", "--engine.threads", "2",
                         "--lake.dir", t.folder / "lake", "--lake.roll_interval", "1s",
                         name=f"count{n}") for n in range(3)]

    def partitions(without: Server | None = None) -> int:
        return int(sum(c.metric("sightline_count_partitions") for c in counters
                       if c.running and c is not without))

    for counter in counters:
        counter.command = "count"
    start_all(counters)
    page = t.serve(*cluster.options(), "--lake.dir", t.folder / "lake")
    page.start()
    wait_until(lambda: partitions() == 8 and all(c.metric("sightline_count_partitions") >= 2
                                                 for c in counters), 30, "all have a share")
    senders = Senders(page, count=4, pause=0.02)
    faults = 0
    asleep: Server | None = None
    for _ in range(max(6, t.kills // 8)):
        time.sleep(draw.uniform(0.3, 1.5))  # between two faults
        senders.check()
        victim = draw.choice([c for c in counters if c is not asleep])
        kind = draw.choice(("kill", "stop", "sleep"))
        faults += 1
        if asleep is not None:
            os.kill(asleep.process.pid, signal.SIGCONT)
            asleep = None
        if kind == "sleep":
            os.kill(victim.process.pid, signal.SIGSTOP)
            asleep = victim
        elif kind == "kill":
            victim.kill()
            victim.start()
        else:
            victim.stop()
            victim.start()
    if asleep is not None:
        # Long enough to be believed dead, and to wake as a zombie.
        wait_until(lambda: partitions(asleep) == 8, 60, "the others have what it had")
        os.kill(asleep.process.pid, signal.SIGCONT)
    oracle = senders.finish()
    ledger = oracle.check(page, repeated=True, seconds=90)
    check_topics(cluster, oracle, ledger)
    wait_until(lambda: partitions() == 8, 60, "every partition has one process")
    groups = cluster.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
                          "--bootstrap-server", cluster.addresses, "--describe", "--group",
                          cluster.group("count"))
    wait_until(lambda: sum(row["n"] for row in ask(page, SUM)) == oracle.distinct, 30,
               "SQL on the page's server has what the lake has")
    expect(groups.count(cluster.topic("raw_camera_events")) == 8, f"the group's lag can be watched: {groups}")
    stop_all([*counters, page])
    command(t, "lake", "verify", "--lake", t.folder / "lake")
    check_readers(t, t.folder / "lake", oracle.counts)
    t.note(f"{faults} faults, {senders.tally().elements} elements")
