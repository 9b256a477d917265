"""A version's content before it is published, and its parameters after."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np
from PIL import Image
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from model_store.contents import CLAIM_FILE, MANIFEST_FILE
from model_store.errors import Corrupt, InvalidManifest, NotFound
from model_store.golden import draw_golden_images, golden_outputs
from model_store.manifest import (
    PARAMETERS_FILE,
    GoldenImage,
    Manifest,
    Provenance,
    TrainingSummary,
    record,
)
from model_store.mixer import load_mixer
from model_store.parameters import check_parameters
from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig

# What every file system and object store keeps as it is.
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


@dataclass(frozen=True)
class Checkpoint:
    """A manifest and the bytes of every file that it lists.

    Raises:
        InvalidManifest: a file's name is not allowed, or is one that the store itself uses.
        Corrupt: the files are not those that the manifest lists.
    """

    manifest: Manifest
    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        for name in self.files:
            if not _FILE_NAME.fullmatch(name) or name in (MANIFEST_FILE, CLAIM_FILE):
                msg = f"a version's file cannot be called {name!r}"
                raise InvalidManifest(msg)
        found = {name: record(data) for name, data in self.files.items()}
        listed = self.manifest.files
        if wrong := [name for name in found | listed if found.get(name) != listed.get(name)]:
            msg = f"not as the manifest lists them: {', '.join(sorted(wrong))}"
            raise Corrupt(msg)


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


def read_parameters(path: Path) -> dict[str, np.ndarray]:
    """Read `params.safetensors`: names and arrays, float32 or bfloat16 as stored.

    The file is mapped, so that no more than one copy of the parameters is in memory.

    Raises:
        NotFound: no such file.
        Corrupt: not a safetensors file, or an array of a type that no parameter has.
    """
    try:
        arrays: dict[str, np.ndarray] = load_file(path)
    except FileNotFoundError as error:
        msg = f"there is no {path}"
        raise NotFound(msg) from error
    except (SafetensorError, OSError, AttributeError) as error:
        # AttributeError is safetensors' answer to a type that numpy lacks, such as an 8-bit float.
        msg = f"{path}: {error}"
        raise Corrupt(msg) from error
    return arrays


def _cast(array: np.ndarray, dtype: str) -> np.ndarray:
    # What overflows becomes infinite, and load_mixer refuses it by name. safetensors writes the
    # memory as it lies, so that it must lie in C order.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, jnp.dtype(dtype))


def _decode(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")
