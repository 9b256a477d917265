"""Class folders: `<path>/{train,test}/<class name>/<image file>`, the classes sorted by name."""

from pathlib import Path

import numpy as np

from trainer.data.bad_data import DataError
from trainer.data.dataset import DataSet
from trainer.data.pictures import FilePictures

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}


def read_class_folders(root: Path) -> DataSet:
    """Read one split's folder; files without an image's suffix are passed over.

    Raises:
        DataError: there is no class folder.
    """
    classes = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    if not classes:
        msg = f"{root}: no images of any class"
        raise DataError(msg)
    files = [
        sorted(f for f in (root / name).iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        for name in classes
    ]
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(found) for found in files])
    return DataSet(FilePictures([f for found in files for f in found]), labels, tuple(classes))
