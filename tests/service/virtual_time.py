"""An event loop whose clock jumps to the next timer, so that hours of waiting test in microseconds.

Nothing sleeps: `asyncio.sleep(3600)` returns as soon as no other callback is ready. A test that
would hang fails at once, because a loop with nothing ready and no timer can never go on.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class NothingCanHappen(Exception):
    """Every task waits for something that no timer and no callback will bring."""


class _JumpingSelector(selectors.SelectSelector):
    """Polls its files without blocking; when they are quiet, moves `now` by the whole timeout."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.before_jump: list[Callable[[], None]] = []

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        for check in self.before_jump:
            check()
        if timeout is None:
            raise NothingCanHappen
        self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0. `before_jump` is called whenever an instant has been played out."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def before_jump(self, check: Callable[[], None]) -> None:
        self._jumping.before_jump.append(check)


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


async def until(instant: float) -> None:
    """Wait for an instant on the running loop's clock."""
    await asyncio.sleep(instant - asyncio.get_running_loop().time())


def before_jump(check: Callable[[], None]) -> None:
    """Call `check` at the end of every instant of the running virtual loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.before_jump(check)
