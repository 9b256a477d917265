import json

import numpy as np
import pytest

from loadtest.faults import embedding_fault, feature_fault, predictions_fault, similarity_fault


def predictions(*scores: float) -> bytes:
    return json.dumps({"predictions": [{"score": score} for score in scores]}).encode()


def test_good_predictions() -> None:
    assert predictions_fault(predictions(0.7, 0.2, 0.1), 3) is None


@pytest.mark.parametrize("scores", [(0.7,), (0.1, 0.7), (1.1, 0.0), (0.5, -0.1), (0.9, 0.8)])
def test_impossible_predictions(scores: tuple[float, ...]) -> None:
    assert "impossible" in (predictions_fault(predictions(*scores), 2) or "")


STRANGE = [b"", b"{", b"\xff", b"{}", b"[]", b"7", b"null", b'{"predictions": 7}']


@pytest.mark.parametrize(
    "content", [*STRANGE, b'{"predictions": [{}]}', b'{"predictions": [{"score": "x"}]}']
)
def test_what_is_no_classification(content: bytes) -> None:
    assert "no classification" in (predictions_fault(content, 5) or "")


@pytest.mark.parametrize("content", [*STRANGE, b'{"embedding": ["x"]}', b'{"embedding": [{}]}'])
def test_what_is_no_embedding(content: bytes) -> None:
    assert "no embedding" in (embedding_fault(content) or "")


def test_embeddings_have_unit_length() -> None:
    assert embedding_fault(b'{"embedding": [0.6, 0.0, -0.8]}') is None
    assert embedding_fault(b'{"embedding": [0.6, 0.1, -0.9]}') == "length 1.08628 instead of 1"


def test_features_have_unit_length() -> None:
    assert feature_fault(np.array([0.6, 0.0, -0.8], "<f4").tobytes()) is None
    assert feature_fault(np.array([0.6, 0.1, -0.9], "<f4").tobytes()) is not None
    assert feature_fault(b"") == "length 0.00000 instead of 1"
    assert feature_fault(b"12345") == "5 bytes are no float32"


PICTURES = [4, 7, 9, 4, 7, 9]


def features() -> list[bytes]:
    drawn_NxC = np.random.default_rng(0).normal(size=(3, 16))
    unit_NxC = drawn_NxC / np.linalg.norm(drawn_NxC, axis=1, keepdims=True)
    return [row.astype("<f4").tobytes() for row in unit_NxC] * 2


def test_equal_pictures_have_equal_features() -> None:
    assert similarity_fault(features(), PICTURES) is None


def test_rows_of_the_wrong_caller_are_found() -> None:
    one, other, *rest = features()
    fault = similarity_fault([other, one, *rest], PICTURES)
    assert fault is not None
    assert fault.startswith("equal pictures are only")


def test_one_answer_for_all_is_found() -> None:
    fault = similarity_fault(features()[:1] * 6, PICTURES)
    assert fault == "different pictures are 1.00000 alike"


def test_features_of_another_model_are_found() -> None:
    short, *rest = features()
    assert similarity_fault([short[:-4], *rest], PICTURES) == "features of different sizes"
