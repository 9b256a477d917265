"""The thread that owns a device, and the runner that puts one model's batches through it.

Items arrive as uint8 [H, W, 3]; several are stacked, and padded where the program needs it, in one
thread while the device thread runs the batch before, and the rows of the answer go back in the
items' order.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from service.batch import FAILED, BatchOutput
from service.curve import LatencyCurve
from service.errors import InternalError
from service.runtimes.program import Program
from service.stopwatch import Stopwatch
from service.workers import Onward, Workers

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Row(NamedTuple):
    """What the network says of one image, as float32 vectors."""

    logits_N: np.ndarray
    embedding_C: np.ndarray


class Device:
    """One thread, so one call at a time, on one device; it remembers its last sign of life."""

    def __init__(self) -> None:
        self._thread, self._stacker = Workers(1, "device"), Workers(1, "stack")
        self.last_answer_s = -math.inf  # by `time.monotonic`
        self._busy = Stopwatch()

    @property
    def busy_s(self) -> float:
        """Seconds with all calls so far."""
        return self._busy.seconds

    async def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the device thread, after all that was asked for before."""
        return await self._thread.run(partial(self._answered, function))

    def onward(self, function: Callable[[], T]) -> Onward[T]:
        """Return how a call of other threads goes on as one of these."""
        return Onward(self._thread, partial(self._answered, function))

    def _answered(self, function: Callable[[], T]) -> T:
        result = self._busy.time(function)
        self.last_answer_s = time.monotonic()
        return result

    async def rest(self) -> None:
        """Return when all that was asked for before is done; no sign of life."""
        await self._thread.run(lambda: None)

    async def stack(self, function: Callable[[], T]) -> T:
        """Run `function` beside the device thread."""
        return await self._stacker.run(function)

    def close(self) -> None:
        """End the threads without waiting for a device that may never answer."""
        self._thread.close()
        self._stacker.close()


class Runner:
    """One model's program on a device: implements `batch.BatchRunner`."""

    def __init__(
        self,
        program: Program,
        device: Device,
        curve: LatencyCurve,
        image_size: int,
        on_batch: Callable[[int, int], None] = lambda *_: None,  # told images and bucket
    ) -> None:
        """Take a program whose sizes in `curve` are compiled."""
        self.program = program
        self.curve = curve
        self._device = device
        self._shape = (image_size, image_size, 3)
        self._on_batch = on_batch
        self._busy = Stopwatch()  # of the device, with this runner's batches

    @property
    def elsewhere_s(self) -> float:
        """Seconds that the device has spent so far on what is not a batch of this runner."""
        return self._device.busy_s - self._busy.seconds

    async def run(self, items: Sequence[np.ndarray]) -> BatchOutput[Row]:
        """Run at most the largest batch of uint8 [H, W, 3] images as one batch."""
        output = await self.run_in(self.curve.bucket(len(items)), items)
        self._on_batch(len(items), output.bucket)
        return output

    async def run_in(self, bucket: int, items: Sequence[np.ndarray]) -> BatchOutput[Row]:
        """Run at most `bucket` images in that bucket, and tell no observer."""
        if bucket == len(items) == 1:
            # Waking a thread to copy it would cost more than the copy. Where its caller leaves and
            # its memory is used anew meanwhile, what comes out of it is answered to nobody.
            images_BxHxWx3 = items[0][np.newaxis]
        else:
            images_BxHxWx3 = await self._device.stack(partial(self._pad, items, bucket))
        # Rows and all, waits for Python's lock included: what is not in it counts as elsewhere.
        compute = partial(self._busy.time, partial(self._timed, images_BxHxWx3, len(items)))
        rows, device_s = await self._device.call(compute)
        return BatchOutput(rows=rows, device_s=device_s, bucket=bucket)

    def run_alone(self, item: np.ndarray) -> Onward[BatchOutput[Row]]:
        """Return how one uint8 [H, W, 3] image is run without the event loop; in any thread.

        It raises InternalError where the program fails.
        """
        return self._device.onward(partial(self._alone, item))

    def _alone(self, item: np.ndarray) -> BatchOutput[Row]:
        bucket = self.curve.bucket(1)
        try:
            images_BxHxWx3 = item[np.newaxis] if bucket == 1 else self._pad([item], bucket)
            rows, device_s = self._busy.time(partial(self._timed, images_BxHxWx3, 1))
        except Exception as error:
            _log.exception("A lone image failed")
            raise InternalError(FAILED) from error
        self._on_batch(1, bucket)
        return BatchOutput(rows=rows, device_s=device_s, bucket=bucket)

    async def rest(self) -> None:
        """Return when the device is done with all that was asked for before."""
        await self._device.rest()

    async def canary(self) -> None:
        """Run the smallest measured batch on blank pixels."""
        blank = np.zeros((min(self.curve.latencies_s), *self._shape), np.uint8)
        await self._device.call(partial(self.program, blank))

    def _pad(self, items: Sequence[np.ndarray], bucket: int) -> np.ndarray:
        images_BxHxWx3 = np.empty((bucket, *self._shape), np.uint8)
        np.stack(items, out=images_BxHxWx3[: len(items)])
        images_BxHxWx3[len(items) :] = 0
        return images_BxHxWx3

    def _timed(self, images_BxHxWx3: np.ndarray, count: int) -> tuple[list[Row], float]:
        began_s = time.perf_counter()
        logits_BxN, embedding_BxC = self.program(images_BxHxWx3)
        seconds = time.perf_counter() - began_s
        return [Row(logits_BxN[i], embedding_BxC[i]) for i in range(count)], seconds
