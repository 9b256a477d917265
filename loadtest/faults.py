"""What can be wrong with an answer of status 200; each function returns a sentence, or None.

Nothing here raises on a strange answer: Locust would log that, but not count it as a failure.
"""

import json
from collections.abc import Sequence

import numpy as np

# The same picture in batches of different sizes is at least this alike; other pictures are less.
SAME = 0.9999


def predictions_fault(content: bytes, top_k: int) -> str | None:
    """Check a classification in JSON: so many scores, highest first, each a probability."""
    try:
        found = json.loads(content)["predictions"]
        scores = [float(prediction["score"]) for prediction in found]
    except (ValueError, LookupError, TypeError) as error:
        return f"no classification: {error!r}"
    ordered = scores == sorted(scores, reverse=True)
    possible = all(0 <= score <= 1 for score in scores) and sum(scores) < 1 + 1e-4
    return None if len(scores) == top_k and ordered and possible else f"impossible: {scores}"


def embedding_fault(content: bytes) -> str | None:
    """Check that a normalised embedding in JSON has unit length."""
    try:
        embedding = np.array(json.loads(content)["embedding"], np.float64)
    except (ValueError, LookupError, TypeError) as error:
        return f"no embedding: {error!r}"
    return _length_fault(embedding)


def feature_fault(content: bytes) -> str | None:
    """Check that bytes are a normalised embedding in little-endian float32."""
    if len(content) % 4:
        return f"{len(content)} bytes are no float32"
    return _length_fault(np.frombuffer(content, "<f4"))


def _length_fault(embedding: np.ndarray) -> str | None:
    length = float(np.linalg.norm(embedding))
    return None if abs(length - 1) < 1e-4 else f"length {length:.5f} instead of 1"


def similarity_fault(contents: Sequence[bytes], pictures: Sequence[int]) -> str | None:
    """Check raw unit features against each other: alike exactly where their pictures are the same.

    Rows that came back to the wrong caller fail this.
    """
    if len({len(content) for content in contents}) != 1:
        return "features of different sizes"
    features_NxC = np.stack([np.frombuffer(content, "<f4") for content in contents])
    similarities_NxN = features_NxC @ features_NxC.T
    same_NxN = np.equal.outer(pictures, pictures)
    if (least := similarities_NxN[same_NxN].min()) < SAME:
        return f"equal pictures are only {least:.5f} alike"
    if (most := similarities_NxN[~same_NxN].max(initial=-1)) >= SAME:
        return f"different pictures are {most:.5f} alike"
    return None
