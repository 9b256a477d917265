"""Decoding and network at once in one process, with neither server nor batcher between."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Rate(NamedTuple):
    """Images a second, and the CPU milliseconds of all threads of the process for each."""

    images_per_s: float
    cpu_ms: float


@dataclass(frozen=True)
class PlainLoop:
    """Threads decode ahead of full batches of one size.

    `decode` makes a file pixels uint8 [H, W, 3]; `compute` takes them as uint8 [B, H, W, 3].
    """

    decode: Callable[[bytes], np.ndarray]
    compute: Callable[[np.ndarray], object]
    batch: int
    threads: int

    def run(self, files: Sequence[bytes], in_flight: int, duration_s: float) -> Rate:
        """Keep so many images under way, the files one after another, for so long."""
        following = itertools.cycle(files)
        with ThreadPoolExecutor(self.threads) as decoders:
            ahead = deque(
                decoders.submit(self.decode, next(following))
                for _ in range(max(in_flight, 2 * self.batch))
            )
            for picture in ahead:  # so that it begins with what it will leave behind
                picture.result()
            done, began_s, began_cpu_s = 0, time.perf_counter(), time.process_time()
            while time.perf_counter() - began_s < duration_s:
                images = [ahead.popleft().result() for _ in range(self.batch)]
                ahead.extend(
                    decoders.submit(self.decode, next(following)) for _ in range(self.batch)
                )
                self.compute(np.stack(images))
                done += self.batch
            took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
            for left in ahead:
                left.cancel()
        return Rate(done / took_s, cpu_s * 1e3 / done)
