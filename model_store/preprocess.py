"""How an image becomes a network input: the one implementation that trainer and service share.

RGB picture -> resize -> central crop -> uint8 [H, W, 3] on the host; then uint8 -> the checkpoint's
input range on the device, inside the compiled function. A decoder that can reduce a picture while
it decodes it asks `reduction` how far it may.
"""

from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:  # who only reads a Preprocessing need not load jax
    import jax

FILTERS = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

# How many pixels for each one of the resized picture a reduction must leave, so that its difference
# is that of saving a photograph once more as JPEG of quality 95 (docs/performance.md). The area
# filter takes whole pixels, so that fewer of them move its edges: it has no such margin.
_REDUCED_MARGINS = {"bilinear": 4, "bicubic": 4}

Array = TypeVar("Array", np.ndarray, "jax.Array")
Box = tuple[float, float, float, float]


class Preprocessing(BaseModel):
    """The evaluation pipeline of a checkpoint (paper appendix C).

    `squash` resizes to a square of `resize_size` pixels whatever the aspect ratio, pipeline (i);
    `shorter_side` keeps the ratio, pipeline (ii). Then the central square of `crop_size` pixels is
    taken, and bytes 0..255 are mapped linearly onto `input_range`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    resize: Literal["squash", "shorter_side"]
    resize_size: int = Field(gt=0)
    crop_size: int = Field(gt=0)
    filter: Literal["area", "bilinear", "bicubic"] = "bilinear"
    antialias: bool = Field(
        default=True, description="False samples at single points, as TensorFlow's resize does"
    )
    input_range: tuple[float, float] = (-1.0, 1.0)

    @model_validator(mode="after")
    def _sizes_and_filter_fit(self) -> "Preprocessing":
        if self.crop_size > self.resize_size:
            msg = f"crop_size {self.crop_size} is larger than resize_size {self.resize_size}"
            raise ValueError(msg)
        if self.filter == "area" and not self.antialias:
            msg = "the area filter averages by definition: it has no form without antialias"
            raise ValueError(msg)
        if self.input_range[0] >= self.input_range[1]:
            msg = f"input_range {self.input_range} is not (low, high) with low < high"
            raise ValueError(msg)
        return self


def to_input(
    image: Image.Image,
    preprocessing: Preprocessing,
    rng: np.random.Generator | None = None,
    box: Box | None = None,
) -> np.ndarray:
    """Return the resized central crop of an RGB image as uint8 [crop_size, crop_size, 3].

    With an `rng`, for training, the place of the crop is drawn. Only the source pixels that the
    crop needs are resampled. `box` is (left, top, right, bottom) of the picture within the image,
    in the image's pixels, if it does not fill it: the last pixels of a reduced one reach beyond.
    """
    crop = preprocessing.crop_size
    x, y, right, bottom = box or (0.0, 0.0, *image.size)
    width, height = _resized_size((right - x, bottom - y), preprocessing)
    if image.size == (width, height) == (crop, crop):
        return np.asarray(image)
    margins = (width - crop, height - crop)
    left, top = (m // 2 if rng is None else int(rng.integers(m + 1)) for m in margins)
    scale_x, scale_y = (right - x) / width, (bottom - y) / height
    resample = FILTERS[preprocessing.filter]
    if preprocessing.antialias:
        right, bottom = x + (left + crop) * scale_x, y + (top + crop) * scale_y
        taken = _inside((x + left * scale_x, y + top * scale_y, right, bottom), image.size)
        return np.asarray(image.resize((crop, crop), resample, box=taken))
    affine = (scale_x, 0.0, x + left * scale_x, 0.0, scale_y, y + top * scale_y)
    return np.asarray(
        image.transform((crop, crop), Image.Transform.AFFINE, affine, resample=resample)
    )


def reduction(size: tuple[int, int], preprocessing: Preprocessing) -> int:
    """Return by which of 1, 2, 4 and 8 a decoder may divide a picture's sides before `to_input`.

    `size` is width and height in pixels, in either order: an orientation changes nothing.
    """
    margin = _REDUCED_MARGINS.get(preprocessing.filter)
    if margin is None or not preprocessing.antialias:
        return 1
    needed = margin * preprocessing.resize_size
    return next((factor for factor in (8, 4, 2) if min(size) >= factor * needed), 1)


def normalise(images_BxHxWx3: Array, preprocessing: Preprocessing) -> Array:
    """Map uint8 pixels linearly onto the checkpoint's input range, as float32."""
    low, high = preprocessing.input_range
    return images_BxHxWx3.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)


def _resized_size(size: tuple[float, float], preprocessing: Preprocessing) -> tuple[int, int]:
    """Width and height after the resize; the shorter side's rule rounds half to even."""
    target = preprocessing.resize_size
    if preprocessing.resize == "squash":
        return target, target
    factor = target / min(size)
    return max(target, round(size[0] * factor)), max(target, round(size[1] * factor))


def _inside(box: Box, size: tuple[int, int]) -> Box:
    # Rounding may push the box past the image by an ulp, which Pillow refuses.
    width, height = size
    return (max(box[0], 0.0), max(box[1], 0.0), min(box[2], width), min(box[3], height))
