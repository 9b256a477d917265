from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from trainer.calibration import ReliabilityBin
from trainer.plots import confusion_figure, reliability_figure, svg

BINS = (ReliabilityBin(0.25, 0.5, 1, 0.4, 1.0), ReliabilityBin(0.75, 1.0, 3, 0.9, 0.5))
MATRIX = np.array([[71, 0, 2], [3, 0, 85], [0, 0, 0]])
CLASSES = ("ant", "b<e>&e", "$cat$")


def texts(figure: Figure) -> list[str]:
    root = ET.fromstring(svg(figure))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_reliability_diagram_says_its_error_and_images() -> None:
    found = texts(reliability_figure(BINS))
    assert {"expected calibration error 0.4500", "accuracy", "confidence", "share of 4"} <= {*found}


def test_reliability_diagram_has_a_bar_for_each_bin() -> None:
    accuracy, share = reliability_figure(BINS).axes
    bars = [bar.get_bbox().bounds for bar in accuracy.patches]  # type: ignore[attr-defined]
    assert bars == [(0.25, 0, 0.25, 1.0), (0.75, 0, 0.25, 0.5)]
    heights = [bar.get_bbox().height for bar in share.patches]  # type: ignore[attr-defined]
    assert heights == [0.25, 0.75]


def test_confusion_matrix_has_names_and_counts_as_text() -> None:
    found = texts(confusion_figure(MATRIX, CLASSES))
    assert {*CLASSES, "true class", "predicted class"} <= {*found}
    assert [text for text in found if text in ("71", "2", "3", "85")] == ["71", "2", "3", "85"]


def test_confusion_matrix_is_coloured_by_share_of_the_row() -> None:
    figure = confusion_figure(MATRIX, CLASSES)
    (image,) = (child for child in figure.axes[0].get_children() if isinstance(child, AxesImage))
    shares = np.array([[71 / 73, 0, 2 / 73], [3 / 88, 0, 85 / 88], [0, 0, 0]])
    assert np.allclose(np.asarray(image.get_array()), shares)
    assert image.get_clim() == (0, 1)


@pytest.mark.parametrize(("classes", "named", "counted"), [(20, True, True), (50, True, False),
                                                           (51, False, False)])  # fmt: skip
def test_text_is_left_out_where_it_would_not_be_readable(
    classes: int, named: bool, counted: bool
) -> None:
    matrix = np.diag(np.full(classes, 777))
    found = texts(confusion_figure(matrix, [f"class {i}" for i in range(classes)]))
    assert ("class 7" in found, "777" in found) == (named, counted)


def test_equal_figures_give_equal_text_without_date_or_version() -> None:
    first = svg(confusion_figure(MATRIX, CLASSES))
    assert first == svg(confusion_figure(MATRIX, CLASSES))
    assert "dc:date" not in first
    assert mpl.__version__ not in first


def test_drawing_leaves_the_settings_of_matplotlib_alone() -> None:
    before = dict(mpl.rcParams)
    svg(reliability_figure(BINS))
    assert dict(mpl.rcParams) == before
