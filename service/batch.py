"""What the batcher and a runner hand each other, and what a caller gets of it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from service import errors
from service.curve import LatencyCurve
from service.workers import Onward

Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result = TypeVar("Result")


FAILED = "The model failed on this image's batch."  # all that its callers are told of it


@dataclass(frozen=True, slots=True)
class BatchOutput(Generic[Result]):
    """What a runner returns for one batch."""

    rows: Sequence[Result]  # one per item, in the order of the items
    device_s: float  # seconds the device was busy with it
    bucket: int  # the batch size that was really run, padding included


class BatchRunner(Protocol[Item_contra, Result]):
    """What the batcher sees of a device: it runs batches one at a time, in the order given."""

    @property
    def curve(self) -> LatencyCurve:
        """The batch sizes that can be run, and their measured device seconds."""

    @property
    def elsewhere_s(self) -> float:
        """Seconds that the device has spent so far on other work than this runner's batches."""

    async def run(self, items: Sequence[Item_contra]) -> BatchOutput[Result]:
        """Run one batch; a second may be handed over while the first still runs."""

    def run_alone(self, item: Item_contra) -> Onward[BatchOutput[Result]]:
        """Return how one item is run, behind what was asked for before; in any thread."""

    async def rest(self) -> None:
        """Return when all that was asked for before is done."""


# How an item that is ready goes to the runner, in any thread.
Alone = Callable[[Item], Onward[BatchOutput[Result]]]


@dataclass(frozen=True, slots=True)
class Answer(Generic[Result]):
    """One image's result, and where its time went."""

    result: Result
    queue_s: float  # from when the image was ready to its answer, less the device's share
    device_s: float
    batch_images: int
    bucket: int


@dataclass(eq=False, slots=True)
class Entry(Generic[Item, Result]):
    """One image and the way back to its caller; it is live until its reply is done."""

    item: Item
    deadline: float  # infinite when the caller set none
    arrived: float
    reply: asyncio.Future[Answer[Result]]
    waits: bool = True  # until it is handed to the runner, or given up

    def fail(self, error: errors.ServiceError, cause: BaseException | None = None) -> None:
        """Tell its caller that there is no result, unless the reply is done."""
        if not self.reply.done():
            error.__cause__ = cause
            self.reply.set_exception(error)


@dataclass(eq=False, slots=True)
class Batch(Generic[Item, Result]):
    """Entries in the runner; `started` is provisional until the device turns to them."""

    entries: Sequence[Entry[Item, Result]]
    expected_s: float
    started: float
    elsewhere_s: float  # the runner's, when it started
    task: asyncio.Task[None] | None = None  # kept here: the loop's own reference is weak

    @property
    def images(self) -> int:
        """How many there are."""
        return len(self.entries)

    def answer(self, output: BatchOutput[Result], now: float) -> None:
        """Give each entry the row of its place, `now` on the event loop's clock.

        Raises:
            ValueError: there are more or fewer rows than entries.
        """
        images = len(self.entries)
        if len(output.rows) != images:
            raise ValueError(f"the runner returned {len(output.rows)} rows for {images} images")
        for entry, row in zip(self.entries, output.rows, strict=True):
            if not entry.reply.done():
                queue_s = max(0.0, now - entry.arrived - output.device_s)
                entry.reply.set_result(Answer(row, queue_s, output.device_s, images, output.bucket))


class Lone(Generic[Item, Result]):
    """An image that goes to the runner by itself, from whichever thread has it ready.

    To the batcher it is a batch that runs, from when it sees that it does.
    """

    images = 1

    def __init__(self, runner: BatchRunner[Item, Result]) -> None:
        self._runner = runner
        self.runs = False  # or waits for the device to turn to it
        self.device_s: float | None = None  # once it has run, and well
        self.expected_s, self.started, self.elsewhere_s = 0.0, 0.0, 0.0  # as seen, see `Batch`

    def run(self, item: Item) -> Onward[BatchOutput[Result]]:
        """Return how the item is run; see `BatchRunner.run_alone`."""
        self.runs = True
        threads, function = self._runner.run_alone(item)
        return Onward(threads, partial(self._noted, function))

    def _noted(self, function: Callable[[], BatchOutput[Result]]) -> BatchOutput[Result]:
        try:
            output = function()
            self.device_s = output.device_s
            return output
        finally:
            self.runs = False
