"""When the event loop hears of what threads have done."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable

import pytest

from service.inbox import Inbox, Result

TIMEOUT_S = 60


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), TIMEOUT_S))


def answers(count: int) -> list["asyncio.Future[object]"]:
    loop = asyncio.get_running_loop()
    return [loop.create_future() for _ in range(count)]


async def put(inbox: Inbox, *results: Result) -> None:
    """Let another thread leave them, one after another."""

    def leave() -> None:
        for result in results:
            inbox.put(result)

    await asyncio.to_thread(leave)


def test_without_room_the_loop_hears_of_each_at_once() -> None:
    async def test() -> None:
        inbox, (first, second) = Inbox(), answers(2)
        await put(inbox, Result(first, "one", None))
        assert await first == "one"
        assert not second.done()
        await put(inbox, Result(second, "two", None))
        assert await second == "two"

    run(test)


def test_in_a_box_with_room_results_lie_until_it_is_emptied() -> None:
    async def test() -> None:
        inbox, (first, second) = Inbox(), answers(2)
        inbox.set_room(math.inf)
        await put(inbox, Result(first, "one", None), Result(second, "two", None))
        await asyncio.sleep(0)
        assert not first.done()
        assert inbox.awaited == 2
        inbox.empty()
        assert (await first, await second) == ("one", "two")
        assert inbox.awaited == 0

    run(test)


def test_the_result_that_fills_the_box_brings_the_others_along() -> None:
    async def test() -> None:
        inbox, (first, second, third) = Inbox(), answers(3)
        inbox.set_room(3)
        await put(inbox, Result(first, 1, None), Result(second, 2, None))
        await asyncio.sleep(0)
        assert not first.done()
        await put(inbox, Result(third, 3, None))
        assert [await each for each in (first, second, third)] == [1, 2, 3]

    run(test)


def test_who_leaves_no_room_hears_of_what_lies_there() -> None:
    async def test() -> None:
        inbox, (first, second) = Inbox(), answers(2)
        inbox.set_room(math.inf)
        await put(inbox, Result(first, 1, None), Result(second, 2, None))
        inbox.set_room(3)
        assert not first.done()
        inbox.set_room(2)
        assert (await first, await second) == (1, 2)

    run(test)


def test_a_failure_is_told_at_once() -> None:
    async def test() -> None:
        inbox, (failed, before) = Inbox(), answers(2)
        inbox.set_room(math.inf)
        await put(inbox, Result(before, 1, None), Result(failed, None, ValueError("bad")))
        with pytest.raises(ValueError, match="bad"):
            await failed
        assert await before == 1

    run(test)


def test_who_has_left_is_not_counted_and_told_nothing() -> None:
    async def test() -> None:
        inbox, (left, stays) = Inbox(), answers(2)
        inbox.set_room(math.inf)
        await put(inbox, Result(left, 1, None), Result(stays, 2, None))
        left.cancel()
        assert inbox.awaited == 1
        inbox.empty()
        assert await stays == 2
        assert left.cancelled()

    run(test)


def test_what_comes_after_the_loop_has_ended_disturbs_nobody() -> None:
    inbox, made = Inbox(), list["asyncio.Future[object]"]()

    async def test() -> None:
        made.extend(answers(1))

    run(test)
    thread = threading.Thread(target=inbox.put, args=(Result(made[0], "late", None),))
    thread.start()
    thread.join(TIMEOUT_S)
    assert not made[0].done()
