import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data import DataError
from trainer.measures import top_k_hits
from trainer.real_labels import RealAccuracy, read_real_labels, real_accuracy


def write(folder: Path, content: object) -> Path:
    file = folder / "real.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_labels_become_a_table_of_classes(tmp_path: Path) -> None:
    labels = read_real_labels(write(tmp_path, [[2, 0], [], [1]]), images=3, classes=4)
    assert labels.dtype == np.bool_
    assert labels.astype(int).tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([[0], [1]], "labels of 2 images for a data set of 3"),
        ([[0], [1], [2], [0]], "labels of 4 images for a data set of 3"),
        ([[0], [3, 4], [1]], "entry 1 has class 4, outside 0 to 3"),
        ([[0], [1], [-1]], "entry 2 has class -1, outside 0 to 3"),
        ([[], [], []], "no image has a label"),
        ([[0], 1, [2]], "no JSON list of lists of class numbers: entry 1: "),
        ([[0], [1, "2"], []], "no JSON list of lists of class numbers: entry 1, entry 1: "),
        ([[0], [True], []], "no JSON list of lists of class numbers: entry 1, entry 0: "),
        ({"0": [1]}, "no JSON list of lists of class numbers: the document: "),
        ("[[0], [1]", "no JSON list of lists of class numbers: the document: "),
    ],
)
def test_file_that_does_not_fit_is_refused(tmp_path: Path, content: object, message: str) -> None:
    file = write(tmp_path, content)
    with pytest.raises(DataError) as refused:
        read_real_labels(file, images=3, classes=4)
    assert str(refused.value).startswith(f"{file}: {message}")


def test_accuracy_by_hand() -> None:
    logits = np.array([[1, 2, 3], [3, 2, 1], [3, 2, 1], [1, 3, 2], [2, 2, 1]], np.float32)
    labels = np.array([[0, 1, 1], [0, 1, 1], [0, 0, 0], [1, 1, 1], [1, 0, 0]], np.bool_)
    # right, wrong, skipped, right whatever is predicted, undecided
    assert real_accuracy(logits, labels) == RealAccuracy(labelled_images=4, accuracy=0.5)


def test_tie_between_two_labels_is_right() -> None:
    logits, labels = np.array([[2.0, 2.0, 1.0]]), np.array([[True, True, False]])
    assert real_accuracy(logits, labels).accuracy == 1


@pytest.mark.parametrize("logits", [[math.nan, 0, 1], [1, 0, math.nan]])
def test_nan_counts_as_a_miss(logits: list[float]) -> None:
    labels = np.array([[True, True, False]])
    assert real_accuracy(np.array([logits]), labels).accuracy == 0


@given(st.integers(0, 2**32))
def test_one_label_an_image_gives_the_top_1_accuracy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.choice(np.array([0, 1, 2, math.nan], np.float32), (9, 4))
    labels = rng.integers(0, 4, 9)
    found = real_accuracy(logits, np.eye(4, dtype=np.bool_)[labels])
    assert found == RealAccuracy(9, float(top_k_hits(logits, labels).mean()))


@given(st.integers(0, 2**32))
def test_another_label_never_makes_a_prediction_wrong(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(9, 4))
    labels = np.eye(4, dtype=np.bool_)[rng.integers(0, 4, 9)]
    more = labels | (rng.random((9, 4)) < 0.3)
    assert real_accuracy(logits, more).accuracy >= real_accuracy(logits, labels).accuracy
