"""A batch's rows find their callers, and nobody else."""

import asyncio
import math

import pytest

from service.batch import Answer, Batch, BatchOutput, Entry
from service.errors import InternalError


def batch_of(*arrived: float) -> Batch[str, str]:
    """Return a batch of entries that came at these instants, on the running loop."""
    loop = asyncio.get_running_loop()
    entries = [Entry[str, str]("item", math.inf, each, loop.create_future()) for each in arrived]
    return Batch(entries, expected_s=1.0, started=0.0, elsewhere_s=0.0)


def test_each_caller_gets_the_row_of_his_place_and_his_own_wait() -> None:
    async def main() -> None:
        batch = batch_of(1.0, 3.0)
        batch.answer(BatchOutput(["first", "second"], device_s=2.0, bucket=4), now=6.0)
        assert [await entry.reply for entry in batch.entries] == [
            Answer("first", queue_s=3.0, device_s=2.0, batch_images=2, bucket=4),
            Answer("second", queue_s=1.0, device_s=2.0, batch_images=2, bucket=4),
        ]

    asyncio.run(main())


def test_who_came_while_the_device_was_busy_with_his_batch_waited_for_nothing() -> None:
    async def main() -> None:
        batch = batch_of(5.0)
        batch.answer(BatchOutput(["row"], device_s=2.0, bucket=1), now=6.0)
        assert (await batch.entries[0].reply).queue_s == 0.0

    asyncio.run(main())


@pytest.mark.parametrize("rows", [[], ["one"], ["one", "two", "three"]])
def test_a_wrong_number_of_rows_answers_nobody(rows: list[str]) -> None:
    async def main() -> None:
        batch = batch_of(1.0, 1.0)
        with pytest.raises(ValueError, match=f"returned {len(rows)} rows for 2 images"):
            batch.answer(BatchOutput(rows, 1.0, 2), now=2.0)
        assert not any(entry.reply.done() for entry in batch.entries)

    asyncio.run(main())


def test_what_has_ended_is_neither_answered_nor_failed() -> None:
    async def main() -> None:
        batch = batch_of(1.0, 1.0)
        left, stays = batch.entries
        left.reply.cancel()
        batch.answer(BatchOutput(["one", "two"], 1.0, 2), now=2.0)
        for entry in batch.entries:
            entry.fail(InternalError("too late"))
        assert left.reply.cancelled()
        assert (await stays.reply).result == "two"

    asyncio.run(main())


def test_a_failure_names_its_cause() -> None:
    async def main() -> None:
        (entry,) = batch_of(1.0).entries
        cause = RuntimeError("device lost")
        entry.fail(InternalError("The model failed."), cause)
        with pytest.raises(InternalError) as raised:
            await entry.reply
        assert raised.value.__cause__ is cause

    asyncio.run(main())
