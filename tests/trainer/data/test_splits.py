import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.tiny import CLASSES, draw_pictures, write_class_folders, write_sheet_pack
from trainer.data import DataError, DataSet, Split, load_dataset


def write_numbered(root: Path, labels: object, *, classes: tuple[str, ...] = CLASSES) -> Path:
    """Write arrays whose pictures are of one grey each, that of their number."""
    labels_N = np.asarray(labels)
    greys = np.arange(len(labels_N), dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(greys, (len(labels_N), 4, 4, 3))
    root.mkdir(exist_ok=True)
    for split in ("train", "test"):
        np.savez(root / f"{split}.npz", images=images, labels=labels_N)
    (root / "classes.txt").write_text("\n".join(classes))
    return root


def numbers(data: DataSet) -> list[int]:
    return [np.asarray(data[i][0])[0, 0, 0].item() for i in range(len(data))]


# Layouts


@pytest.fixture(params=["class folders", "sheets", "arrays"])
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data set in one of the layouts; test_array_records.py writes the fourth."""
    root = tmp_path / "data"
    if request.param == "class folders":
        return write_class_folders(root)
    if request.param == "sheets":
        return write_sheet_pack(root)
    write_numbered(root, np.arange(9) % 3)
    np.savez(root / "test.npz", images=draw_pictures(0, 3), labels=np.arange(3))
    return root


def test_digest_of_each_layout_does_not_depend_on_the_place(layout: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(layout, tmp_path / "elsewhere")
    digest = load_dataset(layout, "train").digest()
    assert len(bytes.fromhex(digest)) == 32
    assert load_dataset(moved, "train").digest() == digest
    assert load_dataset(moved, "test").digest() != digest


def test_metadata_of_tfds_is_read_as_array_records(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(DataError, match=r"dataset_info\.json: name: Field required"):
        load_dataset(tmp_path, "train")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: neither class folders"):
        load_dataset(tmp_path / "nowhere", "train")


# The part held out


@pytest.mark.parametrize(("share", "held_out"), [(0.1, 2), (0.25, 5), (0.5, 10), (0.99, 20)])
def test_train_and_validation_are_disjoint_and_together_the_whole(
    tmp_path: Path, share: float, held_out: int
) -> None:
    root = write_numbered(tmp_path, np.arange(20) % 3)
    validation = load_dataset(root, "validation", holdout_share=share)
    train = load_dataset(root, "train", holdout_share=share)
    assert len(validation) == held_out
    assert sorted(numbers(train) + numbers(validation)) == list(range(20))
    for part in (train, validation):
        assert part.labels.tolist() == [number % 3 for number in numbers(part)]
        assert numbers(part) == sorted(numbers(part))


def test_larger_share_holds_out_the_smaller_one_too(tmp_path: Path) -> None:
    root = write_numbered(tmp_path, np.arange(20) % 3)
    small, large = (
        set(numbers(load_dataset(root, "validation", holdout_share=share))) for share in (0.2, 0.4)
    )
    assert small < large


def test_choice_is_the_same_on_every_machine_and_for_every_run(tmp_path: Path) -> None:
    root = write_numbered(tmp_path, np.arange(10) % 3)
    # MT19937's permutation of ten with seed 0 ends with 0, 3 and 5: frozen by numpy's policy.
    assert numbers(load_dataset(root, "validation", holdout_share=0.3)) == [0, 3, 5]


def test_test_split_is_never_divided(tmp_path: Path) -> None:
    root = write_numbered(tmp_path, np.arange(20) % 3)
    assert len(load_dataset(root, "test", holdout_share=0.5)) == 20


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_validation_without_images_is_refused(tmp_path: Path, share: float) -> None:
    root = write_numbered(tmp_path, np.arange(20) % 3)
    with pytest.raises(DataError, match=f"holdout_share {share} leaves no image for validation"):
        load_dataset(root, "validation", holdout_share=share)


@pytest.mark.parametrize("share", [-0.1, 1.0])
@pytest.mark.parametrize("name", ["holdout_share", "max_bad_share"])
def test_share_out_of_range_is_refused(tmp_path: Path, name: str, share: float) -> None:
    with pytest.raises(ValueError, match=f"{name} {share} is not at least 0 and below 1"):
        load_dataset(tmp_path, "train", **{name: share})


# Bad data


@pytest.mark.parametrize("split", ["train", "test"])
def test_empty_class_stops_by_default(tmp_path: Path, split: Split) -> None:
    root = write_class_folders(tmp_path / "pictures")
    (root / split / "mauve").mkdir()
    with pytest.raises(DataError, match=r"no images of mauve \(bad data: 1; .* allows 0\)"):
        load_dataset(root, split)


def test_class_without_a_label_is_empty_too(tmp_path: Path) -> None:
    root = write_numbered(tmp_path, [0, 2, 2])
    with pytest.raises(DataError, match="no images of green"):
        load_dataset(root, "train")


def test_empty_class_within_the_share_keeps_its_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_class_folders(tmp_path / "pictures")
    (root / "train" / "cyan").mkdir()
    with caplog.at_level(logging.WARNING):
        data = load_dataset(root, "train", max_bad_share=0.04)  # one of 30
    assert data.classes == ("blue", "cyan", "green", "red")
    assert set(data.labels) == {0, 2, 3}
    assert "no images of cyan (bad data: 1, allowed: 1)" in caplog.text


@pytest.mark.parametrize("label", [-1, 3])
def test_label_out_of_range_is_named_and_stops_by_default(tmp_path: Path, label: int) -> None:
    root = write_numbered(tmp_path, [0, 1, 2, label])
    with pytest.raises(DataError, match=rf"/train\.npz\[3\]: label {label} is not in 0 to 2 \(bad"):
        load_dataset(root, "train")


def test_labels_out_of_range_within_the_share_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_numbered(tmp_path, [0, 7, 2, 1, -1, 0, 1, 2])
    with caplog.at_level(logging.WARNING):
        data = load_dataset(root, "train", max_bad_share=0.25)
    assert numbers(data) == [0, 2, 3, 5, 6, 7]
    assert data.labels.tolist() == [0, 2, 1, 0, 1, 2]
    assert [record.getMessage().split("npz")[1] for record in caplog.records] == [
        "[1]: label 7 is not in 0 to 2 (bad data: 1, allowed: 2)",
        "[4]: label -1 is not in 0 to 2 (bad data: 2, allowed: 2)",
    ]
    with pytest.raises(DataError, match=r"label -1 is not in 0 to 2 \(bad data: 2; .* allows 1"):
        load_dataset(root, "train", max_bad_share=0.2)


def test_sheet_labels_out_of_range_name_the_file_of_labels(tmp_path: Path) -> None:
    root = write_sheet_pack(tmp_path / "sheets")
    np.savez(root / "labels.npz", y_train=np.full(120, 3))
    with pytest.raises(DataError, match=r"labels\.npz y_train\[0\]: label 3 is not in 0 to 2"):
        load_dataset(root, "train")
