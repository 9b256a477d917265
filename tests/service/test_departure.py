"""How a request hears that its caller has left."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect

from service.departure import Departure
from tests.service.virtual_time import run, until


async def work(seconds: float = 10) -> str:
    await asyncio.sleep(seconds)
    return "answer"


@pytest.mark.parametrize("leaves", [0.0, 3.0])
def test_who_works_for_a_caller_stops_when_he_leaves(leaves: float) -> None:
    async def main() -> float:
        loop, departure = asyncio.get_running_loop(), Departure()
        loop.call_at(leaves, departure.come)
        with pytest.raises(ClientDisconnect):
            await departure.until(work())
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()  # it may go on
        return loop.time()

    assert run(main()) == leaves


def test_nothing_is_begun_for_a_caller_that_has_left() -> None:
    begun: list[bool] = []

    async def begin() -> None:
        begun.append(True)

    async def main() -> None:
        departure = Departure()
        departure.come()
        with pytest.raises(ClientDisconnect):
            await departure.until(begin())

    run(main())
    assert not begun


def test_who_is_done_is_not_disturbed() -> None:
    async def main() -> None:
        departure = Departure()
        assert await departure.until(work()) == "answer"
        departure.come()
        await until(20)

    run(main())


def test_what_the_work_raises_is_raised() -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError("bad")

    async def main() -> None:
        with pytest.raises(ValueError, match="bad"):
            await Departure().until(fail())

    run(main())


@pytest.mark.parametrize("leaves", [False, True])
def test_who_is_cancelled_is_not_told_of_a_caller_alone(*, leaves: bool) -> None:
    """A server that ends must not be taken for a caller who left, even when he leaves as well."""

    async def main() -> None:
        departure = Departure()
        working = asyncio.create_task(departure.until(work()))
        await until(1)
        if leaves:
            departure.come()
        working.cancel()
        await asyncio.wait([working])
        assert working.cancelled()

    run(main())
