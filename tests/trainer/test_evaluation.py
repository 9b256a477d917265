import math
from dataclasses import asdict
from typing import Any

import jax
import numpy as np
import pytest

from model_store.mixer import load_mixer
from model_store.preprocess import Preprocessing, normalise
from tests.model_store.tiny import random_arrays
from tests.trainer.tiny import CLASSES, MODEL, draw_pictures
from trainer import evaluation
from trainer.data import ArrayPictures, DataSet
from trainer.evaluation import collect_outputs, evaluate, measure

PREPROCESSING = Preprocessing(resize="squash", resize_size=8, crop_size=8)
PIXELS = np.concatenate([draw_pictures(label, 5) for label in range(3)])
LABELS = np.repeat(np.arange(3, dtype=np.int32), 5)
DATA = DataSet(ArrayPictures(PIXELS), LABELS, CLASSES)


def descending(classes: int) -> np.ndarray:
    """Return the logits of an example whose class 0 is likeliest, class 1 next, and so on."""
    return np.arange(classes, 0, -1, dtype=np.float32)


@pytest.mark.parametrize(
    ("label", "accuracy", "top5"), [(0, 1, 1), (1, 0, 1), (4, 0, 1), (5, 0, 0), (9, 0, 0)]
)
def test_accuracies_of_one_example(label: int, accuracy: float, top5: float) -> None:
    result = measure(descending(10)[None], np.array([label], np.int32))
    assert (result.images, result.accuracy, result.top5_accuracy) == (1, accuracy, top5)


def test_accuracies_and_loss_are_means() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], np.float32))
    result = measure(logits, np.array([0, 1], np.int32))
    assert result.accuracy == 0.5
    assert result.loss == pytest.approx(-(math.log(0.5) + math.log(0.1)) / 2)
    assert result.calibration_error == pytest.approx((0.5 + 0.8) / 2, abs=1e-6)
    assert measure(logits, np.array([0, 1]), bins=1).calibration_error == pytest.approx(0.15)


def test_measures_are_scalars_that_a_log_and_a_manifest_can_hold() -> None:
    found = asdict(measure(descending(10)[None], np.zeros(1, np.int32)))
    assert {type(value) for value in found.values()} == {int, float}


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_model_that_does_not_choose_is_not_right(value: float) -> None:
    result = measure(np.full((1, 10), value, np.float32), np.zeros(1, np.int32))
    assert (result.accuracy, result.top5_accuracy) == (0, 0)


def test_whole_set_is_measured_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 4)
    sizes = []

    def brightness(images: Any) -> np.ndarray:
        """Return as logits of blue, green and red how bright those channels are."""
        sizes.append(len(images))
        means: np.ndarray = np.asarray(images, np.float32).mean(axis=(1, 2))[:, ::-1]
        return means

    logits, labels = collect_outputs(brightness, DATA, PREPROCESSING)
    assert np.array_equal(labels, LABELS)
    assert sizes == [4, 4, 4, 3]
    assert np.array_equal(logits, PIXELS.mean(axis=(1, 2), dtype=np.float32)[:, ::-1])
    result = measure(logits, LABELS)
    assert result.images == 15
    assert result.accuracy == 1.0


def test_mixer_is_measured_on_normalised_pixels() -> None:
    mixer = load_mixer(MODEL, random_arrays(MODEL))
    result = evaluate(mixer, DATA, PREPROCESSING)
    logits = jax.jit(lambda images: mixer(images)[0])(normalise(PIXELS, PREPROCESSING))
    expected = measure(np.asarray(logits), LABELS)
    assert result.accuracy == expected.accuracy
    assert result.loss == pytest.approx(expected.loss, rel=1e-5)
