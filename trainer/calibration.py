"""Whether a model's confidence can be believed: reliability bins and their calibration error.

As defined by Guo et al., "On Calibration of Modern Neural Networks" (2017), section 2. Confidence
is the softmax probability of the likeliest class.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.measures import top_k_hits

BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose confidence is in (lower, upper]; the values are shares in [0, 1]."""

    lower: float
    upper: float
    count: int
    confidence: float
    """Mean confidence of these images."""
    accuracy: float
    """Share of these images that the model classifies rightly."""


def reliability_bins(
    logits_BxN: np.ndarray, labels_B: np.ndarray, bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """Sort images by confidence into equal-width bins; those without an image are left out.

    A NaN among an image's logits makes the last bin's confidence NaN.

    Raises:
        ValueError: fewer than one bin.
    """
    if bins < 1:
        msg = f"{bins} bins: at least 1 is needed"
        raise ValueError(msg)
    confidence_B, hits_B = confidences(logits_BxN), top_k_hits(logits_BxN, labels_B)
    edges = np.linspace(0, 1, bins + 1)
    places_B = np.searchsorted(edges[1:-1], confidence_B)
    return tuple(
        ReliabilityBin(
            lower=float(edges[place]),
            upper=float(edges[place + 1]),
            count=int(np.count_nonzero(inside_B := places_B == place)),
            confidence=float(confidence_B[inside_B].mean()),
            accuracy=float(hits_B[inside_B].mean()),
        )
        for place in np.unique(places_B)
    )


def confidences(logits_BxN: np.ndarray) -> np.ndarray:
    """Return the softmax probability of the likeliest class, float64 [B]."""
    logits_BxN = logits_BxN.astype(np.float64)
    below_BxN = logits_BxN - logits_BxN.max(axis=1, keepdims=True)
    confidence_B: np.ndarray = 1 / np.exp(below_BxN).sum(axis=1)
    return confidence_B


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the expected calibration error: |accuracy - confidence|, weighted by count."""
    gaps = sum(found.count * abs(found.accuracy - found.confidence) for found in bins)
    return gaps / sum(found.count for found in bins)
