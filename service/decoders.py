"""The threads that decode images, and how long an image would wait for one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# Share of the newest image in the running mean of what decoding takes.
WEIGHT = 0.05


class Decoders:
    """A fixed number of threads, first come first served."""

    def __init__(self, threads: int) -> None:
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._threads = threads
        self._pending = 0  # images handed over and not yet decoded
        self._mean_s = 0.0

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
        self._pending += 1
        try:
            result, seconds = await asyncio.get_running_loop().run_in_executor(
                self.executor, decode
            )
        finally:
            self._pending -= 1
        self._mean_s += (WEIGHT if self._mean_s else 1.0) * (seconds - self._mean_s)
        return result, seconds

    def close(self) -> None:
        """End the threads without waiting."""
        self.executor.shutdown(wait=False, cancel_futures=True)
