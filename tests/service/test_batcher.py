import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from service.batch import Answer, BatchOutput
from service.batcher import MARGIN, MicroBatcher
from service.errors import (
    DeadlineExceeded,
    DeadlineUnreachable,
    Draining,
    InternalError,
    Overloaded,
)
from service.inbox import Result
from service.pace import NEWEST, WEIGHT
from service.workers import Onward
from tests.service.fake_device import REQUEST, Batcher, Call, FakeDevice, call, made, start
from tests.service.virtual_time import run, until

# When a batch closes


def test_idle_device_takes_a_single_image_at_once() -> None:
    async def main() -> None:
        batcher, _ = made()
        done = await call(batcher, 7)
        assert done.ended == 3.0
        assert done.outcome == Answer("row 7", queue_s=0.0, device_s=3.0, batch_images=1, bucket=1)

    run(main())


def test_images_submitted_together_ride_together() -> None:
    async def main() -> None:
        batcher, device = made()
        done = await asyncio.gather(*start(batcher, 0, 1, 2))
        assert device.batches == [[0, 1, 2]]
        assert [each.row for each in done] == ["row 0", "row 1", "row 2"]
        assert done[0].outcome == Answer("row 0", 0.0, 5.0, batch_images=3, bucket=4)

    run(main())


def test_partial_batch_stays_open_until_the_device_frees() -> None:
    async def main() -> None:
        batcher, device = made()
        first = start(batcher, 0)
        await until(1.0)
        early = start(batcher, 1)
        await until(2.5)
        assert device.batches == [[0]]
        assert batcher.queued_images == 1
        late = start(batcher, 2)
        await until(4.0)
        assert device.batches == [[0], [1, 2]]
        assert batcher.queued_images == 0
        done = await asyncio.gather(*first, *early, *late)
        assert [each.ended for each in done] == [3.0, 7.0, 7.0]
        # 1 waited from 1.0 until the device turned to it at 3.0.
        assert done[1].outcome == Answer("row 1", 2.0, 4.0, batch_images=2, bucket=2)

    run(main())


def test_full_batch_is_prefetched_and_only_one() -> None:
    async def main() -> None:
        batcher, device = made()
        tasks = start(batcher, 0)
        await until(1.0)
        tasks += start(batcher, *range(1, 10))
        await until(2.0)
        assert device.batches == [[0], [1, 2, 3, 4]]
        assert batcher.queued_images == 5
        await until(3.5)
        assert device.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8]]
        await asyncio.gather(*tasks)
        assert device.batches[3:] == [[9]]
        assert [run.handed for run in device.runs] == [0.0, 1.0, 3.0, 13.0]

    run(main())


def test_batches_are_first_in_first_out_and_never_over_the_largest_bucket() -> None:
    async def main() -> None:
        batcher, device = made()
        await asyncio.gather(*start(batcher, *range(11)))
        assert device.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]

    run(main())


def prepare(
    batcher: MicroBatcher[int, str], *items: int
) -> tuple[list["asyncio.Future[object]"], list["asyncio.Task[Answer[str]]"]]:
    """Put prepared images into the box, as a thread would; return them, and who submits them."""
    loop = asyncio.get_running_loop()

    async def submit(item: "asyncio.Future[object]") -> Answer[str]:
        prepared = await item
        assert isinstance(prepared, int)
        return await batcher.submit(prepared)

    prepared = [loop.create_future() for _ in items]
    for future, item in zip(prepared, items, strict=True):
        batcher.inbox.put(Result(future, item, None))
    return prepared, [asyncio.create_task(submit(future)) for future in prepared]


def test_what_is_prepared_while_the_device_is_idle_is_submitted_at_once() -> None:
    async def main() -> None:
        batcher, device = made()
        _, submitted = prepare(batcher, 7)
        assert (await submitted[0]).result == "row 7"
        assert [run.handed for run in device.runs] == [0.0]

    run(main())


