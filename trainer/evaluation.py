"""How good a Mixer is on a data set: its logits, and the scalars that a log or a manifest holds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from model_store.mixer import Mixer
from model_store.preprocess import Preprocessing, normalise
from trainer.calibration import BINS, calibration_error, reliability_bins
from trainer.data import DataSet, evaluation_batches
from trainer.measures import top_k_hits

BATCH_SIZE = 250


@dataclass(frozen=True)
class Evaluation:
    """Measures on one data set; all but the number of images and the loss are shares in [0, 1]."""

    images: int
    accuracy: float
    top5_accuracy: float
    loss: float
    """Mean softmax cross-entropy in nats."""
    calibration_error: float
    """Expected calibration error of the softmax probabilities."""


def evaluate(model: Mixer, data: DataSet, preprocessing: Preprocessing) -> Evaluation:
    """Run the whole data set through the model, deterministically, and measure."""
    return measure(compute_logits(model, data, preprocessing), data.labels)


def compute_logits(model: Mixer, data: DataSet, preprocessing: Preprocessing) -> np.ndarray:
    """Return the model's logits of all images in order, float32 [images, N]."""

    @jax.jit
    def forward(images_BxHxWx3: jax.Array) -> jax.Array:
        return model(normalise(images_BxHxWx3, preprocessing))[0]

    return collect_logits(forward, data, preprocessing)


def collect_logits(
    forward: Callable[[jax.Array], Any], data: DataSet, preprocessing: Preprocessing
) -> np.ndarray:
    """Do the same for any function from uint8 [B, S, S, 3] to logits [B, N]."""
    batches = evaluation_batches(data, preprocessing, BATCH_SIZE)
    return np.concatenate([np.asarray(forward(jnp.asarray(images))) for images, _ in batches])


def measure(logits_BxN: np.ndarray, labels_B: np.ndarray, bins: int = BINS) -> Evaluation:
    """Compute the measures; `trainer.measures` says what ties and NaN count as.

    Raises:
        ValueError: fewer than one calibration bin.
    """
    loss = optax.softmax_cross_entropy_with_integer_labels(logits_BxN, labels_B).mean()
    return Evaluation(
        images=len(labels_B),
        accuracy=float(top_k_hits(logits_BxN, labels_B).mean()),
        top5_accuracy=float(top_k_hits(logits_BxN, labels_B, k=5).mean()),
        loss=float(loss),
        calibration_error=calibration_error(reliability_bins(logits_BxN, labels_B, bins)),
    )
