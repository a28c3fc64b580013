"""The golden scripts and the reference of tests/reference through a real topic, with 1, 4 and 16 partitions,
fused (`up`) and as processes (`count` twice, `serve`). The brokers' clock says what the scripts say, so that
the log has their append times; what comes of it is compared cell by cell and element by element."""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections import Counter
from dataclasses import dataclass, field

from brokers import PYTHON, Cluster
from clocks import Clock
from golden_scripts import Script, camera_of, length_ms, own, read_scripts
from registry import test
from server import HERE, OUTCOMES, Server, Test, expect, expect_equal, now_ms, stop_all, wait_until
from test_lake import ask

JUDGE = HERE / "kafka_judge.py"
PARTITIONS = (1, 4, 16)
DAY = 86_400_000
LEDGER = ("received", *OUTCOMES, "conflicts", "heartbeats")
OUTPUTS = ("counts", "dead", "late")
MODES = ("fused", "apart")
AT_ONCE = 3  # logs
CELLS = ("SELECT geographical_location_oid::VARCHAR AS l, item_name AS i, epoch_ms(window_start)::BIGINT "
         "AS w, sum(item_count)::BIGINT AS n FROM item_counts GROUP BY ALL")
CAMERAS = ("SELECT geographical_location_oid::VARCHAR AS l, video_camera_oid::VARCHAR AS c, "
           + ", ".join(f"sum({name})::BIGINT AS {name}" for name in LEDGER)
           + " FROM ledger WHERE video_camera_oid IS NOT NULL GROUP BY ALL")


@dataclass
class Log:
    """A raw topic: what is written to it, and what must come of it."""
    name: str
    partitions: int
    options: list[str]
    window_ms: int
    records: list[dict]  # as kafka_foreign.py `log` takes them
    has_time: bool = True
    cells: Counter = field(default_factory=Counter)  # (location, item, window start) -> n
    ledger: dict = field(default_factory=dict)
    aside: dict = field(default_factory=dict)        # (partition, offset, index) -> outcome
    cameras: dict = field(default_factory=dict)      # (location, camera) -> ledger; {}: not compared


def topic_of(log: Log, mode: str, what: str) -> str:
    """Logs share topics, since keys name their source; what `serve` shows must be of one log only."""
    return f"{log.name}.{mode}.{what}" if (mode, what) == ("apart", "counts") else f"{mode}.{what}"


def make_cluster(t: Test, clock: Clock) -> Cluster:
    # Hundreds of partitions on a busy machine: the only broker is not to be taken for dead.
    return Cluster(t, clock=clock, settings={"broker.session.timeout.ms": 60_000})


def write(t: Test, cluster: Cluster, clock: Clock, logs: list[Log]) -> dict[str, list[dict]]:
    """All topics, and the records in the raw ones; what a foreign client finds there, each log in the
    order in which it was written."""
    topics = [{"name": name, "partitions": max(log.partitions for log in logs)}
              for name in sorted({topic_of(logs[0], mode, what) for mode in MODES for what in OUTPUTS
                                  if (mode, what) != ("apart", "counts")})]
    for log in logs:
        kind = "LogAppendTime" if log.has_time else "CreateTime"
        topics.append({"name": log.name, "partitions": log.partitions, "settings": {
            "message.timestamp.type": kind, "retention.ms": "-1"}})
        topics.append({"name": topic_of(log, "apart", "counts"), "partitions": log.partitions})
    cluster.foreign("topics", lines=topics, seconds=300)
    cluster.foreign("log", clock.path, seconds=600, lines=[
        {"topic": log.name, **record, "headers": {"n": str(n)}}
        for log in logs for n, record in enumerate(log.records)])
    clock.step(0)
    found: dict[str, list[dict]] = {log.name: [] for log in logs}
    for record in cluster.read(*found, seconds=300):
        found[record["topic"]].append(record)
    for log in logs:
        records = found[log.name]
        records.sort(key=lambda record: int(record["headers"]["n"]))
        expect_equal([(r["value"], r["appended"], r["time"] if log.has_time else None) for r in records],
                     [(r["value"], log.has_time, r["time"]) for r in log.records],
                     f"the records of {log.name} and when the log took them")
    t.note(f"{len(logs)} raw topics, {sum(log.partitions for log in logs)} partitions, "
           f"{sum(len(log.records) for log in logs)} records")
    return found


