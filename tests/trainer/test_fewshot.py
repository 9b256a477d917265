import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from model_store.mixer import load_mixer
from model_store.ridge import L2_GRID, Labelled, TransferSet, current_protocol, older_protocol
from model_store.store import ModelStore
from tests.model_store.reference_forward import forward
from tests.model_store.tiny import random_arrays
from tests.models import TINY as PUBLISHED
from tests.models import random_checkpoint, square_pipeline
from tests.trainer.tiny import command_line, draw_pictures, write_class_folders
from trainer import fewshot
from trainer.data import ArrayPictures, DataError, DataSet
from trainer.fewshot import few_shot

# Its embeddings are random, but tell dark pictures from bright ones well enough to be measured.
PREPROCESSING = square_pipeline(PUBLISHED)
MIXER = load_mixer(PUBLISHED, random_arrays(PUBLISHED))


def draw_data(count: int, seed: int) -> DataSet:
    """Return pictures of two classes, by turns."""
    of_class = [draw_pictures(label, count, side=12, seed=seed) for label in (0, 1)]
    labels = np.arange(count, dtype=np.int32) % 2
    return DataSet(
        ArrayPictures(np.where(labels[:, None, None, None] == 0, *of_class)), labels, ("a", "b")
    )


def embedded(data: DataSet) -> Labelled:
    """Embed by the reference in float64."""
    pixels = np.stack([np.asarray(data[i][0]) for i in range(len(data))])
    _, embeddings = forward(pixels / 127.5 - 1, random_arrays(PUBLISHED), gelu="tanh")
    return Labelled(embeddings, data.labels)


TRAIN, TEST = draw_data(30, seed=1), draw_data(260, seed=2)


def test_library_measures_the_embeddings_of_both_splits() -> None:
    reference = {"pictures": TransferSet(embedded(TRAIN), embedded(TEST), num_classes=2)}
    found = few_shot(MIXER, PREPROCESSING, {"pictures": (TRAIN, TEST)}, shots=(1, 4), seeds=2)
    wanted = current_protocol(reference, shots=(1, 4), seeds=2)
    for result, expected in zip(found, wanted, strict=True):
        assert (result.dataset, result.shots, result.l2) == ("pictures", expected.shots, 1024)
        # Rounding may move an image that lies between the classes.
        assert result.accuracies == pytest.approx(expected.accuracies, abs=2 / 260)
    older = few_shot(
        MIXER, PREPROCESSING, {"pictures": (TRAIN, TEST)}, shots=(4,), protocol="older"
    )
    (expected,) = older_protocol(reference, shots=(4,))
    assert older[0].accuracies == pytest.approx(expected.accuracies, abs=2 / 260)


@pytest.mark.parametrize("settings", [{"shots": ()}, {"shots": (0,)}, {"seeds": 0}])
def test_nothing_to_measure_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="shots of at least 1 and at least 1 seed"):
        few_shot(MIXER, PREPROCESSING, {"": (TRAIN, TEST)}, **settings)  # type: ignore[arg-type]


def test_splits_of_different_classes_are_refused() -> None:
    other = DataSet(TEST.pictures, TEST.labels, ("a", "c"))
    with pytest.raises(DataError, match=r"pets: train has classes \('a', 'b'\), test"):
        few_shot(MIXER, PREPROCESSING, {"pets": (TRAIN, other)})


# Command


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with one version, random@1."""
    root = str(tmp_path_factory.mktemp("store"))
    ModelStore(root).publish("random", random_checkpoint())
    return root


def test_command_measures_each_data_set_and_writes_json(
    store: str, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, file = write_class_folders(tmp_path / "other"), tmp_path / "fewshot.json"
    shutil.rmtree(other / "train" / "red")
    shutil.rmtree(other / "test" / "red")
    folders = (str(data_folder), str(other))
    options = ("--shots", "1", "5", "--seeds", "2", "--store", store, "--json", str(file))
    with command_line("random@1", *folders, *options):
        assert fewshot.main() == 0
    output = capsys.readouterr().out
    assert "random@1, protocol current" in output
    report = json.loads(file.read_text())
    assert (report["model"], report["protocol"]) == ("random@1", "current")
    rows = report["results"]
    assert [(row["dataset"], row["shots"]) for row in rows] == [
        (folder, shots) for folder in folders for shots in (1, 5)
    ]
    for row in rows:
        assert row["l2"] == 1024
        assert len(row["accuracies"]) == 2
        for accuracy in (*row["accuracies"], np.mean(row["accuracies"])):
            assert f" {accuracy:.4f} " in output


def test_command_repeats_itself_exactly(store: str, data_folder: Path) -> None:
    first, second = (
        fewshot.few_shot_version("random", (data_folder,), shots=(2,), store=store)
        for _ in range(2)
    )
    assert first == second
    assert len(first[0].accuracies) == 3


def test_older_protocol_shows_the_penalty_that_it_chose(
    store: str, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = fewshot.few_shot_version(
        "random", (data_folder,), shots=(2, 3), protocol="older", store=store
    )
    output = capsys.readouterr().out
    assert "seed" not in output
    for result in results:
        assert result.l2 in L2_GRID
        assert f" {result.l2:g} " in output
        assert f" {result.accuracies[0]:.4f} " in output


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with command_line(*arguments):
        assert fewshot.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_class_with_too_few_images_is_one_clear_line(
    store: str, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, "random", str(data_folder), "--shots", "5", "11", "--store", store)
    assert line == (
        f"trainer: {data_folder}: class blue has 10 training images, fewer than 11 shots"
    )


def test_no_data_and_no_version_are_one_clear_line(
    store: str, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "needs a data set" in refusal(capsys, "random", "--store", store)
    line = refusal(capsys, "random@7", str(data_folder), "--store", store)
    assert line.startswith("trainer: there is no random@7 in ")
    line = refusal(capsys, "random", str(tmp_path / "nowhere"), "--store", store)
    assert line.startswith(f"trainer: {tmp_path / 'nowhere'}: neither class folders")
