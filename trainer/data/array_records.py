"""Data sets that TensorFlow Datasets prepared as ArrayRecord, read without TensorFlow.

`<path>` is a version's folder, such as `~/tensorflow_datasets/mnist/3.0.1`. It holds
`dataset_info.json`, `features.json`, perhaps `label.labels.txt` with the class names, and shards
such as `mnist-train.array_record-00000-of-00001`, whose records are serialised tf.train.Example
messages with `image` (an encoded image) and `label`.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import grain
import numpy as np
from PIL import Image
from pydantic import AliasPath, BaseModel, Field, ValidationError

from trainer.data.arrays import read_classes
from trainer.data.bad_data import DataError
from trainer.data.dataset import DataSet
from trainer.data.example import read_example
from trainer.data.pictures import decode_image

INFO_FILE = "dataset_info.json"
FEATURES_FILE = "features.json"
CLASSES_FILE = "label.labels.txt"
NO_LABEL = -1


class _Split(BaseModel):
    name: str
    shard_lengths: list[int] = Field(alias="shardLengths", min_length=1)
    template: str = Field("{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", alias="filepathTemplate")


class _Info(BaseModel):
    name: str
    file_format: Literal["array_record"] = Field(alias="fileFormat")
    splits: list[_Split]


class _Features(BaseModel):
    image: dict[str, Any] = Field(
        validation_alias=AliasPath("featuresDict", "features", "image", "image")
    )
    classes: int = Field(
        validation_alias=AliasPath("featuresDict", "features", "label", "classLabel", "numClasses")
    )


@dataclass(frozen=True)
class RecordPictures:
    """Encoded images in ArrayRecord shards, decoded when they are asked for."""

    records: Any  # grain's ArrayRecordDataSource
    shards: tuple[Path, ...]
    ends: np.ndarray
    """int64 [shards]: how many records end with each shard."""

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Image.Image:
        return decode_image(io.BytesIO(self._read(index)[0]), self.name(index))

    def label(self, index: int) -> int:
        """Return the class number, or NO_LABEL where the record cannot be read."""
        try:
            return self._read(index)[1]
        except DataError:
            return NO_LABEL

    def _read(self, index: int) -> tuple[bytes, int]:
        try:
            return read_example(self._bytes(index))
        except ValueError as error:
            msg = f"{self.name(index)}: no readable record"
            raise DataError(msg) from error

    def name(self, index: int) -> str:
        """Return the shard and the record's place in it."""
        shard = int(np.searchsorted(self.ends, index, side="right"))
        start = 0 if shard == 0 else int(self.ends[shard - 1])
        return f"{self.shards[shard]}[{index - start}]"

    def digest(self) -> str:
        """SHA-256 (hex) over the records in order, however they are cut into shards."""
        digest = hashlib.sha256()
        for index in range(len(self)):
            digest.update(hashlib.sha256(self._bytes(index)).digest())
        return digest.hexdigest()

    def _bytes(self, index: int) -> bytes:
        """Return the record, which is empty where it cannot be read."""
        try:
            record: bytes = self.records[index]
        except RuntimeError:  # the hash of its chunk does not match
            return b""
        return record


def read_array_records(path: Path, split: str) -> DataSet:
    """Read one split; its labels are read from all records now, its images later.

    A set without a test split is tested on its validation split, as ImageNet is.

    Raises:
        DataError: metadata or a shard is missing, damaged, or not what it must be.
    """
    info = _read_json(path / INFO_FILE, _Info)
    splits = {each.name: each for each in info.splits}
    found = splits.get(split) or splits.get("validation" if split == "test" else split)
    if found is None:
        msg = f"{path / INFO_FILE}: no split {split}, only {', '.join(splits) or 'none'}"
        raise DataError(msg)
    pictures = _open_shards(path, info.name, found)
    labels = grain.MapDataset.range(len(pictures)).map(pictures.label).to_iter_dataset()
    return DataSet(pictures, np.fromiter(labels, np.int32), _read_class_names(path))


Model = TypeVar("Model", bound=BaseModel)


def _read_json(file: Path, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(file.read_bytes())
    except OSError as error:
        msg = f"{file}: {error.strerror}"
        raise DataError(msg) from error
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DataError(msg) from error


def _open_shards(path: Path, name: str, split: _Split) -> RecordPictures:
    count = len(split.shard_lengths)
    shards = tuple(path / _shard_name(name, split, index) for index in range(count))
    for shard, length in zip(shards, split.shard_lengths, strict=True):
        _check_shard(shard, length)
    records = grain.sources.ArrayRecordDataSource([str(shard) for shard in shards])
    return RecordPictures(records, shards, np.cumsum(split.shard_lengths))


def _shard_name(name: str, split: _Split, index: int) -> str:
    count = len(split.shard_lengths)
    values = {
        "DATASET": name,
        "SPLIT": split.name,
        "FILEFORMAT": "array_record",
        "SHARD_INDEX": f"{index:05d}",
        "NUM_SHARDS": f"{count:05d}",
        "SHARD_X_OF_Y": f"{index:05d}-of-{count:05d}",
    }
    return split.template.format(**values)


def _check_shard(shard: Path, length: int) -> None:
    try:
        found = len(grain.sources.ArrayRecordDataSource([str(shard)]))
    except RuntimeError as error:
        msg = f"{shard}: no readable ArrayRecord file"
        raise DataError(msg) from error
    if found != length:
        msg = f"{shard}: {found} records, but {INFO_FILE} says {length}"
        raise DataError(msg)


def _read_class_names(path: Path) -> tuple[str, ...]:
    """Return the class names; TFDS writes none where the classes are mere numbers."""
    count = _read_json(path / FEATURES_FILE, _Features).classes
    file = path / CLASSES_FILE
    names = read_classes(file) if file.exists() else tuple(map(str, range(count)))
    if len(names) != count:
        msg = f"{file}: {len(names)} class names, but {FEATURES_FILE} says {count}"
        raise DataError(msg)
    return names
