"""Multi-label evaluation on reassessed labels ("ReaL"): an image has any number of classes.

The file is that of Beyer et al., "Are we done with ImageNet?" (2020): a JSON list with a list of
class numbers for each image. Images without a label are skipped (spec section 4.2).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from trainer.data import DataError

_FORMAT = TypeAdapter(list[list[int]])


@dataclass(frozen=True)
class RealAccuracy:
    """Share of the labelled images whose likeliest class is among their labels."""

    labelled_images: int
    accuracy: float


def read_real_labels(file: Path, *, images: int, classes: int) -> np.ndarray:
    """Return which class is a label of which image, bool [images, classes].

    Raises:
        DataError: another format, a wrong number of images, no label at all, or one out of range.
    """
    try:
        labels = _FORMAT.validate_json(file.read_bytes(), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ", ".join(f"entry {place}" for place in first["loc"]) or "the document"
        msg = f"{file}: no JSON list of lists of class numbers: {where}: {first['msg']}"
        raise DataError(msg) from error
    if len(labels) != images:
        msg = f"{file}: labels of {len(labels)} images for a data set of {images}"
        raise DataError(msg)
    labels_BxN = np.zeros((images, classes), np.bool_)
    for image, numbers in enumerate(labels):
        for number in numbers:
            if not 0 <= number < classes:
                msg = f"{file}: entry {image} has class {number}, outside 0 to {classes - 1}"
                raise DataError(msg)
            labels_BxN[image, number] = True
    if not labels_BxN.any():
        msg = f"{file}: no image has a label"
        raise DataError(msg)
    return labels_BxN


def real_accuracy(logits_BxN: np.ndarray, labels_BxN: np.ndarray) -> RealAccuracy:
    """Measure on the images with a label; a tie with another class, or a NaN, counts as a miss."""
    best_label_B = np.where(labels_BxN, logits_BxN, -np.inf).max(axis=1)
    best_other_B = np.where(labels_BxN, -np.inf, logits_BxN).max(axis=1)
    labelled_B = labels_BxN.any(axis=1)
    hits = (best_label_B > best_other_B)[labelled_B]
    return RealAccuracy(labelled_images=len(hits), accuracy=float(hits.mean()))
