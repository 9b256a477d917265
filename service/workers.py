"""Threads that work for the event loop, at a third of what an executor costs for each call.

`concurrent.futures` makes a future with a lock of its own for each call and copies its state into
the loop's; between two batches that is most of what the loop does for them.
"""

import asyncio
import logging
import math
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar, overload

from service.deadlines import Deadlines
from service.inbox import Inbox, Result

log = logging.getLogger("mixer.workers")

T = TypeVar("T")


class Onward(NamedTuple, Generic[T]):
    """What a function returns that other threads shall go on for, before the event loop hears."""

    workers: "Workers"
    function: Callable[[], T]


class Call(NamedTuple):
    """A function, and the way of what it returns to whoever waits."""

    function: Callable[[], object]
    answer: asyncio.Future[object]
    inbox: Inbox


class Workers:
    """A fixed number of threads, first come first served; they begin with the first call.

    They are daemons: what a thread of them never ends, such as a call to a dead device, does not
    keep the process from ending.
    """

    def __init__(self, count: int, name: str, begin: Callable[[], None] = lambda: None) -> None:
        """`begin` is called in each thread before its first call; if it fails the log says so."""
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, args=(begin,), name=f"{name}_{i}", daemon=True)
            for i in range(count)
        ]
        self._inbox, self._deadlines = Inbox(), Deadlines()
        self._lock = threading.Lock()  # of what follows: other threads send calls onward
        self._begun = self._closed = False

    @overload
    async def run(
        self,
        function: Callable[[], Onward[T]],
        inbox: Inbox | None = None,
        deadline: float = math.inf,
    ) -> T: ...

    @overload
    async def run(
        self, function: Callable[[], T], inbox: Inbox | None = None, deadline: float = math.inf
    ) -> T: ...

    async def run(
        self, function: Callable[[], Any], inbox: Inbox | None = None, deadline: float = math.inf
    ) -> Any:
        """Return what the function returns on one of the threads; at once, or by way of `inbox`.

        Cancelled or late while it waits for a thread, here or onward, it is not run at all.

        Raises:
            RuntimeError: the threads have been told to end.
            TimeoutError: the deadline, on the event loop's clock, came first.
            BaseException: what the function raises.
        """
        inbox = self._inbox if inbox is None else inbox
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.take(Call(function, answer, inbox))
        return await self._deadlines.wait(answer, deadline)

    def take(self, call: Call) -> None:
        """Take a call, in any thread.

        Raises:
            RuntimeError: the threads have been told to end.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("these threads take no calls any more")
            if not self._begun:
                self._begun = True
                for thread in self._threads:
                    thread.start()
            self._calls.put(call)

    def close(self) -> None:
        """End the threads once they have done what was asked before, without waiting for it."""
        with self._lock:
            self._closed = True
            for _ in self._threads:
                self._calls.put(None)

    def _work(self, begin: Callable[[], None]) -> None:
        try:
            begin()
        except Exception:  # or whoever calls would wait for ever
            log.exception("%s goes on as it is", threading.current_thread().name)
        while (call := self._calls.get()) is not None:
            _do(call)
            del call  # its images may go while this thread waits


def _do(call: Call) -> None:
    if call.answer.done():
        return
    value: object = None
    failure: BaseException | None = None
    try:
        value = call.function()
        if isinstance(value, Onward):
            value.workers.take(call._replace(function=value.function))
            return
    except BaseException as error:
        failure = error
    try:
        call.inbox.put(Result(call.answer, value, failure))
    finally:
        del failure  # which holds this frame
