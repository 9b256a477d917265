"""Small published versions for tests of what serves them, with no two dimensions alike."""

from datetime import UTC, datetime

from model_store.assembly import make_checkpoint
from model_store.checkpoint import Checkpoint
from model_store.manifest import Provenance
from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig
from tests.model_store.tiny import random_arrays

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
        arrays=random_arrays(config, seed),
        provenance=Provenance(
            created_at=datetime(2026, 1, 1, tzinfo=UTC), source="test", command="pytest"
        ),
    )
