"""registry: the tests, in the order in which they are written down, and what each costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

# Half cores that it keeps busy, and seconds that it takes, on a machine of two cores: what ctest calls PROCESSORS
# and COST. The runner prints them (`ok NAME seconds, cpu seconds`): half cores are cpu / seconds * 2, rounded, and at
# least 1. Measured on a quiet machine; a test that is not named is as DEFAULT.
DEFAULT = (1, 20)
LOAD: dict[str, tuple[int, int]] = {
    "kafka_chaos": (3, 120), "kafka_crash": (2, 40), "kafka_stop": (3, 40), "kafka_steps": (3, 60),
    "crash": (3, 50), "lake_crash": (2, 48), "lake_never_dips": (3, 30), "sigterm": (3, 15), "spill": (3, 40),
    "full_disk": (3, 30), "backpressure_memory": (3, 15), "backpressure_queue": (3, 15),
    "stream_resume": (2, 15), "stream_restart": (2, 25), "complete_until_restart": (2, 35),
    "redrive": (2, 15), "redrive_waits": (2, 15), "camera_simulate": (2, 15), "api_errors": (2, 30),
    "kafka_golden": (3, 60), "kafka_reference": (3, 40),
    "kafka_step_rights": (1, 141), "kafka_logins": (2, 121), "kafka_lost_end": (1, 110), "kafka_conformance": (1, 91),
    "kafka_rights": (1, 61), "kafka_coordinator": (2, 60), "kafka_silence": (1, 59), "kafka_handover_embedded": (1, 56),
    "kafka_silence_broken": (1, 45), "topics_check": (1, 45), "alerts_start_and_end": (1, 44), "kafka_monitoring": (1, 40),
    "kafka_locations": (1, 40), "kafka_away": (1, 40), "kafka_count": (1, 40), "kafka_camera": (1, 36),
    "kafka_gap": (1, 36), "camera_spool": (1, 34), "kafka_handover_topic": (1, 30), "kafka_rekey": (1, 30),
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
