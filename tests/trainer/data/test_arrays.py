from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.tiny import CLASSES, draw_pictures
from trainer.data import DataError
from trainer.data.arrays import read_arrays

IMAGES = draw_pictures(0, 7)


def write_arrays(root: Path, **changes: Any) -> Path:
    """Write a training split of 7 images; None leaves an array out."""
    arrays = {"images": IMAGES, "labels": np.arange(7) % 3} | changes
    root.mkdir(exist_ok=True)
    kept = {name: values for name, values in arrays.items() if values is not None}
    np.savez(root / "train.npz", **kept)
    (root / "classes.txt").write_text("blue\n green \n\nred")
    return root


def test_images_labels_and_class_names(tmp_path: Path) -> None:
    data = read_arrays(write_arrays(tmp_path), "train")
    assert data.classes == CLASSES
    assert data.labels.dtype == np.int32
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    np.testing.assert_array_equal(np.stack([np.asarray(data[i][0]) for i in range(7)]), IMAGES)
    assert data.pictures.name(5) == f"{tmp_path}/train.npz[5]"


def damaged(root: Path) -> None:
    (root / "train.npz").write_bytes((root / "train.npz").read_bytes()[:100])


def no_class_names(root: Path) -> None:
    (root / "classes.txt").unlink()


def class_names_in_no_encoding(root: Path) -> None:
    (root / "classes.txt").write_bytes(b"\xff\xfe\xff")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damaged, r"train\.npz: no readable array images"),
        (no_class_names, r"classes\.txt: no readable class names"),
        (class_names_in_no_encoding, r"classes\.txt: no readable class names"),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(write_arrays(tmp_path))
    with pytest.raises(DataError, match=message):
        read_arrays(tmp_path, "train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "no readable array labels"),
        ({"labels": np.array([None] * 7)}, "no readable array labels"),
        ({"labels": np.zeros(7)}, r"labels is float64 \(7,\), not integers \[N\]"),
        ({"labels": np.zeros((7, 2), int)}, r"labels is int64 \(7, 2\), not integers \[N\]"),
        ({"labels": np.zeros(6, int)}, "6 labels of 7 images"),
        ({"images": IMAGES.astype(np.float32)}, r"images are float32 \(7, 8, 8, 3\), not uint8"),
        ({"images": IMAGES[..., 0]}, r"images are uint8 \(7, 8, 8\), not uint8 \[N, H, W, 3\]"),
        ({"images": IMAGES[..., :2]}, r"images are uint8 \(7, 8, 8, 2\), not uint8"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_arrays(tmp_path, **changes)
    with pytest.raises(DataError, match=rf"train\.npz: {message}"):
        read_arrays(tmp_path, "train")
