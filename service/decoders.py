"""The threads that decode images, and how long an image would wait for one."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from service.workers import Workers

T = TypeVar("T")

# Share of the newest image in the running mean of what decoding takes.
WEIGHT = 0.05

# By how much the threads are nicer than the event loop: about a tenth of its share of a core.
NICENESS = 10


class Decoders:
    """A fixed number of threads, first come first served."""

    def __init__(self, threads: int) -> None:
        self.workers = Workers(threads, "decode", begin=_give_way)
        self._threads = threads
        self._pending = 0  # images handed over and not yet decoded
        self._mean_s = 0.0  # that a thread needs for an image
        self._saturated_s = 0.0  # since when, on the loop's clock, images wait for a thread

    @property
    def backlog_s(self) -> float:
        """Estimated seconds until a thread is free for another image; 0 while none is pending.

        What the next image takes is not in it: who is refused for an estimate that a few large
        images left behind could never correct it.
        """
        return self._pending * self._mean_s / self._threads

    async def run(self, decode: Callable[[], tuple[T, float]]) -> tuple[T, float]:
        """Return what `decode` returns on one of the threads: a result, and its seconds.

        Cancelled while it waits for a thread, it is not run at all.
        """
        loop = asyncio.get_running_loop()
        self._pending += 1
        if self._pending == self._threads + 1:
            self._saturated_s = loop.time()
        try:
            result, seconds = await self.workers.run(decode)
            self._note(seconds, loop.time())
        finally:
            self._pending -= 1
        return result, seconds

    def _note(self, seconds: float, now_s: float) -> None:
        if self._pending > self._threads:
            # All threads were busy since the last one: what passes between images counts, such as
            # waiting for Python's lock beside a busy event loop.
            seconds = (now_s - self._saturated_s) * self._threads
            self._saturated_s = now_s
        self._mean_s += (WEIGHT if self._mean_s else 1.0) * (seconds - self._mean_s)

    def close(self) -> None:
        """End the threads without waiting."""
        self.workers.close()


def _give_way() -> None:
    """Let the event loop go before this thread where both want a core.

    The loop has little to do for an image, and each image waits for it several times: else overload
    delays what was admitted by more than could be foreseen.
    """
    if sys.platform == "linux":  # where each thread has a niceness of its own
        nicer = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nicer)
