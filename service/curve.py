"""How long a device takes for how many images, as measured, and what follows from it.

The one source of every estimate: which batch goes next, what a backlog lasts, whether a deadline
can be met. It knows neither devices nor queues.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

# A batch size is worth having if it saves this share of the time that the others take.
WORTHWHILE = 0.05


class LatencyCurve:
    """Measured seconds of some batch sizes, and the sizes that can be run.

    A device that pads runs the measured sizes alone. Any other runs every size up to the largest
    measured one; between two measured sizes its time is taken to lie on a line.
    """

    def __init__(self, latencies_s: Mapping[int, float], *, pads: bool) -> None:
        """Take seconds by batch size; at least one, all positive."""
        self.latencies_s = dict(sorted(latencies_s.items()))
        self.pads = pads
        self.largest = max(self.latencies_s)
        self._batch_s = [0.0, *(self._measured(n) for n in range(1, self.largest + 1))]
        # By number of images: the least seconds for all of them, and the batch to begin with.
        self._plans: list[tuple[float, int]] = [(0.0, 0)]
        self._shorter: dict[float, LatencyCurve] = {}

    def up_to(self, largest: float) -> "LatencyCurve":
        """Return the curve without the measured sizes above `largest`."""
        if largest >= self.largest:
            return self
        if largest not in self._shorter:
            kept = {size: s for size, s in self.latencies_s.items() if size <= largest}
            self._shorter[largest] = LatencyCurve(kept, pads=self.pads)
        return self._shorter[largest]

    def bucket(self, images: int) -> int:
        """Return the batch size that is run for so many images, the largest one at most."""
        if not self.pads:
            return min(images, self.largest)
        return next((size for size in self.latencies_s if size >= images), self.largest)

    def latency_s(self, images: int) -> float:
        """Return the seconds of one batch of so many images (0 to the largest size)."""
        return self._batch_s[images]

    def seconds(self, images: int) -> float:
        """Return the least seconds that any split of so many images into batches takes."""
        return self._plan(images)[0]

    def first_batch(self, images: int) -> int:
        """Return how many of so many waiting images the next batch takes in the fastest split.

        Nine images go as eight and one where that is faster than a batch of sixteen, part empty.
        """
        return self._plan(images)[1]

    @property
    def capacity_images_per_s(self) -> float:
        """The best throughput over the measured sizes."""
        return max(size / seconds for size, seconds in self.latencies_s.items())

    def _measured(self, images: int) -> float:
        if self.pads or images in self.latencies_s:
            return self.latencies_s[self.bucket(images)]
        points = [(0, 0.0), *self.latencies_s.items()]
        low, high = next(pair for pair in pairwise(points) if pair[1][0] > images)
        share = (images - low[0]) / (high[0] - low[0])
        return low[1] + share * (high[1] - low[1])

    def _plan(self, images: int) -> tuple[float, int]:
        for total in range(len(self._plans), images + 1):
            sizes = range(1, min(total, self.largest) + 1)
            # Of equals the larger batch, which answers more images first.
            best = min((self._batch_s[n] + self._plans[total - n][0], -n) for n in sizes)
            self._plans.append((best[0], -best[1]))
        return self._plans[images]


def worthwhile(latencies_s: Mapping[int, float]) -> Sequence[int]:
    """Return the batch sizes that are worth compiling, ascending, for a device that pads.

    A size stays if it is faster, by a share of `WORTHWHILE`, than what could take its place: a
    batch of the next larger size that stays, or a split into smaller ones.
    """
    kept = dict(sorted(latencies_s.items()))
    for size in sorted(latencies_s, reverse=True):
        smaller = {n: s for n, s in kept.items() if n < size}
        split_s = LatencyCurve(smaller, pads=True).seconds(size) if smaller else math.inf
        larger_s = min((s for n, s in kept.items() if n > size), default=math.inf)
        if min(split_s, larger_s) * (1 - WORTHWHILE) <= kept[size]:
            del kept[size]
    return tuple(kept)
