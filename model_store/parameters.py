"""A Mixer's parameters: their names and shapes, the file of them, and the check that they fit.

The names are those of the authors' published `.npz` files, and the store uses no others.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from model_store.errors import Corrupt, NotFound, ParameterMismatch
from model_store.in_memory import read_file
from model_store.variants import MixerConfig

_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}


def parameter_shapes(config: MixerConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter, in the order of the forward pass.

    12·L + 6 entries with a head. Kernels are [in, out], the stem's [P, P, 3, C].
    """
    c, p = config.width, config.patch_size
    shapes: dict[str, tuple[int, ...]] = {"stem/kernel": (p, p, 3, c), "stem/bias": (c,)}
    for i in range(config.depth):
        block = f"MixerBlock_{i}"
        shapes |= _layer_norm(f"{block}/LayerNorm_0", c)
        shapes |= _mlp(f"{block}/token_mixing", config.tokens, config.token_mlp_width)
        shapes |= _layer_norm(f"{block}/LayerNorm_1", c)
        shapes |= _mlp(f"{block}/channel_mixing", c, config.channel_mlp_width)
    shapes |= _layer_norm("pre_head_layer_norm", c)
    if config.num_classes:
        shapes |= _dense("head", c, config.num_classes)
    return shapes


def _layer_norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/scale": (width,), f"{name}/bias": (width,)}


def _dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def _mlp(name: str, width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return _dense(f"{name}/Dense_0", width, hidden) | _dense(f"{name}/Dense_1", hidden, width)


def check_parameters(config: MixerConfig, arrays: Mapping[str, np.ndarray]) -> None:
    """Accept exactly the parameters of this architecture, with finite values.

    Raises:
        ParameterMismatch: names missing or unexpected (both key sets are printed), a wrong shape,
            a type that is not floating point, or a value that is NaN or infinite.
    """
    shapes = parameter_shapes(config)
    if shapes.keys() != arrays.keys():
        raise ParameterMismatch(_key_difference(expected=set(shapes), found=set(arrays)))
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape:
            msg = f"parameter {name} has shape {array.shape}, the architecture needs {shape}"
            raise ParameterMismatch(msg)
        # ml_dtypes' bfloat16 is no subtype of np.floating, and has its own name.
        if not (np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16"):
            msg = f"parameter {name} has dtype {array.dtype}: only floating point is allowed"
            raise ParameterMismatch(msg)
        if not np.isfinite(array).all():
            msg = f"parameter {name} holds NaN or infinite values"
            raise ParameterMismatch(msg)


def read_parameters(path: Path) -> dict[str, np.ndarray]:
    """Read `params.safetensors`: names and arrays, float32 or bfloat16 as stored.

    Other Python threads run meanwhile, such as an event loop: safetensors, which checks the header
    here, would hold them up until it has copied the whole file.

    Raises:
        NotFound: no such file.
        Corrupt: not a safetensors file, or an array of a type that no parameter has.
    """
    return parse_parameters(path, read_file(path))


def parse_parameters(path: Path, content: memoryview) -> dict[str, np.ndarray]:
    """Return the arrays in what was read of a file; its header is read there once more.

    Raises:
        NotFound: no such file.
        Corrupt: not a safetensors file, or an array of a type that no parameter has.
    """
    try:
        layout = _layout(path)
    except FileNotFoundError as error:
        msg = f"there is no {path}"
        raise NotFound(msg) from error
    except (SafetensorError, OSError) as error:
        msg = f"{path}: {error}"
        raise Corrupt(msg) from error
    offset = 8 + int.from_bytes(content[:8], "little")
    if len(content) != offset + sum(tensor.bytes for tensor in layout):
        msg = f"{path} has changed while it was read"
        raise Corrupt(msg)
    arrays = {}
    for tensor in layout:
        part = np.frombuffer(content, tensor.dtype, math.prod(tensor.shape), offset)
        arrays[tensor.name] = part.reshape(tensor.shape)
        offset += tensor.bytes
    return arrays


class _Tensor(NamedTuple):
    name: str
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _layout(path: Path) -> list[_Tensor]:
    """Return a file's tensors in the order of their bytes, which lie without gaps."""
    layout = []
    with safe_open(path, framework="np") as file:
        for name in file.offset_keys():
            tensor = file.get_slice(name)
            if (dtype := _DTYPES.get(tensor.get_dtype())) is None:
                msg = f"{path}: {name} is of type {tensor.get_dtype()}, which no parameter has"
                raise Corrupt(msg)
            layout.append(_Tensor(name, np.dtype(dtype), tuple(tensor.get_shape())))
    return layout


def _key_difference(*, expected: set[str], found: set[str]) -> str:
    lines = [
        f"parameter names do not fit: {len(expected - found)} missing, "
        f"{len(found - expected)} unexpected",
        f"  missing:    {', '.join(sorted(expected - found)) or '-'}",
        f"  unexpected: {', '.join(sorted(found - expected)) or '-'}",
        f"  expected ({len(expected)}): {', '.join(sorted(expected))}",
        f"  found ({len(found)}): {', '.join(sorted(found))}",
    ]
    return "\n".join(lines)
