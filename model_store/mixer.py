"""MLP-Mixer in flax.nnx (arXiv 2105.01601, section 2 and Figure 1).

image -> stem (patches to tokens) -> L blocks (mix tokens, mix channels) -> LayerNorm -> mean over
the tokens (the embedding) -> head (the logits).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model_store.parameters import check_parameters
from model_store.variants import MixerConfig


def gelu(config: MixerConfig) -> Callable[[jax.Array], jax.Array]:
    """Return the checkpoint's GELU: `tanh` as in the authors' JAX code, `erf` as in PyTorch."""
    return _gelu_tanh if config.gelu == "tanh" else _gelu_erf


# Of a module, not made for each model: graphs of one config must be equal, or jit traces each anew.
def _gelu_tanh(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=True)


def _gelu_erf(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)


@dataclass(frozen=True)
class Execution:
    """How a Mixer is computed, beside its parameters; nothing of it belongs to a checkpoint.

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
        """Return the drop rate of both branches of this block (spec section 3.4)."""
        ramp = self.stochastic_depth_rule == "ramp"
        return self.stochastic_depth * (block / max(depth - 1, 1) if ramp else 1)


class Mlp(nnx.Module):
    """Dense, GELU, Dense on the last axis: [..., width] -> [..., width]."""

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: Callable[[jax.Array], jax.Array],
        execution: Execution,
        rngs: nnx.Rngs,
    ) -> None:
        self.dense_0 = nnx.Linear(width, hidden, dtype=execution.dtype, rngs=rngs)
        self.dense_1 = nnx.Linear(hidden, width, dtype=execution.dtype, rngs=rngs)
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


class MixerBlock(nnx.Module):
    """One token-mixing and one channel-mixing MLP, each pre-normed with a skip connection."""

    def __init__(
        self, config: MixerConfig, execution: Execution, drop_rate: float, rngs: nnx.Rngs
    ) -> None:
        def mlp(width: int, hidden: int) -> Mlp:
            return Mlp(width, hidden, gelu(config), execution, rngs)

        self.layer_norm_0 = _layer_norm(config, execution, rngs)
        self.token_mixing = mlp(config.tokens, config.token_mlp_width)
        self.layer_norm_1 = _layer_norm(config, execution, rngs)
        self.channel_mixing = mlp(config.width, config.channel_mlp_width)
        self.drop_rate = drop_rate
        self.rescale = execution.stochastic_depth_rule == "constant"

    def __call__(self, x_BxSxC: jax.Array, key: jax.Array | None) -> jax.Array:
        """Mix the tokens of each channel, then the channels of each token."""
        keys = [None] * 4 if key is None else list(jax.random.split(key, 4))
        y_BxCxS = self.layer_norm_0(x_BxSxC).swapaxes(1, 2)
        y_BxSxC = self.token_mixing(y_BxCxS, keys[0]).swapaxes(1, 2)
        x_BxSxC = x_BxSxC + self._drop(y_BxSxC, keys[1])
        y_BxSxC = self.channel_mixing(self.layer_norm_1(x_BxSxC), keys[2])
        return x_BxSxC + self._drop(y_BxSxC, keys[3])

    def _drop(self, y_BxSxC: jax.Array, key: jax.Array | None) -> jax.Array:
        """Drop whole examples' branches."""
        if key is None or not self.drop_rate:
            return y_BxSxC
        kept = 1 - self.drop_rate
        kept_Bx1x1 = jax.random.bernoulli(key, kept, (y_BxSxC.shape[0], 1, 1))
        y_BxSxC = y_BxSxC * kept_Bx1x1.astype(y_BxSxC.dtype)
        return y_BxSxC / kept if self.rescale else y_BxSxC


