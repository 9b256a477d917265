"""The splits of a data set: train and test as they lie on disk, and a part held out of train."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from trainer.data.array_records import INFO_FILE, read_array_records
from trainer.data.arrays import read_arrays
from trainer.data.bad_data import BadData, DataError
from trainer.data.dataset import DataSet
from trainer.data.folders import read_class_folders
from trainer.data.sheets import LABELS_FILE, read_sheets

Split = Literal["train", "validation", "test"]
HOLDOUT_SEED = 0


def load_dataset(
    path: Path, split: Split, *, holdout_share: float = 0.0, max_bad_share: float = 0.0
) -> DataSet:
    """Read one split of the data set in the folder `path`.

    `validation` is a share of the images of train, and `train` the others, both in the order of
    the whole. The choice is one permutation for all runs, whatever their seed; it does not look at
    the classes, so that each has about its share in both parts.

    An image whose label is out of range is left out, and counts as bad, like an empty class.

    Raises:
        DataError: no such folder, no known layout, files that do not fit each other, or more bad
            images and classes than `max_bad_share` of the split's images.
        ValueError: a share that is not at least 0 and below 1.
    """
    for name, share in (("holdout_share", holdout_share), ("max_bad_share", max_bad_share)):
        if not 0 <= share < 1:
            msg = f"{name} {share} is not at least 0 and below 1"
            raise ValueError(msg)
    whole = _read(path, "test" if split == "test" else "train")
    whole = replace(whole, bad=BadData(int(max_bad_share * len(whole))))
    good = _without_bad_labels(whole)
    _report_empty_classes(path, good)
    return good if split == "test" else _part(path, good, split, holdout_share)


def _read(path: Path, split: str) -> DataSet:
    if (path / LABELS_FILE).is_file():
        return read_sheets(path, split)
    if (path / INFO_FILE).is_file():
        return read_array_records(path, split)
    if (path / f"{split}.npz").is_file():
        return read_arrays(path, split)
    if (path / split).is_dir():
        return read_class_folders(path / split)
    msg = (
        f"{path}: neither class folders ({split}/<class>/), sheets ({LABELS_FILE}), arrays "
        f"({split}.npz) nor TFDS's ArrayRecord ({INFO_FILE})"
    )
    raise DataError(msg)


def _without_bad_labels(data: DataSet) -> DataSet:
    fits = (data.labels >= 0) & (data.labels < len(data.classes))
    if fits.all():
        return data
    for index in np.flatnonzero(~fits):
        data.bad.report(_fault(data, int(index)))
    return data.select(np.flatnonzero(fits))


def _fault(data: DataSet, index: int) -> str:
    """Say what is wrong with an image whose label is out of range."""
    try:
        label = data[index][1]
    except DataError as error:
        return str(error)
    return f"{data.pictures.name(index)}: label {label} is not in 0 to {len(data.classes) - 1}"


def _report_empty_classes(path: Path, data: DataSet) -> None:
    counts = np.bincount(data.labels, minlength=len(data.classes))
    for name, count in zip(data.classes, counts, strict=True):
        if count == 0:
            data.bad.report(f"{path}: no images of {name}")


def _part(path: Path, train: DataSet, split: Split, holdout_share: float) -> DataSet:
    held_out = round(holdout_share * len(train))
    # RandomState's streams are frozen for all versions of numpy; those of its successor are not.
    order = np.random.RandomState(HOLDOUT_SEED).permutation(len(train))
    kept, held = np.sort(order[: len(train) - held_out]), np.sort(order[len(train) - held_out :])
    if split == "validation" and not held_out:
        msg = f"{path}: holdout_share {holdout_share} leaves no image for validation"
        raise DataError(msg)
    return train.select(held if split == "validation" else kept) if held_out else train
