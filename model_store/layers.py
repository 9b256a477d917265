"""Layers that the Mixer shares with the networks it is compared with, and how they are computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

Activation = Callable[[jax.Array], jax.Array]


def gelu(kind: Literal["tanh", "erf"]) -> Activation:
    """Return the GELU: `tanh` as in the authors' JAX code, `erf` as in PyTorch."""
    return _gelu_tanh if kind == "tanh" else _gelu_erf


# Of a module, not made for each model: graphs of one config must be equal, or jit traces each anew.
def _gelu_tanh(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=True)


def _gelu_erf(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)


@dataclass(frozen=True)
class Execution:
    """How a network is computed, beside its parameters; nothing of it belongs to a checkpoint.

    Dropout and stochastic depth act only on calls with a key (paper section 3).
    """

    dropout: float = 0.0
    """Drop rate after each dense layer of the MLPs."""
    stochastic_depth: float = 0.0
    """Largest drop rate of a block's branches, drawn per example."""
    stochastic_depth_rule: Literal["ramp", "constant"] = "ramp"
    """`ramp` rises linearly from 0 in the first block and leaves survivors as they are (authors);
    `constant` is one rate for all blocks and divides survivors by their share (timm)."""
    dtype: jnp.dtype | None = None
    """Type of the computation; parameters stay float32. None: float32."""
    rematerialise: bool = False
    """Compute each block anew in the backward pass instead of keeping its activations."""

    def drop_rate(self, block: int, depth: int) -> float:
        """Return the drop rate of all branches of this block (spec section 3.4)."""
        ramp = self.stochastic_depth_rule == "ramp"
        return self.stochastic_depth * (block / max(depth - 1, 1) if ramp else 1)


class Mlp(nnx.Module):
    """Dense, GELU, Dense on the last axis: [..., width] -> [..., out], by default the width."""

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: Activation,
        execution: Execution,
        rngs: nnx.Rngs,
        *,
        out: int | None = None,
    ) -> None:
        self.dense_0 = nnx.Linear(width, hidden, dtype=execution.dtype, rngs=rngs)
        self.dense_1 = nnx.Linear(hidden, out or width, dtype=execution.dtype, rngs=rngs)
        self.activation = activation
        self.dropout = execution.dropout

    def __call__(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        """Apply the MLP; with a `key`, drop hidden and output units at the rate `dropout`."""
        hidden = self.activation(self.dense_0(x))
        if key is None or not self.dropout:
            return self.dense_1(hidden)
        key_hidden, key_out = jax.random.split(key)
        hidden = _dropout(hidden, self.dropout, key_hidden)
        return _dropout(self.dense_1(hidden), self.dropout, key_out)


def _dropout(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0)


@dataclass(frozen=True)
class BranchDrop:
    """Stochastic depth of one block: whole examples lose a branch, and keep the skip alone."""

    rate: float
    rescale: bool

    def __call__(self, branch: jax.Array, key: jax.Array | None) -> jax.Array:
        """Zero the branch [B, ...] of some examples; of none without a key."""
        if key is None or not self.rate:
            return branch
        kept_share = 1 - self.rate
        kept = jax.random.bernoulli(key, kept_share, (len(branch), *[1] * (branch.ndim - 1)))
        branch = branch * kept.astype(branch.dtype)
        return branch / kept_share if self.rescale else branch


class Block(Protocol):
    """What a network stacks: [B, ...] and a key to the next block's input."""

    def __call__(self, x: jax.Array, key: jax.Array | None, /) -> jax.Array:
        """Compute the block."""


BlockT = TypeVar("BlockT", bound=Block)


def run_blocks(
    blocks: Sequence[BlockT], x: jax.Array, key: jax.Array | None, *, rematerialise: bool
) -> jax.Array:
    """Compute one block after the other, each with a key of its own."""
    for i, block in enumerate(blocks):
        key_block = None if key is None else jax.random.fold_in(key, i)
        call = type(block).__call__
        x = (nnx.remat(call) if rematerialise else call)(block, x, key_block)
    return x


def patch_stem(patch_size: int, width: int, execution: Execution, rngs: nnx.Rngs) -> nnx.Conv:
    """Return the convolution that maps each patch to a token: [B, H, W, 3] -> [B, G, G, C]."""
    patch = (patch_size, patch_size)
    return nnx.Conv(
        3, width, patch, strides=patch, padding="VALID", dtype=execution.dtype, rngs=rngs
    )


def zero_head(
    width: int, num_classes: int, execution: Execution, rngs: nnx.Rngs
) -> nnx.Linear | None:
    """Return the classifier, zero so that an untrained network's logits are; None for 0 classes."""
    if not num_classes:
        return None
    zeros = nnx.initializers.zeros_init()
    return nnx.Linear(width, num_classes, kernel_init=zeros, dtype=execution.dtype, rngs=rngs)


def classify(head: nnx.Linear | None, embedding_BxC: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the logits [B, N] of the head and the embedding, in float32."""
    if head is None:
        return jnp.zeros((len(embedding_BxC), 0), jnp.float32), embedding_BxC
    return head(embedding_BxC).astype(jnp.float32), embedding_BxC


def check_images(images_BxHxWx3: jax.Array, size: int) -> None:
    """Refuse images of another size.

    Raises:
        ValueError: the images are not [B, size, size, 3].
    """
    if images_BxHxWx3.shape[1:] != (size, size, 3):
        msg = f"images have shape {images_BxHxWx3.shape[1:]}, the model takes ({size}, {size}, 3)"
        raise ValueError(msg)