class Mixer(nnx.Module):
    """The network of `config`, freshly initialised (spec section 1.3) from `rngs`.

    Kernels are LeCun normal and the head is zero, so that an untrained model's logits are zero.
    Parameters are float32.
    """

    def __init__(
        self, config: MixerConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs
    ) -> None:
        self.config, self.rematerialise = config, execution.rematerialise
        patch = (config.patch_size, config.patch_size)
        self.stem = nnx.Conv(
            3, config.width, patch, strides=patch, padding="VALID", dtype=execution.dtype, rngs=rngs
        )
        self.blocks = nnx.List(
            MixerBlock(config, execution, execution.drop_rate(i, config.depth), rngs)
            for i in range(config.depth)
        )
        self.pre_head_layer_norm = _layer_norm(config, execution, rngs)
        self.head = _head(config, execution, rngs) if config.num_classes else None

    def __call__(
        self, x_BxHxWx3: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return logits [B, N] and the embedding [B, C], the pooled pre-logits, in float32.

        Args:
            x_BxHxWx3: images of the configured size, normalised to the checkpoint's input range.
            key: randomness of dropout and stochastic depth; without it the call is deterministic.

        Raises:
            ValueError: the images are not of the configured size.
        """
        size = self.config.image_size
        if x_BxHxWx3.shape[1:] != (size, size, 3):
            msg = f"images have shape {x_BxHxWx3.shape[1:]}, the model takes ({size}, {size}, 3)"
            raise ValueError(msg)
        x_BxGxGxC = self.stem(x_BxHxWx3)
        x_BxSxC = x_BxGxGxC.reshape(x_BxGxGxC.shape[0], self.config.tokens, self.config.width)
        for i, block in enumerate(self.blocks):
            key_block = None if key is None else jax.random.fold_in(key, i)
            run = nnx.remat(MixerBlock.__call__) if self.rematerialise else MixerBlock.__call__
            x_BxSxC = run(block, x_BxSxC, key_block)
        # Normalise every token, then average: the other order is another model (spec section 1.1).
        tokens_BxSxC = self.pre_head_layer_norm(x_BxSxC)
        embedding_BxC = tokens_BxSxC.mean(axis=1, dtype=jnp.float32)
        if self.head is None:
            return jnp.zeros((embedding_BxC.shape[0], 0), jnp.float32), embedding_BxC
        return self.head(embedding_BxC).astype(jnp.float32), embedding_BxC


def named_parameters(state: nnx.State[Any, Any]) -> dict[str, np.ndarray]:
    """Return the parameters of `nnx.state(model, nnx.Param)` under their names in the store."""
    return {
        parameter_name(path): np.asarray(variable[...])
        for path, variable in nnx.to_flat_state(state)
    }


def parameter_name(path: Sequence[Any]) -> str:
    """Return the store's name of the parameter at this path of the nnx module.

    >>> parameter_name(("blocks", 10, "token_mixing", "dense_0", "kernel"))
    'MixerBlock_10/token_mixing/Dense_0/kernel'
    """
    if path[0] == "blocks":
        path = (f"MixerBlock_{path[1]}", *path[2:])
    renamed = [
        str(part).replace("layer_norm_", "LayerNorm_").replace("dense_", "Dense_")
        if part != "pre_head_layer_norm"
        else part
        for part in path
    ]
    return "/".join(str(part) for part in renamed)


def load_mixer(
    config: MixerConfig, arrays: Mapping[str, np.ndarray], execution: Execution = Execution()
) -> Mixer:
    """Build the network of `config` with these parameters, as float32.

    Raises:
        ParameterMismatch: the arrays are not exactly this architecture's parameters.
    """
    return nnx.merge(*load_state(config, arrays, execution))


def load_state(
    config: MixerConfig, arrays: Mapping[str, np.ndarray], execution: Execution = Execution()
) -> tuple[nnx.GraphDef[Mixer], nnx.State[Any, Any]]:
    """Return what `load_mixer` merges.

    Merged outside jit, flax leaves the arrays in reference cycles until the garbage collector
    comes by; a state alone is freed at once.

    Raises:
        ParameterMismatch: the arrays are not exactly this architecture's parameters.
    """
    check_parameters(config, arrays)
    # Shapes alone: no time is spent on drawing initial values that are replaced at once.
    graph, shapes = nnx.split(nnx.eval_shape(lambda: Mixer(config, execution, rngs=nnx.Rngs(0))))

    def load(path: Sequence[Any], _: jax.ShapeDtypeStruct) -> jax.Array:
        *keys, _value = path
        return jnp.asarray(arrays[parameter_name([step.key for step in keys])], jnp.float32)

    return graph, jax.tree_util.tree_map_with_path(load, shapes)


def _layer_norm(config: MixerConfig, execution: Execution, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(
        config.width, epsilon=config.layer_norm_epsilon, dtype=execution.dtype, rngs=rngs
    )


def _head(config: MixerConfig, execution: Execution, rngs: nnx.Rngs) -> nnx.Linear:
    zeros = nnx.initializers.zeros_init()
    return nnx.Linear(
        config.width, config.num_classes, kernel_init=zeros, dtype=execution.dtype, rngs=rngs
    )


def _dropout(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0)
