"""How one decodes a picture without this project: Pillow resizes all of it.

The network of such an ordinary server is `bench.ordinary_program`'s.
"""

from io import BytesIO

import numpy as np
from PIL import Image

from model_store.preprocess import FILTERS, Preprocessing


def pixels_of(file: bytes, preprocessing: Preprocessing) -> np.ndarray:
    """Decode a JPEG file, resize it whole and crop its centre; uint8 [H, W, 3]."""
    with Image.open(BytesIO(file), formats=["JPEG"]) as image:
        return resized(image.convert("RGB"), preprocessing)


def resized(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Resize an RGB picture whole and crop its centre; uint8 [H, W, 3]."""
    target, crop = preprocessing.resize_size, preprocessing.crop_size
    size = (target, target)
    if preprocessing.resize == "shorter_side":
        scale = target / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
    small = image.resize(size, FILTERS[preprocessing.filter])
    left, top = (size[0] - crop) // 2, (size[1] - crop) // 2
    return np.asarray(small.crop((left, top, left + crop, top + crop)))
