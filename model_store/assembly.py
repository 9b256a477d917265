"""How a version is made: serialised parameters, and the golden outputs that they give."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image
from pydantic import ValidationError
from safetensors.numpy import save

from model_store.checkpoint import Checkpoint
from model_store.errors import InvalidManifest
from model_store.golden import draw_golden_images
from model_store.manifest import (
    PARAMETERS_FILE,
    GoldenImage,
    Manifest,
    Provenance,
    TrainingSummary,
    record,
)
from model_store.mixer import Mixer, load_mixer
from model_store.parameters import check_parameters
from model_store.preprocess import Preprocessing, normalise, to_input
from model_store.variants import MixerConfig

Outputs = tuple[jax.Array, jax.Array]


def make_checkpoint(
    config: MixerConfig,
    preprocessing: Preprocessing,
    *,
    labels: Sequence[str],
    arrays: Mapping[str, np.ndarray],
    provenance: Provenance,
    training: TrainingSummary | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    golden: Mapping[str, bytes] | None = None,
) -> Checkpoint:
    """Assemble a version: serialise the parameters and compute the golden outputs.

    Args:
        config: the architecture.
        preprocessing: how its inputs are made; part of the golden outputs.
        labels: one per class in the order of the logits, or none.
        arrays: the parameters under the names of `model_store.parameters`.
        provenance: where they come from.
        training: how they were trained, if that is known.
        dtype: how they are stored. The golden outputs are those of the stored, rounded values.
        golden: file names and encoded images (default: `draw_golden_images()`).

    Raises:
        ParameterMismatch: the arrays are not this architecture's, or not finite in `dtype`.
        InvalidManifest: the parts do not fit each other, such as labels and classes.
    """
    check_parameters(config, arrays)
    stored = {name: _cast(array, dtype) for name, array in arrays.items()}
    mixer = load_mixer(config, stored)
    images = dict(draw_golden_images() if golden is None else golden)
    logits_NxK, embedding_NxC = golden_outputs(
        mixer, preprocessing, [_decode(data) for data in images.values()]
    )
    files = {PARAMETERS_FILE: save(stored), **images}
    try:
        manifest = Manifest(
            architecture=config,
            preprocessing=preprocessing,
            labels=tuple(labels),
            dtype=dtype,
            provenance=provenance,
            training=training,
            golden=tuple(
                GoldenImage(file=file, logits=logits.tolist(), embedding=embedding.tolist())
                for file, logits, embedding in zip(images, logits_NxK, embedding_NxC, strict=True)
            ),
            files={name: record(data) for name, data in files.items()},
        )
    except ValidationError as error:
        raise InvalidManifest(error.errors()[0]["msg"]) from error
    return Checkpoint(manifest, files)


def golden_outputs(
    mixer: Mixer, preprocessing: Preprocessing, images: Sequence[Image.Image]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits [N, classes] and embeddings [N, C] of RGB images, in float32.

    This is the reference: products at the highest precision that the device has, for on GPUs and
    TPUs the default rounds the factors to fewer bits.
    """
    pixels_NxHxWx3 = np.stack([to_input(image, preprocessing) for image in images])
    graph, state = nnx.split(mixer)

    @jax.jit
    def forward(state: nnx.State[Any, Any], pixels_NxHxWx3: jax.Array) -> Outputs:
        outputs: Outputs = nnx.merge(graph, state)(normalise(pixels_NxHxWx3, preprocessing))
        return outputs

    with jax.default_matmul_precision("highest"):
        logits_NxK, embedding_NxC = forward(state, pixels_NxHxWx3)
    return np.asarray(logits_NxK), np.asarray(embedding_NxC)


def _cast(array: np.ndarray, dtype: str) -> np.ndarray:
    # What overflows becomes infinite, and load_mixer refuses it by name. safetensors writes the
    # memory as it lies, so that it must lie in C order.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, jnp.dtype(dtype))


def _decode(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")
