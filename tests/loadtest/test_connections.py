import asyncio

import pytest

from loadtest import connections as module
from loadtest.connections import Connections
from loadtest.sample import Failure, Sample
from loadtest.target import Target
from tests.loadtest.answering import Behaviour, Seen, answer, answering, at_once


class Asking:
    """Sends one request after another and waits for each."""

    def __init__(self, target: Target, limit: int = 9) -> None:
        self.target, self._settled = target, asyncio.Queue[Sample]()
        self.connections = Connections(target, limit, self._settled.put_nowait)

    async def ask(self) -> Sample:
        self.start()
        return await self.settled()

    async def settled(self) -> Sample:
        return await self._settled.get()

    def start(self) -> Sample:
        sample = Sample(self.connections.now_s())
        self.connections.send(self.target.request(b"body"), sample)
        return sample


def ask_twice(behaviour: Behaviour) -> tuple[Sample, Sample, Seen]:
    async def run() -> tuple[Sample, Sample, Seen]:
        async with answering(behaviour) as (target, seen):
            asking = Asking(target)
            first, second = await asking.ask(), await asking.ask()
            await asking.connections.close()
            return first, second, seen

    return asyncio.run(asyncio.wait_for(run(), 20))


def test_a_connection_is_used_again() -> None:
    first, second, seen = ask_twice(at_once)
    assert (first.status, second.status, seen.connections) == (200, 200, 1)
    assert seen.bodies == [b"body", b"body"]
    assert 0 <= first.scheduled_s <= first.sent_s <= first.done_s <= second.sent_s


def test_status_and_timing_are_noted() -> None:
    async def refuse(_: int) -> bytes:
        return answer(429, SERVER_TIMING="total;dur=1.5")

    first, second, _ = ask_twice(refuse)
    assert (first.status, first.server_timing) == (429, b"total;dur=1.5")
    assert (first.failure, second.failure) == (None, None)


def test_chunked_answers_are_read() -> None:
    async def chunked(_: int) -> bytes:
        chunks = b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks

    first, second, seen = ask_twice(chunked)
    assert (first.status, second.status, seen.connections) == (200, 200, 1)


def test_a_server_that_wants_no_more_is_obeyed() -> None:
    async def last(_: int) -> bytes:
        return answer(connection="close")

    first, second, seen = ask_twice(last)
    assert (first.status, second.status, seen.connections) == (200, 200, 2)


def test_a_connection_closed_without_an_answer() -> None:
    async def first_closes(number: int) -> bytes | None:
        return None if number == 0 else answer()

    first, second, seen = ask_twice(first_closes)
    assert first.failure is Failure.CLOSED
    assert (second.failure, second.status, seen.connections) == (None, 200, 2)


def test_an_answer_cut_short_is_no_answer() -> None:
    async def half(number: int) -> bytes:
        return answer(body=b"1234", connection="close")[:-1] if number == 0 else answer()

    first, second, _ = ask_twice(half)
    assert first.failure is Failure.CLOSED
    assert (second.failure, second.status) == (None, 200)


def test_what_is_not_http() -> None:
    async def garbage(number: int) -> bytes:
        return b"\0\1\2 hello\r\n\r\n" if number == 0 else answer()

    first, second, seen = ask_twice(garbage)
    assert first.failure is Failure.MALFORMED
    assert (second.status, seen.connections) == (200, 2)


def test_two_answers_to_one_request_are_never_given_to_another() -> None:
    async def twice(number: int) -> bytes:
        return answer() + answer(500) if number == 0 else answer()

    first, second, _ = ask_twice(twice)
    assert first.status == 200
    assert second.status != 500


def test_nobody_listens() -> None:
    async def run() -> Sample:
        async with answering() as (target, _):
            pass
        return await Asking(target).ask()

    assert asyncio.run(asyncio.wait_for(run(), 20)).failure is Failure.NOT_CONNECTED


def test_the_limit_of_connections_is_kept() -> None:
    async def run() -> tuple[list[Sample], int]:
        release = asyncio.Event()

        async def held(_: int) -> bytes:
            await release.wait()
            return answer()

        async with answering(held) as (target, seen):
            asking = Asking(target, limit=2)
            samples = [asking.start() for _ in range(3)]
            refused = await asking.ask()  # the third of them, which fails first
            assert refused is samples[2]
            release.set()
            await asking.settled()
            await asking.settled()
            await asking.connections.close()
            return samples, seen.connections

    samples, opened = asyncio.run(asyncio.wait_for(run(), 20))
    assert samples[2].failure is Failure.NO_CONNECTION
    assert ([s.status for s in samples[:2]], opened) == ([200, 200], 2)


def test_an_old_idle_connection_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_IDLE_S", 0.0)
    first, second, seen = ask_twice(at_once)
    assert (first.status, second.status, seen.connections) == (200, 200, 2)


def test_closing_fails_what_is_under_way_once() -> None:
    async def run() -> list[Sample]:
        received = asyncio.Event()

        async def never(_: int) -> None:
            received.set()
            await asyncio.Event().wait()

        settled: list[Sample] = []
        async with answering(never) as (target, _):
            connections = Connections(target, 9, settled.append)
            connections.send(target.request(b"x"), Sample(0))
            await received.wait()
            connections.send(target.request(b"x"), Sample(0))  # still connecting
            await connections.close()
        return settled

    failures = [sample.failure for sample in asyncio.run(asyncio.wait_for(run(), 20))]
    assert failures == [Failure.UNANSWERED, Failure.UNANSWERED]
