import numpy as np

from bench.networks import random_weights
from bench.ordinary_program import OrdinaryProgram
from model_store.preprocess import Preprocessing
from service.runtimes.openvino import OpenVinoProgram
from tests.models import TINY

SIZE = TINY.image_size


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
