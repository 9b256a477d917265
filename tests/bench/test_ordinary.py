from typing import Literal

import numpy as np
import pytest

from bench.ordinary import pixels_of
from bench.pictures import draw_photo, encode
from model_store.preprocess import Preprocessing, to_input
from tests.models import TINY

SIZE = TINY.image_size


@pytest.mark.parametrize("resize", ["squash", "shorter_side"])
@pytest.mark.parametrize("size", [(61, 40), (40, 61)])
def test_pixels_are_ours_but_for_rounding(
    resize: Literal["squash", "shorter_side"], size: tuple[int, int]
) -> None:
    # Ours takes the crop's box from the picture, which falls between the resized picture's pixels.
    photo = draw_photo(np.random.default_rng(0), size)
    preprocessing = Preprocessing(resize=resize, resize_size=SIZE + 4, crop_size=SIZE)
    found_HxWx3 = pixels_of(encode(photo, "JPEG", quality=100, subsampling=0), preprocessing)
    wanted_HxWx3 = to_input(photo, preprocessing)
    assert found_HxWx3.shape == wanted_HxWx3.shape == (SIZE, SIZE, 3)
    assert np.abs(found_HxWx3.astype(int) - wanted_HxWx3).mean() < 2
