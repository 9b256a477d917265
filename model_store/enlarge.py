"""The same network for images K times as large: block-diagonal enlargement (paper appendix C).

The patch stays as it is, so that K x K tiles of the old image size make the new image. The paper
orders the tokens tile after tile; here that order is folded into the weights of the token MLPs, and
the network itself goes on in rows (spec section 5.2). Before any fine-tuning the tiles do not see
each other: the embedding is the mean of those of the tiles.
"""

from collections.abc import Mapping

import numpy as np

from model_store.parameters import check_parameters, parameter_shapes
from model_store.variants import MixerConfig

Network = tuple[MixerConfig, dict[str, np.ndarray]]


def enlargement_factor(config: MixerConfig, image_size: int) -> int:
    """Return the K that takes the network to images of `image_size` pixels a side.

    Raises:
        ValueError: `image_size` is no integer multiple of the network's.
    """
    factor, rest = divmod(image_size, config.image_size)
    if rest or factor < 1:
        allowed = ", ".join(str(k * config.image_size) for k in (1, 2, 3))
        msg = (
            f"image_size {image_size} is no multiple of the model's {config.image_size}: "
            f"allowed are {allowed} and so on"
        )
        raise ValueError(msg)
    return factor


def enlarged_config(config: MixerConfig, factor: int) -> MixerConfig:
    """Return the architecture for images `factor` (K) times as large: S and D_S grow K²-fold.

    Raises:
        ValueError: `factor` is below 1.
    """
    if factor < 1:
        msg = f"an enlargement's factor is an integer of at least 1, not {factor}"
        raise ValueError(msg)
    return config.model_copy(
        update={
            "image_size": factor * config.image_size,
            "token_mlp_width": factor**2 * config.token_mlp_width,
        }
    )


def enlarge(config: MixerConfig, arrays: Mapping[str, np.ndarray], factor: int) -> Network:
    """Return architecture and parameters for images `factor` (K) times as large.

    The token MLPs' kernels [S, D_S] and [D_S, S] become dense [K²S, K²D_S] and [K²D_S, K²S] with
    zeros between the tiles; every other parameter is the same array.

    Raises:
        ParameterMismatch: the arrays are not exactly this architecture's parameters.
        ValueError: `factor` is below 1.
    """
    check_parameters(config, arrays)
    enlarged = enlarged_config(config, factor)
    places = tile_places(config.grid, factor)
    return enlarged, {
        name: _enlarge_parameter(name, arrays[name], places, tiles=factor**2)
        for name in parameter_shapes(enlarged)
    }


def with_new_head(
    config: MixerConfig, arrays: Mapping[str, np.ndarray], num_classes: int
) -> Network:
    """Return the network with a head of zeros for `num_classes` classes; 0 leaves it headless.

    Raises:
        ParameterMismatch: the arrays are not exactly this architecture's parameters.
        ValueError: `num_classes` is negative.
    """
    check_parameters(config, arrays)
    renewed = MixerConfig.model_validate(config.model_dump() | {"num_classes": num_classes})
    dtype = arrays["stem/kernel"].dtype
    return renewed, {
        name: np.zeros(shape, dtype) if name.startswith("head/") else arrays[name]
        for name, shape in parameter_shapes(renewed).items()
    }


def tile_places(grid: int, factor: int) -> np.ndarray:
    """Return int [K²S]: for each token, row by row, its place when tile follows tile.

    Place q·S + s is that of patch s of tile q, both counted row by row (spec section 5.1, m(n)).

    >>> tile_places(grid=1, factor=2).tolist(), tile_places(grid=2, factor=2).tolist()[:8]
    ([0, 1, 2, 3], [0, 1, 4, 5, 2, 3, 6, 7])
    """
    tile_by_tile = np.arange((factor * grid) ** 2).reshape(factor, factor, grid, grid)
    return tile_by_tile.swapaxes(1, 2).reshape(-1)


def _enlarge_parameter(
    name: str, array: np.ndarray, places: np.ndarray, *, tiles: int
) -> np.ndarray:
    """Repeat a token MLP's parameter for every tile, its token axis in the order of the rows."""
    if name.endswith("token_mixing/Dense_0/kernel"):
        return np.take(_block_diagonal(array, tiles), places, axis=0)
    if name.endswith("token_mixing/Dense_0/bias"):
        return np.tile(array, tiles)
    if name.endswith("token_mixing/Dense_1/kernel"):
        return np.take(_block_diagonal(array, tiles), places, axis=1)
    if name.endswith("token_mixing/Dense_1/bias"):
        return np.take(np.tile(array, tiles), places)
    return array


def _block_diagonal(kernel: np.ndarray, blocks: int) -> np.ndarray:
    """I ⊗ kernel: [rows, columns] -> [blocks·rows, blocks·columns]."""
    rows, columns = kernel.shape
    diagonal = np.arange(blocks)
    result = np.zeros((blocks, rows, blocks, columns), kernel.dtype)
    result[diagonal, :, diagonal] = kernel
    return result.reshape(blocks * rows, blocks * columns)