def test_what_is_prepared_while_a_batch_runs_need_not_be_submitted_before_its_end() -> None:
    async def main() -> None:
        batcher, device = made()
        tasks = start(batcher, 0)
        await until(1.0)
        prepared, submitted = prepare(batcher, 1, 2)
        await until(2.0)
        assert not any(future.done() for future in prepared)
        assert batcher.queued_images == 2
        await asyncio.gather(*tasks, *submitted)
        assert [(run.items, run.handed) for run in device.runs] == [([0], 0.0), ([1, 2], 3.0)]

    run(main())


def test_as_many_prepared_as_fill_the_next_batch_are_submitted_meanwhile() -> None:
    async def main() -> None:
        batcher, device = made()
        tasks = start(batcher, 0)
        await until(1.0)
        tasks += start(batcher, 1)  # so that three are missing
        _, submitted = prepare(batcher, 2, 3)
        await until(2.0)
        assert device.batches == [[0]]
        _, last = prepare(batcher, 4, 5)
        await asyncio.gather(*tasks, *submitted, *last)
        assert [run.handed for run in device.runs] == [0.0, 2.0, 8.0]
        assert sorted(map(len, device.batches)) == [1, 1, 4]

    run(main())


def test_behind_two_batches_however_many_are_prepared_wait() -> None:
    async def main() -> None:
        batcher, device = made()
        tasks = start(batcher, 0)
        await until(1.0)
        tasks += start(batcher, 1, 2, 3, 4)
        await until(1.5)
        prepared, submitted = prepare(batcher, *range(5, 14))
        await until(2.5)
        assert not any(future.done() for future in prepared)
        await asyncio.gather(*tasks, *submitted)
        assert [run.handed for run in device.runs] == [0.0, 1.0, 3.0, 8.0, 18.0]

    run(main())


def test_what_a_thread_leaves_as_the_box_is_emptied_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        batcher, device = made()
        empty, submitted = batcher.inbox.empty, list["asyncio.Task[Answer[str]]"]()

        def leave_one_more() -> None:
            empty()
            if not submitted:
                submitted.extend(prepare(batcher, 1)[1])

        monkeypatch.setattr(batcher.inbox, "empty", leave_one_more)
        await call(batcher, 0)
        assert (await submitted[0]).result == "row 1"
        assert [run.handed for run in device.runs] == [0.0, 3.0]

    run(main())


@pytest.mark.parametrize(
    ("patience_s", "batches"), [(20.0, [[0, 1, 2, 3]]), (15.0, [[0, 1], [2, 3]])]
)
def test_impatient_callers_ride_in_smaller_batches(
    patience_s: float, batches: list[list[int]]
) -> None:
    async def main() -> None:
        batcher, device = made()
        for _ in range(NEWEST):
            with batcher.admit(1, patience_s):
                pass
        with batcher.admit(5, None):
            await call(batcher, -1)  # after each batch the sizes are chosen anew
            await asyncio.gather(*start(batcher, 0, 1, 2, 3))
        assert device.batches == [[-1], *batches]

    run(main())


def test_a_batch_runs_outside_the_context_of_any_request() -> None:
    async def main() -> None:
        batcher, device = made()
        REQUEST.set("in request 1")
        await call(batcher, 0)
        assert device.contexts == ["outside any request"]

    run(main())


# Deadlines and callers that leave


def test_deadline_is_raised_at_the_deadline_while_the_device_is_busy() -> None:
    async def main() -> None:
        batcher, device = made(FakeDevice(slower_s=[100.0]))
        neighbour, late = start(batcher, 0) + start(batcher, 1, deadline=6.0)
        assert (await late).ended == 6.0
        assert isinstance((await late).outcome, DeadlineExceeded)
        assert device.inside == 1
        assert (await neighbour).row == "row 0"
        assert (await neighbour).ended == 104.0

    run(main())


def test_deadline_is_raised_at_the_deadline_while_waiting() -> None:
    async def main() -> None:
        batcher, device = made(FakeDevice(slower_s=[100.0]))
        start(batcher, 0)
        await until(1.0)
        [late] = start(batcher, 1, deadline=50.0)
        assert (await late).ended == 50.0
        assert batcher.queued_images == 0
        await batcher.drain()
        assert device.batches == [[0]]

    run(main())


