"""Permutations of an image's pixels, and the parameters that undo them (spec section 7.3).

A Mixer sees no order of the patches, nor of the pixels within them: with its parameters permuted
like the images, a forward pass, and a whole training, are the same. A permutation of all pixels of
the image has no such counterpart.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from model_store.variants import MixerConfig


@dataclass(frozen=True)
class PatchPermutation:
    """One order of the patches, and one order of the pixels that every patch shares.

    Place n of the result takes patch `tokens_S[n]`, and place m within it pixel `pixels_PP[m]`,
    counted row by row; the colours of a pixel stay together.

    Raises:
        ValueError: either is no permutation of the places of a square.
    """

    tokens_S: np.ndarray
    pixels_PP: np.ndarray

    def __post_init__(self) -> None:
        for name, order in (("tokens", self.tokens_S), ("pixels", self.pixels_PP)):
            _check_permutation(name, order, len(order))
            if math.isqrt(len(order)) ** 2 != len(order):
                msg = f"{name}: {len(order)} places do not make a square"
                raise ValueError(msg)

    @classmethod
    def draw(cls, config: MixerConfig, rng: np.random.Generator) -> Self:
        """Draw a permutation for the images of this architecture."""
        return cls(rng.permutation(config.tokens), rng.permutation(config.patch_size**2))

    def images(self, images_BxHxWx3: np.ndarray) -> np.ndarray:
        """Return the permuted images, of the same type.

        Raises:
            ValueError: the images are not of the size that the permutation is for.
        """
        g, p = math.isqrt(len(self.tokens_S)), math.isqrt(len(self.pixels_PP))
        if images_BxHxWx3.shape[1:] != (g * p, g * p, 3):
            msg = (
                f"images have shape {images_BxHxWx3.shape[1:]}, "
                f"the permutation is for ({g * p}, {g * p}, 3)"
            )
            raise ValueError(msg)
        patches_BxSxPPx3 = (
            images_BxHxWx3.reshape(-1, g, p, g, p, 3).swapaxes(2, 3).reshape(-1, g * g, p * p, 3)
        )
        permuted = patches_BxSxPPx3[:, self.tokens_S][:, :, self.pixels_PP]
        rows = permuted.reshape(-1, g, g, p, p, 3).swapaxes(2, 3)
        return np.ascontiguousarray(rows.reshape(images_BxHxWx3.shape))

    def parameters(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the parameters, named as in the store, that answer the permuted images alike."""
        return {name: self.parameter(name, array) for name, array in arrays.items()}

    def parameter(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return one parameter permuted; most of them do not change."""
        if name == "stem/kernel":
            pixels_PPx3xC = array.reshape(-1, *array.shape[2:])
            return np.take(pixels_PPx3xC, self.pixels_PP, axis=0).reshape(array.shape)
        if name.endswith("token_mixing/Dense_0/kernel"):
            return np.take(array, self.tokens_S, axis=0)
        if name.endswith(("token_mixing/Dense_1/kernel", "token_mixing/Dense_1/bias")):
            return np.take(array, self.tokens_S, axis=-1)
        return array


def permute_all_pixels(images_BxHxWx3: np.ndarray, order_HW: np.ndarray) -> np.ndarray:
    """Return the images with all their pixels in one other order, across the patches.

    Raises:
        ValueError: the order is no permutation of the pixels of such an image.
    """
    batch, height, width, colours = images_BxHxWx3.shape
    _check_permutation("order", order_HW, height * width)
    pixels_BxHWx3 = images_BxHxWx3.reshape(batch, height * width, colours)
    return np.take(pixels_BxHWx3, order_HW, axis=1).reshape(images_BxHxWx3.shape)


def _check_permutation(name: str, order: np.ndarray, places: int) -> None:
    if not np.array_equal(np.sort(order), np.arange(places)):
        msg = f"{name}: no permutation of the {places} places from 0 to {places - 1}"
        raise ValueError(msg)
