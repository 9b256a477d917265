"""How long batches take now, and how long they may: the measured curve as the load makes it.

The curve was measured on an idle machine. Under load the cores also decode and answer, and batches
take longer. Large ones do most images a second, and keep whoever comes meanwhile waiting longest.
"""

import math
import statistics
from collections import deque
from typing import Protocol

from service.curve import LatencyCurve

# Share of the newest batch, if it is full, in the running mean of how much slower batches are than
# measured; and how slow one batch may count, so that a single stall says little of the next ones.
WEIGHT = 0.2
MAX_SLOWER = 4.0
# What a batch may last, as a share of its callers' patience. Who comes as it begins waits for all
# of it and for his own: what two shares leave is for decoding, and for a machine that slows down.
BATCH_SHARE = 0.3
NEWEST = 32  # so many callers tell how patient all are


class Measured(Protocol):
    """What was measured, such as a runner."""

    @property
    def curve(self) -> LatencyCurve:
        """The seconds of its batches on an idle machine."""


class Pace:
    """A curve's seconds at the pace of the newest batches, and which of its sizes are in use."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self._slower = 1.0  # what batches take under load, as a multiple of what was measured
        self._patience_s = deque([math.inf], maxlen=NEWEST)
        self._largest = math.inf  # size that is not too long
        self.is_alone = True  # whether there is one image at most to work on
        self.so_far = 0.0  # what the running batch has taken, as such a multiple

    @property
    def curve(self) -> LatencyCurve:
        """As measured, without the sizes that are too long now."""
        return self._measured.curve.up_to(self._largest)

    def batch_s(self, images: int) -> float:
        """Return the seconds of one batch of so many images (0 to the largest size)."""
        return self._multiple * self._measured.curve.latency_s(images)

    def seconds(self, images: int) -> float:
        """Return the least seconds that any split of so many images into batches takes."""
        return self._multiple * self.curve.seconds(images)

    def expect(self, patience_s: float) -> None:
        """Remember how long a caller would wait for his answer."""
        self._patience_s.append(patience_s)

    def note(self, images: int, took_s: float) -> None:
        """Learn from a batch of so many images, in proportion to how full it was.

        Sizes are chosen anew: by this batch alone where it is slower than the mean.
        """
        newest = min(MAX_SLOWER, took_s / self._measured.curve.latency_s(images))
        weight = WEIGHT * min(1.0, images / self.curve.largest)
        self._slower += weight * (newest - self._slower)
        self._choose_sizes()

    def _choose_sizes(self) -> None:
        """Use the measured sizes that are not too long for most callers, or the smallest alone."""
        measured, limit_s = self._measured.curve, BATCH_SHARE * statistics.median(self._patience_s)
        short = [size for size in measured.latencies_s if self.batch_s(size) <= limit_s]
        self._largest = max(short, default=min(measured.latencies_s))

    @property
    def _multiple(self) -> float:
        # Beside a lone image nothing competes; and if it were refused for the load of the past,
        # none would ever run to correct it.
        if self.is_alone:
            return 1.0
        # A batch that is overdue tells of a slower machine before it has ended.
        return max(self._slower, min(MAX_SLOWER, self.so_far))
