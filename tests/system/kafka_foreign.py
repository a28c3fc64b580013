#!/usr/bin/env python3
"""Writes to Kafka as others do, and reads what is there: runs in .deps/venv, with kafka-python.

    kafka_foreign.py BROKERS write < commands      one JSON object a line:
        {"topic", "partition", "key", "value", "headers"}   key and value: latin-1 text, or null
        {"transaction": "commit" | "abort" | "lose", "id": null or the transactional.id, "records": [...]}
            lose: it has no end, and the coordinator does not know of it, as when a broker forgets one
            (the brokers must have transaction.partition.verification.enable=false)
        {"delete": topic, "partition", "offset"}            records before the offset, as retention does
    kafka_foreign.py BROKERS log CLOCK < records   in order; "time" (Unix ms) is what the brokers' clock
        says then (clocks.py: CLOCK is its file), or null
    kafka_foreign.py BROKERS read TOPIC...         committed records, one JSON object a line:
        {"topic", "partition", "offset", "key", "value", "headers", "time", "appended"}  key and value as
        latin-1 text; appended: the time is when the log took it
    kafka_foreign.py BROKERS topics < topics       makes them: {"name", "partitions", "replication", "settings"}
    kafka_foreign.py BROKERS remove < topics       {"name"}; gone when it returns
    kafka_foreign.py BROKERS alter < topics        these settings and no others change: {"name", "settings"}
    kafka_foreign.py BROKERS acls add|remove < rights   {"principal", "operation", "kind", "resource",
        "pattern"}: kind topic, group, transactional-id or cluster, pattern literal or prefixed
    kafka_foreign.py BROKERS elect                 the preferred leader wherever it is another: {"moved"}
"""

from __future__ import annotations

import json
import struct
import sys
import time
import uuid

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (ACL, ACLFilter, ACLOperation, ACLPermissionType, ACLResourcePatternType, ConfigResource,
                         ConfigResourceType, NewTopic, ResourcePattern, ResourcePatternFilter, ResourceType)
from kafka.errors import NoError


def send(producer: KafkaProducer, record: dict):
    def text(name: str) -> bytes | None:
        value = record.get(name)
        return None if value is None else value.encode("latin-1")
    return producer.send(record["topic"], value=text("value"), key=text("key"),
                         partition=record.get("partition"),
                         headers=[(k, v.encode()) for k, v in record.get("headers", {}).items()])


def write(brokers: str) -> None:
    options = {"bootstrap_servers": brokers, "acks": "all", "max_request_size": 4 << 20}
    plain = KafkaProducer(**options)
    for line in sys.stdin:
        command = json.loads(line)
        if "delete" in command:
            plain.flush()
            admin = KafkaAdminClient(bootstrap_servers=brokers)
            admin.delete_records({TopicPartition(command["delete"], command["partition"]):
                                  command["offset"]})
            admin.close()
            continue
        if "transaction" not in command:
            send(plain, command)
            continue
        plain.flush()
        lose = command["transaction"] == "lose"
        # Since 4.0 the broker itself tells the coordinator, unless the producer is older.
        producer = KafkaProducer(transactional_id=command.get("id") or f"foreign-{uuid.uuid4()}",
                                 **options, **({"api_version": (3, 5)} if lose else {}))
        producer.init_transactions()
        producer.begin_transaction()
        if lose:  # the partitions belong to it without having been added
            known = producer._transaction_manager._partitions_in_transaction
            known.update(TopicPartition(r["topic"], r["partition"]) for r in command["records"])
        sent = [send(producer, record) for record in command["records"]]
        producer.flush()
        for future in sent:
            future.get(30)
        if command["transaction"] == "commit":
            producer.commit_transaction()
        elif lose:
            producer.close(timeout=0)
            continue
        else:
            producer.abort_transaction()
        producer.close()
    plain.flush()
    plain.close()


