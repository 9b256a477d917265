"""timm's Mixers: safetensors with PyTorch's names and layouts (spec section 2.4).

The `goog_*` weights are the authors' and keep the defaults. The `miil_*` weights were trained in
PyTorch: read them with `gelu="erf"` and with
`evaluation_pipeline(224, filter="bilinear", input_range=(0.0, 1.0))`.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from model_store.errors import WeightsRefused
from model_store.importers.imported import (
    ALLOWED_DTYPES,
    Gelu,
    ImportedWeights,
    Shape,
    check_plain_names,
    complete,
    count_blocks,
    infer_config,
    naming,
    replacing,
    skeleton,
)
from model_store.parameters import parameter_shapes
from model_store.preprocess import Preprocessing

_DTYPES = ("F32", "F16", "BF16")
_MODULES = {
    "stem": "stem.proj",
    "LayerNorm_0": "norm1",
    "token_mixing": "mlp_tokens",
    "LayerNorm_1": "norm2",
    "channel_mixing": "mlp_channels",
    "Dense_0": "fc1",
    "Dense_1": "fc2",
    "pre_head_layer_norm": "norm",
    "head": "head",
}
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}

# Axes of timm's kernels in the order of the store's, by rank, and back:
# OIHW -> HWIO and [out, in] -> [in, out].
_FROM_TIMM = {4: (2, 3, 1, 0), 2: (1, 0)}
_TO_TIMM = {4: (3, 2, 0, 1), 2: (1, 0)}


def read_timm(
    path: Path, *, gelu: Gelu = "tanh", preprocessing: Preprocessing | None = None
) -> ImportedWeights:
    """Read a timm `MlpMixer`; the architecture is inferred from its shapes.

    float16 and bfloat16 are widened to float32, other types are refused, as in `read_npz`.

    Args:
        path: the `.safetensors` file.
        gelu: the GELU the weights were trained with: `tanh` for `goog_*`, `erf` for `miil_*`.
        preprocessing: how images become inputs; default: `evaluation_pipeline`.

    Raises:
        WeightsRefused: the file is damaged, hostile or no safetensors at all.
        ParameterMismatch: names, shapes or values that are no Mixer's.
    """
    with naming(path), _opened(path) as file:
        keys = _keys_of_parameters(list(file.keys()))  # type: ignore[no-untyped-call]
        shapes = {name: _shape(file, name, key) for name, key in keys.items()}
        config = infer_config(shapes, gelu=gelu)
        arrays = {name: _read(file, name, key) for name, key in keys.items()}
        return complete(config, arrays, preprocessing)


def write_timm(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write parameters, named as in the store, as a state dict that timm's `MlpMixer` loads.

    `path` appears whole or not at all.
    """
    tensors = {
        timm_name(name): np.ascontiguousarray(_permuted(name, array, _TO_TIMM))
        for name, array in arrays.items()
    }
    with replacing(path) as stream:
        stream.write(safetensors.numpy.save(tensors, metadata={"format": "pt"}))


def timm_name(name: str) -> str:
    """Return timm's name of a parameter of the store.

    >>> timm_name("MixerBlock_3/token_mixing/Dense_0/kernel")
    'blocks.3.mlp_tokens.fc1.weight'
    """
    *modules, leaf = name.split("/")
    renamed = [_MODULES.get(m) or m.replace("MixerBlock_", "blocks.") for m in modules]
    return ".".join([*renamed, _LEAVES[leaf]])


@contextmanager
def _opened(path: Path) -> Iterator[safetensors.safe_open]:
    """Map the file; the library holds its header, sizes and offsets against the file's length."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            yield file
    except safetensors.SafetensorError as error:
        msg = "it is no safetensors file, or one damaged or cut short"
        raise WeightsRefused(msg) from error


def _keys_of_parameters(keys: Collection[str]) -> dict[str, str]:
    """Return the store's name of each tensor -> its key; a key that timm has not stays as it is."""
    check_plain_names(keys)
    slashed = [key for key in keys if "/" in key]
    if slashed:
        msg = f"its tensor {slashed[0]} has a / in its name, which timm's have not"
        raise WeightsRefused(msg)
    depth = count_blocks(keys, r"blocks\.")
    head = not {"head.weight", "head.bias"}.isdisjoint(keys)
    names = {timm_name(name): name for name in parameter_shapes(skeleton(depth=depth, head=head))}
    return {names.get(key, key): key for key in keys}


def _shape(file: safetensors.safe_open, name: str, key: str) -> Shape:
    """Return the shape that the tensor has in the store, once its type was checked."""
    tensor = file.get_slice(key)  # type: ignore[no-untyped-call]
    if tensor.get_dtype() not in _DTYPES:
        msg = f"the tensor {key} has dtype {tensor.get_dtype()}: {ALLOWED_DTYPES} are allowed"
        raise WeightsRefused(msg)
    shape = tuple(tensor.get_shape())
    axes = _axes(name, len(shape), _FROM_TIMM)
    return tuple(shape[axis] for axis in axes)


def _read(file: safetensors.safe_open, name: str, key: str) -> np.ndarray:
    tensor: np.ndarray = file.get_tensor(key)  # type: ignore[no-untyped-call]
    return _permuted(name, tensor, _FROM_TIMM).astype(np.float32, copy=False)


def _permuted(name: str, array: np.ndarray, permutations: Mapping[int, Shape]) -> np.ndarray:
    return array.transpose(_axes(name, array.ndim, permutations))


def _axes(name: str, rank: int, permutations: Mapping[int, Shape]) -> Shape:
    """Kernels are permuted; vectors, and what no Mixer has, stay as they are."""
    kept = tuple(range(rank))
    return permutations.get(rank, kept) if name.endswith("/kernel") else kept
