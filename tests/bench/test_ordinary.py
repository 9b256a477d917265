from typing import Literal

import numpy as np
import pytest

from bench.networks import random_weights
from bench.ordinary import OrdinaryProgram, pixels_of
from bench.pictures import draw_photo, encode
from model_store.preprocess import Preprocessing, to_input
from service.runtimes.openvino import OpenVinoProgram
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


def test_batches_of_any_size_have_the_networks_logits() -> None:
    preprocessing = Preprocessing(resize="squash", resize_size=SIZE, crop_size=SIZE)
    network = (TINY, preprocessing, random_weights(TINY))
    ours = OpenVinoProgram(*network)
    ordinary = OrdinaryProgram(*network, precision="float32", batches=(2, 5))
    for images in (1, 2, 4, 5):
        pixels_BxHxWx3 = np.random.default_rng(images).integers(
            0, 256, (images, SIZE, SIZE, 3), np.uint8
        )
        logits_BxN, _ = ours(pixels_BxHxWx3)
        found_BxN = ordinary(pixels_BxHxWx3)
        np.testing.assert_allclose(found_BxN, logits_BxN, rtol=1e-4, atol=1e-4)
    assert ordinary.best_batch() in {2, 5}
