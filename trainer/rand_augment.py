"""RandAugment as the authors' code has it (arXiv 1909.13719; spec section 3.3).

Each layer applies one of sixteen operations, drawn uniformly, at a fixed magnitude on a scale on
which 10 is the nominal maximum. Uncovered pixels become grey (128, 128, 128). Magnitude 0 is not
"off": contrast, equalisation and inversion act fully at every magnitude.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

GREY = (128, 128, 128)
REFERENCE_SIDE = 224
"""Pixels of the side for which the reference counts its translations and cutouts."""

Operation = Callable[[Image.Image, float, np.random.Generator], Image.Image]


def rand_augment(
    image: Image.Image, *, layers: int, magnitude: float, rng: np.random.Generator
) -> Image.Image:
    """Return the RGB image after `layers` operations drawn from `OPERATIONS`."""
    names = list(OPERATIONS)
    for _ in range(layers):
        image = OPERATIONS[names[rng.integers(len(names))]](image, magnitude / 10, rng)
    return image


def _signed(value: float, rng: np.random.Generator) -> float:
    return value if rng.random() < 0.5 else -value


def _reference_pixels(image: Image.Image, pixels: float) -> float:
    """Scale a length of the 224 reference to this image, that the same share is covered."""
    return pixels * image.width / REFERENCE_SIDE


def _affine(
    image: Image.Image, matrix: tuple[float, float, float, float, float, float]
) -> Image.Image:
    """Take output pixel (x, y) from (a·x + b·y + c, d·x + e·y + f), nearest."""
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=GREY
    )


def _auto_contrast(image: Image.Image, _r: float, _rng: np.random.Generator) -> Image.Image:
    return ImageOps.autocontrast(image)


def _equalize(image: Image.Image, _r: float, _rng: np.random.Generator) -> Image.Image:
    return ImageOps.equalize(image)


def _invert(image: Image.Image, _r: float, _rng: np.random.Generator) -> Image.Image:
    return ImageOps.invert(image)


def _rotate(image: Image.Image, r: float, rng: np.random.Generator) -> Image.Image:
    return image.rotate(_signed(30 * r, rng), Image.Resampling.NEAREST, fillcolor=GREY)


def _posterize(image: Image.Image, r: float, _rng: np.random.Generator) -> Image.Image:
    """Keep int(4·r) bits: weaker with growing magnitude, as in the reference."""
    dropped = 8 - min(int(4 * r), 8)
    return image.point([v >> dropped << dropped for v in range(256)] * 3)


def _solarize(image: Image.Image, r: float, _rng: np.random.Generator) -> Image.Image:
    """Invert from 256·r on; from magnitude 10 on nothing is inverted."""
    return ImageOps.solarize(image, int(256 * r))


def _solarize_add(image: Image.Image, r: float, _rng: np.random.Generator) -> Image.Image:
    added = int(110 * r)
    return image.point([min(v + added, 255) if v < 128 else v for v in range(256)] * 3)


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    def operation(image: Image.Image, r: float, _rng: np.random.Generator) -> Image.Image:
        return kind(image).enhance(1.8 * r + 0.1)

    return operation


def _shear_x(image: Image.Image, r: float, rng: np.random.Generator) -> Image.Image:
    return _affine(image, (1, _signed(0.3 * r, rng), 0, 0, 1, 0))


def _shear_y(image: Image.Image, r: float, rng: np.random.Generator) -> Image.Image:
    return _affine(image, (1, 0, 0, _signed(0.3 * r, rng), 1, 0))


def _translate_x(image: Image.Image, r: float, rng: np.random.Generator) -> Image.Image:
    return _affine(image, (1, 0, _signed(_reference_pixels(image, 100 * r), rng), 0, 1, 0))


def _translate_y(image: Image.Image, r: float, rng: np.random.Generator) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, _signed(_reference_pixels(image, 100 * r), rng)))


def _cutout(image: Image.Image, r: float, rng: np.random.Generator) -> Image.Image:
    half = int(_reference_pixels(image, 40 * r))
    x, y = int(rng.integers(image.width)), int(rng.integers(image.height))
    cut = image.copy()
    cut.paste(GREY, (max(x - half, 0), max(y - half, 0), x + half, y + half))
    return cut


OPERATIONS: dict[str, Operation] = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": _invert,
    "Rotate": _rotate,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Color": _enhance(ImageEnhance.Color),
    "Contrast": _enhance(ImageEnhance.Contrast),
    "Brightness": _enhance(ImageEnhance.Brightness),
    "Sharpness": _enhance(ImageEnhance.Sharpness),
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateX": _translate_x,
    "TranslateY": _translate_y,
    "Cutout": _cutout,
}
