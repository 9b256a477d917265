"""What the pipeline makes of an encoded image before it is batched."""

import numpy as np
import pytest

from bench.pictures import draw_photo, encode
from model_store.preprocess import Preprocessing, to_input
from service.decoders import Decoders
from service.images import decode
from service.metrics import Metrics
from service.pipeline import Pipeline

PREPROCESSING = Preprocessing(resize="squash", resize_size=16, crop_size=14)


@pytest.mark.parametrize("size", [(128, 200), (127, 200)], ids=["large", "small"])
@pytest.mark.parametrize("scaling", [True, False])
def test_only_large_photos_are_decoded_reduced_and_only_if_set(
    size: tuple[int, int], *, scaling: bool
) -> None:
    data = encode(draw_photo(np.random.default_rng(0), size), "JPEG", quality=90)
    pipeline = Pipeline(Decoders(1), Metrics(), 10**6, scaling)
    found_HxWx3, decode_s = pipeline.decode_input(data, PREPROCESSING)
    whole_HxWx3 = to_input(decode(data, max_pixels=10**6), PREPROCESSING)
    difference = np.abs(found_HxWx3.astype(int) - whole_HxWx3.astype(int))
    assert (difference.max() > 0) == (scaling and size == (128, 200))
    assert difference.max() <= 6
    assert decode_s > 0
