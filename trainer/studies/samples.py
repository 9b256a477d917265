"""A measure over seeds, and differences of two, seed by seed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Self

from trainer.studies.training import Case, Result


@dataclass(frozen=True)
class Sample:
    """One number for each seed, in the order of the seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return fmean(self.values)

    @property
    def spread(self) -> float:
        """Half the distance from the lowest to the highest; 0 for one seed."""
        return (max(self.values) - min(self.values)) / 2

    def __sub__(self, other: Self) -> "Sample":
        return Sample(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))

    def __truediv__(self, other: Self) -> "Sample":
        return Sample(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))

    def text(self, digits: int = 1, *, scale: float = 1.0, signed: bool = False) -> str:
        """Write mean ± spread, times `scale`."""
        sign = "+" if signed else ""
        return f"{scale * self.mean:{sign}.{digits}f} ± {scale * self.spread:.{digits}f}"


@dataclass(frozen=True)
class Results:
    """What a study's trainings measured: for each case a result for each seed."""

    found: Mapping[Case, tuple[Result, ...]]

    def sample(self, case: Case, measure: Callable[[Result], float]) -> Sample:
        """Return the measure of a case over the seeds."""
        return Sample(tuple(measure(result) for result in self.found[case]))

    def test_accuracy(self, case: Case) -> Sample:
        """Return the share of test images that are classified right at the end."""
        return self.sample(case, lambda result: result.test.accuracy)

    def train_loss(self, case: Case) -> Sample:
        """Return the loss on training images at the end, in nats."""
        return self.sample(case, lambda result: result.train.loss)

    def gap(self, case: Case) -> Sample:
        """Return the accuracy on train less that on test."""
        return self.sample(case, lambda result: result.gap)

    def step_ms(self, case: Case) -> Sample:
        """Return the time of a step that is little disturbed."""
        return self.sample(case, lambda result: result.step_ms)

    def parameters(self, case: Case) -> int:
        """Return the number of parameters, which no seed changes."""
        return self.found[case][0].parameters

    def curve(self, case: Case) -> tuple[list[int], list[Sample]]:
        """Return steps, and the test accuracy after each of them."""
        curves = [result.curve for result in self.found[case]]
        steps = [point.step for point in curves[0]]
        points = zip(*curves, strict=True)
        return steps, [Sample(tuple(point.accuracy for point in point_S)) for point_S in points]
