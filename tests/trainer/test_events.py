import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from tests.trainer.conftest import Finished
from tests.trainer.tiny import tiny_config, write_class_folders
from trainer.config import TrainConfig
from trainer.evaluation import Evaluation
from trainer.events import RunEvents, training_examples
from trainer.pictures import stem_picture
from trainer.records import LOG_FILE
from trainer.run import TrainingRun
from trainer.step import StepReport

STEPS = 12


@pytest.fixture
def config(tmp_path: Path, data_folder: Path) -> TrainConfig:
    """A run of twelve steps."""
    return replace(tiny_config(tmp_path, data_folder), steps=STEPS)


def evaluation(accuracy: float, loss: float) -> Evaluation:
    return Evaluation(
        images=40, accuracy=accuracy, top5_accuracy=0.75, loss=loss, calibration_error=0.125
    )


def read_back(run_dir: Path) -> EventAccumulator:
    """Return what TensorBoard would show, every point of it."""
    guidance = {"scalars": 0, "images": 0}
    return EventAccumulator(str(run_dir / "tensorboard"), size_guidance=guidance).Reload()


def scalars(found: EventAccumulator, tag: str) -> dict[int, float]:
    """Return the values by step; a step that comes twice is an error."""
    points = found.Scalars(tag)
    values = {point.step: point.value for point in points}
    assert len(values) == len(points)
    return values


def images(found: EventAccumulator, tag: str) -> dict[int, np.ndarray]:
    """Return the pictures by step."""
    points = found.Images(tag)
    values = {
        point.step: np.asarray(Image.open(BytesIO(point.encoded_image_string))) for point in points
    }
    assert len(values) == len(points)
    return values


def take_steps(run: TrainingRun, events: RunEvents, count: int) -> dict[int, StepReport]:
    """Return the reports of the run's next steps, by step."""
    reports = {}
    for _ in range(count):
        report = run.advance()
        events.step(report)
        reports[run.done] = report
    return reports


def test_scalars_of_every_nth_step_are_what_the_steps_reported(config: TrainConfig) -> None:
    with TrainingRun(config) as run, RunEvents(run, every_steps=3) as events:
        reports = take_steps(run, events, STEPS)
    found, steps = read_back(config.run_dir), [3, 6, 9, 12]
    for name in ("loss", "accuracy", "gradient_norm"):
        expected = {step: float(getattr(reports[step], name)) for step in steps}
        assert scalars(found, f"train/{name}") == pytest.approx(expected, rel=1e-6)
    # Warm-up 2 of 12 steps: step t, counted from 1, has the share 1 - (t - 1 - 2) / 10.
    rates = {step: 0.02 * (1 - (step - 3) / 10) for step in steps}
    assert scalars(found, "train/learning_rate") == pytest.approx(rates, rel=1e-5)
    speeds = scalars(found, "train/images_per_second")
    assert list(speeds) == steps
    assert min(speeds.values()) > 0
    waits = scalars(found, "train/data_wait_share")
    assert list(waits) == steps
    assert all(0 <= share <= 1 for share in waits.values())


def test_evaluation_writes_its_measures_and_the_stem_of_then(config: TrainConfig) -> None:
    stems = {}
    with TrainingRun(config) as run, RunEvents(run) as events:
        for number in (1, 2):
            take_steps(run, events, 3)
            events.evaluation(evaluation(number / 4, number / 8))
            stems[run.done] = stem_picture(run.parameters()["stem/kernel"])
    found = read_back(config.run_dir)
    assert scalars(found, "test/accuracy") == {3: 0.25, 6: 0.5}
    assert scalars(found, "test/top5_accuracy") == {3: 0.75, 6: 0.75}
    assert scalars(found, "test/loss") == {3: 0.125, 6: 0.25}
    shown = images(found, "weights/stem")
    assert shown.keys() == stems.keys()
    for step, picture in stems.items():
        np.testing.assert_array_equal(shown[step], picture)
    assert (shown[3] != shown[6]).any()


def test_resumed_run_goes_on_at_its_step_without_a_step_twice(config: TrainConfig) -> None:
    with TrainingRun(config) as run, RunEvents(run, every_steps=1) as events:
        take_steps(run, events, 5)
        run.save()
        events.evaluation(evaluation(0.25, 1.5))
        take_steps(run, events, 4)  # after the checkpoint, and so in vain
        events.evaluation(evaluation(0.0, 9.0))
    with TrainingRun(config) as run, RunEvents(run, every_steps=1) as events:
        assert run.done == 5
        take_steps(run, events, STEPS - 5)
        events.evaluation(evaluation(0.5, 1.25))
    found = read_back(config.run_dir)
    assert list(scalars(found, "train/loss")) == list(range(1, STEPS + 1))
    assert scalars(found, "test/loss") == {5: 1.5, STEPS: 1.25}
    assert list(images(found, "train/examples")) == [1, 6]
    assert list(images(found, "weights/stem")) == [5, STEPS]


def test_examples_are_training_images_as_the_next_step_changes_them(config: TrainConfig) -> None:
    with TrainingRun(config) as run:
        grid = training_examples(run)
        rows, columns = grid.shape[0] // 10, grid.shape[1] // 10
        tiles = grid.reshape(rows, 10, columns, 10, 3).swapaxes(1, 2)[..., :8, :8, :]
        shown = {tile.tobytes() for tile in tiles.reshape(-1, 8, 8, 3)} - {b"\xff" * 8 * 8 * 3}
        # Without augmentation they are the pictures themselves, here all thirty of them.
        pictures = [run.train_set[index][0] for index in range(len(run.train_set))]
        assert shown == {np.asarray(picture).tobytes() for picture in pictures}


def test_examples_of_the_closing_steps_are_changed_less(tmp_path: Path, data_folder: Path) -> None:
    config = tiny_config(tmp_path, data_folder)
    augment = replace(
        config.augment, crop_min_area=0.05, closing_share=0.5, closing_crop_min_area=1.0
    )
    with TrainingRun(replace(config, epochs=3, augment=augment)) as run:
        cropped = training_examples(run)
        run.done = run.total_steps - 1
        whole = training_examples(run)
    with TrainingRun(replace(config, epochs=3, run_dir=tmp_path / "plain")) as run:
        run.done = run.total_steps - 1
        np.testing.assert_array_equal(whole, training_examples(run))
    assert (cropped != whole).any()


def test_unreadable_picture_is_no_example(config: TrainConfig, tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "pictures")
    (data / "train" / "green" / "3.png").write_bytes(b"no image")
    with TrainingRun(replace(config, data=replace(config.data, path=data))) as run:
        grid = training_examples(run)
    white = (grid == 255).all(axis=-1).reshape(grid.shape[0] // 10, 10, -1, 10)
    assert (~white.all(axis=(1, 3))).sum() == 29


def test_training_writes_its_events(finished: Finished) -> None:
    run_dir = finished.store.parent / "run"
    found = read_back(run_dir)
    (row,) = [json.loads(line) for line in (run_dir / LOG_FILE).read_text().splitlines()]
    assert list(scalars(found, "train/loss"))[:3] == [10, 20, 30]
    expected = {row["step"]: row["test"]["accuracy"]}
    assert scalars(found, "test/accuracy") == pytest.approx(expected)
    assert list(images(found, "weights/stem")) == [row["step"]]
    assert list(images(found, "train/examples")) == [1]
