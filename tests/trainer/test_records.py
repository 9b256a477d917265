import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_store.mixer import named_parameters
from tests.trainer.tiny import CLASSES, tiny_config
from trainer import records
from trainer.config import TrainConfig
from trainer.environment import environment
from trainer.evaluation import Evaluation, measure
from trainer.pictures import stem_picture
from trainer.records import (
    EVALUATION_FILE,
    LOG_FILE,
    START_FILE,
    read_evaluation,
    read_log,
    read_start,
    record_evaluation,
    record_start,
)
from trainer.run import TrainingRun

ROW = {"epoch": 1, "step": 3, "train_loss": 1.5, "images_per_second": 9.0, "elapsed_s": 2.0}


@pytest.fixture
def config(tmp_path: Path, data_folder: Path) -> TrainConfig:
    return tiny_config(tmp_path, data_folder)


def write_log(folder: Path, *lines: str) -> None:
    (folder / LOG_FILE).write_text("".join(f"{line}\n" for line in lines))


def row(step: int, accuracy: float) -> str:
    return json.dumps({**ROW, "step": step, "test": {"accuracy": accuracy}})


def test_start_says_every_setting_and_the_environment(config: TrainConfig) -> None:
    with TrainingRun(config) as run:
        record_start(run)
    found = read_start(config.run_dir)
    assert found is not None
    assert found.environment == environment()
    assert found.config["optimiser"] == asdict(config.optimiser)
    assert found.config["run_dir"] == str(config.run_dir)
    assert found.command.startswith("python ")


def test_evaluation_is_that_of_the_run_with_all_behind_it(config: TrainConfig) -> None:
    with TrainingRun(config) as run:
        run.advance()
        result = record_evaluation(run)
        assert result == run.evaluate()
        stem = stem_picture(named_parameters(run.state.params)["stem/kernel"])
    found = read_evaluation(config.run_dir)
    assert found is not None
    assert (found.step, found.classes, found.measures) == (1, CLASSES, asdict(result))
    assert found.confusion is not None
    confusion_NxN = np.array(found.confusion)
    assert confusion_NxN.sum(axis=1).tolist() == [4, 4, 4]
    assert confusion_NxN.trace() / 12 == pytest.approx(result.accuracy)
    assert sum(found_bin.count for found_bin in found.reliability_bins) == 12
    folder = config.run_dir / "pictures"
    names = ["stem.png", "token_mixing_0.png", "token_mixing_1.png"]
    assert sorted(file.name for file in folder.iterdir()) == names
    with Image.open(folder / "stem.png") as image:
        np.testing.assert_array_equal(np.asarray(image), stem)


def test_very_many_classes_have_no_confusion_matrix(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_CONFUSED_CLASSES", 2)
    with TrainingRun(config) as run:
        record_evaluation(run)
    found = read_evaluation(config.run_dir)
    assert found is not None
    assert found.confusion is None


def test_measure_that_is_no_number_survives(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(logits_BxN: np.ndarray, labels_B: np.ndarray) -> Evaluation:
        return replace(measure(logits_BxN, labels_B), accuracy=0.5, loss=float("nan"))

    monkeypatch.setattr(records, "measure", spoilt)
    with TrainingRun(config) as run:
        record_evaluation(run)
    found = read_evaluation(config.run_dir)
    assert found is not None
    assert np.isnan(found.measures["loss"])
    assert found.measures["accuracy"] == 0.5


def test_folder_without_records_has_none(tmp_path: Path) -> None:
    assert read_start(tmp_path) is None
    assert read_evaluation(tmp_path) is None
    assert read_log(tmp_path) == ()


@pytest.mark.parametrize("content", ["", "[]", '{"command": 1}'])
def test_damaged_records_are_named(tmp_path: Path, content: str) -> None:
    for name in (START_FILE, EVALUATION_FILE):
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"run\.json: not what a training writes"):
        read_start(tmp_path)
    with pytest.raises(ValueError, match=r"evaluation\.json: not what a training writes"):
        read_evaluation(tmp_path)


def test_log_is_read_by_step_and_the_last_row_of_a_step_counts(tmp_path: Path) -> None:
    write_log(tmp_path, row(3, 0.25), row(6, 0.5), row(3, 0.125), row(9, float("nan")))
    found = read_log(tmp_path)
    assert [each.step for each in found] == [3, 6, 9]
    assert [each.test["accuracy"] for each in found[:2]] == [0.125, 0.5]
    assert np.isnan(found[2].test["accuracy"])
    assert found[0].train_loss == 1.5


def test_line_that_is_no_row_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_log(tmp_path, row(3, 0.25), row(6, 0.5)[:20], '{"step": 7}', row(9, 0.75))
    assert [each.step for each in read_log(tmp_path)] == [3, 9]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / LOG_FILE}, line {number}: no row of a training log, left out"
        for number in (2, 3)
    ]
