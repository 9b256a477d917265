"""Waits that end at their deadlines, all by one timer.

Hardly any deadline is ever reached. A timer for each wait, made, armed and disarmed, would be a
good part of what the event loop does for an image.
"""

import asyncio
import math
from typing import TypeVar

T = TypeVar("T")

_LATE = -math.inf  # the deadline of whom it has passed


class Deadlines:
    """Futures of one event loop that are waited for, and until when."""

    def __init__(self) -> None:
        self._waits: dict[asyncio.Future[object], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf  # when the timer goes off: no later than any wait ends

    async def wait(self, answer: asyncio.Future[T], deadline: float) -> T:
        """Return the future's value, which nobody else waits for.

        The deadline is on the event loop's clock, infinite for none. Cancelling the wait cancels
        the future.

        Raises:
            TimeoutError: the deadline came first, and cancelled the future.
            BaseException: what the future holds.
        """
        waits: dict[asyncio.Future[T], float] = self._waits  # type: ignore[assignment]
        waits[answer] = deadline
        if deadline < self._due:
            self._set_timer(deadline)
        try:
            return await answer
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if waits[answer] != _LATE or (task is not None and task.cancelling()):
                raise
            raise TimeoutError from None
        finally:
            del waits[answer]

    def _set_timer(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.get_running_loop().call_at(due, self._end_late)

    def _end_late(self) -> None:
        late, self._due, self._timer = self._due, math.inf, None  # the clock may be a little behind
        for answer, deadline in self._waits.items():
            # Not by an exception: it would keep who waits, and what for, in a reference cycle.
            if deadline <= late and answer.cancel():
                self._waits[answer] = _LATE
        following = min((due for due in self._waits.values() if due > late), default=math.inf)
        if following < math.inf:
            self._set_timer(following)
