import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from model_store.store import ModelStore
from tests.trainer.conftest import Finished
from tests.trainer.tiny import CLASSES, command_line, write_class_folders
from trainer import evaluate
from trainer.evaluate import EvaluateConfig, evaluate_version


def test_evaluation_reproduces_the_manifest_exactly(finished: Finished, data_folder: Path) -> None:
    store = ModelStore(str(finished.store))
    training = store.manifest(store.resolve("tiny@1")).training
    assert training is not None
    report = evaluate_version(EvaluateConfig("tiny@1", data_folder, store=str(finished.store)))
    assert training.metrics == {
        "test_images": report.measures.images,
        "test_accuracy": report.measures.accuracy,
        "test_top5_accuracy": report.measures.top5_accuracy,
        "test_loss": report.measures.loss,
        "test_calibration_error": report.measures.calibration_error,
    }


def run(finished: Finished, data: Path, *options: str, model: str = "tiny@1") -> int:
    with command_line(model, str(data), "--store", str(finished.store), *options):
        return evaluate.main()


def test_command_prints_the_measures(
    finished: Finished, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(finished, data_folder) == 0
    first, _, pipeline, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("tiny@1: accuracy ")
    assert first.endswith(" on 12 images")
    assert pipeline == "published pipeline: squash to 8, crop 8, area; test split"


def test_command_writes_every_file_that_is_asked_for(
    finished: Finished, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [[0], []] + [[1, 2, 0]] * 10
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    files = {name: str(tmp_path / f"{name}.out") for name in ("json", "reliability", "confusion")}
    outputs = [part for name, file in files.items() for part in (f"--{name}", file)]
    options = (*outputs, "--real", str(tmp_path / "labels.json"), "--calibration-bins", "4")
    assert run(finished, data_folder, *options) == 0
    found = json.loads(Path(files["json"]).read_text())
    confusion, measures = found["confusion"], found["measures"]
    assert [sum(row) for row in confusion] == [4, 4, 4]
    assert sum(confusion[i][i] for i in range(3)) == pytest.approx(12 * measures["accuracy"])
    assert found["class_accuracies"] == [row[i] / 4 for i, row in enumerate(confusion)]
    assert all(b["upper"] - b["lower"] == 0.25 for b in found["reliability_bins"])
    assert found["real"]["labelled_images"] == 11
    for name, text in (
        ("confusion", CLASSES[0]),
        ("reliability", f"expected calibration error {measures['calibration_error']:.4f}"),
    ):
        assert text in [*ET.parse(files[name]).getroot().itertext()]
    assert "ReaL accuracy " in capsys.readouterr().out


def test_split_and_pipeline_are_those_asked_for(finished: Finished, data_folder: Path) -> None:
    config = EvaluateConfig(
        "tiny@1", data_folder, store=str(finished.store), split="train", pipeline="resmall-crop"
    )
    report = evaluate_version(config)
    assert (report.split, report.measures.images) == ("train", 30)
    assert report.preprocessing.resize == "shorter_side"
    published = evaluate_version(
        EvaluateConfig("tiny@1", data_folder, store=str(finished.store), split="train")
    )
    assert report.measures.loss != published.measures.loss


def refusal(
    finished: Finished,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    *options: str,
    model: str = "tiny@1",
) -> str:
    assert run(finished, data, *options, model=model) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_version_that_is_not_there_is_one_clear_line(
    finished: Finished, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(finished, data_folder, capsys, model="tiny@7")
    assert line.startswith("trainer: there is no tiny@7 in ")


def test_data_that_are_not_there_are_one_clear_line(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(finished, tmp_path / "nowhere", capsys)
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
    assert refusal(finished, data, capsys) == (
        f"trainer: {data}: its {count} classes are not the 3 that the model was trained on"
    )


def test_real_labels_that_do_not_fit_are_refused(
    finished: Finished, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "real.json"
    file.write_text("[[0]]")
    assert refusal(finished, data_folder, capsys, "--real", str(file)) == (
        f"trainer: {file}: labels of 1 images for a data set of 12"
    )


@pytest.mark.parametrize("option", ["--json", "--reliability", "--confusion"])
@pytest.mark.parametrize("place", ["missing/file", "."])
def test_place_that_cannot_hold_a_file_is_refused_before_any_work(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, place: str
) -> None:
    file = tmp_path / place
    line = refusal(finished, tmp_path / "no data", capsys, option, str(file))
    assert line == f"trainer: {file}: no file can be written there"


def test_no_bins_are_refused_before_any_work(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(finished, tmp_path / "no data", capsys, "--calibration-bins", "0")
    assert line == "trainer: calibration_bins is 0: at least 1 is needed"
