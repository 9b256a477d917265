"""The authors' `.npz` files: a flat `numpy.savez` archive whose keys are the store's own names.

Trainers' checkpoints wrap the same keys in a prefix; a layout from before the release has others.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from model_store.errors import WeightsRefused
from model_store.importers.archive import MAX_BYTES, Archive, opened_archive
from model_store.importers.imported import (
    Gelu,
    ImportedWeights,
    Shape,
    complete,
    infer_config,
    naming,
    replacing,
)
from model_store.preprocess import Preprocessing

# Of optax-era and of older big_vision checkpoints, whose other keys are the optimiser's state.
_PREFIXES = ("params/", "opt/target/")

_OLD_BLOCK = r"Mixer/encoderblock_(\d+)/"
_OLD_MIXING = re.compile(_OLD_BLOCK + r"(token|channel)_mixing_phase_0/(kernel|bias)([12])")
_OLD_NORM = re.compile(_OLD_BLOCK + r"LayerNorm_(0|[1-9][0-9]*)/(scale|bias)")


def read_npz(
    path: Path,
    *,
    gelu: Gelu = "tanh",
    preprocessing: Preprocessing | None = None,
    max_bytes: int = MAX_BYTES,
) -> ImportedWeights:
    """Read a checkpoint in the official layout; the architecture is inferred from its shapes.

    float16 and bfloat16 are widened to float32, which is exact; float64 is refused, because
    narrowing it is a decision of its owner. No pickle is ever read.

    Args:
        path: the `.npz` file.
        gelu: the GELU the weights were trained with; every official file has tanh.
        preprocessing: how images become inputs; default: `evaluation_pipeline`.
        max_bytes: upper limit of the arrays together, once expanded.

    Raises:
        WeightsRefused: the file is damaged, hostile or no `.npz` at all.
        ParameterMismatch: names, shapes or values that are no Mixer's.
    """
    with naming(path), opened_archive(path) as archive:
        keys = _keys_of_parameters(archive.names)
        archive.check_size(list(keys.values()), max_bytes)
        shapes = {name: _shape(archive, key) for name, key in keys.items()}
        config = infer_config(shapes, gelu=gelu)
        arrays = {name: archive.read(key).reshape(shapes[name]) for name, key in keys.items()}
        return complete(config, arrays, preprocessing)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays under their names, as `numpy.savez` does; `path` appears whole or not at all.

    Equal arrays in equal order give equal bytes.
    """
    with replacing(path) as stream:
        np.savez(stream, **dict(arrays))  # type: ignore[arg-type]  # or one is taken for a flag


def _keys_of_parameters(keys: Collection[str]) -> dict[str, str]:
    """Return the store's name of each array -> its key in the file."""
    prefix = next((p for p in _PREFIXES if any(key.startswith(p) for key in keys)), "")
    stripped = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
    norms = _rank_of_old_norms(stripped)
    names = {_store_name(key, norms): prefix + key for key in stripped}
    if len(names) < len(stripped):
        msg = "two of its arrays, one of the old layout, are the same parameter"
        raise WeightsRefused(msg)
    return names


def _store_name(key: str, norms: Mapping[str, int]) -> str:
    """Return the store's name of a key of either layout; a key of neither stays as it is."""
    if mixing := _OLD_MIXING.fullmatch(key):
        block, kind, parameter, dense = mixing.groups()
        return f"MixerBlock_{block}/{kind}_mixing/Dense_{int(dense) - 1}/{parameter}"
    if norm := _OLD_NORM.fullmatch(key):
        module, parameter = key.rsplit("/", 1)
        return f"MixerBlock_{norm[1]}/LayerNorm_{norms[module]}/{parameter}"
    for old, new in (("embedding/", "stem/"), ("Mixer/encoder_norm/", "pre_head_layer_norm/")):
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


def _rank_of_old_norms(keys: Collection[str]) -> dict[str, int]:
    """Return each old LayerNorm -> its place in its block, for their numbers are not 0 and 1.

    Sorted by number: by letters, LayerNorm_10 would come before LayerNorm_9.
    """
    blocks: dict[str, set[int]] = {}
    for norm in filter(None, map(_OLD_NORM.fullmatch, keys)):
        blocks.setdefault(norm[1], set()).add(int(norm[2]))
    return {
        f"Mixer/encoderblock_{block}/LayerNorm_{number}": rank
        for block, numbers in blocks.items()
        for rank, number in enumerate(sorted(numbers))
    }


def _shape(archive: Archive, key: str) -> Shape:
    """Return the shape, without the singleton axes that the old layout's MLPs have."""
    shape = archive.shape(key)
    return tuple(size for size in shape if size != 1) if "_mixing_phase_0/" in key else shape
