"""Table 1's architectures with random weights, published in a store as a checkpoint would be."""

from pathlib import Path

import numpy as np

from model_store.cli import main as store_command
from model_store.importers.npz import write_npz
from model_store.parameters import parameter_shapes
from model_store.variants import MixerConfig, variant_config

CLASSES, IMAGE_SIZE = 1000, 224


def architecture(variant: str) -> MixerConfig:
    """Return the variant for 1000 classes at 224 pixels.

    Raises:
        ValueError: the name is not in Table 1.
    """
    return variant_config(variant, num_classes=CLASSES, image_size=IMAGE_SIZE)


def random_weights(config: MixerConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Return float32 parameters, random everywhere: zeros, as in a new head, may be shortcuts.

    Kernels are scaled by their inputs, so that activations stay near 1 through all blocks.
    """
    rng = np.random.default_rng(seed)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        values = rng.standard_normal(shape, np.float32)
        if name.endswith("/kernel"):
            return np.asarray(values / np.float32(np.sqrt(np.prod(shape[:-1]))))
        return np.asarray(values * np.float32(0.3) + np.float32(name.endswith("/scale")))

    return {name: draw(name, shape) for name, shape in parameter_shapes(config).items()}


def model_name(variant: str) -> str:
    """Return the name under which a variant is published: S/32 is mixer-s32."""
    return f"mixer-{variant.replace('/', '').lower()}"


def publish(variant: str, store: Path) -> str:
    """Publish the variant's first version in the store at this folder; return the model's name."""
    name, file = model_name(variant), store / "random.npz"
    store.mkdir(parents=True, exist_ok=True)
    write_npz(file, random_weights(architecture(variant)))
    command = ["import", "npz", str(file), "--name", name, "--root", str(store / "versions")]
    if store_command(command):
        raise RuntimeError(f"{name} could not be published")
    file.unlink()
    return name
