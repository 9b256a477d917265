"""Versions from, and to, the weight files of other projects."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from model_store.assembly import make_checkpoint
from model_store.bucket import CHUNK_BYTES
from model_store.checkpoint import Checkpoint
from model_store.contents import measure
from model_store.errors import WeightsRefused
from model_store.importers import Format
from model_store.importers.npz import read_npz, write_npz
from model_store.importers.timm import read_timm, write_timm
from model_store.manifest import PARAMETERS_FILE, Provenance
from model_store.parameters import read_parameters
from model_store.preprocess import Preprocessing

_RECORDED_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "pillow", "safetensors")


def import_checkpoint(
    file_format: Format,
    path: Path,
    *,
    command: str,
    labels: Sequence[str] = (),
    gelu: Literal["tanh", "erf"] = "tanh",
    pipeline: Mapping[str, object] | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> Checkpoint:
    """Read a foreign file and make it ready to be published.

    Args:
        file_format: whose file it is.
        path: where it is.
        command: the command line that asked for it, for the provenance.
        labels: one per class in the order of the logits, or none.
        gelu: the GELU the weights were trained with, which no file tells.
        pipeline: fields of `Preprocessing` that differ from the format's usual ones.
        dtype: how the parameters are stored.

    Raises:
        WeightsRefused: the file is damaged or hostile, or the pipeline makes no sense.
        ParameterMismatch: it holds no Mixer.
        InvalidManifest: the labels do not fit the classes.
    """
    read = read_npz if file_format == "npz" else read_timm
    weights = read(path, gelu=gelu)
    return make_checkpoint(
        weights.config,
        _changed(weights.preprocessing, pipeline or {}),
        labels=labels,
        arrays=weights.arrays,
        provenance=_provenance(path, command),
        dtype=dtype,
    )


def export_parameters(file_format: Format, version: Path, path: Path) -> None:
    """Write the parameters of a version's folder to a foreign file, as float32.

    float32 because NumPy's files have no bfloat16; nothing is lost by the widening.

    Raises:
        Corrupt: the version's parameters cannot be read.
    """
    arrays = {
        name: array.astype(np.float32, copy=False)
        for name, array in read_parameters(version / PARAMETERS_FILE).items()
    }
    write = write_npz if file_format == "npz" else write_timm
    write(path, arrays)


def _changed(preprocessing: Preprocessing, fields: Mapping[str, object]) -> Preprocessing:
    try:
        return Preprocessing.model_validate({**preprocessing.model_dump(), **fields})
    except ValidationError as error:
        msg = f"preprocessing: {error.errors()[0]['msg']}"
        raise WeightsRefused(msg) from error


def _provenance(path: Path, command: str) -> Provenance:
    with path.open("rb") as file:
        sha256 = measure(iter(lambda: file.read(CHUNK_BYTES), b"")).sha256
    return Provenance(
        created_at=datetime.now(UTC),
        source=path.name,
        source_sha256=sha256,
        command=command,
        packages={name: importlib.metadata.version(name) for name in _RECORDED_PACKAGES},
    )
