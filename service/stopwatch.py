"""How long calls have taken, read by other threads while one of them runs."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Times calls that are made one after the other."""

    def __init__(self) -> None:
        # Of the calls that have ended, and since when one runs; replaced whole, for whoever reads.
        self._state: tuple[float, float | None] = 0.0, None

    @property
    def seconds(self) -> float:
        """Seconds in calls so far, and so far in the one that runs."""
        ended_s, began_s = self._state
        return ended_s if began_s is None else ended_s + time.perf_counter() - began_s

    def time(self, function: Callable[[], T]) -> T:
        """Return what the function returns."""
        self._state = self._state[0], time.perf_counter()
        try:
            return function()
        finally:
            self._state = self.seconds, None