@pytest.mark.parametrize(("deadline", "batches"), [(6.0, [[0]]), (6.5, [[0], [1]])])
def test_image_that_cannot_be_in_time_is_dropped_when_the_batch_forms(
    deadline: float, batches: list[list[int]]
) -> None:
    async def main() -> None:
        batcher, device = made()
        start(batcher, 0)
        await until(1.0)
        [task] = start(batcher, 1, deadline=deadline)  # could run from 3.0 to 6.0
        done = await task
        assert device.batches == batches
        assert done.ended == (3.0 if len(batches) == 1 else 6.0)
        assert isinstance(done.outcome, DeadlineExceeded) == (len(batches) == 1)

    run(main())


def test_past_deadline_never_reaches_the_device() -> None:
    async def main() -> None:
        batcher, device = made()
        await until(5.0)
        [late, fine] = start(batcher, 0, deadline=5.0) + start(batcher, 1)
        assert isinstance((await late).outcome, DeadlineExceeded)
        assert (await late).ended == 5.0
        assert (await fine).row == "row 1"
        assert device.batches == [[1]]

    run(main())


def test_late_image_does_not_make_those_before_it_late() -> None:
    # Two are in time with a batch of 2 (ends at 4) and late with the batch of 3 (ends at 5).
    async def main() -> None:
        batcher, device = made()
        await asyncio.gather(*start(batcher, 0, 1, deadline=4.5), *start(batcher, 2))
        assert device.batches == [[0, 1], [2]]

    run(main())


def test_of_equal_sizes_the_smallest_saves_both_the_hurried_and_the_patient() -> None:
    # 2 of the 4 are in time with a batch of 4 (ends at 5), and 2 with a batch of 2 (ends at 4).
    async def main() -> None:
        batcher, device = made()
        await asyncio.gather(*start(batcher, 0, 1, deadline=4.5), *start(batcher, 2, 3))
        assert device.batches == [[0, 1], [2, 3]]

    run(main())


def test_nearly_expired_image_does_not_shrink_the_batch_behind_it() -> None:
    async def main() -> None:
        batcher, device = made()
        tight, *others = start(batcher, 0, deadline=3.5) + start(batcher, 1, 2, 3, 4)
        assert isinstance((await tight).outcome, DeadlineExceeded)
        assert (await tight).ended == 0.0
        await asyncio.gather(*others)
        assert device.batches == [[1, 2, 3, 4]]

    run(main())


def test_prefetched_batch_holds_only_what_is_in_time_behind_the_running_one() -> None:
    async def main() -> None:
        batcher, device = made()
        start(batcher, 0)
        await until(1.0)
        start(batcher, 1, 2, 3)
        late = start(batcher, 4, deadline=8.0)  # a full batch behind the running one ends at 8.0
        await until(2.0)
        assert device.batches == [[0]]  # so no full batch can close
        start(batcher, 5)
        await until(2.5)
        assert device.batches == [[0], [1, 2, 3, 5]]
        assert isinstance((await late[0]).outcome, DeadlineExceeded)
        assert (await late[0]).ended == 2.0
        await batcher.drain()

    run(main())


def test_image_abandoned_while_waiting_never_reaches_the_device() -> None:
    async def main() -> None:
        batcher, device = made()
        start(batcher, 0)
        await until(1.0)
        gone, stays = start(batcher, 1, 2)
        await until(2.0)
        gone.cancel()
        await until(2.5)
        assert batcher.queued_images == 1
        assert (await stays).row == "row 2"
        assert gone.cancelled()
        assert device.batches == [[0], [2]]

    run(main())


def test_abandoned_images_do_not_count_towards_a_full_batch() -> None:
    async def main() -> None:
        batcher, device = made()
        start(batcher, 0)
        await until(1.0)
        gone, *_ = start(batcher, 1, 2, 3)
        await until(1.5)
        gone.cancel()
        await until(2.0)
        start(batcher, 4)
        await until(2.5)
        assert device.batches == [[0]]
        await batcher.drain()
        assert device.batches == [[0], [2, 3, 4]]

    run(main())


