"""What every importer gives, and what every importer checks.

names and shapes of a file -> architecture -> arrays as float32 -> ImportedWeights
"""

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from model_store.errors import ParameterMismatch, StoreError, WeightsRefused
from model_store.parameters import check_parameters, parameter_shapes
from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig

Gelu = Literal["tanh", "erf"]
Shape = tuple[int, ...]

ALLOWED_DTYPES = "float32, float16 and bfloat16"
MAX_ARRAYS = 4096  # the deepest published Mixer, H/14, has 390
_PLAIN_NAME = re.compile(r"[\w./-]{1,200}", re.ASCII)


@dataclass(frozen=True)
class ImportedWeights:
    """A foreign checkpoint in the store's terms: float32 arrays under the store's names."""

    config: MixerConfig
    arrays: dict[str, np.ndarray]
    preprocessing: Preprocessing


def evaluation_pipeline(
    image_size: int,
    *,
    filter: Literal["area", "bilinear", "bicubic"] = "bicubic",  # noqa: A002  (Preprocessing's name)
    input_range: tuple[float, float] = (-1.0, 1.0),
) -> Preprocessing:
    """Return the authors' pipeline (ii): shorter side to 8/7 of the image size, central crop.

    The defaults are timm's evaluation of the authors' weights: 76.6 % for B/16 on ImageNet, the
    paper says 76.4 % (spec section 3.2).
    """
    return Preprocessing(
        resize="shorter_side",
        resize_size=round(image_size * 256 / 224),
        crop_size=image_size,
        filter=filter,
        input_range=input_range,
    )


def check_plain_names(names: Collection[str]) -> None:
    """Refuse what no Mixer file has: thousands of arrays, or names a terminal should not show.

    Raises:
        WeightsRefused: more than `MAX_ARRAYS` names, or one of other than letters, digits and ._/-
    """
    if len(names) > MAX_ARRAYS:
        msg = f"it holds {len(names)} arrays, at most {MAX_ARRAYS} are allowed"
        raise WeightsRefused(msg)
    for name in names:
        if not _PLAIN_NAME.fullmatch(name):
            msg = f"the array name {name[:200]!a} has more than letters, digits and . _ / -"
            raise WeightsRefused(msg)


def skeleton(*, depth: int, head: bool) -> MixerConfig:
    """Return the smallest Mixer of this depth: its parameters have the names of any other's."""
    return MixerConfig(
        image_size=1,
        patch_size=1,
        width=1,
        depth=max(depth, 1),
        token_mlp_width=1,
        channel_mlp_width=1,
        num_classes=int(head),
    )


def count_blocks(names: Collection[str], prefix: str) -> int:
    """Return how many different numbers follow `prefix`, a regular expression, in the names."""
    numbered = re.compile(rf"{prefix}(\d+)", re.ASCII)
    return len({match[1] for name in names if (match := numbered.match(name))})


def infer_config(shapes: Mapping[str, Shape], *, gelu: Gelu) -> MixerConfig:
    """Return the one architecture whose parameters have exactly these names and shapes.

    A file without both arrays of the head is a Mixer of 0 classes. The LayerNorm epsilon, which
    no file tells, is the authors' 1e-6.

    Raises:
        ParameterMismatch: no Mixer has these names (both key sets are printed) or shapes.
    """
    head = not {"head/kernel", "head/bias"}.isdisjoint(shapes)
    depth = count_blocks(shapes, "MixerBlock_")
    _check_names(skeleton(depth=depth, head=head), shapes)
    patch, _, _, width = _sizes(shapes, "stem/kernel", rank=4)
    tokens, token_hidden = _sizes(shapes, "MixerBlock_0/token_mixing/Dense_0/kernel", rank=2)
    _, channel_hidden = _sizes(shapes, "MixerBlock_0/channel_mixing/Dense_0/kernel", rank=2)
    if math.isqrt(tokens) ** 2 != tokens:
        msg = f"its {tokens} tokens are no square grid of patches: only square images are served"
        raise ParameterMismatch(msg)
    config = MixerConfig(
        image_size=math.isqrt(tokens) * patch,
        patch_size=patch,
        width=width,
        depth=depth,
        token_mlp_width=token_hidden,
        channel_mlp_width=channel_hidden,
        num_classes=_sizes(shapes, "head/kernel", rank=2)[1] if head else 0,
        gelu=gelu,
    )
    _check_shapes(config, shapes)
    return config


def _check_names(config: MixerConfig, names: Collection[str]) -> None:
    if parameter_shapes(config).keys() != set(names):
        # Refused for the names, with both key sets, before any array is looked at.
        check_parameters(config, dict.fromkeys(names, np.empty(0, np.float32)))


def _sizes(shapes: Mapping[str, Shape], name: str, *, rank: int) -> Shape:
    """Return the axes of an array that fixes the architecture: `rank` of them, none empty."""
    shape = shapes[name]
    if len(shape) != rank or min(shape) < 1:
        msg = f"parameter {name} has shape {shape}, which has not {rank} axes of at least 1"
        raise ParameterMismatch(msg)
    return shape


def _check_shapes(config: MixerConfig, shapes: Mapping[str, Shape]) -> None:
    for name, shape in parameter_shapes(config).items():
        if shapes[name] != shape:
            msg = f"parameter {name} has shape {shapes[name]}, the architecture needs {shape}"
            raise ParameterMismatch(msg)


def complete(
    config: MixerConfig, arrays: Mapping[str, np.ndarray], preprocessing: Preprocessing | None
) -> ImportedWeights:
    """Join what was read, in the order of the forward pass.

    Raises:
        ParameterMismatch: a value is NaN or infinite.
    """
    ordered = {
        name: np.ascontiguousarray(arrays[name], np.float32) for name in parameter_shapes(config)
    }
    check_parameters(config, ordered)
    pipeline = preprocessing or evaluation_pipeline(config.image_size)
    return ImportedWeights(config, ordered, pipeline)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Begin every refusal with the file's name; a file that cannot be opened is refused too."""
    try:
        yield
    except StoreError as error:
        msg = f"{path.name}: {error}"
        raise type(error)(msg) from error
    except OSError as error:
        msg = f"{path.name}: the file cannot be read ({error.strerror or 'input/output error'})"
        raise WeightsRefused(msg) from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` whole, and only when all was written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
