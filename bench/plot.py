"""The rows as pictures: one SVG with a panel for each part that has a curve."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.rows import Row


class Panel(NamedTuple):
    """Which rows are drawn together: those of a part with this unit."""

    part: str
    unit: str
    title: str


PANELS = (
    Panel("bounds", "images/s", "the device alone"),
    Panel("service", "images/s", "closed loop"),
    Panel("service", "ms", "latency"),
    Panel("overload", "images/s", "capacity, and answered within 500 ms"),
    Panel("overload", "share", "what becomes of the offered"),
    Panel("compute", "ratio", "our graph over the converted"),
    Panel("soak", "MiB", "memory under load"),
)

DOUBLING = ("batch", "connections")  # what is measured at 1, 2, 4 and so on


def draw(rows: Sequence[Row], file: Path) -> None:
    """Write the SVG; a part without rows has no panel, and without any panel there is no file."""
    chosen = [(panel, found) for panel in PANELS if (found := _rows_of(panel, rows))]
    if not chosen:
        return
    height = -(-len(chosen) // 2)
    figure = Figure(figsize=(12, 3.6 * height), layout="constrained")
    places = figure.subplots(height, 2, squeeze=False).flat
    for axes in places[len(chosen) :]:
        axes.remove()
    for axes, (panel, found) in zip(places, chosen, strict=False):
        _draw_panel(axes, panel, found)
    # Text stays text, and the same rows give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mixer"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def _rows_of(panel: Panel, rows: Sequence[Row]) -> list[Row]:
    """Return the panel's rows; none when nothing of it is a curve."""
    found = [row for row in rows if (row.part, row.unit) == panel[:2]]
    return found if any(row.at is not None for row in found) else []


def _draw_panel(axes: Axes, panel: Panel, rows: Sequence[Row]) -> None:
    """Draw rows with a place as curves, those without one as levels across."""
    levels = [row for row in rows if row.at is None]
    placed = sorted(((row.at, row) for row in rows if row.at is not None), key=lambda pair: pair[0])
    for series in dict.fromkeys(row.series for row in rows if row.at is not None):
        drawn = [(at, row) for at, row in placed if row.series == series]
        places = [at for at, _ in drawn]
        axes.plot(places, [row.median for _, row in drawn], "o-", label=series)
        lows, highs = ([pick(row.values) for _, row in drawn] for pick in (min, max))
        axes.fill_between(places, lows, highs, alpha=0.2)
    for number, row in enumerate(levels):
        axes.axhline(row.median, linestyle=":", color=f"{number / len(levels):g}", label=row.name)
    axes.set(xlabel=placed[0][1].at_name, ylabel=panel.unit, title=panel.title)
    if placed[0][1].at_name in DOUBLING:
        axes.set_xscale("log", base=2)
    if panel.unit != "share":
        axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
