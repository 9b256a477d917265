"""MLP-Mixer in flax.nnx (arXiv 2105.01601, section 2 and Figure 1).

image -> stem (patches to tokens) -> L blocks (mix tokens, mix channels) -> LayerNorm -> mean over
the tokens (the embedding) -> head (the logits).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model_store.parameters import check_parameters
from model_store.variants import MixerConfig


def gelu(config: MixerConfig) -> Callable[[jax.Array], jax.Array]:
    """Return the checkpoint's GELU: `tanh` as in the authors' JAX code, `erf` as in PyTorch."""
    return lambda x: jax.nn.gelu(x, approximate=config.gelu == "tanh")


class Mlp(nnx.Module):
    """Dense, GELU, Dense on the last axis: [..., width] -> [..., width]."""

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: Callable[[jax.Array], jax.Array],
        *,
        dropout: float,
        dtype: jnp.dtype | None,
        rngs: nnx.Rngs,
    ) -> None:
        self.dense_0 = nnx.Linear(width, hidden, dtype=dtype, rngs=rngs)
        self.dense_1 = nnx.Linear(hidden, width, dtype=dtype, rngs=rngs)
        self.activation = activation
        self.dropout = dropout

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
        self,
        config: MixerConfig,
        *,
        dropout: float,
        drop_path: float,
        dtype: jnp.dtype | None,
        rngs: nnx.Rngs,
    ) -> None:
        def norm() -> nnx.LayerNorm:
            return nnx.LayerNorm(
                config.width, epsilon=config.layer_norm_epsilon, dtype=dtype, rngs=rngs
            )

        def mlp(width: int, hidden: int) -> Mlp:
            return Mlp(width, hidden, gelu(config), dropout=dropout, dtype=dtype, rngs=rngs)

        self.layer_norm_0 = norm()
        self.token_mixing = mlp(config.tokens, config.token_mlp_width)
        self.layer_norm_1 = norm()
        self.channel_mixing = mlp(config.width, config.channel_mlp_width)
        self.drop_path = drop_path

    def __call__(self, x_BxSxC: jax.Array, key: jax.Array | None) -> jax.Array:
        """Mix the tokens of each channel, then the channels of each token."""
        keys = [None] * 4 if key is None else list(jax.random.split(key, 4))
        y_BxCxS = self.layer_norm_0(x_BxSxC).swapaxes(1, 2)
        y_BxSxC = self.token_mixing(y_BxCxS, keys[0]).swapaxes(1, 2)
        x_BxSxC = x_BxSxC + _drop_path(y_BxSxC, self.drop_path, keys[1])
        y_BxSxC = self.channel_mixing(self.layer_norm_1(x_BxSxC), keys[2])
        return x_BxSxC + _drop_path(y_BxSxC, self.drop_path, keys[3])


class Mixer(nnx.Module):
    """The network of `config`, freshly initialised (spec section 1.3) from `rngs`.

    Kernels are LeCun normal and the head is zero, so that an untrained model's logits are zero.
    Parameters are float32; `dtype` is that of the computation (default: float32). The two rates
    act only on calls with a key: `dropout` after each dense layer of the MLPs, and
    `stochastic_depth`, the drop rate of the last block's branches, rising linearly from 0 in the
    first (paper section 3).
    """

    def __init__(
        self,
        config: MixerConfig,
        *,
        rngs: nnx.Rngs,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        dtype: jnp.dtype | None = None,
    ) -> None:
        self.config = config
        patch = (config.patch_size, config.patch_size)
        self.stem = nnx.Conv(
            3, config.width, patch, strides=patch, padding="VALID", dtype=dtype, rngs=rngs
        )
        last = max(config.depth - 1, 1)
        self.blocks = nnx.List(
            MixerBlock(
                config,
                dropout=dropout,
                drop_path=stochastic_depth * i / last,
                dtype=dtype,
                rngs=rngs,
            )
            for i in range(config.depth)
        )
        self.pre_head_layer_norm = nnx.LayerNorm(
            config.width, epsilon=config.layer_norm_epsilon, dtype=dtype, rngs=rngs
        )
        zeros = nnx.initializers.zeros_init()
        self.head = (
            nnx.Linear(config.width, config.num_classes, kernel_init=zeros, dtype=dtype, rngs=rngs)
            if config.num_classes
            else None
        )

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
            x_BxSxC = block(x_BxSxC, None if key is None else jax.random.fold_in(key, i))
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


def load_mixer(config: MixerConfig, arrays: Mapping[str, np.ndarray]) -> Mixer:
    """Build the network of `config` with these parameters, as float32.

    Raises:
        ParameterMismatch: the arrays are not exactly this architecture's parameters.
    """
    check_parameters(config, arrays)
    # Shapes alone: no time is spent on drawing initial values that are replaced at once.
    graph, state = nnx.split(nnx.eval_shape(lambda: Mixer(config, rngs=nnx.Rngs(0))))
    loaded = nnx.map_state(
        lambda path, variable: variable.replace(
            jnp.asarray(arrays[parameter_name(path)], jnp.float32)
        ),
        state,
    )
    return nnx.merge(graph, loaded)


def _dropout(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0)


def _drop_path(y_BxSxC: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Drop whole examples' branches; survivors are not rescaled (the authors' rule)."""
    if key is None or not rate:
        return y_BxSxC
    kept_Bx1x1 = jax.random.bernoulli(key, 1 - rate, (y_BxSxC.shape[0], 1, 1))
    return y_BxSxC * kept_Bx1x1.astype(y_BxSxC.dtype)