def test_image_abandoned_on_the_device_leaves_its_neighbours_alone() -> None:
    async def main() -> None:
        batcher, device = made()
        first, gone, last = start(batcher, 0, 1, 2)
        await until(1.0)
        gone.cancel()
        assert [(await first).row, (await last).row] == ["row 0", "row 2"]
        assert (await first).ended == 5.0
        assert device.batches == [[0, 1, 2]]

    run(main())


# Failures of the runner


@pytest.mark.parametrize("fault", ["raise", "raise while preparing", "short", "long", "cancel"])
def test_failure_is_the_batchs_alone(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        batcher, _ = made(FakeDevice(faults=["none", fault]))
        tasks = start(batcher, *range(10))
        done = await asyncio.gather(*tasks)
        failures = [each.outcome for each in done[4:8]]
        assert all(isinstance(failure, InternalError) for failure in failures)
        assert len({id(failure) for failure in failures}) == 4
        assert all(isinstance(f, InternalError) and f.__cause__ is not None for f in failures)
        assert [each.row for each in done[:4] + done[8:]] == [
            f"row {n}" for n in (0, 1, 2, 3, 8, 9)
        ]
        assert (await call(batcher, 10)).row == "row 10"

    with caplog.at_level(logging.ERROR):
        run(main())
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None


def test_prefetched_batch_that_fails_early_leaves_the_running_one_alone() -> None:
    async def main() -> None:
        batcher, device = made(FakeDevice(faults=["none", "raise while preparing"]))
        running = start(batcher, 0)
        await until(1.0)
        failing = start(batcher, 1, 2, 3, 4)
        await until(2.0)
        for each in failing:
            assert isinstance((await each).outcome, InternalError)
        assert batcher.backlog_s == 1.0
        assert (await running[0]).row == "row 0"
        assert len(device.runs) == 2

    run(main())


def test_caller_cancelled_in_the_instant_of_the_failure_leaves_no_trace() -> None:
    reports: list[str] = []
    tasks: list[asyncio.Task[Call]] = []

    class Failing(FakeDevice):
        async def run(self, items: Sequence[int]) -> BatchOutput[str]:
            asyncio.get_running_loop().call_soon(tasks[0].cancel)  # ahead of the caller's waking up
            raise OSError

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, report: reports.append(str(report))
        )
        batcher, _ = made(Failing())
        tasks.extend(start(batcher, 0))
        await asyncio.wait(tasks)
        assert tasks[0].cancelled()

    run(main())
    gc.collect()
    assert reports == []


# Of an image that goes to the runner by itself


def test_only_the_image_of_the_only_permit_may_go_by_itself() -> None:
    async def main() -> None:
        batcher, _ = made()
        seen = [batcher.alone()]
        with batcher.admit(1, None):
            seen.append(batcher.alone())
            with batcher.admit(1, None):
                seen.append(batcher.alone())
            seen.append(batcher.alone())
        with batcher.admit(2, None):
            seen.append(batcher.alone())
        assert [way is not None for way in seen] == [False, True, False, True, False]

    run(main())


@asynccontextmanager
async def lone(batcher: Batcher, *, ready: float, ends: float) -> AsyncIterator[None]:
    """Let an image go by itself, from its permit until the block and the time `ends` have come."""
    with batcher.admit(1, None):
        way = batcher.alone()
        assert way is not None
        with way as run_alone:
            handed: list[Onward[BatchOutput[str]]] = []
            asyncio.get_running_loop().call_at(ready, lambda: handed.append(run_alone(1)))
            yield
            await until(ends)
            for onward in handed:
                onward.function()


async def leave(batcher: Batcher, error: type[BaseException]) -> None:
    """Let an image go by itself, and raise when it has run for a second."""
    async with lone(batcher, ready=1.0, ends=4.0):
        await until(2)
        raise error


