"""The thread that owns a device, and the runner that puts one model's batches through it.

Items arrive as uint8 [H, W, 3]; they are stacked and padded to a bucket in one thread while the
device thread runs the batch before, and the rows of the answer go back in the items' order.
"""

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from service.batcher import BatchOutput

WARMUP_REPEATS = 5

T = TypeVar("T")


class Program(Protocol):
    """What a runtime makes of a model: see `runtimes/xla.py`."""

    runtime: str

    @property
    def device(self) -> str:
        """Kind of the device."""

    def compile(self, bucket: int) -> None:
        """Prepare for batches of exactly this many images."""

    def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 images -> logits float32 [B, N], embeddings float32 [B, C]."""


class Row(NamedTuple):
    """What the network says of one image, as float32 vectors."""

    logits_N: np.ndarray
    embedding_C: np.ndarray


class Device:
    """One thread, so one call at a time, on one device; it remembers its last sign of life."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._stacker = ThreadPoolExecutor(1, thread_name_prefix="stack")
        self.last_answer_s = -math.inf  # on the event loop's clock

    async def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the device thread, after all that was asked for before."""
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._thread, function)
        self.last_answer_s = loop.time()
        return result

    async def stack(self, function: Callable[[], T]) -> T:
        """Run `function` beside the device thread."""
        return await asyncio.get_running_loop().run_in_executor(self._stacker, function)

    def close(self) -> None:
        """End the threads without waiting for a device that may never answer."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._stacker.shutdown(wait=False, cancel_futures=True)


class Runner:
    """One model's compiled program on a device: implements `batcher.BatchRunner`."""

    def __init__(
        self,
        program: Program,
        device: Device,
        buckets: Sequence[int],
        image_size: int,
        on_batch: Callable[[int, int], None],
    ) -> None:
        self.program = program
        self.buckets = tuple(buckets)
        self.latencies_s: dict[int, float] = {}
        self._device = device
        self._shape = (image_size, image_size, 3)
        self._on_batch = on_batch

    async def warm_up(self) -> None:
        """Measure the latency of every bucket; each was compiled before.

        One call at a time, so that batches of other models run between them.
        """
        for bucket in self.buckets:
            call = partial(self.program, np.zeros((bucket, *self._shape), np.uint8))
            await self._device.call(call)
            seconds = [
                await self._device.call(partial(_seconds, call)) for _ in range(WARMUP_REPEATS)
            ]
            self.latencies_s[bucket] = statistics.median(seconds)

    @property
    def capacity_images_per_s(self) -> float:
        """The best throughput over the measured buckets."""
        return max(bucket / seconds for bucket, seconds in self.latencies_s.items())

    def bucket(self, images: int) -> int:
        """Return the smallest bucket that holds `images`, or the largest."""
        return next((b for b in self.buckets if b >= images), self.buckets[-1])

    def latency_s(self, images: int) -> float:
        """Return the measured device seconds of the smallest bucket that holds `images`."""
        return self.latencies_s[self.bucket(images)]

    async def run(self, items: Sequence[np.ndarray]) -> BatchOutput[Row]:
        """Run at most the largest bucket of uint8 [H, W, 3] images as one batch."""
        output = await self.run_in(self.bucket(len(items)), items)
        self._on_batch(len(items), output.bucket)
        return output

    async def run_in(self, bucket: int, items: Sequence[np.ndarray]) -> BatchOutput[Row]:
        """Run at most `bucket` images in that bucket, and tell no observer."""
        images_BxHxWx3 = await self._device.stack(partial(self._pad, items, bucket))
        rows, device_s = await self._device.call(partial(self._timed, images_BxHxWx3, len(items)))
        return BatchOutput(rows=rows, device_s=device_s, bucket=bucket)

    async def canary(self) -> None:
        """Run the smallest bucket on blank pixels."""
        blank = np.zeros((self.buckets[0], *self._shape), np.uint8)
        await self._device.call(partial(self.program, blank))

    def _pad(self, items: Sequence[np.ndarray], bucket: int) -> np.ndarray:
        images_BxHxWx3 = np.zeros((bucket, *self._shape), np.uint8)
        np.stack(items, out=images_BxHxWx3[: len(items)])
        return images_BxHxWx3

    def _timed(self, images_BxHxWx3: np.ndarray, count: int) -> tuple[list[Row], float]:
        began_s = time.perf_counter()
        logits_BxN, embedding_BxC = self.program(images_BxHxWx3)
        seconds = time.perf_counter() - began_s
        rows = [Row(logits_BxN[i], embedding_BxC[i]) for i in range(count)]
        return rows, seconds


def _seconds(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s
