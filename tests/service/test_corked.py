"""What is written piece by piece goes out as one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from service.corked import Corked


class Recording:
    """A transport that remembers what it was asked to do."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.asked.append(data)

    def close(self) -> None:
        self.asked.append("close")

    def get_write_buffer_size(self) -> int:
        return 100

    def is_closing(self) -> bool:
        return self.closing


def run(test: Callable[[Any, Recording], Awaitable[None]]) -> None:
    async def main() -> None:
        recording = Recording()
        await test(Corked(cast("asyncio.Transport", recording)), recording)

    asyncio.run(main())


def test_writes_of_a_turn_are_one() -> None:
    async def test(corked: Any, recording: Recording) -> None:
        corked.write(b"head ")
        corked.write(b"body")
        assert recording.asked == []
        await asyncio.sleep(0)
        assert recording.asked == [b"head body"]
        corked.write(b"more")
        await asyncio.sleep(0)
        assert recording.asked == [b"head body", b"more"]

    run(test)


def test_what_is_complete_need_not_wait() -> None:
    async def test(corked: Any, recording: Recording) -> None:
        corked.write(b"head ")
        corked.write(b"body")
        corked.send_held()
        assert recording.asked == [b"head body"]
        await asyncio.sleep(0)
        assert recording.asked == [b"head body"]

    run(test)


def test_nothing_is_sent_to_who_has_gone_meanwhile() -> None:
    """A transport of uvloop's raises then."""

    async def test(corked: Any, recording: Recording) -> None:
        corked.write(b"too late")
        recording.closing = True
        await asyncio.sleep(0)
        assert recording.asked == []

    run(test)


def test_the_end_comes_behind_what_was_written() -> None:
    async def test(corked: Any, recording: Recording) -> None:
        corked.write(b"last words")
        corked.close()
        assert recording.asked == [b"last words", "close"]
        await asyncio.sleep(0)
        assert recording.asked == [b"last words", "close"]

    run(test)


def test_what_is_held_counts_as_not_taken() -> None:
    async def test(corked: Any, _: Recording) -> None:
        assert corked.get_write_buffer_size() == 100
        corked.write(b"four")
        assert corked.get_write_buffer_size() == 104
        await asyncio.sleep(0)
        assert corked.get_write_buffer_size() == 100

    run(test)


def test_all_else_is_the_transports_own() -> None:
    async def test(corked: Any, recording: Recording) -> None:
        assert not corked.is_closing()
        recording.closing = True
        assert corked.is_closing()

    run(test)