@dataclass
class Running:
    """The processes that read one log."""
    log: Log
    fused: Server
    page: Server
    counters: list[Server]
    lake: pathlib.Path  # of the counters

    def asked(self, mode: str) -> Server:
        return self.fused if mode == "fused" else self.page

    def all(self) -> list[Server]:
        return [self.fused, self.page, *self.counters]


def launch(t: Test, cluster: Cluster, log: Log) -> Running:
    """All but the page."""
    def options(mode: str) -> list[object]:
        return [*cluster.options(f"{log.name}.{mode}", topic=log.name, counts_topic=topic_of(log, mode, "counts"),
                                 dead_letters_topic=topic_of(log, mode, "dead"),
                                 late_detections_topic=topic_of(log, mode, "late")),
                *log.options, "--lake.dir", t.folder / f"{log.name}.{mode}.lake"]

    counting = ("--lake.roll_interval", "300ms", "--engine.threads", "2")
    showing = ("--live.pane_retention", "20000d")
    running = Running(
        log, t.server(*options("fused"), *counting, *showing, name=f"{log.name}.up"),
        t.serve(*options("apart"), *showing, name=f"{log.name}.serve"),
        [t.server(*options("apart"), *counting, "--engine.checkpoint_dir",
                  t.folder / f"{log.name}.checkpoints", name=f"{log.name}.count{n}") for n in range(2)],
        t.folder / f"{log.name}.apart.lake")
    for counter in running.counters:
        counter.command = "count"
    for server in (running.fused, *running.counters):
        server.launch()
    return running


def wait_doors(running: Running) -> None:
    # `serve` wants a lake that is there.
    wait_until(lambda: len(list(running.lake.glob("*/_delta_log/*.json"))) >= 2, 60, f"{running.lake} is made")
    running.page.launch()
    for server in running.all():
        expect(server.wait_door(60), f"{server.name}: {server.last_line()}")


