"""Sheets: `<path>/{train,test}_NN.webp` with `labels.npz` and `classes.txt`.

A sheet is a grid of equally many square tiles, row-major, as the CIFAR packs are stored;
`labels.npz` holds `y_train` and `y_test`, and `classes.txt` the class names, one a line.
"""

from pathlib import Path

import numpy as np

from trainer.data.arrays import check_count, read_classes, read_labels
from trainer.data.bad_data import DataError
from trainer.data.dataset import DataSet
from trainer.data.pictures import ArrayPictures, decode_image

SHEET_COLUMNS = 40
LABELS_FILE = "labels.npz"


def read_sheets(path: Path, split: str) -> DataSet:
    """Read one split into memory.

    Raises:
        DataError: a file is missing or damaged, or the sheets do not fit their labels.
    """
    file, key = path / LABELS_FILE, f"y_{split}"
    labels, classes = read_labels(file, key), read_classes(path / "classes.txt")
    tiles = [_read_tiles(sheet) for sheet in sorted(path.glob(f"{split}_*.webp"))]
    sides = {found.shape[1] for found in tiles}
    if len(sides) != 1:
        msg = f"{path}: sheets {split}_*.webp with tiles of {sorted(sides) or 'no'} pixels"
        raise DataError(msg)
    pixels = np.concatenate(tiles)
    check_count(file, pixels, labels)
    return DataSet(ArrayPictures(pixels, f"{file} {key}"), labels, classes)


def _read_tiles(sheet: Path) -> np.ndarray:
    """Return the tiles of a sheet that is SHEET_COLUMNS tiles wide, uint8 [N, side, side, 3]."""
    pixels = np.asarray(decode_image(sheet, str(sheet)))
    side = pixels.shape[1] // SHEET_COLUMNS
    if side == 0 or pixels.shape[1] % SHEET_COLUMNS or pixels.shape[0] % side:
        msg = f"{sheet}: {pixels.shape[1]}x{pixels.shape[0]} is no grid {SHEET_COLUMNS} tiles wide"
        raise DataError(msg)
    rows = pixels.shape[0] // side
    grid = pixels.reshape(rows, side, SHEET_COLUMNS, side, 3).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(-1, side, side, 3))
