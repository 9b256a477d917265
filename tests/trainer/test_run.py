import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from model_store.errors import InvalidName
from model_store.mixer import named_parameters
from tests.trainer.tiny import tiny_config, write_class_folders
from trainer.config import TrainConfig
from trainer.data import DataError
from trainer.run import StepTime, TrainingDiverged, TrainingRun


def take_steps(run: TrainingRun, count: int) -> list[float]:
    """Return the losses of the run's next steps."""
    return [float(run.advance().loss) for _ in range(count)]


def model_of_other_classes(config: TrainConfig) -> TrainConfig:
    return replace(config, model=config.model.model_copy(update={"num_classes": 4}))


def batch_larger_than_the_set(config: TrainConfig) -> TrainConfig:
    return replace(config, batch_size=31)


def preprocessing_of_another_size(config: TrainConfig) -> TrainConfig:
    return replace(config, preprocessing=config.preprocessing.model_copy(update={"crop_size": 4}))


def no_threads(config: TrainConfig) -> TrainConfig:
    return replace(config, data=replace(config.data, loader_threads=0))


def fewer_than_no_processes(config: TrainConfig) -> TrainConfig:
    return replace(config, data=replace(config.data, worker_processes=-1))


def never_a_checkpoint(config: TrainConfig) -> TrainConfig:
    return replace(config, checkpoint_every_steps=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (model_of_other_classes, "has 3 classes, the model 4"),
        (batch_larger_than_the_set, "batch_size 31 exceeds 30 images"),
        (preprocessing_of_another_size, "crop_size 4 is not the model's image_size 8"),
        (no_threads, "loader_threads is at least 1, worker_processes at least 0"),
        (fewer_than_no_processes, "loader_threads is at least 1, worker_processes at least 0"),
        (never_a_checkpoint, "checkpoint_every_steps and evaluate_every_epochs are at least 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_any_work(
    tmp_path: Path,
    data_folder: Path,
    change: Callable[[TrainConfig], TrainConfig],
    message: str,
) -> None:
    config = change(tiny_config(tmp_path, data_folder))
    with pytest.raises(ValueError, match=message):
        TrainingRun(config)
    assert not config.run_dir.exists()


def test_name_that_the_store_would_refuse_is_refused_at_the_start(
    tmp_path: Path, data_folder: Path
) -> None:
    with pytest.raises(InvalidName):
        TrainingRun(replace(tiny_config(tmp_path, data_folder), publish_as="../mixer"))


def test_splits_of_different_classes_are_refused(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "pictures")
    shutil.move(data / "test" / "red", data / "test" / "rouge")
    with pytest.raises(DataError, match=r"train has classes .*'red'.*, test .*'rouge'"):
        TrainingRun(tiny_config(tmp_path, data))


def test_run_learns_and_counts_its_steps(tmp_path: Path, data_folder: Path) -> None:
    with TrainingRun(tiny_config(tmp_path, data_folder)) as run:
        assert (run.steps_per_epoch, run.total_steps, run.done) == (3, 60, 0)
        before = run.evaluate()
        take_steps(run, 59)
        finished_early = run.finished
        take_steps(run, 1)
        assert (finished_early, run.finished) == (False, True)
        after = run.evaluate()
        assert after.images == 12
        assert after.accuracy > 0.9 > before.accuracy
        assert after.loss < before.loss


def test_run_goes_on_where_its_folder_stands(tmp_path: Path, data_folder: Path) -> None:
    config = tiny_config(tmp_path, data_folder)
    with TrainingRun(config) as run:
        take_steps(run, 4)  # into the second epoch
        elapsed_s = run.elapsed_s
        run.save()
        expected = take_steps(run, 3)
        parameters = named_parameters(run.state.params)
    with TrainingRun(config) as resumed:
        assert resumed.done == 4
        assert resumed.elapsed_s >= elapsed_s
        assert take_steps(resumed, 3) == expected
        for name, values in named_parameters(resumed.state.params).items():
            np.testing.assert_array_equal(values, parameters[name], err_msg=name)


def test_folder_of_a_run_on_other_data_is_refused(tmp_path: Path, data_folder: Path) -> None:
    config = tiny_config(tmp_path, data_folder)
    with TrainingRun(config) as run:
        run.save()
    fewer = replace(config, data=replace(config.data, holdout_share=0.1))
    with pytest.raises(ValueError, match="a run with another holdout_share, training_images:"):
        TrainingRun(fewer)


def test_held_out_images_are_not_trained_on(tmp_path: Path, data_folder: Path) -> None:
    config = tiny_config(tmp_path, data_folder)
    config = replace(config, data=replace(config.data, holdout_share=0.3))
    with TrainingRun(config) as run:
        assert len(run.train_set) == 21
        assert run.total_steps == 40


def test_bad_images_are_tolerated_up_to_the_share(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "pictures")
    for split in ("train", "test"):
        (data / split / "red" / "2.png").write_bytes(b"broken")
    config = tiny_config(tmp_path, data)
    config = replace(config, data=replace(config.data, max_bad_share=0.1))
    with TrainingRun(config) as run:
        take_steps(run, 4)
        assert run.evaluate().images == 11
        assert len(run.train_set.bad.found) == 1


def test_step_time_is_measured_with_its_share_of_waiting(
    tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TrainingRun(tiny_config(tmp_path, data_folder)) as run:
        clock = iter([100.0, 102.5, 110.0])
        stopwatch = SimpleNamespace(monotonic=lambda: next(clock))
        monkeypatch.setattr("trainer.run.time", stopwatch)
        run.advance()
        assert run.step_time == StepTime(total_s=10.0, data_wait_s=2.5)


def multiply_parameters(run: TrainingRun, factor: float) -> None:
    """Do to the parameters what an absurd learning rate does."""
    params = jax.tree.map(lambda x: factor * (x + 1), run.state.params)
    run.state = run.state._replace(params=params)


def test_diverged_run_stops_and_keeps_its_last_checkpoint(
    tmp_path: Path, data_folder: Path
) -> None:
    config = tiny_config(tmp_path, data_folder)
    with TrainingRun(config) as run:
        run.advance()
        run.save()
        multiply_parameters(run, 1e30)
        with pytest.raises(TrainingDiverged, match="the loss is nan at step 2; the last checkp"):
            run.advance()
    with TrainingRun(config) as resumed:
        assert resumed.done == 1
        assert math.isfinite(resumed.advance().loss)


@pytest.mark.parametrize("factor", [math.inf, math.nan])
def test_parameters_that_are_not_finite_are_not_saved(
    tmp_path: Path, data_folder: Path, factor: float
) -> None:
    with TrainingRun(tiny_config(tmp_path, data_folder)) as run:
        multiply_parameters(run, factor)
        with pytest.raises(TrainingDiverged, match="parameters are not finite at step 0"):
            run.save()
        assert not any(run.config.run_dir.glob("checkpoints/*"))


def test_pictures_of_another_size_are_scaled_to_the_model(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "pictures")
    for file in data.rglob("*.png"):
        with Image.open(file) as image:
            image.resize((11, 14)).save(file)
    with TrainingRun(tiny_config(tmp_path, data)) as run:
        run.advance()
        assert run.evaluate().images == 12
