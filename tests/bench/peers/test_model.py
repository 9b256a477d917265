import io
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from bench.peers.model import TOP_K, Decoder, Engine, answers, top_classes
from bench.peers.options import Parts, Served
from model_store.store import ModelStore
from tests.models import TINY, random_checkpoint


@pytest.fixture(scope="module")
def version_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = ModelStore(str(tmp_path_factory.mktemp("store")))
    return store.open(store.publish("tiny", random_checkpoint()))


def test_the_best_classes_are_the_softmaxs_largest() -> None:
    logits_BxN = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32) * 9
    ids_BxK, scores_BxK = top_classes(logits_BxN)
    assert ids_BxK.shape == scores_BxK.shape == (3, TOP_K)
    for ids_K, scores_K, logits_N in zip(ids_BxK, scores_BxK, logits_BxN, strict=True):
        expected_N = np.exp(logits_N.astype(np.float64)) / np.exp(logits_N.astype(np.float64)).sum()
        assert ids_K.tolist() == np.argsort(-expected_N)[:TOP_K].tolist()
        np.testing.assert_allclose(scores_K, expected_N[ids_K], rtol=1e-5)


def test_fewer_classes_than_five_are_all_named() -> None:
    (answer,) = answers(np.array([[1.0, 3.0, 2.0]], np.float32))
    assert [prediction["class_id"] for prediction in answer["predictions"]] == [1, 2, 0]
    assert sum(prediction["score"] for prediction in answer["predictions"]) == pytest.approx(1)


@pytest.mark.parametrize("parts", get_args(Parts))
def test_a_file_becomes_the_networks_input_whatever_its_mode(
    parts: Parts, version_dir: Path
) -> None:
    decode, size = Decoder(Served(version_dir, "float32", parts)), TINY.image_size
    for mode, colour in (("L", 90), ("RGB", (90, 90, 90))):
        file = io.BytesIO()
        Image.new(mode, (40, 30), colour).save(file, "JPEG")
        pixels_HxWx3 = decode(file.getvalue())
        assert pixels_HxWx3.shape == (size, size, 3)
        assert pixels_HxWx3.dtype == np.uint8
        assert np.abs(pixels_HxWx3.astype(int) - 90).max() <= 1


def test_what_is_no_jpeg_is_refused(version_dir: Path) -> None:
    with pytest.raises(UnidentifiedImageError):
        Decoder(Served(version_dir, "float32", "ours"))(b"no picture")


def test_the_engine_gives_each_image_of_a_batch_what_it_gives_it_alone(version_dir: Path) -> None:
    engine = Engine(Served(version_dir, "float32", "ours"))
    engine.warm_up(2)
    size = TINY.image_size
    images_BxHxWx3 = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    together_BxN = engine.logits(images_BxHxWx3)
    alone_BxN = np.concatenate([engine.logits(image[None]) for image in images_BxHxWx3])
    assert together_BxN.shape == (3, TINY.num_classes)
    np.testing.assert_allclose(together_BxN, alone_BxN, rtol=1e-4, atol=1e-4)


def test_both_engines_give_the_same_logits(version_dir: Path) -> None:
    ours, ordinary = (Engine(Served(version_dir, "float32", parts)) for parts in get_args(Parts))
    size = TINY.image_size
    images_BxHxWx3 = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    logits_BxN = ours.logits(images_BxHxWx3)
    np.testing.assert_allclose(ordinary.logits(images_BxHxWx3), logits_BxN, rtol=0, atol=1e-5)
