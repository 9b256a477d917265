import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.tiny import CLASSES, draw_pictures, write_sheet, write_sheet_pack
from trainer.data import DataError
from trainer.data.sheets import read_sheets

SIDE = 8


@pytest.fixture
def sheets(tmp_path: Path) -> Path:
    return write_sheet_pack(tmp_path / "sheets")


def test_tiles_are_cut_row_by_row_in_the_order_of_the_sheets(sheets: Path) -> None:
    data = read_sheets(sheets, "train")
    assert data.classes == CLASSES
    assert data.labels.dtype == np.int32
    pictures = np.stack([np.asarray(data[i][0]) for i in range(len(data))])
    np.testing.assert_array_equal(pictures, draw_pictures(0, 120))
    assert [data[i][1] for i in range(4)] == [0, 1, 2, 0]


def test_test_split_has_its_own_sheets(sheets: Path) -> None:
    np.testing.assert_array_equal(read_sheets(sheets, "test")[39][0], draw_pictures(1, 40)[39])


def test_picture_is_named_by_its_label(sheets: Path) -> None:
    name = read_sheets(sheets, "train").pictures.name(41)
    assert name == f"{sheets}/labels.npz y_train[41]"


def write_labels(root: Path, labels: object) -> None:
    np.savez(root / "labels.npz", y_train=np.asarray(labels))


def too_few_labels(root: Path) -> None:
    write_labels(root, np.zeros(119, np.uint8))


def no_sheets(root: Path) -> None:
    for sheet in root.glob("train_*.webp"):
        sheet.unlink()


def sheet_of_wrong_width(root: Path) -> None:
    write_sheet(root / "train_01.webp", draw_pictures(0, 80))
    shutil.copy(root / "train_01.webp", root / "sheet.webp")
    with Image.open(root / "sheet.webp") as image:
        image.crop((0, 0, image.width - 1, image.height)).save(root / "train_01.webp")


def sheet_of_wrong_height(root: Path) -> None:
    Image.new("RGB", (40 * SIDE, SIDE + 1)).save(root / "train_01.webp")


def sheet_of_other_tiles(root: Path) -> None:
    write_sheet(root / "train_01.webp", draw_pictures(0, 80, side=4))


def sheet_that_is_no_image(root: Path) -> None:
    (root / "train_01.webp").write_bytes(b"RIFF")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (too_few_labels, r"labels\.npz: 119 labels of 120 images"),
        (no_sheets, r"train_\*\.webp with tiles of no pixels"),
        (sheet_of_wrong_width, r"train_01\.webp: 319x16 is no grid 40 tiles wide"),
        (sheet_of_wrong_height, r"train_01\.webp: 320x9 is no grid 40 tiles wide"),
        (sheet_of_other_tiles, r"train_\*\.webp with tiles of \[4, 8\] pixels"),
        (sheet_that_is_no_image, r"train_01\.webp: no readable image"),
    ],
)
def test_pack_that_does_not_fit(sheets: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(sheets)
    with pytest.raises(DataError, match=message):
        read_sheets(sheets, "train")
