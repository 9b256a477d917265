"""The decoder threads, and what they say of the wait for them."""

import asyncio
import os
import threading
import time

import pytest

from service.decoders import NICENESS, WEIGHT, Decoders
from service.workers import Onward, Workers

TIMEOUT_S = 60


def test_nothing_is_known_before_the_first_image() -> None:
    assert Decoders(2).backlog_s == 0.0


async def busy(decoders: Decoders, images: int, seconds: float) -> float:
    """Return the backlog while so many images are pending, each of which then took `seconds`."""
    release = threading.Event()

    def wait() -> tuple[None, float]:
        assert release.wait(TIMEOUT_S)
        return None, seconds

    waiting = [asyncio.create_task(decoders.run(wait)) for _ in range(images)]
    await asyncio.sleep(0)
    backlog_s = decoders.backlog_s
    release.set()
    await asyncio.gather(*waiting)
    return backlog_s


def test_the_backlog_is_that_of_all_who_are_before() -> None:
    async def main() -> None:
        decoders = Decoders(2)
        began_s = time.monotonic()
        value, decode_s, done_s = await decoders.run(lambda: ("pixels", 4.0))
        assert (value, decode_s) == ("pixels", 4.0)
        assert began_s <= done_s <= time.monotonic()
        assert await busy(decoders, 3, 4.0) == pytest.approx(3 * 4.0 / 2)
        decoders.close()

    asyncio.run(main())


def test_others_go_on_with_an_image_that_is_no_longer_pending_then() -> None:
    async def main() -> None:
        decoders, others = Decoders(1), Workers(1, "other")
        backlogs_s: list[float] = []

        def onward(value: str) -> Onward[str]:
            def work() -> str:
                backlogs_s.append(decoders.backlog_s)
                return f"{value} by {threading.current_thread().name}"

            return Onward(others, work)

        began_s = time.monotonic()
        done = await decoders.run_onward(lambda: ("pixels", 4.0), onward)
        assert done.value == "pixels by other_0"
        assert done.decode_s == 4.0
        assert began_s <= done.done_s <= time.monotonic()
        assert backlogs_s == [0.0]
        assert await busy(decoders, 1, 4.0) == pytest.approx(4.0)  # what it took is known
        decoders.close()
        others.close()

    asyncio.run(main())


def test_the_estimate_follows_what_decoding_takes() -> None:
    async def main() -> None:
        decoders = Decoders(1)
        await decoders.run(lambda: (None, 2.0))
        await decoders.run(lambda: (None, 4.0))
        assert await busy(decoders, 1, 2.0) == pytest.approx(2.0 + WEIGHT * 2.0)
        decoders.close()

    asyncio.run(main())


def test_what_passes_between_images_counts_while_they_wait() -> None:
    """Each says that it took no time at all, and the next is ready only when the last is done."""

    async def main() -> None:
        decoders, loop = Decoders(1), asyncio.get_running_loop()
        await decoders.run(lambda: (None, 1e-9))
        began_s = loop.time()
        assert await busy(decoders, 3, 1e-9) == pytest.approx(3e-9)
        took_s = loop.time() - began_s
        assert 1e-9 < decoders._mean_s <= WEIGHT * took_s + 1e-9
        decoders.close()

    asyncio.run(main())


def test_a_decoding_thread_gives_way_to_the_loop() -> None:
    def niceness() -> tuple[int, float]:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), 1.0

    async def main() -> None:
        decoders = Decoders(1)
        found = (await decoders.run(niceness)).value
        assert found == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        decoders.close()

    asyncio.run(main())


def test_slow_images_of_the_past_delay_no_one() -> None:
    """Who is refused for them decodes nothing, and so the estimate would stay as it is."""

    async def main() -> None:
        decoders = Decoders(1)
        await decoders.run(lambda: (None, 1000.0))
        assert decoders.backlog_s == 0.0
        decoders.close()

    asyncio.run(main())


def test_an_image_that_fails_waits_no_more() -> None:
    def fail() -> tuple[None, float]:
        raise ValueError("not an image")

    async def main() -> None:
        decoders = Decoders(1)
        await decoders.run(lambda: (None, 2.0))
        with pytest.raises(ValueError, match="not an image"):
            await decoders.run(fail)
        assert decoders.backlog_s == 0.0
        decoders.close()

    asyncio.run(main())


def test_who_left_before_a_thread_was_free_is_not_decoded() -> None:
    async def main() -> None:
        decoders, begun, release = Decoders(1), threading.Event(), threading.Event()
        decoded: list[str] = []

        def first() -> tuple[None, float]:
            begun.set()
            assert release.wait(TIMEOUT_S)
            return None, 1.0

        def second() -> tuple[None, float]:
            decoded.append("second")
            return None, 1.0

        running = asyncio.create_task(decoders.run(first))
        assert await asyncio.to_thread(begun.wait, TIMEOUT_S)
        left = asyncio.create_task(decoders.run(second))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait([left])
        release.set()
        await running
        await decoders.run(lambda: (None, 1.0))
        assert not decoded
        decoders.close()

    asyncio.run(main())
