"""A runner that computes nothing, in virtual time, and callers that remember how they ended."""

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain, repeat

from service.batch import Answer, BatchOutput
from service.batcher import MicroBatcher
from service.curve import LatencyCurve
from service.errors import ServiceError
from service.workers import Onward, Workers

LATENCIES = {1: 3.0, 2: 4.0, 4: 5.0}  # seconds, by bucket
REQUEST = ContextVar("REQUEST", default="outside any request")


@dataclass
class Run:
    """One batch that reached the runner."""

    items: list[int]
    fault: str
    ahead: int  # batches in the runner when this one came
    handed: float
    ended: float = float("inf")


class FakeDevice:
    """A runner whose row for item n is "row n", and the record of all that reached it."""

    def __init__(
        self,
        latencies: Mapping[int, float] = LATENCIES,
        faults: Sequence[str] = (),
        slower_s: Sequence[float] = (),
        others_s: float = 0.0,
    ) -> None:
        self.curve = LatencyCurve(latencies, pads=True)
        self.runs: list[Run] = []
        self.inside = 0
        self.elsewhere_s = 0.0
        self.contexts: list[str] = []
        self.alone: set[int] = set()  # those of the items that came by themselves
        self.running_alone: asyncio.Future[BatchOutput[str]] | None = None
        self._faults = chain(faults, repeat("none"))
        self._slower_s = chain(slower_s, repeat(0.0))
        self._others_s = others_s  # what the device does for others before each batch
        self._device = asyncio.Lock()

    async def run(self, items: Sequence[int]) -> BatchOutput[str]:
        now = asyncio.get_running_loop().time
        this = Run(list(items), next(self._faults), self.inside, now())
        self.runs.append(this)
        self.contexts.append(REQUEST.get())
        self.inside += 1
        try:
            return await self._compute(this)
        finally:
            self.inside -= 1
            this.ended = now()

    def run_alone(self, item: int) -> Onward[BatchOutput[str]]:
        """Begin now, on the event loop: here are no threads to go on with it."""
        self.alone.add(item)
        self.running_alone = running = asyncio.ensure_future(self.run([item]))
        running.add_done_callback(lambda _: running.cancelled() or running.exception())
        return Onward(Workers(1, "never begun"), running.result)

    async def rest(self) -> None:
        async with self._device:
            pass

    async def _compute(self, this: Run) -> BatchOutput[str]:
        if this.fault == "raise while preparing":
            raise OSError("no memory")
        async with self._device:
            device_s = self.curve.latency_s(len(this.items)) + next(self._slower_s)
            await asyncio.sleep(self._others_s + device_s)
            self.elsewhere_s += self._others_s
        if this.fault == "raise":
            raise OSError("the device fell off the bus")
        if this.fault == "cancel":
            raise asyncio.CancelledError
        rows = [f"row {item}" for item in this.items]
        if this.fault == "short":
            rows.pop()
        if this.fault == "long":
            rows.append("row of nobody")
        return BatchOutput(rows, device_s, self.curve.bucket(len(this.items)))

    @property
    def batches(self) -> list[list[int]]:
        return [run.items for run in self.runs]


Batcher = MicroBatcher[int, str]
Outcome = Answer[str] | ServiceError | asyncio.CancelledError


@dataclass
class Call:
    """One call of `submit`, from outside: when it began, and when and how it ended."""

    item: int
    deadline: float | None
    submitted: float
    ended: float = float("inf")
    outcome: Outcome | None = None
    endings: int = 0

    def end(self, outcome: Outcome) -> None:
        self.ended = asyncio.get_running_loop().time()
        self.outcome = outcome
        self.endings += 1

    @property
    def row(self) -> str:
        assert isinstance(self.outcome, Answer)
        return self.outcome.result


async def call(
    batcher: Batcher, item: int, deadline: float | None = None, log: list[Call] | None = None
) -> Call:
    this = Call(item, deadline, asyncio.get_running_loop().time())
    if log is not None:
        log.append(this)
    try:
        this.end(await batcher.submit(item, deadline))
    except ServiceError as error:
        this.end(error)
    except asyncio.CancelledError as error:
        this.end(error)
        raise
    return this


def start(batcher: Batcher, *items: int, deadline: float | None = None) -> list[asyncio.Task[Call]]:
    return [asyncio.create_task(call(batcher, item, deadline)) for item in items]


def made(
    device: FakeDevice | None = None, max_queue_images: int = 16, other_s: float = 0.0
) -> tuple[Batcher, FakeDevice]:
    device = device or FakeDevice()
    batcher = MicroBatcher(
        device, max_queue_images=max_queue_images, other_backlog_s=lambda: other_s
    )
    return batcher, device
