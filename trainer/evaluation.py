"""How good a Mixer is on a data set: top-1 and top-5 accuracy, and the loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from model_store.mixer import Mixer
from model_store.preprocess import Preprocessing, normalise
from trainer.data import DataSet, evaluation_batches

BATCH_SIZE = 250


@dataclass(frozen=True)
class Evaluation:
    """Measures on one data set; accuracies are shares in [0, 1], the loss is in nats."""

    images: int
    accuracy: float
    top5_accuracy: float
    loss: float


def evaluate(model: Mixer, data: DataSet, preprocessing: Preprocessing) -> Evaluation:
    """Run the whole data set through the model, deterministically."""

    @jax.jit
    def forward(images_BxHxWx3: jax.Array) -> jax.Array:
        return model(normalise(images_BxHxWx3, preprocessing))[0]

    return evaluate_logits(forward, data, preprocessing)


def evaluate_logits(
    forward: Callable[[jax.Array], Any], data: DataSet, preprocessing: Preprocessing
) -> Evaluation:
    """Do the same for any function from uint8 [B, S, S, 3] to logits [B, N]."""
    logits, labels = [], []
    for images, batch_labels in evaluation_batches(data, preprocessing, BATCH_SIZE):
        logits.append(np.asarray(forward(jnp.asarray(images))))
        labels.append(batch_labels)
    return measure(np.concatenate(logits), np.concatenate(labels))


def measure(logits_BxN: np.ndarray, labels_B: np.ndarray) -> Evaluation:
    """Compute the measures; a tie with the true class, or a NaN, counts as a miss."""
    true_B = np.take_along_axis(logits_BxN, labels_B[:, None], axis=1)
    rivals_B = (~(logits_BxN < true_B)).sum(axis=1) - 1
    loss = optax.softmax_cross_entropy_with_integer_labels(logits_BxN, labels_B).mean()
    return Evaluation(
        images=len(labels_B),
        accuracy=float((rivals_B == 0).mean()),
        top5_accuracy=float((rivals_B < 5).mean()),
        loss=float(loss),
    )
