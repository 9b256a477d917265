import numpy as np
import pytest

from loadtest.faults import embedding_fault, predictions_fault, similarity_fault


def predictions(*scores: float) -> dict[str, list[dict[str, float]]]:
    return {"predictions": [{"score": score} for score in scores]}


def test_good_predictions() -> None:
    assert predictions_fault(predictions(0.7, 0.2, 0.1), 3) is None


@pytest.mark.parametrize("scores", [(0.7,), (0.1, 0.7), (1.1, 0.0), (0.5, -0.1), (0.9, 0.8)])
def test_impossible_predictions(scores: tuple[float, ...]) -> None:
    assert "impossible" in (predictions_fault(predictions(*scores), 2) or "")


def test_embeddings_have_unit_length() -> None:
    assert embedding_fault({"embedding": [0.6, 0.0, -0.8]}) is None
    assert embedding_fault({"embedding": [0.6, 0.1, -0.9]}) == "length 1.08628 instead of 1"


def features() -> np.ndarray:
    drawn_NxC = np.random.default_rng(0).normal(size=(3, 16))
    unit_NxC = drawn_NxC / np.linalg.norm(drawn_NxC, axis=1, keepdims=True)
    return np.concatenate([unit_NxC, unit_NxC])


def test_equal_pictures_have_equal_features() -> None:
    assert similarity_fault(features(), [4, 7, 9, 4, 7, 9]) is None


def test_rows_of_the_wrong_caller_are_found() -> None:
    swapped = features()[[1, 0, 2, 3, 4, 5]]
    assert "equal pictures are only" in (similarity_fault(swapped, [4, 7, 9, 4, 7, 9]) or "")


def test_one_answer_for_all_is_found() -> None:
    same = np.repeat(features()[:1], 6, axis=0)
    assert "different pictures are 1.00000" in (similarity_fault(same, [4, 7, 9, 4, 7, 9]) or "")
