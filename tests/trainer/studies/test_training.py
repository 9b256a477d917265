import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.tiny import CLASSES, MODEL, draw_pictures, tiny_config
from trainer.data import ArrayPictures, DataSet
from trainer.run import TrainingDiverged
from trainer.studies.candidates import mixer
from trainer.studies.training import Result, Trainer, Training, curve_steps


def made(per_class: int, seed: int) -> DataSet:
    pictures = [draw_pictures(label, per_class, seed=seed) for label in range(3)]
    labels = np.repeat(np.arange(3, dtype=np.int32), per_class)
    return DataSet(ArrayPictures(np.concatenate(pictures)), labels, CLASSES)


TRAIN, TEST = made(10, 0), made(4, 1)
CONFIG = replace(tiny_config(Path("unused")), steps=60)
TRAINING = Training(("Mixer",), mixer(MODEL), CONFIG, images=15, curve_points=3)


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer(TRAIN, TEST)


@pytest.fixture(scope="module")
def result(trainer: Trainer) -> Result:
    return trainer.train(TRAINING)


def test_training_learns_and_is_measured_on_its_own_images_and_on_test(result: Result) -> None:
    assert result.parameters == MODEL.parameter_count
    assert (result.train.images, result.test.images) == (15, 12)
    assert result.train.accuracy > 0.9
    assert result.gap == result.train.accuracy - result.test.accuracy
    assert [point.step for point in result.curve] == [20, 40, 60]
    assert result.curve[-1].loss == result.test.loss
    assert result.curve[0].loss > result.curve[-1].loss


def test_program_serves_other_parts_and_begins_anew_each_time(
    trainer: Trainer, result: Result
) -> None:
    whole = trainer.train(replace(TRAINING, images=30, evaluated_images=20, curve_points=0))
    assert (whole.train.images, whole.test.images, whole.curve) == (20, 12, ())
    again = trainer.train(TRAINING)
    assert (again.train, again.test, again.curve) == (result.train, result.test, result.curve)
    assert whole.test != again.test


def test_loss_that_is_no_number_names_the_training() -> None:
    optimiser = replace(CONFIG.optimiser, learning_rate=math.inf)
    training = replace(TRAINING, config=replace(CONFIG, optimiser=optimiser))
    with pytest.raises(TrainingDiverged, match=r"Mixer, seed 0: the loss is nan at step 2"):
        Trainer(TRAIN, TEST).train(training)


def test_trainings_of_epochs_are_refused() -> None:
    training = replace(TRAINING, config=replace(CONFIG, steps=None))
    with pytest.raises(ValueError, match="the same number of steps, not of epochs"):
        Trainer(TRAIN, TEST).train(training)


def test_curve_ends_with_the_training() -> None:
    assert curve_steps(7, 0) == set()
    assert curve_steps(7, 1) == {7}
    assert curve_steps(7, 3) == {2, 5, 7}
    assert curve_steps(2, 5) == {1, 2}


def test_curve_of_fewer_points_than_none_is_refused() -> None:
    with pytest.raises(ValueError, match="curve_points -1 is below 0"):
        curve_steps(5, -1)
