import numpy as np
import pytest

from bench.precision import compare


def test_answers_are_compared_with_the_labels_and_with_those_in_float32() -> None:
    exact_4x3 = np.array([[4, 2, 1], [0, 5, 1], [1, 2, 8], [2, 1, 0]], np.float32)
    found_4x3 = exact_4x3 + np.array([[0.4], [0], [0], [0]], np.float32)
    found_4x3[3] = [0, 1, 2]
    found = compare(found_4x3, exact_4x3, np.array([0, 1, 1, 2]))
    assert found == {
        "images": 4,
        "accuracy": 0.75,
        "same_top1": 0.75,
        "mean_deviation": pytest.approx((0.1 + 1) / 4),
        "largest_deviation": 1,
    }
