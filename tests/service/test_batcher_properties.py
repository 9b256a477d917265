"""Random clients, failures and a drain at a random time: what holds whatever happens."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from service.batch import Alone, Answer
from service.batcher import MARGIN, MicroBatcher
from service.errors import (
    DeadlineExceeded,
    DeadlineUnreachable,
    Draining,
    InternalError,
    Overloaded,
)
from service.inbox import Result
from service.pace import MAX_SLOWER
from tests.service.fake_device import Batcher, Call, FakeDevice, call
from tests.service.virtual_time import before_jump, run, until


@dataclass(frozen=True)
class Request:
    """A client with several images, some of which do not decode."""

    arrives: int
    decode_s: list[int | None]  # per image; None does not decode
    patience_s: int | None
    tells_early: bool  # whether admission already learns the deadline
    leaves_after_s: int | None


@dataclass(frozen=True)
class Story:
    latencies: dict[int, float]
    slower_s: list[float]
    faults: list[str]
    max_queue_images: int
    requests: list[Request]
    drains: int


@st.composite
def stories(draw: st.DrawFn, *, steady: bool = False) -> Story:
    """Whole-second times, so that events often meet in one instant. Steady: as estimated."""
    buckets = sorted(draw(st.sets(st.integers(1, 6), min_size=1, max_size=3)))
    seconds = sorted(
        draw(st.lists(st.integers(1, 8), min_size=len(buckets), max_size=len(buckets)))
    )
    faults = st.sampled_from(["none", "none", "raise", "raise while preparing", "short", "long"])
    few = st.integers(0, 6)
    requests = st.builds(
        Request,
        arrives=st.integers(0, 12),
        decode_s=st.lists(st.none() | few | st.just(0), min_size=1, max_size=6),
        patience_s=st.none() | st.integers(1, 40),
        tells_early=st.booleans(),
        leaves_after_s=st.none() | st.none() | st.integers(0, 30),
    )
    return Story(
        latencies=dict(zip(buckets, map(float, seconds), strict=True)),
        slower_s=[] if steady else draw(st.lists(st.integers(0, 9).map(float), max_size=8)),
        faults=[] if steady else draw(st.lists(faults, max_size=8)),
        max_queue_images=draw(st.integers(5, 30)),
        requests=draw(st.lists(requests, max_size=12)),
        drains=draw(st.integers(0, 12) | st.just(100)),
    )


@dataclass
class Played:
    """A story as it went."""

    story: Story
    device: FakeDevice
    batcher: Batcher
    calls: list[Call] = field(default_factory=list)
    held: int = 0  # admitted images whose permit is open
    accepted: int = 0
    finished: int = 0  # requests that were accepted and are over
    draining: bool = False
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))

    def check(self) -> None:
        """What must hold at the end of every instant."""
        device, waiting = self.device, self._waiting()
        ready = len(waiting) + self.batcher.inbox.awaited
        assert self.batcher.queued_images == ready
        assert device.inside > 0 or not ready, "the device idles while images wait"
        assert device.inside <= (3 if device.alone else 2)
        no_deadlines = all(each.deadline is None for each in self.calls)
        if no_deadlines and device.inside == 1:
            assert ready < device.curve.largest, "a full batch waits unprefetched"
        assert self.held <= self.story.max_queue_images
        assert self.batcher.backlog_s >= 0.0

    def _waiting(self) -> set[int]:
        handed = set(chain.from_iterable(self.device.batches))
        return {each.item for each in self.calls if not each.endings} - handed

    async def serve(self, request: Request) -> None:
        await until(float(request.arrives))
        now = asyncio.get_running_loop().time()
        deadline = None if request.patience_s is None else now + request.patience_s
        images = len(request.decode_s)
        fits = self.held + images <= self.story.max_queue_images
        try:
            with self.batcher.admit(images, deadline if request.tells_early else None):
                assert fits
                assert not self.draining
                await self._answer(request, deadline)
        except Overloaded:
            assert not fits
        except Draining:
            assert self.draining
        except DeadlineUnreachable:
            assert deadline is not None
            latencies_s = self.device.curve.latencies_s.values()
            # As slow as the slowest batch may have made the others appear.
            slower = 1 + max(self.story.slower_s, default=0.0) / min(latencies_s)
            slowest_s = max(latencies_s) * min(slower, MAX_SLOWER)
            expected_s = self.batcher.backlog_s + images * slowest_s
            assert now + expected_s * (1 + MARGIN) >= deadline

    async def _answer(self, request: Request, deadline: float | None) -> None:
        self.held += len(request.decode_s)
        self.accepted += 1
        try:
            await asyncio.gather(*(self._image(s, deadline) for s in request.decode_s))
        finally:
            self.held -= len(request.decode_s)
            self.finished += 1

    async def _image(self, decode_s: int | None, deadline: float | None) -> None:
        way = self.batcher.alone()
        if way is not None and decode_s is not None:
            await self._alone(way, decode_s, deadline)
        elif decode_s is not None:
            await asyncio.sleep(decode_s)
            if decode_s % 2:  # as a thread would leave it
                decoded = asyncio.get_running_loop().create_future()
                self.batcher.inbox.put(Result(decoded, None, None))
                await decoded
            await call(self.batcher, next(self.numbers), deadline, self.calls)

    async def _alone(
        self, way: AbstractContextManager[Alone[int, str]], decode_s: int, deadline: float | None
    ) -> None:
        now, this = asyncio.get_running_loop().time, None
        try:
            with way as run_alone:
                async with asyncio.timeout_at(deadline):
                    await asyncio.sleep(decode_s)
                    if deadline is not None and now() >= deadline:
                        raise TimeoutError  # before its turn in this instant
                    this = Call(next(self.numbers), deadline, now())
                    self.calls.append(this)
                    onward = run_alone(this.item)
                    assert self.device.running_alone is not None
                    await asyncio.wait([asyncio.shield(self.device.running_alone)])
                    output = onward.function()
                    if len(output.rows) != 1:
                        raise OSError("no real program does so")
            queue_s = now() - this.submitted - output.device_s
            this.end(Answer(output.rows[0], queue_s, output.device_s, 1, output.bucket))
        except TimeoutError:
            if this is not None:
                this.end(DeadlineExceeded("late"))
        except OSError:
            assert this is not None
            this.end(InternalError("failed"))
        except asyncio.CancelledError as error:
            if this is not None:
                this.end(error)
            raise

    async def drain(self) -> None:
        await until(float(self.story.drains))
        self.draining = True
        await self.batcher.drain()
        assert self.accepted == self.finished
        assert self.device.inside == 0
        assert all(each.endings for each in self.calls)
        assert (self.batcher.queued_images, self.batcher.backlog_s) == (0, 0.0)


def play(story: Story) -> Played:
    async def main() -> Played:
        device = FakeDevice(story.latencies, story.faults, story.slower_s)
        batcher: Batcher = MicroBatcher(device, max_queue_images=story.max_queue_images)
        played = Played(story, device, batcher)
        before_jump(played.check)
        clients = [asyncio.create_task(played.serve(request)) for request in story.requests]
        for client, request in zip(clients, story.requests, strict=True):
            if request.leaves_after_s is not None:
                leaves = float(request.arrives + request.leaves_after_s)
                asyncio.get_running_loop().call_at(leaves, client.cancel)
        drained = asyncio.create_task(played.drain())
        for outcome in await asyncio.gather(*clients, return_exceptions=True):
            if outcome is not None and not isinstance(outcome, asyncio.CancelledError):
                raise outcome
        await drained
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return played

    logging.disable(logging.CRITICAL)
    try:
        return run(main())
    finally:
        logging.disable(logging.NOTSET)


def check_device(played: Played) -> None:
    """The batches that reached the device: bounded, in order, once each, and for the living."""
    calls = {each.item: each for each in played.calls}
    handed = list(chain.from_iterable(played.device.batches))
    assert len(handed) == len(set(handed)), "twice"
    alone = played.device.alone  # who go when they are ready, past those who wait
    in_order = [item for item in handed if item not in alone]
    assert in_order == sorted(in_order), "out of order"
    for batch in played.device.runs:
        curve = played.device.curve
        assert 1 <= len(batch.items) <= curve.largest
        # Prefetched when full: of the largest size then in use.
        prefetched = batch.ahead == 1 and len(batch.items) in curve.latencies_s
        assert batch.ahead == 0 or prefetched or not alone.isdisjoint(batch.items)
        for item in batch.items:
            assert calls[item].ended >= batch.handed, "for nobody"
            assert (calls[item].deadline or float("inf")) > batch.handed, "expired"


def check_calls(played: Played) -> None:
    """Every call ended once, in the way that what happened to its image allows."""
    batch_of = {item: batch for batch in played.device.runs for item in batch.items}
    for each in played.calls:
        assert each.endings == 1
        batch = batch_of.get(each.item)
        if isinstance(each.outcome, Answer):
            assert batch is not None
            assert batch.fault == "none"
            assert each.row == f"row {each.item}"
            assert each.ended == batch.ended
            assert each.outcome.batch_images == len(batch.items)
            assert each.outcome.queue_s + each.outcome.device_s == each.ended - each.submitted
        elif isinstance(each.outcome, InternalError):
            assert batch is not None
            assert batch.fault != "none"
            assert each.ended == batch.ended
        elif isinstance(each.outcome, DeadlineExceeded):
            assert each.deadline is not None
            assert batch is None or each.ended == each.deadline
            assert each.ended <= max(each.deadline, each.submitted)
        else:
            assert isinstance(each.outcome, asyncio.CancelledError)


@settings(max_examples=400, deadline=None, database=None)
@given(stories())
def test_whatever_happens_every_image_gets_its_own_answer_or_one_error(story: Story) -> None:
    played = play(story)
    check_device(played)
    check_calls(played)


@settings(max_examples=400, deadline=None, database=None)
@given(stories(steady=True))
def test_while_the_estimates_hold_nothing_is_computed_for_nobody(story: Story) -> None:
    played = play(story)
    check_device(played)
    check_calls(played)
    handed = set(chain.from_iterable(played.device.batches))
    slowest_s = max(story.latencies.values())
    for each in played.calls:
        if each.item in played.device.alone:
            continue  # it is not worth the while to see that it will be late
        if each.item in handed:
            assert isinstance(each.outcome, Answer | asyncio.CancelledError)
        elif isinstance(each.outcome, DeadlineExceeded):
            # Dropped only if the batch then forming, which has at most one ahead, was too late.
            assert each.deadline is not None
            assert each.deadline <= each.ended + 2 * slowest_s
        else:
            assert isinstance(each.outcome, asyncio.CancelledError)
