"""How long batches take now: the measured curve, corrected by what they really take.

The curve was measured on an idle machine. Under load the cores also decode and answer, and batches
take longer.
"""

from typing import Protocol

from service.curve import LatencyCurve

# Share of the newest batch, if it is full, in the running mean of how much slower batches are than
# measured; and how slow one batch may count, so that a single stall says little of the next ones.
WEIGHT = 0.2
MAX_SLOWER = 4.0


class Measured(Protocol):
    """What was measured, such as a runner."""

    @property
    def curve(self) -> LatencyCurve:
        """The seconds of its batches on an idle machine."""


class Pace:
    """A curve's seconds at the pace of the newest batches."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self._slower = 1.0  # what batches take under load, as a multiple of what was measured
        self.is_alone = True  # whether there is one image at most to work on

    def batch_s(self, images: int) -> float:
        """Return the seconds of one batch of so many images (0 to the largest size)."""
        return self._multiple * self._measured.curve.latency_s(images)

    def seconds(self, images: int) -> float:
        """Return the least seconds that any split of so many images into batches takes."""
        return self._multiple * self._measured.curve.seconds(images)

    def note(self, images: int, took_s: float) -> None:
        """Learn from a batch of so many images, in proportion to how full it was."""
        newest = min(MAX_SLOWER, took_s / self._measured.curve.latency_s(images))
        weight = WEIGHT * images / self._measured.curve.largest
        self._slower += weight * (newest - self._slower)

    @property
    def _multiple(self) -> float:
        # Beside a lone image nothing competes; and if it were refused for the load of the past,
        # none would ever run to correct it.
        return 1.0 if self.is_alone else self._slower
