"""A small pre-activation ResNet in the manner of BiT (arXiv 1912.11370), for small images."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

import jax
import jax.numpy as jnp
from flax import nnx

from model_store.layers import (
    BranchDrop,
    Execution,
    check_images,
    classify,
    run_blocks,
    zero_head,
)

STAGES = 3
MAX_NORM_GROUPS = 32
NORM_EPSILON = 1e-5
VARIANCE_EPSILON = 1e-10


@dataclass(frozen=True)
class ResNetConfig:
    """What a ResNet is: `width` channels in the first stage, twice as many in each next one."""

    num_classes: int
    width: int
    blocks_per_stage: int
    image_size: int


class StandardisedConv(nnx.Module):
    """A k·k convolution without bias; each filter is standardised when it is computed.

    Borders are padded with zeros by (k - 1)/2 on every side, at any stride.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        size: int,
        execution: Execution,
        rngs: nnx.Rngs,
        *,
        stride: int = 1,
    ) -> None:
        draw = nnx.initializers.lecun_normal()
        self.kernel = nnx.Param(draw(rngs.params(), (size, size, *channels)))
        self.stride, self.padding = stride, (size - 1) // 2
        self.dtype = execution.dtype

    def __call__(self, x_BxHxWxI: jax.Array) -> jax.Array:
        """Convolve: [B, H, W, I] -> [B, H/stride, W/stride, O], both rounded up."""
        kernel = self.kernel[...]
        # In float32 whatever the computation's type: the mean is small beside the deviation.
        centred = kernel - kernel.mean(axis=(0, 1, 2))
        kernel = centred * jax.lax.rsqrt(centred.var(axis=(0, 1, 2)) + VARIANCE_EPSILON)
        dtype = self.dtype or jnp.float32
        convolved: jax.Array = jax.lax.conv_general_dilated(
            x_BxHxWxI.astype(dtype),
            kernel.astype(dtype),
            (self.stride, self.stride),
            [(self.padding, self.padding)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return convolved


class ResNetBlock(nnx.Module):
    """Two 3·3 convolutions, each after a norm and a ReLU, with a skip connection.

    Where the shape changes, the skip is a 1·1 convolution of the first ReLU.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        stride: int,
        execution: Execution,
        drop_rate: float,
        rngs: nnx.Rngs,
    ) -> None:
        before, after = channels
        self.norm_0 = group_norm(before, execution, rngs)
        self.conv_0 = StandardisedConv(channels, 3, execution, rngs, stride=stride)
        self.norm_1 = group_norm(after, execution, rngs)
        self.conv_1 = StandardisedConv((after, after), 3, execution, rngs)
        self.projection = (
            StandardisedConv(channels, 1, execution, rngs, stride=stride)
            if stride > 1 or before != after
            else None
        )
        self.drop = BranchDrop(drop_rate, rescale=execution.stochastic_depth_rule == "constant")

    def __call__(self, x_BxHxWxC: jax.Array, key: jax.Array | None) -> jax.Array:
        """Compute the block."""
        first = jax.nn.relu(self.norm_0(x_BxHxWxC))
        skip = x_BxHxWxC if self.projection is None else self.projection(first)
        second = jax.nn.relu(self.norm_1(self.conv_0(first)))
        return skip + self.drop(self.conv_1(second), key)


class ResNet(nnx.Module):
    """The ResNet of `config`, freshly initialised from `rngs`: a network that sees neighbourhoods.

    A 3·3 convolution, three stages of two-convolution blocks, of which the second and the third
    halve the side, a norm and a ReLU, the mean over the places, and a head of zeros. As in BiT all
    filters are standardised, and GroupNorm normalises, so that no image depends on its batch.
    The groups are 32, or the largest divisor of 32 that divides the channels.

    Raises:
        ValueError: dropout is asked for; there is no MLP for it to act in.
    """

    def __init__(
        self, config: ResNetConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs
    ) -> None:
        if execution.dropout:
            msg = f"a ResNet has no MLP to drop units of: dropout is {execution.dropout}, not 0"
            raise ValueError(msg)
        widths = [config.width * 2**stage for stage in range(STAGES)]
        self.config, self.rematerialise = config, execution.rematerialise
        self.stem = StandardisedConv((3, widths[0]), 3, execution, rngs)
        self.blocks = nnx.List(_blocks(config, execution, rngs))
        self.final_norm = group_norm(widths[-1], execution, rngs)
        self.head = zero_head(widths[-1], config.num_classes, execution, rngs)

    def __call__(
        self, images_BxHxWx3: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return logits [B, N] and features [B, 4·width], the averaged places, in float32.

        Args:
            images_BxHxWx3: float32 images of the configured size.
            key: randomness of stochastic depth; without it the call is deterministic.

        Raises:
            ValueError: the images are not of the configured size.
        """
        check_images(images_BxHxWx3, self.config.image_size)
        x_BxHxWxC = self.stem(images_BxHxWx3)
        x_BxHxWxC = run_blocks(self.blocks, x_BxHxWxC, key, rematerialise=self.rematerialise)
        x_BxHxWxC = jax.nn.relu(self.final_norm(x_BxHxWxC))
        return classify(self.head, x_BxHxWxC.mean(axis=(1, 2), dtype=jnp.float32))


def _blocks(config: ResNetConfig, execution: Execution, rngs: nnx.Rngs) -> Iterator[ResNetBlock]:
    depth, before = STAGES * config.blocks_per_stage, config.width
    for i in range(depth):
        stage, place = divmod(i, config.blocks_per_stage)
        after, stride = config.width * 2**stage, 2 if stage and not place else 1
        rate = execution.drop_rate(i, depth)
        yield ResNetBlock((before, after), stride, execution, rate, rngs)
        before = after


def group_norm(channels: int, execution: Execution, rngs: nnx.Rngs) -> nnx.GroupNorm:
    """Return BiT's norm: 32 groups of channels, or as many of them as divide the channels."""
    groups = gcd(MAX_NORM_GROUPS, channels)
    return nnx.GroupNorm(
        channels, num_groups=groups, epsilon=NORM_EPSILON, dtype=execution.dtype, rngs=rngs
    )
