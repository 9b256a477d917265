"""MLP-Mixer in flax.nnx (arXiv 2105.01601, section 2 and Figure 1).

image -> stem (patches to tokens) -> L blocks (mix tokens, mix channels) -> LayerNorm -> mean over
the tokens (the embedding) -> head (the logits).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model_store.layers import (
    BranchDrop,
    Execution,
    Mlp,
    check_images,
    classify,
    gelu,
    patch_stem,
    run_blocks,
    zero_head,
)
from model_store.parameters import check_parameters
from model_store.variants import MixerConfig


class TokenMixing(Protocol):
    """What mixes the tokens of each channel: [B, C, S] and a key to [B, C, S]."""

    def __call__(self, x_BxCxS: jax.Array, key: jax.Array | None, /) -> jax.Array:
        """Mix the tokens; a key is the randomness of dropout."""


class MixerBlock(nnx.Module):
    """One token-mixing and one channel-mixing MLP, each pre-normed with a skip connection."""

    def __init__(
        self,
        config: MixerConfig,
        execution: Execution,
        drop_rate: float,
        rngs: nnx.Rngs,
        *,
        token_mixing: TokenMixing | None = None,
    ) -> None:
        def mlp(width: int, hidden: int) -> Mlp:
            return Mlp(width, hidden, gelu(config.gelu), execution, rngs)

        self.layer_norm_0 = _layer_norm(config, execution, rngs)
        self.token_mixing = token_mixing or mlp(config.tokens, config.token_mlp_width)
        self.layer_norm_1 = _layer_norm(config, execution, rngs)
        self.channel_mixing = mlp(config.width, config.channel_mlp_width)
        self.drop = BranchDrop(drop_rate, rescale=execution.stochastic_depth_rule == "constant")

    def __call__(self, x_BxSxC: jax.Array, key: jax.Array | None) -> jax.Array:
        """Mix the tokens of each channel, then the channels of each token."""
        keys = [None] * 4 if key is None else list(jax.random.split(key, 4))
        y_BxCxS = self.layer_norm_0(x_BxSxC).swapaxes(1, 2)
        y_BxSxC = self.token_mixing(y_BxCxS, keys[0]).swapaxes(1, 2)
        x_BxSxC = self.skip(x_BxSxC) + self.drop(y_BxSxC, keys[1])
        y_BxSxC = self.channel_mixing(self.layer_norm_1(x_BxSxC), keys[2])
        return x_BxSxC + self.drop(y_BxSxC, keys[3])

    def skip(self, x_BxSxC: jax.Array) -> jax.Array:
        """Return what the mixed tokens are added to."""
        return x_BxSxC


class Mixer(nnx.Module):
    """The network of `config`, freshly initialised (spec section 1.3) from `rngs`.

    Kernels are LeCun normal and the head is zero, so that an untrained model's logits are zero.
    Parameters are float32. Its relatives are made of other blocks, which `block` builds by number.
    """

    def __init__(
        self,
        config: MixerConfig,
        execution: Execution = Execution(),
        *,
        rngs: nnx.Rngs,
        block: Callable[[int], MixerBlock] | None = None,
    ) -> None:
        def mixer_block(i: int) -> MixerBlock:
            return MixerBlock(config, execution, execution.drop_rate(i, config.depth), rngs)

        self.config, self.rematerialise = config, execution.rematerialise
        self.stem = patch_stem(config.patch_size, config.width, execution, rngs)
        self.blocks = nnx.List(map(block or mixer_block, range(config.depth)))
        self.pre_head_layer_norm = _layer_norm(config, execution, rngs)
        self.head = zero_head(config.width, config.num_classes, execution, rngs)

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
        check_images(x_BxHxWx3, self.config.image_size)
        x_BxGxGxC = self.stem(x_BxHxWx3)
        x_BxSxC = x_BxGxGxC.reshape(x_BxGxGxC.shape[0], self.config.tokens, self.config.width)
        x_BxSxC = run_blocks(self.blocks, x_BxSxC, key, rematerialise=self.rematerialise)
        # Normalise every token, then average: the other order is another model (spec section 1.1).
        tokens_BxSxC = self.pre_head_layer_norm(x_BxSxC)
        return classify(self.head, tokens_BxSxC.mean(axis=1, dtype=jnp.float32))


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