def test_while_it_runs_the_next_batch_stays_open() -> None:
    async def main() -> None:
        batcher, device = made()
        async with lone(batcher, ready=1.0, ends=4.0):
            await until(2)
            waiting = start(batcher, 2)
            await until(3)
            waiting += start(batcher, 3)
            left = start(batcher, 4)
            await until(3.5)
            assert batcher.queued_images == 3
            left[0].cancel()
        await asyncio.gather(*waiting)
        assert device.batches == [[1], [2, 3]]
        assert device.runs[1].handed == 4.0

    run(main())


def test_while_it_runs_a_full_batch_is_prepared() -> None:
    async def main() -> None:
        batcher, device = made()
        async with lone(batcher, ready=1.0, ends=4.0):
            await until(2)
            waiting = start(batcher, 2, 3, 4, 5, 6)
        await asyncio.gather(*waiting)
        assert device.batches == [[1], [2, 3, 4, 5], [6]]
        assert device.runs[1].handed == 2.0

    run(main())


@pytest.mark.parametrize("ready", [3.0, 30.0], ids=["later", "never"])
def test_until_it_is_ready_others_go_at_once(ready: float) -> None:
    """It may be large, and take long to decode; or its caller leaves before."""

    async def main() -> None:
        batcher, device = made()
        async with lone(batcher, ready=ready, ends=20.0):
            await until(2)
            (waiting,) = start(batcher, 2)
            await until(6)
        await waiting
        assert device.runs[0].handed == 2.0
        await until(40)
        (last,) = await asyncio.gather(*start(batcher, 3))
        assert last.ended == 43.0  # nothing keeps it, though the other was ready after its end

    run(main())


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
def test_who_leaves_while_it_runs_does_not_end_it(error: type[BaseException]) -> None:
    async def main() -> None:
        batcher, device = made()
        with pytest.raises(error):
            await leave(batcher, error)
        with batcher.admit(1, None):
            assert batcher.alone() is None  # it would be the second
            waiting = start(batcher, 2)
        await asyncio.gather(*waiting, batcher.drain())
        assert device.runs[1].handed == 4.0

    run(main())


def test_drain_waits_for_one_that_was_left() -> None:
    async def main() -> float:
        batcher, _ = made()
        with pytest.raises(ZeroDivisionError):
            await leave(batcher, ZeroDivisionError)
        await batcher.drain()
        return asyncio.get_running_loop().time()

    assert run(main()) == 4.0


def test_it_is_work_ahead_of_others_and_nothing_is_left_of_it() -> None:
    async def main() -> None:
        batcher, _ = made()
        async with lone(batcher, ready=2.0, ends=5.0):
            assert batcher.backlog_s == 3.0
            with batcher.admit(1, None):
                assert batcher.backlog_s == 4.0  # so far they might ride together
            await until(2)
            with batcher.admit(1, None):
                assert batcher.backlog_s == 3.0 + 3.0
                await until(4)
                assert batcher.backlog_s == 1.0 + 3.0
        assert batcher.backlog_s == 0.0
        await batcher.drain()

    run(main())


def test_who_could_not_be_answered_behind_it_is_refused() -> None:
    async def main() -> None:
        batcher, _ = made()
        async with lone(batcher, ready=1.0, ends=4.0):
            await until(1)
            least = 1.0 + 6.0 * (1 + MARGIN)
            with pytest.raises(DeadlineUnreachable), batcher.admit(1, least - 0.1):
                pass
            with batcher.admit(1, least + 0.1):
                pass

    run(main())


def test_while_it_is_overdue_all_is_estimated_by_it() -> None:
    async def main() -> None:
        batcher, _ = made()
        async with lone(batcher, ready=1.0, ends=20.0):
            await until(1)
            with batcher.admit(1, None):
                await until(1 + 2 * 3.0)
                with batcher.admit(1, None):
                    assert batcher.backlog_s == 2 * 4.0  # of a batch of two

    run(main())


