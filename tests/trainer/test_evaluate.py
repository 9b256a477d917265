import shutil
from pathlib import Path

import pytest

from model_store.store import ModelStore
from tests.trainer.conftest import Finished
from tests.trainer.tiny import command_line, write_class_folders
from trainer import evaluate


def test_evaluation_reproduces_the_manifest_exactly(finished: Finished, data_folder: Path) -> None:
    store = ModelStore(str(finished.store))
    training = store.manifest(store.resolve("tiny@1")).training
    assert training is not None
    result = evaluate.evaluate_version("tiny@1", data_folder, store=str(finished.store))
    assert training.metrics == {
        "test_images": result.images,
        "test_accuracy": result.accuracy,
        "test_top5_accuracy": result.top5_accuracy,
        "test_loss": result.loss,
    }


def test_command_prints_the_measures(
    finished: Finished, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with command_line("tiny", str(data_folder), "--store", str(finished.store)):
        assert evaluate.main() == 0
    output = capsys.readouterr().out
    assert output.startswith("tiny@1: accuracy ")
    assert output.endswith(" on 12 images\n")


def refusal(model: str, data: Path, finished: Finished, capsys: pytest.CaptureFixture[str]) -> str:
    with command_line(model, str(data), "--store", str(finished.store)):
        assert evaluate.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_version_that_is_not_there_is_one_clear_line(
    finished: Finished, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal("tiny@7", data_folder, finished, capsys).startswith(
        "trainer: there is no tiny@7 in "
    )


def test_data_that_are_not_there_are_one_clear_line(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal("tiny@1", tmp_path / "nowhere", finished, capsys)
    assert line.startswith(f"trainer: {tmp_path / 'nowhere'}: neither class folders")


@pytest.mark.parametrize("change", ["another name", "a class less"])
def test_data_of_other_classes_are_refused(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    data = write_class_folders(tmp_path / "pictures")
    if change == "another name":
        (data / "test" / "blue").rename(data / "test" / "violet")
    else:
        shutil.rmtree(data / "test" / "blue")
    count = 3 if change == "another name" else 2
    assert refusal("tiny@1", data, finished, capsys) == (
        f"trainer: {data}: its {count} classes are not the 3 that the model was trained on"
    )
