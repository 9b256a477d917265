"""The two losses of the paper's family (spec section 4.2)."""

from collections.abc import Callable
from typing import Literal

import jax
import optax

LossName = Literal["softmax", "sigmoid"]
Loss = Callable[[jax.Array, jax.Array], jax.Array]


def loss_function(name: LossName) -> Loss:
    """Return (logits [B, N], targets [B, N] in [0, 1]) -> mean over the batch, in nats.

    `softmax` takes targets as shares of one choice. `sigmoid` takes each class as a question of
    its own and sums over the classes, as the authors' pre-training does.
    """
    return _softmax if name == "softmax" else _sigmoid


def _softmax(logits_BxN: jax.Array, targets_BxN: jax.Array) -> jax.Array:
    loss: jax.Array = optax.softmax_cross_entropy(logits_BxN, targets_BxN).mean()
    return loss


def _sigmoid(logits_BxN: jax.Array, targets_BxN: jax.Array) -> jax.Array:
    losses_BxN: jax.Array = optax.sigmoid_binary_cross_entropy(logits_BxN, targets_BxN)
    return losses_BxN.sum(axis=-1).mean()
