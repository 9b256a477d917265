"""Parts that the studies' figures share."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.studies.claims import POINTS
from trainer.studies.samples import Sample

INCHES_PER_PANEL, INCHES_HIGH = 4.5, 3.6


def panels(*titles: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel for each title, side by side."""
    size = (INCHES_PER_PANEL * len(titles), INCHES_HIGH)
    figure = Figure(figsize=size, layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, len(titles), squeeze=False)[0])
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(title)
        panel.grid(alpha=0.3)
    return figure, axes


def line(axes: Axes, x: Sequence[float], samples: Sequence[Sample], label: str) -> None:
    """Draw means in percent with bars from the lowest to the highest seed."""
    axes.errorbar(
        x,
        [POINTS * sample.mean for sample in samples],
        yerr=[POINTS * sample.spread for sample in samples],
        marker="o",
        markersize=3,
        capsize=2,
        label=label,
    )


def bars(axes: Axes, names: Sequence[str], series: Sequence[tuple[str, Sequence[Sample]]]) -> None:
    """Draw groups of bars in percent: for each name one of each series."""
    width = 0.8 / len(series)
    for place, (label, samples) in enumerate(series):
        shift = (place - (len(series) - 1) / 2) * width
        axes.bar(
            [index + shift for index in range(len(names))],
            [POINTS * sample.mean for sample in samples],
            width,
            yerr=[POINTS * sample.spread for sample in samples],
            capsize=2,
            label=label,
        )
    axes.set_xticks(range(len(names)), names)
