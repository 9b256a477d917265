"""A Vision Transformer (arXiv 2010.11929) that differs from the Mixer in its token mixing alone."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
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

LAYER_NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class VitConfig:
    """What a Vision Transformer is: sizes in pixels, widths in channels.

    Raises:
        ValueError: the patch does not tile the image, or the heads do not share the channels.
    """

    image_size: int
    patch_size: int
    hidden_dim: int
    mlp_dim: int
    heads: int
    num_layers: int
    num_classes: int

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            msg = f"image_size {self.image_size} is no multiple of patch_size {self.patch_size}"
            raise ValueError(msg)
        if self.hidden_dim % self.heads:
            msg = f"hidden_dim {self.hidden_dim} is no multiple of heads {self.heads}"
            raise ValueError(msg)

    @property
    def tokens(self) -> int:
        """S, the number of patches of an image."""
        return (self.image_size // self.patch_size) ** 2


class VitBlock(nnx.Module):
    """Self-attention and an MLP on each token, each pre-normed with a skip connection."""

    def __init__(
        self, config: VitConfig, execution: Execution, drop_rate: float, rngs: nnx.Rngs
    ) -> None:
        self.layer_norm_0 = _layer_norm(config, execution, rngs)
        self.attention = nnx.MultiHeadAttention(
            config.heads,
            config.hidden_dim,
            dtype=execution.dtype,
            decode=False,
            keep_rngs=False,
            rngs=rngs,
        )
        self.layer_norm_1 = _layer_norm(config, execution, rngs)
        self.channel_mixing = Mlp(config.hidden_dim, config.mlp_dim, gelu("tanh"), execution, rngs)
        self.drop = BranchDrop(drop_rate, rescale=execution.stochastic_depth_rule == "constant")

    def __call__(self, x_BxSxC: jax.Array, key: jax.Array | None) -> jax.Array:
        """Let the tokens attend to each other, then mix the channels of each."""
        keys = [None] * 3 if key is None else list(jax.random.split(key, 3))
        y_BxSxC = self.attention(self.layer_norm_0(x_BxSxC))
        x_BxSxC = x_BxSxC + self.drop(y_BxSxC, keys[0])
        y_BxSxC = self.channel_mixing(self.layer_norm_1(x_BxSxC), keys[1])
        return x_BxSxC + self.drop(y_BxSxC, keys[2])


class VisionTransformer(nnx.Module):
    """The Vision Transformer of `config`, freshly initialised from `rngs`.

    Stem, MLPs, norms, mean over the tokens, head and initialisation are the Mixer's. Attention
    takes the place of the token MLP, and learned positions that of its order of the tokens. There
    is no class token. Dropout acts in the MLPs alone, as in the Mixer.
    """

    def __init__(
        self, config: VitConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs
    ) -> None:
        self.config, self.rematerialise = config, execution.rematerialise
        self.stem = patch_stem(config.patch_size, config.hidden_dim, execution, rngs)
        draw = nnx.initializers.normal(0.02)
        self.positions_SxC = nnx.Param(draw(rngs.params(), (config.tokens, config.hidden_dim)))
        self.blocks = nnx.List(
            VitBlock(config, execution, execution.drop_rate(i, config.num_layers), rngs)
            for i in range(config.num_layers)
        )
        self.pre_head_layer_norm = _layer_norm(config, execution, rngs)
        self.head = zero_head(config.hidden_dim, config.num_classes, execution, rngs)

    def __call__(
        self, images_BxHxWx3: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return logits [B, N] and features [B, C], the averaged tokens, in float32.

        Args:
            images_BxHxWx3: float32 images of the configured size.
            key: randomness of dropout and stochastic depth; without it the call is deterministic.

        Raises:
            ValueError: the images are not of the configured size.
        """
        check_images(images_BxHxWx3, self.config.image_size)
        patches_BxGxGxC = self.stem(images_BxHxWx3)
        patches_BxSxC = patches_BxGxGxC.reshape(len(images_BxHxWx3), *self.positions_SxC.shape)
        x_BxSxC = patches_BxSxC + self.positions_SxC.astype(patches_BxSxC.dtype)
        x_BxSxC = run_blocks(self.blocks, x_BxSxC, key, rematerialise=self.rematerialise)
        tokens_BxSxC = self.pre_head_layer_norm(x_BxSxC)
        return classify(self.head, tokens_BxSxC.mean(axis=1, dtype=jnp.float32))


def _layer_norm(config: VitConfig, execution: Execution, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(
        config.hidden_dim, epsilon=LAYER_NORM_EPSILON, dtype=execution.dtype, rngs=rngs
    )
