"""What the training step asks of a network."""

from collections.abc import Callable
from typing import Protocol

import jax
from flax import nnx

from model_store.layers import Execution


class Network(Protocol):
    """A flax.nnx module that classifies images, and whose classifier is its `head`."""

    @property
    def head(self) -> nnx.Linear | None:
        """The last layer, whose bias a run may set."""

    def __call__(
        self, images_BxHxWx3: jax.Array, key: jax.Array | None = None, /
    ) -> tuple[jax.Array, jax.Array]:
        """Return logits [B, N] and features [B, C] of images float32 [B, H, W, 3]."""


NetworkBuilder = Callable[[Execution, nnx.Rngs], Network]


def parameter_count(network: Network) -> int:
    """Return the number of parameters, also of the shapes that `nnx.eval_shape` gives."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))