def check_server(server: Server, log: Log) -> None:
    """The live screen and SQL, against what must come of the log."""
    wanted = {name: log.ledger.get(name, 0) for name in LEDGER}
    got = server.wait_ledger(60, received=wanted["received"], heartbeats=wanted["heartbeats"])
    expect_equal({name: got[name] for name in LEDGER}, wanted, "the live ledger")
    # The screen, a day at a time; what lies beyond now is not on it.
    end = now_ms() // DAY * DAY
    days: dict[tuple[int, int], Counter] = {}
    for (location, item, start), n in log.cells.items():
        if start < end:
            days.setdefault((location, start // DAY), Counter())[item] += n
    for (location, day), items in days.items():
        top = server.top(location, at=(day + 1) * DAY)
        expect_equal({row["item"]: row["count"] for row in top["rows"]}, dict(items),
                     f"items of location {location} on day {day}")

    def has_all() -> bool:
        """The two tables of the lake are two sinks, and each may be ahead of the other."""
        answer = server.request("POST", "/v1/query", json.dumps(
            {"sql": "SELECT (SELECT sum(received + heartbeats) FROM ledger)::BIGINT AS ledger, "
                    "(SELECT sum(item_count) FROM item_counts)::BIGINT AS counts"}).encode())
        return answer.status == 200 and json.loads(answer.body) == [
            {"ledger": wanted["received"] + wanted["heartbeats"], "counts": wanted["counted"]}]

    wait_until(has_all, 60, "the lake has everything")
    expect_equal({(int(row["l"]), row["i"], row["w"]): row["n"] for row in ask(server, CELLS)},
                 dict(log.cells), "item_counts by SQL")
    if log.cameras:
        told = {(int(row["l"]), int(row["c"])): {name: row[name] for name in LEDGER}
                for row in ask(server, CAMERAS)}
        expect_equal(told, log.cameras, "the ledger by location and camera, by SQL")


def check_topics(records: list[dict], log: Log, mode: str) -> None:
    """The outputs of one mode, as the foreign client has read them."""
    newest: dict[str, dict] = {}
    aside: dict[tuple, str] = {}
    for record in records:
        if record["topic"] == topic_of(log, mode, "counts"):
            value = json.loads(record["value"].encode("latin-1"))
            known = newest.get(record["key"])
            if known is None or known["next_offset"] < value["next_offset"]:
                newest[record["key"]] = value
            continue
        key, headers = json.loads(record["key"]), record["headers"]
        outcome = headers["sightline.outcome"]
        expect_equal(record["topic"], topic_of(log, mode, "late" if outcome == "too_late" else "dead"),
                     f"the topic of {headers}")
        place = key["source_partition"], key["offset"], key["index"]
        expect(place not in aside, f"{place} was set aside twice")
        aside[place] = f"{outcome} {headers.get('sightline.reason', '')}".strip()
    cells: Counter = Counter()
    ledger: Counter = Counter()
    rows: Counter = Counter()
    for value in newest.values():
        if "item_name" in value:
            start = value["window_start"] // log.window_ms * log.window_ms
            cells[value["geographical_location_oid"], value["item_name"], start] += value["item_count"]
        elif "ledger" in value:
            ledger.update(value["ledger"])
        else:
            rows.update({name: value[name] for name in LEDGER})
    expect_equal(+cells, log.cells, "located_item_counts by the reader's rule")
    expect_equal({name: ledger[name] for name in LEDGER},
                 {name: log.ledger.get(name, 0) for name in LEDGER}, "the ledger of the progress records")
    expect_equal(+rows, +Counter({name: ledger[name] for name in LEDGER}), "the ledger by camera and hour")
    if not any(" " in outcome for outcome in log.aside.values()):  # the reference gives no reasons
        aside = {place: outcome.split()[0] for place, outcome in aside.items()}
    expect_equal(aside, log.aside, "what was set aside, and why")


def run(t: Test, cluster: Cluster, logs: list[Log]) -> None:
    # While some wait for their lakes, their groups and their ends others work.
    for first in range(0, len(logs), AT_ONCE):
        batch = [launch(t, cluster, log) for log in logs[first:first + AT_ONCE]]
        for running in batch:
            wait_doors(running)
        for running in batch:
            for mode in MODES:
                with t.case(f"{running.log.name} {mode}"):
                    check_server(running.asked(mode), running.log)
        stop_all([server for running in batch for server in running.all()], seconds=30)
    outputs: dict[tuple[str, str], list[dict]] = {}
    for record in cluster.read(*{topic_of(log, mode, what) for log in logs for mode in MODES
                                 for what in OUTPUTS}, seconds=300):
        source = json.loads(record["key"].encode("latin-1"))["source"].split("/")[1]
        outputs.setdefault((record["topic"], source), []).append(record)
    for log in logs:
        for mode in MODES:
            with t.case(f"{log.name} {mode} topics"):
                check_topics(sum((outputs.get((topic_of(log, mode, what), log.name), [])
                                  for what in OUTPUTS), []), log, mode)
    t.note(f"{sum(sum(log.cells.values()) for log in logs)} counted in "
           f"{sum(len(log.cells) for log in logs)} cells, {sum(len(log.aside) for log in logs)} set aside")


# -- the golden scripts ---------------------------------------------------------------------------


def options_of(settings: dict[str, str]) -> list[str]:
    options: list[str] = []
    for name, value in settings.items():
        if name in ("count_from", "count_until"):
            value = f"2025-11-22T{value}:00Z"
        elif name == "identity":
            value = {"camera": "camera_and_detection", "detection": "detection"}[value]
        elif name not in ("timestamp_unit", "watermark_step", "partitions", "detection_ids", "decoding"):
            value = f"{length_ms(value)}ms"
        if name != "partitions":
            options += [f"--pipeline.{name}", value]
    return options


def golden_logs() -> list[Log]:
    """Scripts with the same settings share a log, in the order of their append times."""
    groups: dict[str, list[Script]] = {}
    for number, script in enumerate(read_scripts(), 1):
        settings = {k: v for k, v in script.settings.items() if k != "partitions"}
        key = json.dumps([script.is_file, settings], sort_keys=True)
        groups.setdefault(key, []).append(own(script, number))
    logs = []
    for number, scripts in enumerate(groups.values()):
        for partitions in PARTITIONS:
            taken = [s for s in scripts if int(s.settings.get("partitions", partitions)) == partitions]
            if not taken:
                continue
            log = Log(f"golden{number}-{partitions}", partitions, options_of(taken[0].settings),
                      length_ms(taken[0].settings.get("window_size", "1min")), [], not taken[0].is_file)
            messages = [message for script in taken for message in script.messages]
            if log.has_time:
                messages.sort(key=lambda message: message.append_time)
            for message in messages:
                key = camera_of(message)
                log.records.append({"key": key, "value": message.payload.decode("latin-1"),
                                    "time": message.append_time, "outcomes": message.outcomes,
                                    **({} if key else {"partition": 0})})
            for script in taken:
                log.cells.update(script.counts)
                log.ledger = dict(Counter(log.ledger) + script.ledger)
            logs.append(log)
    return logs


@test(seconds=900)
def kafka_golden(t: Test) -> None:
    """tests/golden/scripts through a topic; the client's own partitioner places the records."""
    clock = Clock(t, "broker")
    cluster = make_cluster(t, clock)
    logs = golden_logs()
    found = write(t, cluster, clock, logs)
    for log in logs:
        for written, record in zip(log.records, found[log.name]):
            for index, outcome in enumerate(written["outcomes"]):
                if outcome.split()[0] in ("malformed", "future", "too_late"):
                    log.aside[record["partition"], record["offset"], index] = outcome
        if log.partitions == 16 and len(log.records) > 50:
            used = len({record["partition"] for record in found[log.name]})
            expect(used >= 8, f"only {used} of 16 partitions have records of {log.name}")
    run(t, cluster, logs)


# -- the reference --------------------------------------------------------------------------------


def judge(*words: object, lines: list[dict] = ()) -> list[dict]:
    done = subprocess.run([PYTHON, "-B", JUDGE, *map(str, words)], text=True, timeout=300,
                          input="".join(json.dumps(line) + "\n" for line in lines),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    expect_equal(done.returncode, 0, f"kafka_judge.py {words}: {done.stderr[-3000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def rule_options(rule: dict) -> list[str]:
    options = ["--pipeline.identity",
               "camera_and_detection" if rule["identity"] == "camera" else "detection"]
    for name, value in rule.items():
        if name in ("count_from", "count_until"):
            options += [f"--pipeline.{name}", str(value)] if value is not None else []
        elif name in ("watermark_step", "detection_ids"):
            options += [f"--pipeline.{name}", value]
        elif name != "identity":
            options += [f"--pipeline.{name}", "off" if value is None else f"{value}ms"]
    return options


@test(seconds=900)
def kafka_reference(t: Test) -> None:
    """Random events with every edge of the rules (tests/reference), in a log that grows for weeks; the
    reference judges what the foreign client reads from it. Seeds are fixed; rules are drawn from them."""
    clock = Clock(t, "broker")
    cluster = make_cluster(t, clock)
    logs, rules = [], {}
    for seed, partitions in ((t.seed, 1), (t.seed + 1, 4), (t.seed + 2, 4), (t.seed + 4, 16)):
        rule, *records = judge("make", seed, 2_000, partitions, 1_763_800_020_000)
        log = Log(f"seed{seed}-{partitions}", partitions, rule_options(rule["rule"]),
                  rule["rule"]["window_size"], records)
        rules[log.name] = rule
        logs.append(log)
    found = write(t, cluster, clock, logs)
    for log in logs:
        (judged,) = judge("judge", lines=[rules[log.name], *found[log.name]])
        log.cells = Counter({tuple(cell): n for *cell, n in judged["cells"]})
        log.ledger = judged["ledger"]
        log.aside = {tuple(place): outcome for *place, outcome in judged["aside"]}
        log.cameras = {(location, camera): ledger for location, camera, ledger in judged["cameras"]}
        t.note(f"{log.name}: " + ", ".join(f"{n} {name}" for name, n in log.ledger.items()))
    run(t, cluster, logs)
