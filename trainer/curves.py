"""Figures of how a run went, from the rows of its log."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.records import LogRow

SIZE_INCHES = (6, 4)


def loss_figure(rows: Sequence[LogRow]) -> Figure:
    """Draw training loss (smoothed) and test loss by step."""
    figure, axes = _axes("loss (nats)")
    steps = [row.step for row in rows]
    axes.plot(steps, [row.train_loss for row in rows], ".-", label="training")
    axes.plot(steps, _tests(rows, "loss"), ".-", label="test")
    axes.legend()
    return figure


def accuracy_figure(rows: Sequence[LogRow]) -> Figure:
    """Draw top-1 and top-5 test accuracy by step."""
    figure, axes = _axes("test accuracy")
    steps = [row.step for row in rows]
    for name, label in (("accuracy", "top-1"), ("top5_accuracy", "top-5")):
        axes.plot(steps, _tests(rows, name), ".-", label=label)
    axes.set_ylim(0, 1.02)
    axes.legend()
    return figure


def _tests(rows: Sequence[LogRow], measure: str) -> list[float]:
    return [row.test.get(measure, math.nan) for row in rows]


def _axes(measure: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="step", ylabel=measure)
    axes.grid(alpha=0.3)
    return figure, axes
