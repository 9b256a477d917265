"""Results of threads on their way to the event loop, which is not woken for each of them.

To be woken is dear: another thread leaves its core, and the loop begins with caches that others
have filled. A result that nothing can be done with yet lies here until the loop is awake.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import NamedTuple


class Result(NamedTuple):
    """What a thread has for a future: a value, or the failure instead of one."""

    answer: asyncio.Future[object]
    value: object
    failure: BaseException | None

    def settle(self) -> None:
        """Tell whoever waits, unless he has left; on the event loop."""
        if self.answer.done():
            return
        if self.failure is None:
            self.answer.set_result(self.value)
        else:
            self.answer.set_exception(self.failure)


class Inbox:
    """Results for futures of one event loop, first come first served."""

    def __init__(self) -> None:
        self._room: float = 0
        self._results: deque[Result] = deque()

    def set_room(self, results: float) -> None:
        """Let fewer results than this lie here from now on; on the event loop.

        Who gives room empties the box later, and takes the room back before that: what comes in
        between wakes the loop by itself then.
        """
        self._room = results
        if len(self._results) >= results:
            self.empty()

    def put(self, result: Result) -> None:
        """Leave a result, in any thread; wake the loop where it has no room, or is a failure."""
        self._results.append(result)  # before the look at the room: see `set_room`
        if result.failure is None and len(self._results) < self._room:
            return
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            result.answer.get_loop().call_soon_threadsafe(self.empty)

    @property
    def awaited(self) -> int:
        """How many lie here that somebody still waits for."""
        return sum(not result.answer.done() for result in list(self._results))

    def empty(self) -> None:
        """Settle all that lies here; on the event loop."""
        while self._results:
            self._results.popleft().settle()
