from pathlib import Path

import numpy as np
import pytest

from tests.trainer.tiny import CLASSES, TRAIN_PER_CLASS, draw_pictures, write_class_folders
from trainer.data import DataError
from trainer.data.folders import read_class_folders


def test_classes_are_read_in_the_order_of_their_names(data_folder: Path) -> None:
    data = read_class_folders(data_folder / "train")
    assert data.classes == CLASSES
    assert data.labels.dtype == np.int32
    assert data.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    picture, label = data[2 * TRAIN_PER_CLASS + 3]
    assert label == 2
    np.testing.assert_array_equal(picture, draw_pictures(2, 4, seed=len("train"))[3])


def test_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "pictures") / "train"
    (root / "blue" / "notes.txt").write_text("not a picture")
    assert len(read_class_folders(root)) == 30


def test_split_without_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images of any class"):
        read_class_folders(tmp_path)


def test_digest_sees_every_change(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "pictures") / "train"
    digests = [read_class_folders(root).digest()]
    blue = root / "blue"
    (blue / "0.png").write_bytes((blue / "1.png").read_bytes())
    digests.append(read_class_folders(root).digest())
    (blue / "9.png").rename(root / "green" / "-.png")
    digests.append(read_class_folders(root).digest())
    blue.rename(root / "azure")
    digests.append(read_class_folders(root).digest())
    assert len(set(digests)) == len(digests)
