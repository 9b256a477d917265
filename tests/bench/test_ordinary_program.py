import numpy as np
import pytest

from bench.networks import random_weights
from bench.ordinary_program import OrdinaryProgram
from model_store.preprocess import Preprocessing
from service.runtimes.openvino import OpenVinoProgram
from tests.models import TINY

SIZE = TINY.image_size
PREPROCESSING = Preprocessing(resize="squash", resize_size=SIZE, crop_size=SIZE)
NETWORK = (TINY, PREPROCESSING, random_weights(TINY))


@pytest.fixture(scope="module")
def ordinary() -> OrdinaryProgram:
    return OrdinaryProgram(*NETWORK, precision="float32", batches=(2, 5))


def test_batches_of_any_size_have_the_networks_logits(ordinary: OrdinaryProgram) -> None:
    ours = OpenVinoProgram(*NETWORK)
    for images in (1, 2, 4, 5):
        pixels_BxHxWx3 = np.random.default_rng(images).integers(
            0, 256, (images, SIZE, SIZE, 3), np.uint8
        )
        logits_BxN, _ = ours(pixels_BxHxWx3)
        np.testing.assert_allclose(ordinary(pixels_BxHxWx3), logits_BxN, rtol=0, atol=1e-5)


def test_the_best_batch_is_that_of_the_fastest_calls(
    ordinary: OrdinaryProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Images a second by the fastest: 2 and 1.67; by all in the mean 0.27 and 0.64.
    seconds = iter([9.0, 9.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0, 3.0, 9.0])
    monkeypatch.setattr("bench.ordinary_program.seconds_of", lambda _: next(seconds))
    assert ordinary.best_batch() == 2
