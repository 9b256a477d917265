"""What can be wrong with an answer of status 200; each function returns a sentence, or None."""

from typing import Any

import numpy as np

# The same picture in batches of different sizes is at least this alike; other pictures are less.
SAME = 0.9999


def predictions_fault(answer: Any, top_k: int) -> str | None:
    """Check a classification: so many scores, highest first, each a probability."""
    scores = [prediction["score"] for prediction in answer["predictions"]]
    ordered = scores == sorted(scores, reverse=True)
    possible = all(0 <= score <= 1 for score in scores) and sum(scores) < 1 + 1e-4
    return None if len(scores) == top_k and ordered and possible else f"impossible: {scores}"


def embedding_fault(answer: Any) -> str | None:
    """Check that a normalised embedding has unit length."""
    length = float(np.linalg.norm(answer["embedding"]))
    return None if abs(length - 1) < 1e-4 else f"length {length:.5f} instead of 1"


def similarity_fault(features_NxC: np.ndarray, pictures: list[int]) -> str | None:
    """Check unit features against each other: alike exactly where their pictures are the same.

    Rows that came back to the wrong caller fail this.
    """
    similarities_NxN = features_NxC @ features_NxC.T
    same_NxN = np.equal.outer(pictures, pictures)
    if (least := similarities_NxN[same_NxN].min()) < SAME:
        return f"equal pictures are only {least:.5f} alike"
    if (most := similarities_NxN[~same_NxN].max(initial=-1)) >= SAME:
        return f"different pictures are {most:.5f} alike"
    return None