def test_it_tells_how_fast_the_machine_is() -> None:
    async def main() -> None:
        batcher, _ = made(FakeDevice(slower_s=[20.0]))
        with batcher.admit(4, None):
            await asyncio.gather(*start(batcher, 2, 3, 4, 5))
        with batcher.admit(2, None):
            slow_s = batcher.backlog_s
        for _ in range(100):
            now = asyncio.get_running_loop().time()
            async with lone(batcher, ready=now, ends=now + 4):
                pass
        with batcher.admit(2, None):
            assert batcher.backlog_s < slow_s - 1

    run(main())


# Admission


def test_permit_holds_its_places_until_its_end() -> None:
    async def main() -> None:
        batcher, _ = made(max_queue_images=4)
        with batcher.admit(3, None):
            with pytest.raises(Overloaded), batcher.admit(2, None):
                pass
            with batcher.admit(1, None):
                pass
            with pytest.raises(ZeroDivisionError), batcher.admit(1, None):
                raise ZeroDivisionError
            with batcher.admit(1, None):
                pass
        with batcher.admit(4, None):
            pass
        with pytest.raises(Overloaded), batcher.admit(5, None):
            pass

    run(main())


@pytest.mark.parametrize(("other_s", "retry_after_s"), [(0.0, 8), (0.3, 9), (10.0, 18)])
def test_overload_tells_when_the_backlog_will_have_drained(
    other_s: float, retry_after_s: int
) -> None:
    async def main() -> None:
        batcher, _ = made(max_queue_images=5, other_s=other_s)
        with batcher.admit(5, None), pytest.raises(Overloaded) as refusal, batcher.admit(1, None):
            pass  # a batch of 4 and one of 1
        assert refusal.value.retry_after_s == retry_after_s

    run(main())


def test_retry_after_is_at_least_a_second() -> None:
    async def main() -> None:
        batcher, _ = made(max_queue_images=2)
        with pytest.raises(Overloaded) as refusal, batcher.admit(3, None):
            pass
        assert refusal.value.retry_after_s == 1

    run(main())


def test_deadline_behind_the_backlog_is_refused_at_admission() -> None:
    async def main() -> None:
        batcher, _ = made(other_s=2.0)
        start(batcher, 0)
        await until(1.0)
        # Left of the running one 2, of other models 2, then 4 and 1 images: 5 + 3. In all 12.
        with batcher.admit(3, None):
            until_done = 1.0 + 12.0 * (1 + MARGIN)
            with pytest.raises(DeadlineUnreachable), batcher.admit(2, until_done):
                pass
            with batcher.admit(2, until_done + 0.1):
                pass
            with batcher.admit(1, 1.0 + 9.0 * (1 + MARGIN) + 0.1):
                pass
        await batcher.drain()

    run(main())


def test_a_check_says_what_admission_would_and_holds_nothing() -> None:
    async def main() -> None:
        batcher, _ = made(max_queue_images=2)
        until_done = 4.0 * (1 + MARGIN)
        for _ in range(3):
            batcher.check(2, until_done + 0.1)
            with pytest.raises(DeadlineUnreachable):
                batcher.check(2, until_done)
        with batcher.admit(1, None), pytest.raises(Overloaded):
            batcher.check(2, None)
        await batcher.drain()
        with pytest.raises(Draining):
            batcher.check(1, None)

    run(main())


def test_a_deadline_that_preparation_outlasts_is_refused_at_admission() -> None:
    async def main() -> None:
        batcher, _ = made()
        # Idle: two images are decoded in 6 and computed in 4.
        until_done = 10.0 * (1 + MARGIN)
        with (
            pytest.raises(DeadlineUnreachable),
            batcher.admit(2, until_done, preparation_s=6.0),
        ):
            pass
        with batcher.admit(2, until_done + 0.1, preparation_s=6.0):
            pass
        # Behind a longer backlog the preparation is over before the device is free.
        start(batcher, *range(8))
        await until(0.0)
        backlog_s = batcher.backlog_s + 4.0
        with batcher.admit(2, backlog_s * (1 + MARGIN) + 0.1, preparation_s=6.0):
            pass
        await batcher.drain()

    run(main())


