import math

import numpy as np
from matplotlib.figure import Figure

from trainer.curves import accuracy_figure, loss_figure
from trainer.records import LogRow

ROWS = [
    LogRow(1, 3, 1.5, 90.0, 2.0, {"loss": 1.25, "accuracy": 0.5, "top5_accuracy": 0.75}),
    LogRow(2, 6, 1.0, 95.0, 4.0, {"loss": 1.125, "accuracy": 0.625}),
]


def lines(figure: Figure) -> dict[str, list[list[float]]]:
    """Return the points [step, value] of each labelled line."""
    (axes,) = figure.axes
    return {str(line.get_label()): np.array(line.get_xydata()).tolist() for line in axes.lines}


def test_losses_are_drawn_by_step() -> None:
    assert lines(loss_figure(ROWS)) == {
        "training": [[3, 1.5], [6, 1.0]],
        "test": [[3, 1.25], [6, 1.125]],
    }


def test_accuracies_are_drawn_by_step_and_a_missing_one_leaves_a_gap() -> None:
    found = lines(accuracy_figure(ROWS))
    assert found["top-1"] == [[3, 0.5], [6, 0.625]]
    first, (step, gap) = found["top-5"]
    assert first == [3, 0.75]
    assert step == 6
    assert math.isnan(gap)
