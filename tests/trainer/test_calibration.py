import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.calibration import ReliabilityBin, calibration_error, confidences, reliability_bins


def logits_of(confidences: list[float], classes: int = 3) -> np.ndarray:
    """Return logits whose class 1 has these probabilities, the others sharing the rest."""
    top = np.array(confidences)
    shares = np.tile(((1 - top) / (classes - 1))[:, None], (1, classes))
    shares[:, 1] = top
    return np.log(shares) + np.arange(len(top))[:, None]  # softmax does not see the shift


def labels_of(images: int, right: int) -> np.ndarray:
    """Return labels of which the first `right` are what `logits_of` predicts."""
    return np.array([1] * right + [2] * (images - right), np.int32)


def random_examples(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(1, 40)), int(rng.integers(2, 8))
    logits = rng.normal(scale=3, size=(images, classes)).astype(np.float32)
    return logits, rng.integers(0, classes, images)


def test_confidence_is_the_probability_of_the_likeliest_class() -> None:
    assert confidences(logits_of([0.5, 0.75, 0.99])) == pytest.approx([0.5, 0.75, 0.99])


def test_confidence_of_huge_logits_is_one() -> None:
    assert confidences(np.array([[1e30, -1e30, 0]], np.float32)).tolist() == [1]


def test_bins_and_error_by_hand() -> None:
    logits, labels = logits_of([0.55, 0.45, 0.9, 0.7]), np.array([1, 0, 1, 2])
    (middle, high) = reliability_bins(logits, labels, bins=3)
    assert (middle.lower, middle.upper, middle.count) == pytest.approx((1 / 3, 2 / 3, 2))
    assert (middle.confidence, middle.accuracy) == pytest.approx((0.5, 0.5))
    assert (high.lower, high.upper, high.count) == pytest.approx((2 / 3, 1, 2))
    assert (high.confidence, high.accuracy) == pytest.approx((0.8, 0.5))
    assert calibration_error((middle, high)) == pytest.approx(0.5 * 0 + 0.5 * 0.3)


def test_upper_edge_belongs_to_its_bin() -> None:
    even = np.zeros((1, 4), np.float32)  # confidence is exactly one quarter
    (found,) = reliability_bins(even, np.array([2]), bins=4)
    assert (found.lower, found.upper, found.confidence) == (0, 0.25, 0.25)


def test_fifteen_bins_by_default() -> None:
    (found,) = reliability_bins(logits_of([0.99]), np.array([1]))
    assert (found.lower, found.upper) == pytest.approx((14 / 15, 1))


def test_perfectly_calibrated_model_has_no_error() -> None:
    groups = [(0.5, 10, 5), (0.75, 4, 3), (0.9, 10, 9)]
    logits = logits_of([c for confidence, images, _ in groups for c in [confidence] * images])
    labels = np.concatenate([labels_of(images, right) for _, images, right in groups])
    assert calibration_error(reliability_bins(logits, labels)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("right", [0, 3, 8])
def test_error_of_a_constant_confidence_is_its_gap(right: int) -> None:
    bins = reliability_bins(logits_of([0.95] * 8), labels_of(8, right))
    assert calibration_error(bins) == pytest.approx(abs(0.95 - right / 8))


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_bins_agree_with_the_definition_and_share_out_the_images(seed: int, count: int) -> None:
    logits, labels = random_examples(seed)
    bins = reliability_bins(logits, labels, count)
    probabilities = np.exp(logits.astype(np.float64))
    top = (probabilities / probabilities.sum(axis=1, keepdims=True)).max(axis=1)
    assert sum(found.count for found in bins) == len(labels)
    for found in bins:
        inside = (top > found.lower) & (top <= found.upper)
        assert found.count == inside.sum()
        assert found.confidence == pytest.approx(top[inside].mean())
        assert found.accuracy == pytest.approx((logits.argmax(axis=1) == labels)[inside].mean())


@given(st.integers(0, 2**32))
def test_one_bin_has_the_gap_of_the_means(seed: int) -> None:
    logits, labels = random_examples(seed)
    gap = (logits.argmax(axis=1) == labels).mean() - confidences(logits).mean()
    assert calibration_error(reliability_bins(logits, labels, bins=1)) == pytest.approx(abs(gap))


@given(st.integers(0, 2**32))
def test_error_does_not_depend_on_class_numbers_or_order(seed: int) -> None:
    logits, labels = random_examples(seed)
    rng = np.random.default_rng(seed)
    images, classes = rng.permutation(len(labels)), rng.permutation(logits.shape[1])
    other = reliability_bins(logits[images][:, classes], np.argsort(classes)[labels[images]])
    error = calibration_error(reliability_bins(logits, labels))
    assert calibration_error(other) == pytest.approx(error, abs=1e-12)


def test_nan_is_not_hidden() -> None:
    logits = np.array([[0, 1], [math.nan, 1]], np.float32)
    assert math.isnan(calibration_error(reliability_bins(logits, np.array([1, 1]))))


def test_no_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="0 bins: at least 1 is needed"):
        reliability_bins(np.zeros((1, 2), np.float32), np.zeros(1, np.int32), bins=0)


def test_error_weighs_bins_by_their_images() -> None:
    bins = (ReliabilityBin(0, 0.5, 1, 0.4, 1.0), ReliabilityBin(0.5, 1, 3, 0.9, 0.5))
    assert calibration_error(bins) == pytest.approx((1 * 0.6 + 3 * 0.4) / 4)