def test_estimates_follow_what_batches_really_take() -> None:
    async def main() -> None:
        batcher, _ = made(FakeDevice(slower_s=[3.0]))  # the first takes twice what was measured
        with batcher.admit(2, None):
            (first,) = start(batcher, 0)
            await first
            assert batcher.backlog_s == pytest.approx(3.0 * (1 + WEIGHT / 4))  # one of four

    run(main())


def test_an_overdue_batch_tells_of_a_slower_machine() -> None:
    async def main() -> None:
        batcher, _ = made(FakeDevice(slower_s=[7.0]))  # 4.0 and 7.0 more
        with batcher.admit(1, None), batcher.admit(1, None):
            tasks = start(batcher, 0, 1)
            for now, multiple in ((3.0, 1.0), (6.0, 1.5), (10.0, 2.5)):
                await until(now)
                left_s = max(0.0, 4.0 - now)
                needs_s = (left_s + 4.0 * multiple) * (1 + MARGIN)  # it grows to two
                with pytest.raises(DeadlineUnreachable), batcher.admit(1, now + needs_s - 0.1):
                    pass
                with batcher.admit(1, now + needs_s + 0.1):
                    pass
            # Once it has ended, it tells no more of the next than any other batch.
            (following,) = start(batcher, 2, deadline=15.0)
            assert (await following).row == "row 2"
            assert (await following).ended == 14.0
            await asyncio.gather(*tasks)

    run(main())


def test_what_the_device_does_for_other_models_slows_no_estimate() -> None:
    """Their batchers know of it, and tell: counted twice, deadlines that hold would be refused."""

    async def main() -> None:
        batcher, _ = made(FakeDevice(others_s=6.0))
        with batcher.admit(10, None):
            await asyncio.gather(*start(batcher, *range(8)))  # one batch, and one behind it
            assert batcher.backlog_s == pytest.approx(4.0)

    run(main())


def test_estimates_count_what_passes_between_batches() -> None:
    """A runner that needs a second more than its device says delays the queue by it."""

    class Slow(FakeDevice):
        async def run(self, items: Sequence[int]) -> BatchOutput[str]:
            output = await super().run(items)
            await asyncio.sleep(1.0)
            return output

    async def main() -> None:
        batcher, _ = made(Slow())
        with batcher.admit(2, None):
            (first,) = start(batcher, 0)
            await first
            assert batcher.backlog_s == pytest.approx(3.0 * (1 + WEIGHT / 4 / 3))

    run(main())


def test_later_images_that_join_a_batch_are_expected() -> None:
    """While four run, one that comes last of five will not ride alone."""

    async def main() -> None:
        batcher, _ = made()
        with batcher.admit(5, None):
            waiting = start(batcher, *range(5))
            await until(1.0)
            now = asyncio.get_running_loop().time()
            alone_s, joined_s = 4.0 + 4.0, 4.0 + 5.0  # two ride in 4 s, four in 5
            with (
                pytest.raises(DeadlineUnreachable),
                batcher.admit(1, now + alone_s * (1 + MARGIN) + 0.1),
            ):
                pass
            with batcher.admit(1, now + joined_s * (1 + MARGIN) + 0.1):
                pass
            await asyncio.gather(*waiting)

    run(main())


def test_a_stall_of_the_past_refuses_no_one() -> None:
    """Else tight deadlines would be refused for good: nothing would run that could correct it."""

    async def main() -> None:
        batcher, _ = made(FakeDevice(slower_s=[3000.0]))
        with batcher.admit(1, None):
            await start(batcher, 0)[0]
        now = asyncio.get_running_loop().time()
        deadline = now + 3.0 * (1 + MARGIN) + 0.1
        with batcher.admit(1, deadline):
            (next_one,) = start(batcher, 1, deadline=deadline)
            assert (await next_one).row == "row 1"

    run(main())


