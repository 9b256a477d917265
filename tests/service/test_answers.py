"""Answers: which classes are the most probable, and in which order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.answers import FEW, top_k

# Few values, so that many classes are equally probable.
LOGITS = arrays(np.float32, st.integers(1, 2 * FEW), elements=st.sampled_from([-2.5, 0, 0.5, 3]))


@given(logits_N=LOGITS, data=st.data())
def test_they_are_the_highest_and_ties_keep_the_order_of_classes(
    logits_N: np.ndarray, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(logits_N)))
    found = top_k(logits_N, (), k)
    expected = sorted(range(len(logits_N)), key=lambda i: (-logits_N[i], i))[:k]
    assert [each["class_id"] for each in found] == expected
    scores = np.exp(logits_N.astype(np.float64))
    answered = np.array([each["score"] for each in found], np.float64)
    np.testing.assert_allclose(answered, scores[expected] / scores.sum(), rtol=1e-5)


def test_classes_have_their_labels() -> None:
    logits_N = np.array([0, 2, 1], np.float32)
    assert [each["label"] for each in top_k(logits_N, ("ant", "bee", "cow"), 2)] == ["bee", "cow"]
    assert [each["label"] for each in top_k(logits_N, (), 2)] == ["1", "2"]


def test_what_is_no_number_is_answered_as_such() -> None:
    for k in (2, FEW + 1):
        found = top_k(np.full(FEW + 2, np.nan, np.float32), (), k)
        assert [each["class_id"] for each in found] == list(range(k))


def test_impossible_classes_come_last_and_once_each() -> None:
    logits_N = np.array([-np.inf, 3, -np.inf, 2, -np.inf], np.float32)
    assert [each["class_id"] for each in top_k(logits_N, (), 5)] == [1, 3, 0, 2, 4]
