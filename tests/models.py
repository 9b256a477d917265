"""Small Mixers for tests: every dimension different, a random value in every parameter."""

from datetime import UTC, datetime

import numpy as np

from model_store.checkpoint import Checkpoint, make_checkpoint
from model_store.manifest import Provenance
from model_store.parameters import parameter_shapes
from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig

TINY = MixerConfig(
    image_size=12,
    patch_size=4,
    width=10,
    depth=2,
    token_mlp_width=7,
    channel_mlp_width=13,
    num_classes=6,
)
TINY_LABELS = ("ant", "bee", "cat", "dog", "elk", "fox")


def random_parameters(config: MixerConfig, seed: int) -> dict[str, np.ndarray]:
    """Return float32 parameters that keep activations near 1 at any depth."""
    rng = np.random.default_rng(seed)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        values = rng.standard_normal(shape)
        if name.endswith("/kernel"):
            values /= np.sqrt(np.prod(shape[:-1]))
        elif name.endswith("/scale"):
            values = 1 + 0.3 * values
        return values.astype(np.float32)

    return {name: draw(name, shape) for name, shape in parameter_shapes(config).items()}


def square_pipeline(config: MixerConfig) -> Preprocessing:
    """Return pipeline (ii) without a margin around the crop."""
    return Preprocessing(
        resize="shorter_side", resize_size=config.image_size, crop_size=config.image_size
    )


def random_checkpoint(
    config: MixerConfig = TINY, *, seed: int = 0, labels: tuple[str, ...] = TINY_LABELS
) -> Checkpoint:
    """Return a publishable version of a random network."""
    return make_checkpoint(
        config,
        square_pipeline(config),
        labels=labels,
        arrays=random_parameters(config, seed),
        provenance=Provenance(
            created_at=datetime(2026, 1, 1, tzinfo=UTC), source="test", command="pytest"
        ),
    )
