"""registry: the tests, in the order in which they are written down, and what each costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

# Half cores that it keeps busy, and seconds that it takes, on a machine of two cores: what ctest calls PROCESSORS
# and COST. The runner prints them (`ok NAME seconds, cpu seconds`): half cores are cpu / seconds * 2, rounded, and at
# least 1. Measured, side by side with others; a test that is not named is as DEFAULT. kafka_chaos must be the first:
# it finds no room later.
DEFAULT = (1, 10)
LOAD: dict[str, tuple[int, int]] = {
    "kafka_chaos": (3, 300), "kafka_step_rights": (1, 119), "kafka_conformance": (1, 117), "kafka_lost_end": (1, 110),
    "kafka_logins": (2, 100), "kafka_handover_embedded": (1, 66), "kafka_rights": (1, 65), "kafka_silence": (1, 55),
    "lake_crash": (1, 54), "kafka_coordinator": (2, 51), "kafka_silence_broken": (1, 45), "spill": (2, 45),
    "alerts_start_and_end": (1, 44), "kafka_locations": (1, 38), "kafka_steps": (1, 36), "kafka_monitoring": (1, 35),
    "kafka_crash": (2, 35), "kafka_gap": (1, 34), "kafka_golden": (1, 34), "camera_spool": (1, 34),
    "kafka_away": (1, 30), "kafka_count": (1, 30), "kafka_reference": (2, 28), "kafka_rekey": (1, 28),
    "crash": (1, 28), "kafka_stop": (1, 28), "kafka_camera": (1, 27), "kafka_handover_topic": (1, 27),
    "lake_never_dips": (3, 290), "topics_check": (2, 25), "kafka_topic_again": (1, 25), "retention": (1, 22),
    "operator_hour": (1, 32), "complete_until_restart": (1, 20), "lake_away": (1, 16), "lake_read_only": (1, 12),
    "hostile_askers": (4, 90), "hostile_corpus": (4, 60), "hostile_worker_kills": (3, 45), "slow_reader": (1, 37),
    "hdfs_conformance": (3, 41), "hdfs_lake": (2, 45), "hdfs_servers": (2, 40), "hdfs_network": (1, 27), "hdfs_standby": (2, 21),
    "stores_chaos": (2, 90), "hdfs_query": (2, 60), "hdfs_takeover": (2, 45), "s3_lake": (2, 40), "s3_network": (1, 24), "s3_parts": (1, 22),
    "lake_layout": (2, 28), "two_clients": (3, 13),
    "large_bodies": (2, 5), "api_errors": (2, 3), "deploy_files": (2, 1),
}


@dataclass
class Entry:
    name: str
    run: Callable
    seconds: int  # beyond it a test has failed, on a quiet machine

    @property
    def load(self) -> tuple[int, int]:
        return LOAD.get(self.name, DEFAULT)


TESTS: dict[str, Entry] = {}


def test(seconds: int = 120) -> Callable:
    def register(function: Callable) -> Callable:
        TESTS[function.__name__] = Entry(function.__name__, function, seconds)
        return function
    return register
