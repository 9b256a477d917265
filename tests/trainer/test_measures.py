import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trainer.measures import class_accuracies, confusion_matrix, predicted_classes, top_k_hits

# Few different values, so that ties are common; NaN among them.
LOGITS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(2, 7)),
    elements=st.sampled_from([-1.5, 0.0, 0.25, 2.0, math.nan]),
)


@st.composite
def examples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    logits = draw(LOGITS)
    images, classes = logits.shape
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    return logits, np.array(labels, np.int32)


def test_hits_of_each_k_by_hand() -> None:
    logits = np.array([[5, 4, 3, 2], [5, 5, 3, 2], [0, 1, math.nan, 3]], np.float32)
    labels = np.array([1, 0, 3])
    assert top_k_hits(logits, labels, k=1).tolist() == [False, False, False]
    assert top_k_hits(logits, labels, k=2).tolist() == [True, True, True]


def test_confusion_matrix_by_hand() -> None:
    logits = np.array([[3, 1, 2], [1, 3, 2], [1, 3, 2], [1, 2, 3], [3, 2, 1]], np.float32)
    labels = np.array([0, 0, 2, 2, 2])
    matrix = confusion_matrix(logits, labels)
    assert matrix.tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    assert np.array_equal(class_accuracies(matrix), [1 / 2, math.nan, 1 / 3], equal_nan=True)


@pytest.mark.parametrize(
    ("logits", "predicted"),
    [([1, 1, 0], 1), ([0, 1, 1], 1), ([math.nan, 0, 1], 2), ([1, 0, math.nan], 2)],
)
def test_model_that_does_not_choose_predicts_a_rival(logits: list[float], predicted: int) -> None:
    assert predicted_classes(np.array([logits], np.float32), np.array([0])).tolist() == [predicted]


@given(examples())
def test_confusion_matrix_holds_the_accuracies(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = drawn
    matrix, hits = confusion_matrix(logits, labels), top_k_hits(logits, labels)
    assert matrix.trace() == hits.sum()
    assert matrix.sum() == len(labels)
    assert np.array_equal(matrix.sum(axis=1), np.bincount(labels, minlength=logits.shape[1]))
    accuracies = class_accuracies(matrix)
    for label in np.unique(labels):
        assert accuracies[label] == pytest.approx(hits[labels == label].mean())


@given(examples())
def test_renaming_the_classes_permutes_the_class_accuracies(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = drawn
    order = np.roll(np.arange(logits.shape[1])[::-1], 1)  # new class -> old class
    renamed = confusion_matrix(logits[:, order], np.argsort(order)[labels])
    expected = class_accuracies(confusion_matrix(logits, labels))[order]
    assert np.array_equal(class_accuracies(renamed), expected, equal_nan=True)


def test_without_ties_the_prediction_is_the_likeliest_class() -> None:
    rng = np.random.default_rng(0)
    logits = rng.permuted(np.tile(np.arange(8, dtype=np.float32), (50, 1)), axis=1)
    labels = rng.integers(0, 8, 50)
    assert np.array_equal(predicted_classes(logits, labels), logits.argmax(axis=1))
