"""Figures of an evaluation, and their SVG text; made without pyplot, so without global state."""

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.calibration import ReliabilityBin, calibration_error

# More classes than these would make the text unreadable.
MOST_NAMED_CLASSES = 50
MOST_COUNTED_CLASSES = 20


def reliability_figure(bins: Sequence[ReliabilityBin]) -> Figure:
    """Draw accuracy over confidence, and below it the share of the images in each bin."""
    figure = Figure(figsize=(5, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    lower, widths = [b.lower for b in bins], [b.upper - b.lower for b in bins]
    images = sum(b.count for b in bins)
    above.bar(lower, [b.accuracy for b in bins], widths, align="edge", edgecolor="white")
    above.plot((0, 1), (0, 1), "--", color="grey", label="perfect calibration")
    above.plot([b.confidence for b in bins], [b.accuracy for b in bins], "ko", label="bin's mean")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    above.set_title(f"expected calibration error {calibration_error(bins):.4f}")
    above.legend(loc="upper left")
    below.bar(lower, [b.count / images for b in bins], widths, align="edge", edgecolor="white")
    below.set(xlabel="confidence", ylabel=f"share of {images:,}")
    return figure


def confusion_figure(matrix_NxN: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix (rows true), coloured by the share of the row."""
    inches = 3 + 0.4 * min(len(classes), MOST_COUNTED_CLASSES)
    figure = Figure(figsize=(inches + 0.5, inches), layout="constrained")
    axes = figure.subplots()
    shares_NxN = matrix_NxN / np.maximum(matrix_NxN.sum(axis=1, keepdims=True), 1)
    shown = axes.imshow(shares_NxN, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    figure.colorbar(shown, ax=axes, label="share of the true class")
    axes.set(xlabel="predicted class", ylabel="true class")
    if len(classes) <= MOST_NAMED_CLASSES:
        places = range(len(classes))
        axes.set_xticks(places, classes, rotation=90, parse_math=False)
        axes.set_yticks(places, classes, parse_math=False)
    if len(classes) <= MOST_COUNTED_CLASSES:
        _write_counts(axes, matrix_NxN, shares_NxN)
    return figure


def _write_counts(axes: Axes, matrix_NxN: np.ndarray, shares_NxN: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(matrix_NxN):
        colour = "white" if shares_NxN[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)


def svg(figure: Figure) -> str:
    """Return the figure as one `<svg>` element, to embed or to keep as a file.

    Figures that are drawn alike give equal text.
    """
    buffer = io.StringIO()
    # Text stays text, so that it can be searched; ids are hashes of the content with this salt.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mixer"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
