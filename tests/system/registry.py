"""registry: the tests, in the order in which they are written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable


@dataclass
class Entry:
    name: str
    run: Callable
    seconds: int  # beyond it the test has failed


TESTS: dict[str, Entry] = {}


def test(seconds: int = 120) -> Callable:
    def register(function: Callable) -> Callable:
        TESTS[function.__name__] = Entry(function.__name__, function, seconds)
        return function
    return register