def log(brokers: str, clock: str) -> None:
    # No idempotence: a producer's id does not outlive a clock that jumps by days.
    producer = KafkaProducer(bootstrap_servers=brokers, acks="all", enable_idempotence=False,
                             max_in_flight_requests_per_connection=1,
                             connections_max_idle_ms=3_600_000)
    with open(clock, "r+b", buffering=0) as setting:
        time, sent = None, []
        for line in sys.stdin:
            record = json.loads(line)
            if record["time"] != time:
                for future in sent:
                    future.get(120)
                sent, time = [], record["time"]
                setting.seek(0)
                setting.write(struct.pack("=qq", 0, (time or 0) * 1_000_000))
            sent.append(send(producer, record))
        for future in sent:
            future.get(120)
    producer.close()


def topics(brokers: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=120_000)
    wanted = [json.loads(line) for line in sys.stdin]
    for first in range(0, len(wanted), 10):
        admin.create_topics([NewTopic(name=topic["name"], num_partitions=topic["partitions"],
                                      replication_factor=topic["replication"], topic_configs=topic.get("settings", {}))
                             for topic in wanted[first:first + 10]], timeout_ms=100_000)
    admin.close()


def remove(brokers: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=60_000)
    names = [json.loads(line)["name"] for line in sys.stdin]
    admin.delete_topics(names, timeout_ms=50_000)
    while set(names) & set(admin.list_topics()):
        time.sleep(0.05)
    admin.close()


def alter(brokers: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=60_000)
    wanted = [json.loads(line) for line in sys.stdin]
    said = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic["name"], topic["settings"])
                                for topic in wanted])
    admin.close()
    refused = {name: error for topics in said.values() for name, error in topics.items() if error != "OK"}
    if refused:
        sys.exit(f"settings are refused: {refused}")


def acls(brokers: str, change: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=60_000)

    def made(kind: type, pattern: type, right: dict):
        return kind(right["principal"], "*", ACLOperation[upper(right["operation"])], ACLPermissionType.ALLOW,
                    pattern(ResourceType[right["kind"].upper().replace("-", "_")], right["resource"],
                            ACLResourcePatternType[right["pattern"].upper()]))

    rights = [json.loads(line) for line in sys.stdin]
    if change == "add":
        said = admin.create_acls([made(ACL, ResourcePattern, right) for right in rights])
        failed = said["failed"]
    else:
        said = admin.delete_acls([made(ACLFilter, ResourcePatternFilter, right) for right in rights])
        failed = [one for one in said if len(one[1]) != 1 or one[2] is not NoError]
    admin.close()
    if failed:
        sys.exit(f"not done: {failed}")


def upper(camel: str) -> str:
    """DescribeConfigs: DESCRIBE_CONFIGS."""
    return "".join(f"_{letter}" if letter.isupper() else letter for letter in camel).lstrip("_").upper()


def elect(brokers: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=10_000)
    # Some may have no broker to lead them now, or no need.
    answer = admin.elect_leaders(0, timeout_ms=5_000, raise_errors=False)
    print(json.dumps({"moved": sum(partition.error_code == 0 for topic in answer.replica_election_results
                                   for partition in topic.partition_result)}))
    admin.close()


def read(brokers: str, *topics: str) -> None:
    consumer = KafkaConsumer(bootstrap_servers=brokers, isolation_level="read_committed",
                             enable_auto_commit=False, auto_offset_reset="earliest")
    partitions = [TopicPartition(topic, p) for topic in topics
                  for p in sorted(consumer.partitions_for_topic(topic) or ())]
    consumer.assign(partitions)
    ends = consumer.end_offsets(partitions)
    consumer.seek_to_beginning(*partitions)
    while any(consumer.position(p) < ends[p] for p in partitions):
        for records in consumer.poll(timeout_ms=1000).values():
            for r in records:
                json.dump({"topic": r.topic, "partition": r.partition, "offset": r.offset,
                           "key": None if r.key is None else r.key.decode("latin-1"),
                           "value": None if r.value is None else r.value.decode("latin-1"),
                           "headers": {k: v.decode() for k, v in r.headers},
                           "time": r.timestamp, "appended": r.timestamp_type == 1}, sys.stdout)
                sys.stdout.write("\n")
    consumer.close()


if __name__ == "__main__":
    COMMANDS = {"write": write, "log": log, "read": read, "topics": topics, "remove": remove, "alter": alter,
                "acls": acls, "elect": elect}
    COMMANDS[sys.argv[2]](sys.argv[1], *sys.argv[3:])
