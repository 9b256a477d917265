"""One tiny network of each kind, with no two dimensions alike, and ways to set its parameters."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model_store.layers import Mlp
from model_store.mixer import Mixer, MixerBlock
from model_store.variants import MixerConfig
from trainer.networks import (
    GroupedMixer,
    NetworkBuilder,
    PyramidMixer,
    ResNet,
    ResNetConfig,
    UntiedMixer,
    VisionTransformer,
    VitConfig,
)

# S = 16 tokens.
CONFIG = MixerConfig(
    image_size=12,
    patch_size=3,
    width=6,
    depth=2,
    token_mlp_width=7,
    channel_mlp_width=11,
    num_classes=5,
)
RESNET = ResNetConfig(num_classes=5, width=6, blocks_per_stage=1, image_size=12)
VIT = VitConfig(
    image_size=12, patch_size=3, hidden_dim=6, mlp_dim=11, heads=2, num_layers=3, num_classes=5
)

NETWORKS: dict[str, NetworkBuilder] = {
    "untied": lambda execution, rngs: UntiedMixer(CONFIG, execution, rngs=rngs),
    "grouped": lambda execution, rngs: GroupedMixer(
        CONFIG, execution, groups=3, views="learned", rngs=rngs
    ),
    "pyramid": lambda execution, rngs: PyramidMixer(
        CONFIG, execution, tokens_after={1: 4}, rngs=rngs
    ),
    "resnet": lambda execution, rngs: ResNet(RESNET, execution, rngs=rngs),
    "vit": lambda execution, rngs: VisionTransformer(VIT, execution, rngs=rngs),
}

Module = TypeVar("Module")


def random_images(size: int, batch: int, seed: int = 1) -> np.ndarray:
    """Return float32 images [batch, size, size, 3] with values in -1..1."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (batch, size, size, 3)).astype(np.float32)


def drawn(build: Callable[[], Module], seed: int = 0) -> Module:
    """Build a module with a random value in every parameter, norms, biases and head included.

    Its own initial values are not computed: compiling that takes longer than all else here.
    """
    rng = np.random.default_rng(seed)
    graph, shapes = nnx.split(nnx.eval_shape(build))

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = path[-2].key
        scale = 1 / np.sqrt(np.prod(leaf.shape[:-1])) if name == "kernel" else 0.3
        values = rng.standard_normal(leaf.shape) * scale + (name == "scale")
        return jnp.asarray(values, jnp.float32)

    module: Module = nnx.merge(graph, jax.tree_util.tree_map_with_path(draw, shapes))
    return module


def copy_all_but_token_mixing(source: Mixer, target: Mixer) -> None:
    """Give `target` the parameters of `source` that every relative of the Mixer has."""

    def copy(source: nnx.Module, target: nnx.Module) -> None:
        nnx.update(target, nnx.state(source))

    assert source.head is not None
    assert target.head is not None
    copy(source.stem, target.stem)
    copy(source.pre_head_layer_norm, target.pre_head_layer_norm)
    copy(source.head, target.head)
    for old, new in zip(source.blocks, target.blocks, strict=True):
        copy(old.layer_norm_0, new.layer_norm_0)
        copy(old.layer_norm_1, new.layer_norm_1)
        copy(old.channel_mixing, new.channel_mixing)


def token_mlp(block: MixerBlock) -> Mlp:
    """Return the token MLP of a block of the Mixer itself."""
    assert isinstance(block.token_mixing, Mlp)
    return block.token_mixing


@nnx.jit
def _call(
    network: Callable[..., tuple[jax.Array, jax.Array]], images: jax.Array, key: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    return network(images, key)


def forward(
    network: Callable[..., tuple[jax.Array, jax.Array]],
    images: np.ndarray,
    key: jax.Array | None = None,
) -> np.ndarray:
    """Return the logits and features of the images, side by side."""
    return np.concatenate(_call(network, jnp.asarray(images), key), axis=1)
