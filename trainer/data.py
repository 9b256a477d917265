"""Data sets on disk, and the deterministic, resumable pipeline that turns them into batches.

Two layouts are read:

- class folders: `<path>/{train,test}/<class name>/<image file>`;
- sheets: `<path>/{train,test}_NN.webp` with `labels.npz` (`y_train`, `y_test`) and `classes.txt`,
  where a sheet is a grid of equally many square tiles, row-major, as the CIFAR packs are stored.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, SupportsIndex

import grain
import numpy as np
from PIL import Image

from model_store.preprocess import Preprocessing, to_input
from trainer.augment import augment_image
from trainer.config import AugmentConfig, TrainConfig

Split = Literal["train", "test"]
SHEET_COLUMNS = 40
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}


class DataError(Exception):
    """The data set is not what it must be; the message names the file or folder."""


class Pictures(Protocol):
    """Random access to decoded RGB pictures."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Image.Image: ...

    def digest(self) -> str:
        """SHA-256 (hex) of the content, independent of where it lies."""


@dataclass(frozen=True)
class DataSet:
    """Pictures, their class numbers int32 [N], and the names of the classes."""

    pictures: Pictures
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: SupportsIndex) -> tuple[Image.Image, int]:
        """Return picture and class number; this makes it a grain data source."""
        return self.pictures[int(index)], int(self.labels[int(index)])

    def digest(self) -> str:
        """SHA-256 (hex) over pictures, labels and class names."""
        parts = [self.pictures.digest(), self.labels.tobytes().hex(), *self.classes]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class ArrayPictures:
    """Pictures held in memory as uint8 [N, H, W, 3]."""

    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])

    def digest(self) -> str:
        """SHA-256 (hex) of the raw pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels).data).hexdigest()


@dataclass(frozen=True)
class FilePictures:
    """Image files that are decoded when they are asked for."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image.Image:
        try:
            with Image.open(self.paths[index]) as image:
                return image.convert("RGB")
        except Exception as error:  # Pillow's decoders raise whatever they stumble over
            msg = f"{self.paths[index]}: no readable image"
            raise DataError(msg) from error

    def digest(self) -> str:
        """SHA-256 (hex) over the files' contents in order."""
        digest = hashlib.sha256()
        for path in self.paths:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def load_dataset(path: Path, split: Split) -> DataSet:
    """Read one split of the data set in the folder `path`.

    Raises:
        DataError: no such folder, neither of the two layouts, or labels that do not fit.
    """
    if (path / "labels.npz").is_file():
        return _load_sheets(path, split)
    if (path / split).is_dir():
        return _load_class_folders(path / split)
    msg = f"{path}: neither class folders ({split}/<class>/) nor sheets with labels.npz"
    raise DataError(msg)


def _load_class_folders(root: Path) -> DataSet:
    classes = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    files = [
        sorted(f for f in (root / name).iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        for name in classes
    ]
    empty = [name for name, found in zip(classes, files, strict=True) if not found]
    if empty or not classes:
        msg = f"{root}: no images of {', '.join(empty) or 'any class'}"
        raise DataError(msg)
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(found) for found in files])
    return DataSet(FilePictures([f for found in files for f in found]), labels, tuple(classes))


def _load_sheets(path: Path, split: Split) -> DataSet:
    labels, classes = _read_labels(path / "labels.npz", split), _read_classes(path / "classes.txt")
    tiles = [_read_tiles(sheet) for sheet in sorted(path.glob(f"{split}_*.webp"))]
    sides = {found.shape[1] for found in tiles}
    if len(sides) != 1:
        msg = f"{path}: sheets {split}_*.webp with tiles of {sorted(sides) or 'no'} pixels"
        raise DataError(msg)
    pixels = np.concatenate(tiles)
    lowest, highest = labels.min(initial=0), labels.max(initial=0)
    if labels.shape != pixels.shape[:1] or lowest < 0 or highest >= len(classes):
        msg = (
            f"{path}: {len(pixels)} {split} images, {labels.size} labels from {lowest} to "
            f"{highest}, {len(classes)} class names"
        )
        raise DataError(msg)
    return DataSet(ArrayPictures(pixels), labels, classes)


def _read_labels(file: Path, split: Split) -> np.ndarray:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            labels: np.ndarray = arrays[f"y_{split}"].astype(np.int32)
    except Exception as error:  # numpy, zipfile and zlib raise many types on a damaged file
        msg = f"{file}: no readable labels y_{split}"
        raise DataError(msg) from error
    return labels


def _read_classes(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: no readable class names"
        raise DataError(msg) from error
    return tuple(name.strip() for name in lines if name.strip())


def _read_tiles(sheet: Path) -> np.ndarray:
    """Return the tiles of a sheet that is SHEET_COLUMNS tiles wide, uint8 [N, side, side, 3]."""
    pixels = np.asarray(FilePictures([sheet])[0])
    side = pixels.shape[1] // SHEET_COLUMNS
    if side == 0 or pixels.shape[1] % SHEET_COLUMNS or pixels.shape[0] % side:
        msg = f"{sheet}: {pixels.shape[1]}x{pixels.shape[0]} is no grid {SHEET_COLUMNS} tiles wide"
        raise DataError(msg)
    rows = pixels.shape[0] // side
    grid = pixels.reshape(rows, side, SHEET_COLUMNS, side, 3).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(-1, side, side, 3))


class _Augment(grain.transforms.RandomMap):  # type: ignore[misc]
    """Picture -> augmented uint8 [S, S, 3]; its randomness is grain's, so it resumes exactly."""

    def __init__(self, preprocessing: Preprocessing, config: AugmentConfig) -> None:
        self._preprocessing, self._config = preprocessing, config

    def random_map(
        self, element: tuple[Image.Image, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.int32]:
        picture, label = element
        return augment_image(picture, self._preprocessing, self._config, rng), np.int32(label)


def training_batches(config: TrainConfig, data: DataSet) -> grain.DatasetIterator[Any]:
    """Return the shuffled iterator of a run's batches, (uint8 [B, S, S, 3], int32 [B]).

    Its `get_state` and `set_state` continue at exactly the next batch. A last partial batch of
    an epoch is filled from the next epoch.
    """
    total_steps = config.total_steps(len(data))
    total, closing = (
        steps * config.batch_size for steps in (total_steps, config.closing_step(total_steps))
    )
    images = grain.MapDataset.concatenate(
        [
            _augmented(config, data, config.augment)[:closing],
            _augmented(config, data, config.augment.closing())[closing:total],
        ]
    )
    stream = images.to_iter_dataset(
        grain.ReadOptions(num_threads=config.data.loader_threads)
    ).batch(config.batch_size)
    return iter(stream)


def _augmented(config: TrainConfig, data: DataSet, augment: AugmentConfig) -> grain.MapDataset[Any]:
    """Return endless epochs of images; their order does not depend on the augmentation."""
    return (
        grain.MapDataset.source(data)
        .seed(config.seed)
        .shuffle()
        .repeat()
        .random_map(_Augment(config.preprocessing, augment))
    )


def evaluation_batches(
    data: DataSet, preprocessing: Preprocessing, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (uint8 [B, S, S, 3], int32 [B]) over the whole set in order."""
    for start in range(0, len(data), batch_size):
        indices = range(start, min(start + batch_size, len(data)))
        images = np.stack([to_input(data[index][0], preprocessing) for index in indices])
        yield images, data.labels[indices.start : indices.stop]
