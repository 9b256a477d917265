"""How a request hears that its caller has left."""

import asyncio

import pytest

from service.departure import Departure
from tests.service.virtual_time import run, until


async def answer(departure: Departure) -> None:
    """Work for ten seconds, or until the caller leaves."""
    async with asyncio.timeout(None) as patience:
        departure.ends(patience)
        try:
            await asyncio.sleep(10)
        finally:
            departure.ends(None)


@pytest.mark.parametrize("leaves", [0.0, 3.0])
def test_who_works_for_a_caller_stops_when_he_leaves(leaves: float) -> None:
    async def main() -> float:
        loop, departure = asyncio.get_running_loop(), Departure()
        loop.call_at(leaves, departure.come)
        with pytest.raises(TimeoutError):
            await answer(departure)
        return loop.time()

    assert run(main()) == leaves


def test_who_begins_for_a_caller_that_has_left_stops_at_once() -> None:
    async def main() -> float:
        departure = Departure()
        departure.come()
        with pytest.raises(TimeoutError):
            await answer(departure)
        return asyncio.get_running_loop().time()

    assert run(main()) == 0


def test_who_is_done_is_not_disturbed() -> None:
    async def main() -> None:
        departure = Departure()
        await answer(departure)
        departure.come()
        await until(20)

    run(main())
