"""A labelled set of pictures."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Self, SupportsIndex

import numpy as np
from PIL import Image

from trainer.data.bad_data import BadData
from trainer.data.pictures import Pictures, SelectedPictures


@dataclass(frozen=True)
class DataSet:
    """Pictures, their class numbers int32 [N], and the names of the classes."""

    pictures: Pictures
    labels: np.ndarray
    classes: tuple[str, ...]
    bad: BadData = field(default_factory=BadData, compare=False)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: SupportsIndex) -> tuple[Image.Image, int]:
        """Return picture and class number; raises DataError where the picture is unreadable."""
        return self.pictures[int(index)], int(self.labels[int(index)])

    def select(self, indices: np.ndarray) -> Self:
        """Return the set of these pictures, by int64 indices [M]."""
        pictures = SelectedPictures(self.pictures, indices)
        return replace(self, pictures=pictures, labels=self.labels[indices])

    def digest(self) -> str:
        """SHA-256 (hex) over pictures, labels and class names."""
        parts = [self.pictures.digest(), self.labels.tobytes().hex(), *self.classes]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
