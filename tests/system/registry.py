"""registry: the tests, in the order in which they are written down, and what each costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

# Half cores that it keeps busy, and seconds that it takes, on a machine of two cores: what ctest calls PROCESSORS
# and COST. 1 is for a test that mostly waits, 2 for one core's worth of work, 4 for a load that wants both cores to
# itself. As the runner prints them (`ok NAME seconds, cpu seconds`): half cores are cpu / seconds * 2. A test that
# is not named is as DEFAULT. Those below are estimates: a run on a quiet machine replaces them.
DEFAULT = (2, 15)
LOAD: dict[str, tuple[int, int]] = {
    "kafka_chaos": (4, 170),
    "kafka_crash": (4, 60), "kafka_stop": (4, 60), "kafka_steps": (4, 60),
    "crash": (4, 50), "lake_crash": (4, 60), "lake_never_dips": (4, 30), "sigterm": (4, 15), "spill": (4, 40),
    "full_disk": (4, 30), "backpressure_memory": (4, 15), "backpressure_queue": (4, 15),
    "stream_resume": (4, 15), "stream_restart": (4, 25), "complete_until_restart": (4, 35),
    "redrive": (4, 15), "redrive_waits": (4, 15), "camera_simulate": (4, 15), "api_errors": (4, 30),
    "kafka_golden": (4, 60), "kafka_reference": (4, 40),
    "kafka_step_rights": (2, 150), "kafka_rights": (2, 90), "kafka_logins": (2, 60), "topics_check": (2, 50),
    "kafka_coordinator": (2, 50), "kafka_monitoring": (2, 60), "kafka_lost_end": (2, 90), "kafka_count": (2, 40),
    "kafka_locations": (2, 50), "kafka_gap": (2, 50), "kafka_handover_embedded": (2, 40),
    "kafka_handover_topic": (2, 40), "kafka_rekey": (2, 40),
    "kafka_silence": (1, 60), "kafka_silence_broken": (1, 40), "kafka_locked_out": (2, 30),
    "alerts_start_and_end": (1, 70), "alerts_no_flood": (1, 20), "stream_window_moves": (1, 15),
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
