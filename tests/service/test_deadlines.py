"""Waits that end at their deadlines, on a clock that jumps."""

import asyncio
import gc
import math
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.deadlines import Deadlines
from tests.service.virtual_time import NothingCanHappen, VirtualTimeLoop, run, until

INSTANTS_S = st.integers(0, 20)


def give(answer: "asyncio.Future[str]") -> None:
    if not answer.done():
        answer.set_result("answer")


async def ended(deadlines: Deadlines, answer: "asyncio.Future[str]", deadline: float) -> object:
    """Return what came, or that it was late, and when."""
    loop = asyncio.get_running_loop()
    try:
        return await deadlines.wait(answer, deadline), loop.time()
    except TimeoutError:
        return "late", loop.time()


@given(st.lists(st.tuples(INSTANTS_S, INSTANTS_S, INSTANTS_S | st.none())))
def test_each_wait_ends_with_its_answer_or_at_its_deadline(
    waits: list[tuple[int, int, int | None]],
) -> None:
    """Each with an instant to begin at, another for the deadline, and one for the answer if any."""

    async def wait(deadlines: Deadlines, began: int, deadline: int, answered: int | None) -> None:
        await until(began)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        if answered is not None:
            loop.call_at(answered, give, answer)
        found = await ended(deadlines, answer, deadline)
        end, due = math.inf if answered is None else max(began, answered), max(began, deadline)
        either = ("answer", end), ("late", due)  # whichever is first in one instant
        assert found in (either if end == due else [min(either, key=lambda it: it[1])])
        assert answer.done()

    async def main() -> None:
        deadlines = Deadlines()
        await asyncio.gather(*(wait(deadlines, *each) for each in waits))

    run(main())


def test_who_has_no_deadline_waits_for_ever() -> None:
    async def main() -> None:
        await Deadlines().wait(asyncio.get_running_loop().create_future(), math.inf)

    with pytest.raises(NothingCanHappen):
        run(main())


def test_one_timer_serves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = list[float]()
    call_at = VirtualTimeLoop.call_at

    def recorded(self: VirtualTimeLoop, when: float, *given: Any, **more: Any) -> Any:
        timers.append(when)
        return call_at(self, when, *given, **more)

    async def main() -> None:
        loop, deadlines = asyncio.get_running_loop(), Deadlines()
        monkeypatch.setattr(VirtualTimeLoop, "call_at", recorded)
        answers = [loop.create_future() for _ in range(3)]
        waits = [
            asyncio.create_task(ended(deadlines, answer, due))
            for answer, due in zip(answers, (5.0, 7.0, 6.0), strict=True)
        ]
        await asyncio.sleep(0)
        assert timers == [5.0]
        answers[1].set_result("answer")
        assert await asyncio.gather(*waits) == [("late", 5.0), ("answer", 0.0), ("late", 6.0)]
        assert timers == [5.0, 6.0]

    run(main())


def test_what_the_future_holds_is_raised() -> None:
    async def main() -> None:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        answer.set_exception(LookupError("not there"))
        with pytest.raises(LookupError, match="not there"):
            await Deadlines().wait(answer, 1.0)

    run(main())


def test_who_leaves_cancels_the_future() -> None:
    async def main() -> None:
        deadlines, answer = Deadlines(), asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(deadlines.wait(answer, 3.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert answer.cancelled()
        assert waiting.cancelled()

    run(main())


def test_who_leaves_at_his_deadline_has_left() -> None:
    async def main() -> None:
        loop, deadlines = asyncio.get_running_loop(), Deadlines()
        waiting = asyncio.create_task(deadlines.wait(loop.create_future(), 3.0))
        await asyncio.sleep(0)
        loop.call_at(3.0, waiting.cancel)  # behind the timer, before its word has come
        await asyncio.wait({waiting})
        assert waiting.cancelled()

    run(main())


class Picture:
    """What a wait is for."""


def test_who_was_late_leaves_nothing_for_the_garbage_collector() -> None:
    async def late(deadlines: Deadlines) -> "weakref.ref[Picture]":
        picture = Picture()
        with pytest.raises(TimeoutError):
            await deadlines.wait(asyncio.get_running_loop().create_future(), 1.0)
        return weakref.ref(picture)

    async def main() -> None:
        gc.disable()
        try:
            assert (await late(Deadlines()))() is None
        finally:
            gc.enable()

    run(main())