def test_backlog_counts_every_image_once() -> None:
    async def main() -> None:
        batcher, _ = made()
        assert batcher.backlog_s == 0.0
        with batcher.admit(6, None):
            assert batcher.backlog_s == 5.0 + 4.0
            start(batcher, 0)
            await until(1.0)  # one runs and has 2 left; 5 are still to come
            assert batcher.backlog_s == 2.0 + (5.0 + 3.0)
            start(batcher, 1, 2, 3, 4)
            await until(2.0)  # four are prefetched, one is still to come
            assert batcher.backlog_s == 1.0 + 5.0 + 3.0
            start(batcher, 5)
            await until(4.0)  # the prefetched has run for 1, and the last waits
            assert batcher.queued_images == 1
            assert batcher.backlog_s == 4.0 + 3.0
            await until(12.0)
            assert batcher.backlog_s == 0.0

    run(main())


def test_overdue_batch_counts_for_nothing_and_not_for_less() -> None:
    async def main() -> None:
        batcher, _ = made(FakeDevice(slower_s=[10.0]))
        start(batcher, 0)
        await until(1.0)
        start(batcher, 1, 2, 3, 4)
        await until(9.0)
        assert batcher.backlog_s == 5.0
        await until(14.0)  # the prefetched one took over at 13.0
        assert batcher.backlog_s == 4.0
        await batcher.drain()

    run(main())


def test_images_that_never_came_are_forgotten_with_their_permit() -> None:
    async def main() -> None:
        batcher, _ = made()
        with batcher.admit(1, None):
            with batcher.admit(4, None):
                start(batcher, 0)
                await until(1.0)
            assert batcher.backlog_s == 2.0  # the one on the device may be of either permit
            await until(4.0)
        assert batcher.backlog_s == 0.0
        with batcher.admit(2, None):
            with batcher.admit(1, None):
                pass
            assert batcher.backlog_s == 4.0

    run(main())


# Drain


def test_drain_refuses_the_new_and_answers_the_accepted() -> None:
    async def main() -> None:
        batcher, device = made()
        tasks = start(batcher, *range(5))
        with batcher.admit(1, None):
            drained = asyncio.create_task(batcher.drain())
            await until(1.0)
            with pytest.raises(Draining), batcher.admit(1, None):
                pass
            await until(20.0)
            assert not drained.done()
            assert (await call(batcher, 5)).row == "row 5"  # decoded only now
        assert [(await task).row for task in tasks] == [f"row {n}" for n in range(5)]
        await drained
        assert asyncio.get_running_loop().time() == 23.0
        assert (batcher.queued_images, batcher.backlog_s, device.inside) == (0, 0.0, 0)
        await batcher.drain()
        with pytest.raises(Draining):
            await batcher.submit(6)

    run(main())


def test_drain_of_an_idle_batcher_ends_at_once_however_often() -> None:
    async def main() -> None:
        batcher, _ = made()
        await asyncio.gather(batcher.drain(), batcher.drain())
        await batcher.drain()

    run(main())


def test_drain_waits_for_the_device_even_if_nobody_else_does() -> None:
    async def main() -> None:
        batcher, device = made()
        [task] = start(batcher, 0)
        await until(1.0)
        task.cancel()
        await batcher.drain()
        assert asyncio.get_running_loop().time() == 3.0
        assert device.inside == 0

    run(main())


def test_drain_in_the_instant_of_a_submit_waits_for_its_answer() -> None:
    async def main() -> None:
        batcher, _ = made()
        [task] = start(batcher, 0)
        await asyncio.create_task(batcher.drain())  # runs between the submit and its dispatch
        assert task.done()
        assert task.result().row == "row 0"

    run(main())


def test_drain_does_not_wait_for_what_was_abandoned_before_it_ran() -> None:
    async def main() -> None:
        batcher, device = made()
        [task] = start(batcher, 0)
        drained = asyncio.create_task(batcher.drain())
        asyncio.get_running_loop().call_soon(task.cancel)  # after the submit, before its dispatch
        await drained
        assert task.cancelled()
        assert device.runs == []

    run(main())
