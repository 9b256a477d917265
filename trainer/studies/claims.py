"""Claims of the paper, judged from the numbers of a study.

A claim is judged by means over the seeds. Where a mean is no further from its limit than the seeds
spread, what was measured says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from trainer.studies.samples import Sample

POINTS = 100.0
"""Percentage points in a share."""


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, whether the numbers bear it out, and these numbers."""

    sentence: str
    held: bool
    measured: str

    @property
    def verdict(self) -> str:
        """`held` or `did not hold`."""
        return "held" if self.held else "did not hold"


def above(
    sentence: str, value: Sample, limit: float, *, scale: float = POINTS, unit: str = "points"
) -> Claim:
    """Judge that a mean is above a limit."""
    measured = f"{_signed(value, scale)} {unit}, asked for more than {scale * limit:g}"
    return Claim(sentence, value.mean > limit, measured + _doubt(value, limit))


def below(
    sentence: str, value: Sample, limit: float, *, scale: float = POINTS, unit: str = "points"
) -> Claim:
    """Judge that a mean is below a limit."""
    measured = f"{_signed(value, scale)} {unit}, asked for less than {scale * limit:g}"
    return Claim(sentence, value.mean < limit, measured + _doubt(value, limit))


def positive(
    sentence: str, difference: Sample, *, scale: float = POINTS, unit: str = "points"
) -> Claim:
    """Judge that a difference is above zero."""
    measured = f"{_signed(difference, scale)} {unit}{_doubt(difference)}"
    return Claim(sentence, difference.mean > 0, measured)


def within(
    sentence: str,
    difference: Sample,
    tolerance: float,
    *,
    scale: float = POINTS,
    unit: str = "points",
) -> Claim:
    """Judge that a difference is no further from zero than a tolerance."""
    measured = f"{_signed(difference, scale)} {unit}, at most {scale * tolerance:g} apart allowed"
    return Claim(sentence, abs(difference.mean) <= tolerance, measured)


def falling(
    sentence: str, series: Sequence[Sample], *, scale: float = POINTS, unit: str = "points"
) -> Claim:
    """Judge that the means fall from each to the next."""
    means = [sample.mean for sample in series]
    held = all(after < before for before, after in pairwise(means))
    return Claim(sentence, held, f"{_arrows(series, scale)} {unit}")


def rising(
    sentence: str, series: Sequence[Sample], *, scale: float = POINTS, unit: str = "points"
) -> Claim:
    """Judge that the last mean is above the first; what lies between is shown and not judged."""
    rise = series[-1] - series[0]
    measured = f"{_arrows(series, scale)} {unit}, in all {_signed(rise, scale)}{_doubt(rise)}"
    return Claim(sentence, rise.mean > 0, measured)


def _arrows(series: Sequence[Sample], scale: float) -> str:
    return " → ".join(sample.text(2, scale=scale) for sample in series)


def _signed(sample: Sample, scale: float) -> str:
    return sample.text(2, scale=scale, signed=True)


def _doubt(value: Sample, limit: float = 0.0) -> str:
    several = len(value.values) > 1
    unclear = several and abs(value.mean - limit) <= value.spread
    return " (not clear of the seeds' spread)" if unclear else ""
