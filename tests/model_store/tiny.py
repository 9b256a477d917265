"""A Mixer so small that its tests take milliseconds, with no two dimensions alike."""

import numpy as np

from model_store.parameters import parameter_shapes
from model_store.variants import MixerConfig

# S = 9 tokens; equal dimensions would hide a forgotten transposition.
TINY = MixerConfig(
    image_size=12,
    patch_size=4,
    width=5,
    depth=3,
    token_mlp_width=7,
    channel_mlp_width=11,
    num_classes=6,
)


def random_arrays(config: MixerConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Return float32 parameters with a random value everywhere, LayerNorms and biases included.

    Kernels are scaled by their inputs, so that activations stay near 1 in a network of any depth.
    """
    rng = np.random.default_rng(seed)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        values = rng.standard_normal(shape)
        if name.endswith("/kernel"):
            return np.asarray(values / np.sqrt(np.prod(shape[:-1])))
        return values * 0.3 + (1 if name.endswith("/scale") else 0)

    shapes = parameter_shapes(config)
    return {name: draw(name, shape).astype(np.float32) for name, shape in shapes.items()}


def random_images(config: MixerConfig, batch: int, seed: int = 1) -> np.ndarray:
    """Return float32 images [batch, H, W, 3] with values in -1..1."""
    size = config.image_size
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (batch, size, size, 3)).astype(np.float32)
