"""Every step a process of its own: count, join, transform, store, serve. Exactly once through all of
them, whatever dies."""

from __future__ import annotations

import json
import os
import random
import signal
import time

from brokers import Cluster, Kafka, shared_kafka
from events import Traffic, deliver
from registry import test
from senders import Senders
from server import Server, Test, expect, expect_equal, start_all, stop_all, wait_until
from test_kafka import check_topics
from test_lake import SUM, ask, check_readers, command

STEPS = ("count", "join", "transform", "store")
PARTITIONS = 4
NAMES = {7001: "Gate", 7002: "Pier, \u00e9ast", -12: "Quay", 2**62 + 1: "Far away"}  # the others have none
RENAMED = "Harbour"


def table_of(names: dict[int, str]) -> str:
    return "geographical_location_oid,geographical_location\n" + "".join(
        f'{oid},"{name}"\n' for oid, name in names.items())


def step(t: Test, cluster: Kafka, kind: str, number: int, table: object) -> Server:
    topics = {"counts_topic": "item_counts"} if kind == "count" else {}
    options: list[object] = [*cluster.options(**topics), "--kafka.session_timeout", "6s",
                             "--kafka.group_interval", "6s"]
    if kind == "count":
        options += ["--engine.checkpoint_dir", t.folder / "checkpoints", "--engine.checkpoint_interval", "500ms"]
    elif kind == "join":
        options += ["--locations", table]
    elif kind == "store":
        options += ["--lake.dir", t.folder / "lake", "--lake.roll_interval", "500ms"]
    server = t.server(*options, name=f"{kind}{number}")
    server.command = kind
    return server


