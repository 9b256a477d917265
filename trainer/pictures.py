"""Pictures of a Mixer's weights: token-mixing units and stem filters (spec sections 7.4 and 7.5).

    python -m trainer.pictures cifar10-mixer@1 --out <folder>

A weight of 0 is mid-grey; every unit and every filter is scaled by its own largest weight.
"""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image
from rich.console import Console

from model_store.manifest import PARAMETERS_FILE
from model_store.parameters import read_parameters
from model_store.store import ModelStore
from trainer.command import run_command

SHOWN_BLOCKS = 3
SMALLEST_TILE_PIXELS = 32
GAP_PIXELS = 2
WHITE = 255


def weight_pictures(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Draw the stem and the first three blocks' token mixing.

    Args:
        arrays: parameters under the names of `model_store.parameters`.

    Returns:
        uint8 [height, width, 3] under the names `stem`, `token_mixing_0` and so on.
    """
    kernels = token_mixing_kernels(arrays)
    blocks = {name: token_mixing_picture(kernel_SxD) for name, kernel_SxD in kernels.items()}
    return {"stem": stem_picture(arrays["stem/kernel"]), **blocks}


def token_mixing_kernels(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the first token-mixing kernels [S, D] of the first three blocks, as float32."""
    names = (f"MixerBlock_{i}/token_mixing/Dense_0/kernel" for i in range(SHOWN_BLOCKS))
    found = (arrays[name] for name in names if name in arrays)
    return {f"token_mixing_{i}": kernel.astype(np.float32) for i, kernel in enumerate(found)}


def stem_picture(kernel_PxPx3xC: np.ndarray) -> np.ndarray:
    """Draw the C filters of the stem as one grid, uint8 [height, width, 3]."""
    filters_CxPxPx3 = np.moveaxis(kernel_PxPx3xC.astype(np.float32), -1, 0)
    return tile(_enlarged(_centred(filters_CxPxPx3)))


def token_mixing_picture(kernel_SxD: np.ndarray) -> np.ndarray:
    """Draw the units of a block's first token-mixing layer in pairs, uint8 [height, width, 3].

    Each unit is left of the one that is closest to its inverse; pairs come from low to high
    frequency, row by row, and a unit that is left without a partner comes last.

    Raises:
        ValueError: S is no square number.
    """
    units_DxGxG = unit_grids(kernel_SxD)
    shades_DxHxH = _enlarged(_centred(units_DxGxG))
    side = shades_DxHxH.shape[1]
    line, nothing = np.full((side, 1), WHITE, np.uint8), np.full((side, side), WHITE, np.uint8)
    pairs = ordered_pairs(units_DxGxG)
    lone = np.setdiff1d(np.arange(len(units_DxGxG)), pairs)
    tiles = [np.hstack([shades_DxHxH[i], line, shades_DxHxH[j]]) for i, j in pairs]
    tiles += [np.hstack([shades_DxHxH[i], line, nothing]) for i in lone]
    return tile(np.repeat(np.stack(tiles)[..., None], 3, axis=-1))


def unit_grids(kernel_SxD: np.ndarray) -> np.ndarray:
    """Return the D columns as float32 [D, g, g] with g² = S.

    Raises:
        ValueError: S is no square number.
    """
    tokens, units = kernel_SxD.shape
    side = math.isqrt(tokens)
    if side**2 != tokens:
        msg = f"{tokens} tokens are no square grid"
        raise ValueError(msg)
    return kernel_SxD.astype(np.float32).T.reshape(units, side, side)


def _mean_frequency(kernel_SxD: np.ndarray) -> float:
    return float(frequency(unit_grids(kernel_SxD)).mean())


def ordered_pairs(units_DxGxG: np.ndarray) -> np.ndarray:
    """Return `opposite_pairs`, int [D // 2, 2], sorted by the mean `frequency` of each pair."""
    pairs_Kx2 = opposite_pairs(units_DxGxG.reshape(len(units_DxGxG), -1))
    frequencies_K = frequency(units_DxGxG)[pairs_Kx2].mean(axis=1)
    return pairs_Kx2[np.argsort(frequencies_K, kind="stable")]


def opposite_pairs(units_DxS: np.ndarray) -> np.ndarray:
    """Pair each unit with the one closest to its inverse, greedily and without reuse.

    The pair with the most negative cosine of all is taken first, then the next among the units
    that are left. The paper gives no rule; this is the one of spec section 7.4.

    Returns:
        int [D // 2, 2], the most opposite pair first, each with the smaller number first.
    """
    first_K, second_K = np.triu_indices(len(units_DxS), k=1)
    order_K = np.argsort(cosines(units_DxS)[first_K, second_K], kind="stable")
    pairs: list[tuple[int, int]] = []
    free = np.ones(len(units_DxS), bool)
    for i, j in zip(first_K[order_K], second_K[order_K], strict=True):
        if free[i] and free[j]:
            free[[i, j]] = False
            pairs.append((i, j))
    return np.array(pairs, np.int64).reshape(-1, 2)


def opposition(units_DxS: np.ndarray) -> float:
    """Return the mean cosine of `opposite_pairs`: -1 where every unit has its inverse.

    Where units have nothing to do with each other it is what chance finds, above -1.
    """
    pairs_Kx2 = opposite_pairs(units_DxS)
    return float(cosines(units_DxS)[pairs_Kx2[:, 0], pairs_Kx2[:, 1]].mean())


def cosines(units_DxS: np.ndarray) -> np.ndarray:
    """Return the cosine of each two units, [D, D]; that of a unit of zeros is 0."""
    norms_Dx1 = np.linalg.norm(units_DxS, axis=1, keepdims=True)
    directions_DxS = units_DxS / np.where(norms_Dx1 > 0, norms_Dx1, 1)
    products_DxD: np.ndarray = directions_DxS @ directions_DxS.T
    return products_DxD


def frequency(pictures_NxHxW: np.ndarray) -> np.ndarray:
    """Return the mean radius of each picture's 2-D DFT, weighted by power and without the DC term.

    Returns:
        cycles per pixel [N], up to √½ for a chequerboard; 0 for a picture of zeros.
    """
    power_NxHxW = np.abs(np.fft.fft2(pictures_NxHxW)) ** 2
    power_NxHxW[:, 0, 0] = 0
    height, width = pictures_NxHxW.shape[1:]
    radius_HxW = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    total_N = power_NxHxW.sum(axis=(1, 2))
    weighted_N: np.ndarray = (power_NxHxW * radius_HxW).sum(axis=(1, 2))
    return weighted_N / np.where(total_N > 0, total_N, 1)


def spectral_centroid(kernel_PxPx3xC: np.ndarray) -> float:
    """Return the mean `frequency` of the stem's filters over channels and colours.

    In cycles per patch divided by P, which is cycles per pixel, so that patch sizes compare (spec
    section 7.5).
    """
    planes_PxPxN = kernel_PxPx3xC.astype(np.float32).reshape(*kernel_PxPx3xC.shape[:2], -1)
    return float(frequency(np.moveaxis(planes_PxPxN, -1, 0)).mean())


def tile(tiles_NxHxWx3: np.ndarray) -> np.ndarray:
    """Lay uint8 pictures out row by row in one that is about square, uint8 [height, width, 3]."""
    count, height, width = tiles_NxHxWx3.shape[:3]
    columns = math.ceil(math.sqrt(count * height / width))
    rows = math.ceil(count / columns)
    padding = ((0, rows * columns - count), (0, GAP_PIXELS), (0, GAP_PIXELS), (0, 0))
    padded = np.pad(tiles_NxHxWx3, padding, constant_values=WHITE)
    grid = padded.reshape(rows, columns, *padded.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * (height + GAP_PIXELS), columns * (width + GAP_PIXELS), 3)


def _centred(weights: np.ndarray) -> np.ndarray:
    """Scale weights [N, ...] to uint8 by each one's largest magnitude; 0 becomes mid-grey."""
    largest = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True)
    scaled = weights / np.where(largest > 0, largest, 1)
    return np.rint(127.5 + 127.5 * scaled).astype(np.uint8)


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """Repeat the pixels of small pictures [N, P, P, ...] to SMALLEST_TILE_PIXELS or more."""
    scale = math.ceil(SMALLEST_TILE_PIXELS / pixels.shape[1])
    return pixels.repeat(scale, axis=1).repeat(scale, axis=2)


