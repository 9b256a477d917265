"""The threads that decode images, and how long an image would wait for one."""

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from service.inbox import Inbox
from service.workers import Onward, Workers

T = TypeVar("T")
U = TypeVar("U")

# Share of the newest image in the running mean of what decoding takes.
WEIGHT = 0.05

# By how much the threads are nicer than the event loop: about a tenth of its share of a core.
NICENESS = 10


class Decoded(NamedTuple, Generic[T]):
    """A decoded image, the seconds that it took, and when it was done, by `time.monotonic`."""

    value: T
    decode_s: float
    done_s: float


class Decoders:
    """A fixed number of threads, first come first served."""

    def __init__(self, threads: int) -> None:
        self.workers = Workers(threads, "decode", begin=_give_way)
        self._threads = threads
        self._pending: set[object] = set()  # images handed over and not yet decoded
        self._lock = threading.Lock()  # of what follows, which the threads write
        self._mean_s = 0.0  # that a thread needs for an image
        self._saturated_s = 0.0  # since when images wait for a thread, by `time.monotonic`

    @property
    def backlog_s(self) -> float:
        """Estimated seconds until a thread is free for another image; 0 while none is pending.

        What the next image takes is not in it: who is refused for an estimate that a few large
        images left behind could never correct it.
        """
        return len(self._pending) * self._mean_s / self._threads

    async def run(
        self,
        decode: Callable[[], tuple[T, float]],
        inbox: Inbox | None = None,
        deadline: float = math.inf,
    ) -> Decoded[T]:
        """Return what `decode` returns on one of the threads: a value, and its seconds.

        See `Workers.run`.
        """
        image = self._enter()
        try:
            return await self.workers.run(partial(self._timed, decode, image), inbox, deadline)
        finally:
            self._pending.discard(image)  # of who left before a thread was free

    async def run_onward(
        self,
        decode: Callable[[], tuple[T, float]],
        onward: Callable[[T], Onward[U]],
        deadline: float = math.inf,
    ) -> Decoded[U]:
        """Return what other threads make of the value, to whom it goes as soon as it is decoded."""
        image = self._enter()
        try:
            chain = partial(self._timed_onward, decode, image, onward)
            return await self.workers.run(chain, deadline=deadline)
        finally:
            self._pending.discard(image)

    def _enter(self) -> object:
        image = object()
        with self._lock:
            if len(self._pending) == self._threads:
                self._saturated_s = time.monotonic()
            self._pending.add(image)
        return image

    def _timed_onward(
        self,
        decode: Callable[[], tuple[T, float]],
        image: object,
        onward: Callable[[T], Onward[U]],
    ) -> Onward[Decoded[U]]:
        value, decode_s, done_s = self._timed(decode, image)
        workers, function = onward(value)
        return Onward(workers, lambda: Decoded(function(), decode_s, done_s))

    def _timed(self, decode: Callable[[], tuple[T, float]], image: object) -> Decoded[T]:
        try:
            value, seconds = decode()
            done_s = time.monotonic()
            with self._lock:
                self._note(seconds, done_s)
        finally:
            self._pending.discard(image)  # now, however long the loop does not hear of it
        return Decoded(value, seconds, done_s)

    def _note(self, seconds: float, now_s: float) -> None:
        if len(self._pending) > self._threads:
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
