#!/usr/bin/env python3
"""Writes to Kafka as others do, and reads what is there: runs in .deps/venv, with kafka-python.

    kafka_foreign.py BROKERS write < commands      one JSON object a line:
        {"topic", "partition", "key", "value", "headers"}   key and value: text, or null
        {"transaction": "commit" | "abort", "records": [...]}
    kafka_foreign.py BROKERS read TOPIC            committed records, one JSON object a line:
        {"partition", "offset", "key", "value", "headers"}  value as latin-1 text
"""

from __future__ import annotations

import json
import sys
import uuid

from kafka import KafkaConsumer, KafkaProducer, TopicPartition


def send(producer: KafkaProducer, record: dict) -> None:
    def text(name: str) -> bytes | None:
        value = record.get(name)
        return None if value is None else value.encode("latin-1")
    producer.send(record["topic"], value=text("value"), key=text("key"),
                  partition=record.get("partition"),
                  headers=[(k, v.encode()) for k, v in record.get("headers", {}).items()])


def write(brokers: str) -> None:
    options = {"bootstrap_servers": brokers, "acks": "all", "max_request_size": 4 << 20}
    plain = KafkaProducer(**options)
    for line in sys.stdin:
        command = json.loads(line)
        if "transaction" not in command:
            send(plain, command)
            continue
        plain.flush()
        producer = KafkaProducer(transactional_id=f"foreign-{uuid.uuid4()}", **options)
        producer.init_transactions()
        producer.begin_transaction()
        for record in command["records"]:
            send(producer, record)
        producer.flush()
        if command["transaction"] == "commit":
            producer.commit_transaction()
        else:
            producer.abort_transaction()
        producer.close()
    plain.flush()
    plain.close()


def read(brokers: str, topic: str) -> None:
    consumer = KafkaConsumer(bootstrap_servers=brokers, isolation_level="read_committed",
                             enable_auto_commit=False, auto_offset_reset="earliest")
    partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
    consumer.assign(partitions)
    ends = consumer.end_offsets(partitions)
    consumer.seek_to_beginning(*partitions)
    while any(consumer.position(p) < ends[p] for p in partitions):
        for records in consumer.poll(timeout_ms=1000).values():
            for r in records:
                json.dump({"partition": r.partition, "offset": r.offset,
                           "key": None if r.key is None else r.key.decode("latin-1"),
                           "value": None if r.value is None else r.value.decode("latin-1"),
                           "headers": {k: v.decode() for k, v in r.headers}}, sys.stdout)
                sys.stdout.write("\n")
    consumer.close()


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[2]](sys.argv[1], *sys.argv[3:])
