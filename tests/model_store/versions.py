"""Small versions to publish: they are whole for the store, which looks at no parameter."""

from datetime import UTC, datetime

from model_store.checkpoint import Checkpoint
from model_store.manifest import PARAMETERS_FILE, GoldenImage, Manifest, Provenance, record
from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig

CONFIG = MixerConfig(
    image_size=12,
    patch_size=4,
    width=5,
    depth=2,
    token_mlp_width=7,
    channel_mlp_width=11,
    num_classes=6,
)
PREPROCESSING = Preprocessing(resize="shorter_side", resize_size=14, crop_size=12)
PROVENANCE = Provenance(
    created_at=datetime(2021, 5, 4, tzinfo=UTC), source="a test", command="pytest"
)
GOLDEN_FILE = "golden/0.png"


def version(parameters: bytes = b"the parameters") -> Checkpoint:
    """Return a version of three files, the manifest with it, that differs in its parameters."""
    files = {PARAMETERS_FILE: parameters, GOLDEN_FILE: b"a picture"}
    manifest = Manifest(
        architecture=CONFIG,
        preprocessing=PREPROCESSING,
        labels=("ant", "bee", "cow", "dog", "eel", "fox"),
        dtype="float32",
        provenance=PROVENANCE,
        golden=(GoldenImage(file=GOLDEN_FILE, logits=(0.5,) * 6, embedding=(0.25,) * 5),),
        files={name: record(data) for name, data in files.items()},
    )
    return Checkpoint(manifest, files)
