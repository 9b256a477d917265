"""Random changes to training images: crop, flip, RandAugment on the host, mixup in the step."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from model_store.preprocess import Preprocessing, to_input
from trainer.config import AugmentConfig
from trainer.rand_augment import rand_augment

ASPECT_RATIOS = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10


def augment_image(
    image: Image.Image,
    preprocessing: Preprocessing,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """Crop, perhaps mirror, then RandAugment the picture; return uint8 [crop, crop, 3]."""
    if config.crop == "random":
        image = Image.fromarray(to_input(image, preprocessing, rng))
    else:
        size = (preprocessing.crop_size, preprocessing.crop_size)
        box = inception_box(image.size, config.crop_min_area, rng)
        image = image.resize(size, Image.Resampling.BILINEAR, box=box)
    if config.flip and rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = rand_augment(
        image,
        layers=config.rand_augment_layers,
        magnitude=config.rand_augment_magnitude,
        rng=rng,
    )
    return np.asarray(image)


def inception_box(
    size: tuple[int, int], min_area: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw a box (left, top, right, bottom) inside an image of `size` (width, height) pixels.

    Its area is uniform in [min_area, 1] of the image's, its aspect ratio uniform in [3/4, 4/3]
    (spec section 3.3). A draw that does not fit is drawn again; after ten the whole image is taken.
    """
    width, height = size
    for _ in range(CROP_ATTEMPTS):
        area = rng.uniform(min_area, 1.0) * width * height
        ratio = rng.uniform(*ASPECT_RATIOS)
        box_width = round(math.sqrt(area * ratio))
        box_height = round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            left = int(rng.integers(width - box_width + 1))
            top = int(rng.integers(height - box_height + 1))
            return left, top, left + box_width, top + box_height
    return 0, 0, width, height


def mixup(
    images_BxHxWx3: jax.Array, targets_BxN: jax.Array, p: float, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mix each example with its neighbour, images and targets alike (spec section 3.3).

    λ ~ Beta(p, p), folded to λ >= 1/2, one for the whole batch; the partner is the batch rolled
    by one. Images are already normalised. p = 0 returns the arguments.
    """
    if not p:
        return images_BxHxWx3, targets_BxN
    drawn = jax.random.beta(key, p, p)
    share = jnp.maximum(drawn, 1 - drawn)

    def mix(x: jax.Array) -> jax.Array:
        return share * x + (1 - share) * jnp.roll(x, 1, axis=0)

    return mix(images_BxHxWx3), mix(targets_BxN)