@test(seconds=900)
def kafka_steps(t: Test) -> None:
    """Two processes of each step are killed, put to sleep and woken, stopped and started again while
    events come. The topics between them, the page and the lake have every event once, with names."""
    draw = random.Random(12)
    cluster = shared_kafka(t)
    cluster.create_topics(PARTITIONS, "item_counts", "lake_rows")
    table = t.folder / "locations.csv"
    table.write_text(table_of(NAMES))
    steps = {kind: [step(t, cluster, kind, n, table) for n in (1, 2)] for kind in STEPS}
    everybody = [server for servers in steps.values() for server in servers]
    # The page may be there before `store` has made the lake.
    page = t.serve(*cluster.options(), "--lake.dir", t.folder / "lake")
    page.launch()
    page.wait_door()
    page.wait_reason(20, "there is no lake in")
    expect_equal(ask(page, SUM), [{"n": 0}], "the lake before there is one")
    start_all(everybody)

    def shares(kind: str, without: Server | None = None) -> int:
        name = "sightline_count_partitions" if kind == "count" else "sightline_step_partitions"
        return int(sum(server.metric(name) for server in steps[kind]
                       if server.running and server is not without))

    wait_until(lambda: all(shares(kind) == PARTITIONS for kind in STEPS), 60, "all are shared")
    senders = Senders(page, count=2, pause=0.02)
    faults: dict[str, int] = {}
    asleep: Server | None = None
    for kind in draw.sample(STEPS, len(STEPS)) + [draw.choice(STEPS) for _ in range(t.kills // 8)]:
        time.sleep(draw.uniform(0.3, 1.5))  # between two faults
        senders.check()
        how = draw.choice(("kill", "stop", "sleep"))
        if asleep is not None:
            os.kill(asleep.process.pid, signal.SIGCONT)
        victim = draw.choice([s for s in steps[kind] if s is not asleep])
        asleep = None
        faults[how] = faults.get(how, 0) + 1
        if how == "sleep":
            os.kill(victim.process.pid, signal.SIGSTOP)
            asleep = victim
            continue
        if how == "kill":
            victim.kill()
        else:
            victim.stop()
        victim.start()
    if asleep is not None:
        # Long enough to be believed dead, and to wake as a zombie.
        wait_until(lambda: shares(asleep.command, without=asleep) == PARTITIONS, 60, "the other has what it had")
        os.kill(asleep.process.pid, signal.SIGCONT)
    versions = {server.name: server.log().count(" rows, version ") for server in steps["join"]}
    table.write_text(table_of({**NAMES, 7001: RENAMED}))
    for server in steps["join"]:
        wait_until(lambda: server.log().count(" rows, version ") > versions[server.name], 60,
                   f"{server.name} has the new names")
    received = page.ledger()["received"]
    wait_until(lambda: senders.check() or page.ledger()["received"] > received + 1_000, 60, "events with the new names")
    oracle = senders.finish()
    ledger = oracle.check(page, repeated=True, seconds=90)
    check_topics(cluster, oracle, ledger, many=True)
    expect_equal(cluster.counts_of_many("item_counts"), (oracle.counts, ledger), "item_counts")

    # A group of totals is sealed when the next begins, or by its age.
    wait_until(lambda: sum(row["n"] for row in ask(page, SUM)) == oracle.distinct, 150,
               "the lake has everything")
    expect_equal(cluster.counts_of_many("lake_rows"), (oracle.counts, ledger), "lake_rows")
    names: dict[int, set] = {}
    for record in cluster.read("located_item_counts"):
        value = json.loads(record["value"].encode("latin-1"))
        if "item_name" in value:
            names.setdefault(value["geographical_location_oid"], set()).add(
                value["geographical_location"])
    for oid, said in names.items():
        wanted = {NAMES.get(oid)} | ({RENAMED} if oid == 7001 else set())
        expect_equal(said, wanted, f"the names of {oid}")
    by_location = ask(page, "SELECT geographical_location_oid AS oid, sum(counted)::BIGINT AS n "
                            "FROM ledger WHERE geographical_location_oid IS NOT NULL GROUP BY ALL")
    expect_equal({int(row["oid"]): row["n"] for row in by_location if row["n"]},
                 {oid: sum(items.values()) for oid, items in oracle.counts.items()},
                 "the lake's ledger by location")
    wait_until(lambda: all(server.healthy() for server in everybody), 30, "all are well")
    stop_all([*everybody, page])
    command(t, "lake", "verify", "--lake", t.folder / "lake")
    check_readers(t, t.folder / "lake", oracle.counts)
    t.note(f"{faults}, {senders.tally().elements} elements, {len(names)} locations")


@test(seconds=300)
def kafka_another_rule(t: Test) -> None:
    """Another window, as docs/OPERATIONS.md says: a second `count` with its own deployment and topics
    counts the same raw topic from its beginning, beside the first, while events come. The page is
    changed over, and the first one ends; nothing is lost or counted twice by either."""
    cluster = shared_kafka(t)
    cluster.create_topics(PARTITIONS)

    def pipeline(name: str, *rule: object) -> tuple[Server, Server]:
        topics = {"counts_topic": f"counts_{name}", "dead_letters_topic": f"dead_letters_{name}",
                  "late_detections_topic": f"late_detections_{name}"}
        cluster.make_topics(*((topic, PARTITIONS, {}) for topic in topics.values()))
        rule = (*cluster.options(name, **topics), *rule)
        counter = t.server(*rule, "--lake.dir", t.folder / f"lake-{name}", "--lake.roll_interval",
                           "500ms", name=f"count-{name}")
        counter.command = "count"
        counter.start()
        page = t.serve(*rule, name=f"page-{name}")
        page.start()
        return counter, page

    counter, page = pipeline("minutes")
    senders = Senders(page, count=2, pause=0.01)
    before = wait_until(lambda: senders.check() or page.ledger()["counted"], 60, "the first one counts")
    newer, new_page = pipeline("seconds", "--pipeline.window_size", "10s", "--pipeline.pane_size", "5s")
    wait_until(lambda: new_page.ledger()["counted"] > before, 60, "the new one has caught up")
    # Who posts to a page posts to the one raw topic: either will do.
    fresh = Traffic(50, trouble=False)
    deliver(new_page, fresh, 100)
    senders.check()
    oracle = senders.finish()
    oracle.add(fresh.oracle)
    ledger = oracle.check(page, repeated=True)
    expect_equal(oracle.check(new_page, repeated=True), ledger, "the ledger of the new rule")
    for name in ("minutes", "seconds"):
        expect_equal(cluster.counts(f"counts_{name}"), (oracle.counts, ledger), name)
        expect_equal(len(cluster.read(f"late_detections_{name}")), ledger["too_late"], f"too late, {name}")
    with t.case("the old deployment under the new rule"):
        counter.stop()
        counter.options += ["--pipeline.window_size", "10s", "--pipeline.pane_size", "5s"]
        counter.start_refused("pipeline.window_size was 60000 ms and is 10000 ms now",
                              "Restore the settings")
    # The old pair ends; the new one goes on.
    page.stop()
    more = Traffic(51, trouble=False)
    deliver(new_page, more, 100)
    oracle.add(more.oracle)
    oracle.check(new_page, repeated=True)
    newer.stop()
    new_page.stop()
    for name in ("minutes", "seconds"):
        command(t, "lake", "verify", "--lake", t.folder / f"lake-{name}")
    windows = [row["s"] for row in command(t, "query", "--lake", t.folder / "lake-seconds",
               "SELECT DISTINCT epoch_ms(window_start)::BIGINT % 60000 AS s FROM item_count_increments")]
    expect(any(start for start in windows), f"windows of 10 s: {windows}")


@test(seconds=400)
def kafka_lost_end(t: Test) -> None:
    """A broker that starts again can leave the end of a transaction out: no reader of committed records
    passes it. Whoever has its id next closes it: a whole one of `count` is committed, any other aborted.
    One of another program's is waited for, and told."""
    cluster = Cluster(t, settings={"transaction.partition.verification.enable": "false"})
    cluster.create_topics(2, "item_counts")
    table = t.folder / "locations.csv"
    table.write_text(table_of(NAMES))
    counter, joiner = (step(t, cluster, kind, 1, table) for kind in ("count", "join"))
    page = t.serve("--kafka.brokers", cluster.addresses)
    start_all((counter, joiner, page))
    traffic = Traffic(60, trouble=False)

    def deliver_and_check() -> None:
        for _ in range(4):
            deliver(page, traffic, 200)
        page.wait_ledger(90, counted=traffic.oracle.distinct)
        ledger = page.ledger()
        for topic in ("item_counts", "located_item_counts"):
            expect_equal(cluster.counts(topic), (traffic.oracle.counts, ledger), topic)

    deliver_and_check()
    counter.stop()
    joiner.stop()
    listed = cluster.tool("org.apache.kafka.tools.TransactionsCommand", "--bootstrap-server",
                          cluster.addresses, "list")
    ids = [line.split()[0] for line in listed.splitlines() if line.startswith("sightline-")]

    def records(topic: str, partition: int) -> list[dict]:
        return [r for r in cluster.read(topic) if r["partition"] == partition]

    def enlarged(topic: str) -> dict:
        row = next(r for r in reversed(records(topic, 0)) if "item_name" in r["value"])
        value = json.loads(row["value"].encode("latin-1"))
        value["item_count"] += 1000
        value["next_offset"] += 1_000_000  # the reader's rule would take it before any other
        return {**row, "value": json.dumps(value)}

    def lose(id_: str, *rows: dict) -> None:
        """Afterwards, committed records of the topic are there up to these only."""
        cluster.foreign("write", lines=[{"transaction": "lose", "id": id_, "records": list(rows)}])

    def id_of(kind: str, partition: int) -> str:
        found = [i for i in ids if i.endswith(f"-{partition}")
                 and i.startswith("sightline-join") == (kind == "join")]
        expect(len(found) == 1, f"the id of {kind} for partition {partition}: {found} of {ids}")
        return found[0]

    whole = records("item_counts", 1)[-1]
    expect("item_name" not in whole["value"], f"the last record is the progress: {whole}")
    before = {topic: len(cluster.read(topic)) for topic in ("item_counts", "located_item_counts")}
    lose(id_of("count", 0), enlarged("item_counts"))
    lose(id_of("count", 1), whole)
    lose(id_of("join", 0), enlarged("located_item_counts"))
    expect_equal({topic: len(cluster.read(topic)) for topic in before}, before,
                 "nothing of them is committed")
    counter.start()
    joiner.start()
    deliver_and_check()
    expect_equal(sum(r["key"] == whole["key"] and r["value"] == whole["value"]
                     for r in records("item_counts", 1)), 3, "the whole one and what closed it")
    for server, partition, how in ((counter, 0, "aborted"), (counter, 1, "committed"),
                                   (joiner, 0, "aborted")):
        said = [line for line in server.log().splitlines()
                if f" partition {partition}: a transaction is hanging from offset " in line]
        expect(len(said) == 1 and said[0].endswith(f" is {how}"), f"{server.name} says what it did: {said}")

    other = "another-program"
    end = {"transaction": "abort", "id": other, "records": [
        {"topic": topic, "partition": p, "key": "x", "value": "x"} for topic in before for p in (0, 1)]}
    with t.case("one of its own that was aborted, behind another program's"):
        counter.stop()
        value = json.loads(records("item_counts", 1)[-1]["value"])
        value["next_offset"] += 100
        lose(other, enlarged("item_counts"), {**whole, "key": "x"})
        cluster.foreign("write", lines=[{"transaction": "abort", "id": id_of("count", 1), "records": [
            {**whole, "value": json.dumps(value)}]}])
        counter.start()
        deliver(page, traffic, 200)
        time.sleep(5)
        cluster.foreign("write", lines=[end])
        deliver_and_check()
    with t.case("another program's, while they run"):
        # A step looks for hanging transactions a while after a commit of its own, so each commits behind one.
        lose(other, enlarged("located_item_counts"))
        commits = 'sightline_step_commits_total', 'partition="0"'
        first = joiner.metric(*commits)
        deliver(page, traffic, 200)
        wait_until(lambda: joiner.metric(*commits) > first, 60, "join has committed")
        lose("a-third-program", enlarged("item_counts"))
        deliver(page, traffic, 200)
        wait_until(lambda: "is hanging: writing another one to end it" in counter.log(), 90, "count has looked")
        wait_until(lambda: "find-hanging" in joiner.log(), 150, "join says what it waits for")
        cluster.foreign("write", lines=[end, {**end, "id": "a-third-program"}])  # as an operator would
        deliver_and_check()
    stop_all((counter, joiner, page))


RETENTION_S = 16


@test(seconds=400)
def kafka_silence(t: Test) -> None:
    """A partition is silent for longer than the topics' retention, and everything that was said of it is
    deleted: after kill -9 of all steps each goes on where it was."""
    cluster = Cluster(t, settings={"log.retention.check.interval.ms": 500})
    topics = ("item_counts", "located_item_counts", "lake_rows")
    cluster.make_topics(("raw_camera_events", 2, {"message_timestamp_type": "LogAppendTime"}),
                        *((name, 2, {"retention_ms": RETENTION_S * 1000, "segment_ms": 1000,
                                     "cleanup_policy": "delete"}) for name in topics),
                        ("dead_letters", 2, {}), ("late_detections", 2, {}))
    table = t.folder / "locations.csv"
    table.write_text(table_of(NAMES))
    steps = [step(t, cluster, kind, 1, table) for kind in STEPS]
    for server in steps:
        server.options += ["--kafka.counts_retention", f"{RETENTION_S}s"]
    page = t.serve(*cluster.options(), "--lake.dir", t.folder / "lake")
    everybody = [*steps, page]
    for server in everybody:
        server.launch()
    traffic = Traffic(0, trouble=False)

    def deliver_and_check() -> None:
        for _ in range(5):
            deliver(page, traffic, 100)
        wait_until(lambda: page.healthy() and sum(row["n"] for row in ask(page, SUM)) == traffic.oracle.distinct,
                   90, "the lake has everything")
        expect_equal(page.ledger()["counted"], traffic.oracle.distinct, "counted")

    for server in everybody:
        expect(server.wait_door(60), f"{server.name}: {server.last_line()}")
    deliver_and_check()
    counted = [record["offset"] for record in cluster.read("located_item_counts")
               if "item_name" in json.loads(record["value"])]
    expect(len(counted) > 10, f"only {len(counted)} counts")

    def left(name: str) -> list[dict]:
        return [json.loads(record["value"]) for record in cluster.read(name)]

    # The count begins again and again: a start does not begin the silence anew.
    deadline = time.monotonic() + RETENTION_S * 3
    while any("item_count" in value for name in topics for value in left(name)):
        expect(time.monotonic() < deadline, "retention has not deleted all counts")
        steps[0].stop()
        steps[0].launch()
        expect(steps[0].wait_door(60), steps[0].last_line())
        time.sleep(RETENTION_S / 8)  # half of the time after which the progress is written again
    for name in topics:
        expect(all("ledger" in value for value in left(name)), f"what is left in {name}: {left(name)}")
        expect(left(name), f"nothing is left in {name}")
    for server in everybody:
        server.kill()
    for server in everybody:
        server.launch()
    for server in everybody:
        expect(server.wait_door(60), f"{server.name}: {server.last_line()}")
    wait_until(lambda: page.ledger()["counted"] == traffic.oracle.distinct, 60, "the ledger is told")
    deliver_and_check()
    wait_until(lambda: all(server.healthy() for server in everybody), 30, "all are well")
    for server in everybody:
        expect("is stopped" not in server.log(), f"{server.name}: {server.log()}")
    stop_all(everybody)
    command(t, "lake", "verify", "--lake", t.folder / "lake")
    check_readers(t, t.folder / "lake", traffic.oracle.counts)


@test(seconds=300)
def kafka_silence_broken(t: Test) -> None:
    """While a partition is silent, its broker sleeps for longer than a transaction may take: to write the
    progress again is given up and done later, and the partition counts on without being built again."""
    cluster = Cluster(t)
    cluster.create_topics(1, "item_counts")
    # Its group does not lose it meanwhile.
    retention_s = 8
    counter = t.server("--kafka.brokers", cluster.addresses, "--kafka.session_timeout", "60s",
                       "--kafka.counts_topic", "item_counts", "--kafka.counts_retention", f"{retention_s}s",
                       name="count")
    counter.command = "count"
    page = t.serve("--kafka.brokers", cluster.addresses)
    counter.start()
    page.start()
    traffic = Traffic(70, trouble=False)

    def deliver_and_check() -> None:
        for _ in range(3):
            deliver(page, traffic, 100)
        wait_until(lambda: cluster.counts("item_counts")[0] == traffic.oracle.counts, 60, "every count is there")

    def repeated(times: int) -> None:
        """The newest record is the progress, written again and again."""
        newest = cluster.read("item_counts")[-1]
        expect("item_name" not in newest["value"], f"the last record is the progress: {newest}")
        count = [r["value"] for r in cluster.read("item_counts")].count(newest["value"])
        wait_until(lambda: [r["value"] for r in cluster.read("item_counts")].count(newest["value"])
                   >= count + times, 3 * retention_s * times, f"it is there {times} more times")

    deliver_and_check()
    repeated(1)
    for times in (1, 2):
        cluster.brokers[0].pause()
        wait_until(lambda: counter.log().count("could not be repeated") == times, 60, "it is given up")
        cluster.brokers[0].go_on()
        repeated(2)
    deliver_and_check()
    runs = counter.log().count("runs from offset")
    expect_equal(runs, 1, f"how often its partition was built: {counter.log()}")
    for server in (counter, page):
        server.stop()


@test(seconds=300)
def kafka_steps_refused(t: Test) -> None:
    """What a step cannot do: a clear word, and an end or a stop of that partition alone."""
    cluster = shared_kafka(t)
    cluster.create_topics(2)
    table = t.folder / "locations.csv"
    table.write_text(table_of(NAMES))
    with t.case("no topic"):
        step(t, cluster, "join", 1, table).start_refused(cluster.topic("item_counts"), "topics apply")
    with t.case("no lake"):
        cluster.create_topic("lake_rows", 2)
        store = t.server(*cluster.options(), name="store-without")
        store.command = "store"
        store.start_refused("--lake.dir")
    with t.case("fewer partitions"):
        cluster.create_topic("item_counts", 3)
        step(t, cluster, "join", 2, table).start_refused("3 partitions", "only 2")
    with t.case("written by another"):
        # What lies in located_item_counts is counted already: it must not count twice.
        cluster.foreign("write", lines=[{"topic": "located_item_counts", "partition": 0, "key": "k",
                                         "value": "{}"}])
        cluster.create_topic("few", 2)
        join = t.server(*cluster.options(item_counts_topic="few"), name="join-other")
        join.command = "join"
        join.start()
        join.wait_reason(20, "partition 0 is stopped", "count twice")
        reasons = " ".join(join.health()["reasons"])
        expect("partition 1" not in reasons, f"the other partition goes on: {reasons}")
        join.stop()
    with t.case("another's records"):
        cluster.create_topic("strange", 2)
        cluster.foreign("write", lines=[{"topic": "strange", "partition": 1, "key": "k", "value": v}
                                        for v in ("", "{}", "[]", "\x00\x01", '{"schema_version":9}')])
        transform = t.server(*cluster.options(counts_topic="strange"), name="transform-strange")
        transform.command = "transform"
        transform.start()
        wait_until(lambda: transform.metric("sightline_step_partitions") == 2, 20, "it has them")
        wait_until(lambda: transform.metric("sightline_step_refused_total") == 5, 20, "all are told")
        expect(transform.healthy(), "they stop nothing")
        transform.stop()
