import asyncio
import threading
from collections import Counter

from loadtest.sample import Failure, Sample
from tests.loadtest.answering import Behaviour, Seen, answer, answering, at_once
from tests.rolling.steady import SteadyLoad

CLIENTS, RATE_PER_S = 3, 200.0


def load_until(count: int, behaviour: Behaviour) -> tuple[list[Sample], Seen]:
    """Say that it was enough when the server has that many requests."""
    enough = threading.Event()

    async def counting(number: int) -> bytes | None:
        if number == count - 1:
            enough.set()
        return await behaviour(number)

    async def run() -> tuple[list[Sample], Seen]:
        async with answering(counting) as (target, seen):
            request = target.request(b"body")
            load = SteadyLoad(target, request, rate_per_s=RATE_PER_S, clients=CLIENTS)
            await load.run(enough)
            return load.samples, seen

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_it_goes_on_until_it_is_enough_and_every_request_is_answered() -> None:
    samples, seen = load_until(20, at_once)
    assert len(samples) == len(seen.heads) >= 20
    assert {sample.status for sample in samples} == {200}


def test_requests_are_due_at_even_intervals_from_the_start() -> None:
    samples, _ = load_until(7, at_once)
    assert [sample.scheduled_s for sample in samples] == [
        number / RATE_PER_S for number in range(len(samples))
    ]
    assert all(sample.released_s >= sample.scheduled_s for sample in samples)


def test_every_client_has_a_connection_of_its_own() -> None:
    _, seen = load_until(20, at_once)
    assert seen.connections >= CLIENTS


def test_what_is_open_when_it_was_enough_is_waited_for() -> None:
    held = asyncio.Event()

    async def last_one_releases(number: int) -> bytes:
        if number == 4:
            held.set()
        await held.wait()
        return answer()

    samples, _ = load_until(5, last_one_releases)
    assert [sample.failure for sample in samples[:5]] == [None] * 5


def test_a_closed_connection_fails_its_request_and_is_not_asked_again() -> None:
    async def third_is_lost(number: int) -> bytes | None:
        return None if number == 2 else answer()

    samples, seen = load_until(8, third_is_lost)
    assert Counter(sample.failure for sample in samples)[Failure.CLOSED] == 1
    assert len(seen.heads) == len(samples)
