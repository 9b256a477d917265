import io
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from bench.ordinary import pixels_of
from bench.pictures import draw_photo, encode
from model_store.preprocess import Preprocessing, to_input
from tests.models import TINY

SIZE = TINY.image_size


@pytest.mark.parametrize("resize", ["squash", "shorter_side"])
@pytest.mark.parametrize("size", [(61, 40), (40, 61)])
def test_pixels_are_ours_where_the_crop_begins_with_a_whole_pixel(
    resize: Literal["squash", "shorter_side"], size: tuple[int, int]
) -> None:
    photo = draw_photo(np.random.default_rng(0), size)
    file = encode(photo, "JPEG", quality=90)
    preprocessing = Preprocessing(resize=resize, resize_size=SIZE + 4, crop_size=SIZE)
    with Image.open(io.BytesIO(file)) as decoded:
        wanted_HxWx3 = to_input(decoded.convert("RGB"), preprocessing)
    np.testing.assert_array_equal(pixels_of(file, preprocessing), wanted_HxWx3, strict=True)
