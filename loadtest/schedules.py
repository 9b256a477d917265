"""When requests arrive, decided before the first is sent: an overloaded server slows nothing down.

Every schedule is a pure function of its parameters and seed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Arrivals in seconds after the start, ascending, float64 [N], all below `duration_s`."""

    arrivals_s: Seconds
    duration_s: float

    def __post_init__(self) -> None:
        if not 0 < self.duration_s < float("inf"):
            raise ValueError(f"duration_s is {self.duration_s}; it must be positive and finite")

    @property
    def rate_per_s(self) -> float:
        """The mean rate over the whole duration."""
        return len(self.arrivals_s) / self.duration_s


def constant(rate_per_s: float, duration_s: float) -> Schedule:
    """One arrival every 1 / rate seconds, from the start on."""
    _require_positive(rate_per_s=rate_per_s, duration_s=duration_s)
    # Rounded up just short of a whole number: 0.1 * 30 arrivals are three, not four.
    count = int(np.ceil(rate_per_s * duration_s - 1e-9))
    return Schedule(np.arange(count) / rate_per_s, duration_s)


def poisson(rate_per_s: float, duration_s: float, seed: int) -> Schedule:
    """Independent callers: a Poisson process."""
    _require_positive(rate_per_s=rate_per_s, duration_s=duration_s)
    # Given their number, the arrivals of a Poisson process are sorted uniform draws.
    rng = np.random.default_rng(seed)
    count = rng.poisson(rate_per_s * duration_s)
    return Schedule(np.sort(rng.uniform(0, duration_s, count)), duration_s)


def bursty(
    rate_per_s: float, duration_s: float, seed: int, *, on_s: float, off_s: float
) -> Schedule:
    """Poisson arrivals for `on_s`, silence for `off_s`, in turn.

    `rate_per_s` is the mean over whole cycles; within a burst it is (on + off) / on times as high.
    """
    _require_positive(rate_per_s=rate_per_s, duration_s=duration_s, on_s=on_s, off_s=off_s)
    cycle_s = on_s + off_s
    cycles, rest_s = divmod(duration_s, cycle_s)
    busy_s = cycles * on_s + min(rest_s, on_s)
    # Drawn as if the silences were cut out, which are then put back in.
    drawn_s = poisson(rate_per_s * cycle_s / on_s, busy_s, seed).arrivals_s
    arrivals_s = drawn_s + np.floor(drawn_s / on_s) * off_s
    return Schedule(arrivals_s[arrivals_s < duration_s], duration_s)


def _require_positive(**values: Any) -> None:
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} is {value}; it must be positive and finite")
