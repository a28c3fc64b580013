"""registry: the tests, in the order in which they are written down, and what each costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

# Half cores that it keeps busy, and seconds that it takes, on a machine of two cores: what ctest calls PROCESSORS
# and COST. 1 is for a test that mostly waits, 2 for one core's worth of work, 4 for a load that wants both cores to
# itself. As the runner prints them (`ok NAME seconds, cpu seconds`): half cores are cpu / seconds * 2. A test that
# is not named is as DEFAULT.
DEFAULT = (2, 15)
LOAD: dict[str, tuple[int, int]] = {
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
