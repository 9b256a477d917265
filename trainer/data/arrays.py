"""Plain arrays: `<path>/{train,test}.npz` with `images` uint8 [N, H, W, 3] and `labels` [N].

The class names stand in `classes.txt`, one a line.
"""

from pathlib import Path

import numpy as np

from trainer.data.bad_data import DataError
from trainer.data.dataset import DataSet
from trainer.data.pictures import ArrayPictures


def read_arrays(path: Path, split: str) -> DataSet:
    """Read one split into memory.

    Raises:
        DataError: a file is missing or damaged, or an array has another shape or type.
    """
    file = path / f"{split}.npz"
    images, labels = read_array(file, "images"), read_labels(file, "labels")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        msg = f"{file}: images are {images.dtype} {images.shape}, not uint8 [N, H, W, 3]"
        raise DataError(msg)
    check_count(file, images, labels)
    return DataSet(ArrayPictures(images, str(file)), labels, read_classes(path / "classes.txt"))


def read_array(file: Path, key: str) -> np.ndarray:
    """Return one array of an .npz file.

    Raises:
        DataError: the file cannot be read, or holds no plain array of that name.
    """
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            array: np.ndarray = arrays[key]
    except Exception as error:  # numpy, zipfile and zlib raise many types on a damaged file
        msg = f"{file}: no readable array {key}"
        raise DataError(msg) from error
    return array


def read_labels(file: Path, key: str) -> np.ndarray:
    """Return class numbers as int32 [N].

    Raises:
        DataError: they cannot be read, or are no row of integers.
    """
    labels = read_array(file, key)
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        msg = f"{file}: {key} is {labels.dtype} {labels.shape}, not integers [N]"
        raise DataError(msg)
    return labels.astype(np.int32)


def read_classes(file: Path) -> tuple[str, ...]:
    """Return the class names of a text file, one a line.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        lines = file.read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: no readable class names"
        raise DataError(msg) from error
    return tuple(name.strip() for name in lines if name.strip())


def check_count(file: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Refuse images and labels of different counts.

    Raises:
        DataError: naming the file and both counts.
    """
    if len(images) != len(labels):
        msg = f"{file}: {len(labels)} labels of {len(images)} images"
        raise DataError(msg)
