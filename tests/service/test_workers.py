"""The event loop's threads: what they run, in which order, and who hears of it."""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from service.workers import Onward, Workers

TIMEOUT_S = 60


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), TIMEOUT_S))


@asynccontextmanager
async def held(workers: Workers) -> AsyncIterator[asyncio.Task[None]]:
    """Keep one of the threads busy until the end of the block; yields who waits for it."""
    begun, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold() -> None:
        loop.call_soon_threadsafe(begun.set)
        assert release.wait(TIMEOUT_S)

    holding = asyncio.create_task(workers.run(hold))
    await begun.wait()
    try:
        yield holding
    finally:
        release.set()
        await asyncio.wait({holding})


def test_a_function_runs_on_one_of_the_threads() -> None:
    async def test() -> None:
        workers = Workers(1, "some")
        assert await workers.run(lambda: threading.current_thread().name) == "some_0"
        workers.close()

    run(test)


def test_calls_are_taken_in_order() -> None:
    async def test() -> None:
        workers, order = Workers(1, "one"), list[int]()
        async with held(workers):
            calls = [asyncio.create_task(workers.run(partial(order.append, i))) for i in range(5)]
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
        assert order == list(range(5))
        workers.close()

    run(test)


def test_so_many_run_at_once() -> None:
    async def test() -> None:
        workers, together = Workers(3, "three"), threading.Barrier(3, timeout=TIMEOUT_S)
        places = await asyncio.gather(*(workers.run(together.wait) for _ in range(3)))
        assert sorted(places) == [0, 1, 2]
        workers.close()

    run(test)


class Fatal(BaseException):
    """No Exception, as what ends a process."""


@pytest.mark.parametrize("error", [ValueError("bad"), Fatal("worse")])
def test_what_a_function_raises_is_raised_where_it_is_awaited(error: BaseException) -> None:
    def fail() -> None:
        raise error

    async def test() -> None:
        workers = Workers(1, "failing")
        with pytest.raises(type(error)) as raised:
            await workers.run(fail)
        assert raised.value is error
        assert await workers.run(lambda: "goes on") == "goes on"
        workers.close()

    run(test)


def test_who_leaves_while_waiting_is_not_served() -> None:
    async def test() -> None:
        workers, ran = Workers(1, "one"), list[int]()
        async with held(workers):
            left = asyncio.create_task(workers.run(lambda: ran.append(1)))
            await asyncio.sleep(0)
            left.cancel()
            await asyncio.wait({left})
        await workers.run(lambda: None)
        assert left.cancelled()
        assert not ran
        workers.close()

    run(test)


def test_who_leaves_meanwhile_hears_nothing() -> None:
    async def test() -> None:
        workers = Workers(1, "one")
        async with held(workers) as left:
            left.cancel()
            await asyncio.wait({left})
        assert await workers.run(lambda: "goes on") == "goes on"
        assert left.cancelled()
        workers.close()

    run(test)


def test_other_threads_go_on_with_a_call() -> None:
    async def test() -> None:
        here, there = Workers(1, "here"), Workers(1, "there")
        names: list[str] = []

        def begin() -> Onward[str]:
            names.append(threading.current_thread().name)
            return Onward(there, lambda: threading.current_thread().name)

        assert await here.run(begin) == "there_0"
        assert names == ["here_0"]
        with pytest.raises(ZeroDivisionError):
            await here.run(lambda: Onward(there, lambda: 1 // 0))
        there.close()
        with pytest.raises(RuntimeError, match="no calls any more"):
            await here.run(begin)
        here.close()

    run(test)


def test_who_leaves_meanwhile_is_not_served_onward() -> None:
    async def test() -> None:
        here, there, ran = Workers(1, "here"), Workers(1, "there"), list[int]()
        async with held(there):
            left = asyncio.create_task(here.run(lambda: Onward(there, lambda: ran.append(1))))
            await asyncio.sleep(0)
            await here.run(lambda: None)  # behind it, so that it is there by now
            left.cancel()
            await asyncio.wait({left})
        await there.run(lambda: None)
        assert left.cancelled()
        assert not ran
        here.close()
        there.close()

    run(test)


def test_threads_begin_with_the_first_call_and_each_is_prepared() -> None:
    begun: list[str] = []

    async def test() -> None:
        together = threading.Barrier(2, timeout=TIMEOUT_S)
        workers = Workers(2, "two", begin=lambda: begun.append(threading.current_thread().name))
        assert not begun
        await asyncio.gather(workers.run(together.wait), workers.run(together.wait))
        assert sorted(begun) == ["two_0", "two_1"]
        workers.close()

    run(test)


def test_a_thread_that_could_not_be_prepared_works_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise PermissionError("not here")

    async def test() -> None:
        workers = Workers(1, "plain", begin=fail)
        assert await workers.run(lambda: "done") == "done"
        workers.close()

    run(test)
    assert [record.message for record in caplog.records] == ["plain_0 goes on as it is"]


def test_closed_they_end_what_was_asked_and_take_nothing_more() -> None:
    async def test() -> None:
        workers = Workers(1, "ending")
        async with held(workers):
            last = asyncio.create_task(workers.run(threading.current_thread))
            await asyncio.sleep(0)
            workers.close()
            with pytest.raises(RuntimeError, match="no calls any more"):
                await workers.run(lambda: None)
        thread = await last
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()

    run(test)


def test_nothing_of_a_call_is_kept() -> None:
    """Else each idle thread would keep the images of its last batch."""

    class Images:
        pass

    async def test() -> None:
        workers, images = Workers(1, "one"), Images()
        gone = weakref.ref(images)
        await workers.run(lambda images=images: images)  # type: ignore[misc]
        del images
        while gone() is not None:  # noqa: ASYNC110 - the thread lets go when it likes
            await asyncio.sleep(0)
        workers.close()

    run(test)
