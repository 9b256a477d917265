"""The rows as pictures: one SVG with a panel for each part that has a curve."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.rows import Row


class Panel(NamedTuple):
    """Which rows are drawn together: those of a part with this unit that have a place."""

    part: str
    unit: str
    title: str


PANELS = (
    Panel("bounds", "images/s", "the device alone"),
    Panel("service", "images/s", "closed loop"),
    Panel("service", "ms", "latency"),
    Panel("overload", "images/s", "answered within 500 ms"),
    Panel("overload", "share", "what becomes of the offered"),
    Panel("compute", "ratio", "our graph over the converted"),
    Panel("soak", "MiB", "memory under load"),
)


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
    return [row for row in rows if (row.part, row.unit) == panel[:2] and row.at is not None]


def _draw_panel(axes: Axes, panel: Panel, rows: Sequence[Row]) -> None:
    for series in dict.fromkeys(row.series for row in rows):
        drawn = sorted((row for row in rows if row.series == series), key=lambda row: row.at or 0)
        places = [row.at or 0 for row in drawn]
        axes.plot(places, [row.median for row in drawn], "o-", label=series)
        lows, highs = ([pick(row.values) for row in drawn] for pick in (min, max))
        axes.fill_between(places, lows, highs, alpha=0.2)
    axes.set(xlabel=rows[0].at_name, ylabel=panel.unit, title=panel.title)
    if min(row.at or 0 for row in rows) >= 1 and max(row.at or 0 for row in rows) > 10:
        axes.set_xscale("log", base=2)
    if panel.unit != "share":
        axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