def draw_version(
    model: Annotated[str, tyro.conf.Positional],
    /,
    out: Path,
    store: str = "model_store/builtin",
) -> tuple[Path, ...]:
    """Write PNG files of a published version's weights, and print the stem's spectral centroid.

    Args:
        model: reference in the store, such as cifar10-mixer@1.
        out: folder of the pictures; made where it is missing.
        store: root of the model store, a path or URL.
    """
    root = ModelStore(store)
    version = root.resolve(model)
    arrays = read_parameters(root.open(version) / PARAMETERS_FILE)
    files = write_pictures(arrays, out)
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{version}: the stem's spectral centroid is "
        f"{spectral_centroid(arrays['stem/kernel']):.3f} cycles per pixel"
    )
    rng = np.random.default_rng(0)
    for name, kernel_SxD in token_mixing_kernels(arrays).items():
        chance = opposition(rng.standard_normal(kernel_SxD.T.shape))
        console.print(
            f"{name}: mean cosine of its pairs {opposition(kernel_SxD.T):.2f}, by chance "
            f"{chance:.2f}; frequency of its units {_mean_frequency(kernel_SxD):.3f}, by chance "
            f"{_mean_frequency(rng.standard_normal(kernel_SxD.shape)):.3f} cycles per token"
        )
    for file in files:
        console.print(str(file), markup=False)
    return files


def write_pictures(arrays: Mapping[str, np.ndarray], folder: Path) -> tuple[Path, ...]:
    """Write `weight_pictures` as `<folder>/<name>.png`, and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {folder / f"{name}.png": pixels for name, pixels in weight_pictures(arrays).items()}
    for file, pixels in pictures.items():
        Image.fromarray(pixels).save(file, optimize=True)
    return tuple(pictures)


def main() -> int:
    """Run the command line; return its exit code."""
    return run_command(lambda _: tyro.cli(draw_version))


if __name__ == "__main__":
    sys.exit(main())
