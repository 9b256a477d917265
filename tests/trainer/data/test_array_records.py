"""The prepared set is modelled after what TensorFlow Datasets 4.9 writes.

File names follow its `ShardedFileTemplate`, dataset_info.json its `dataset_info.proto` as JSON
(int64 as strings), features.json its `feature.proto` as JSON, label.labels.txt its
`ClassLabel.save_metadata`; shards are written with group_size 1, as it writes them.
"""

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from array_record.python.array_record_module import (  # type: ignore[import-untyped]
    ArrayRecordWriter,
)
from PIL import Image

from tests.trainer.tiny import CLASSES, draw_pictures
from trainer.data import DataError, load_dataset
from trainer.data.array_records import NO_LABEL, read_array_records
from trainer.data.example import Example

TRAIN_SHARDS = (3, 2)
TRAIN_SHARD_0 = "tiny-train.array_record-00000-of-00002"
LABELS = (2, 0, 1, 1, 0)
PIXELS = draw_pictures(0, sum(TRAIN_SHARDS))


def serialise(pixels: np.ndarray, label: int) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    example = Example()
    example.features.feature["image"].bytes_list.value.append(encoded.getvalue())
    example.features.feature["label"].int64_list.value.append(label)
    record: bytes = example.SerializeToString()
    return record


def write_shard(file: Path, records: list[bytes]) -> None:
    writer = ArrayRecordWriter(str(file), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2))


def split_info(name: str, *shard_lengths: int) -> dict[str, Any]:
    return {
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "name": name,
        "numBytes": "4711",
        "shardLengths": [str(length) for length in shard_lengths],
    }


def dataset_info(*splits: dict[str, Any]) -> dict[str, Any]:
    return {
        "citation": "",
        "description": "Noise in three colours.",
        "downloadSize": "0",
        "fileFormat": "array_record",
        "moduleName": "tiny.tiny_dataset_builder",
        "name": "tiny",
        "releaseNotes": {"1.0.0": "Initial release."},
        "splits": list(splits),
        "supervisedKeys": {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}},
        "version": "1.0.0",
    }


FEATURE_CLASSES = "tensorflow_datasets.core.features"
FEATURES = {
    "featuresDict": {
        "features": {
            "image": {
                "image": {
                    "dtype": "uint8",
                    "encodingFormat": "png",
                    "shape": {"dimensions": ["-1", "-1", "3"]},
                },
                "pythonClassName": f"{FEATURE_CLASSES}.image_feature.Image",
            },
            "label": {
                "classLabel": {"numClasses": "3"},
                "pythonClassName": f"{FEATURE_CLASSES}.class_label_feature.ClassLabel",
            },
        }
    },
    "pythonClassName": f"{FEATURE_CLASSES}.features_dict.FeaturesDict",
}


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A version's folder with 3 + 2 training records and one of validation."""
    root = tmp_path / "tiny" / "1.0.0"
    root.mkdir(parents=True)
    records = [serialise(*each) for each in zip(PIXELS, LABELS, strict=True)]
    write_shard(root / TRAIN_SHARD_0, records[:3])
    write_shard(root / "tiny-train.array_record-00001-of-00002", records[3:])
    write_shard(root / "tiny-validation.array_record-00000-of-00001", records[1:2])
    info = dataset_info(split_info("train", *TRAIN_SHARDS), split_info("validation", 1))
    write_json(root / "dataset_info.json", info)
    write_json(root / "features.json", FEATURES)
    (root / "label.labels.txt").write_text("\n".join(CLASSES) + "\n")
    return root


def test_images_labels_and_class_names_over_all_shards(prepared: Path) -> None:
    data = read_array_records(prepared, "train")
    assert data.classes == CLASSES
    assert data.labels.dtype == np.int32
    assert tuple(data.labels) == LABELS
    np.testing.assert_array_equal(np.stack([np.asarray(data[i][0]) for i in range(5)]), PIXELS)


def test_set_without_a_test_split_is_tested_on_its_validation_split(prepared: Path) -> None:
    data = read_array_records(prepared, "test")
    assert data.labels.tolist() == [LABELS[1]]


def test_classes_without_names_are_numbers(prepared: Path) -> None:
    (prepared / "label.labels.txt").unlink()
    assert read_array_records(prepared, "train").classes == ("0", "1", "2")


def test_other_file_names_are_those_of_the_template(prepared: Path) -> None:
    split = split_info("train", 5) | {"filepathTemplate": "{SPLIT}/{SHARD_INDEX}.{FILEFORMAT}"}
    write_json(prepared / "dataset_info.json", dataset_info(split))
    (prepared / "train").mkdir()
    write_shard(prepared / "train" / "00000.array_record", [serialise(PIXELS[0], 0)] * 5)
    assert len(read_array_records(prepared, "train")) == 5


def test_pictures_are_named_by_shard_and_place(prepared: Path) -> None:
    pictures = read_array_records(prepared, "train").pictures
    first, last = pictures.name(0), pictures.name(4)
    assert first == f"{prepared / TRAIN_SHARD_0}[0]"
    assert last == f"{prepared}/tiny-train.array_record-00001-of-00002[1]"


def test_set_goes_to_another_process(prepared: Path) -> None:
    data = read_array_records(prepared, "train")
    copy = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copy[4][0], PIXELS[4])


def test_digest_sees_records_and_not_shards(prepared: Path) -> None:
    digest = read_array_records(prepared, "train").digest()
    records = [serialise(*each) for each in zip(PIXELS, LABELS, strict=True)]
    write_json(prepared / "dataset_info.json", dataset_info(split_info("train", 5)))
    one_shard = prepared / "tiny-train.array_record-00000-of-00001"
    write_shard(one_shard, records)
    assert read_array_records(prepared, "train").digest() == digest
    write_shard(one_shard, records[::-1])
    assert read_array_records(prepared, "train").digest() != digest


def test_unreadable_records_are_named_and_have_no_label(prepared: Path) -> None:
    broken_image = serialise(PIXELS[0], 1)[:-40]
    write_shard(prepared / TRAIN_SHARD_0, [b"no example", broken_image, serialise(PIXELS[2], 1)])
    data = read_array_records(prepared, "train")
    assert data.labels.tolist() == [NO_LABEL, NO_LABEL, 1, *LABELS[3:]]
    for index in range(2):
        with pytest.raises(DataError, match=rf"00000-of-00002\[{index}\]: no readable record"):
            data[index]


def test_chunk_whose_hash_does_not_match_is_an_unreadable_record(prepared: Path) -> None:
    shard = prepared / TRAIN_SHARD_0
    damaged = bytearray(shard.read_bytes())
    damaged[70] ^= 1  # within the first chunk, which follows the file's 64-byte signature
    shard.write_bytes(damaged)
    data = read_array_records(prepared, "train")
    assert data.labels[0] == NO_LABEL
    assert tuple(data.labels[3:]) == LABELS[3:]
    with pytest.raises(DataError, match=r"00000-of-00002\[0\]: no readable record"):
        data[0]
    assert len(bytes.fromhex(data.digest())) == 32


def test_unreadable_record_within_the_share_is_left_out(
    prepared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_shard(prepared / TRAIN_SHARD_0, [b"no example", *[serialise(PIXELS[2], 2)] * 2])
    data = load_dataset(prepared, "train", max_bad_share=0.2)
    assert data.labels.tolist() == [2, 2, *LABELS[3:]]
    assert "00000-of-00002[0]: no readable record (bad data: 1, allowed: 1)" in caplog.text


def no_info(root: Path) -> None:
    (root / "dataset_info.json").unlink()


def info_is_no_json(root: Path) -> None:
    (root / "dataset_info.json").write_text("{")


def info_of_tfrecords(root: Path) -> None:
    info = dataset_info(split_info("train", *TRAIN_SHARDS)) | {"fileFormat": "tfrecord"}
    write_json(root / "dataset_info.json", info)


def info_of_other_splits(root: Path) -> None:
    write_json(root / "dataset_info.json", dataset_info(split_info("full", 5)))


def info_of_other_lengths(root: Path) -> None:
    write_json(root / "dataset_info.json", dataset_info(split_info("train", 3, 4)))


def features_without_a_label(root: Path) -> None:
    features = {"image": FEATURES["featuresDict"]["features"]["image"]}  # type: ignore[index]
    write_json(root / "features.json", {"featuresDict": {"features": features}})


def too_few_names(root: Path) -> None:
    (root / "label.labels.txt").write_text("blue\ngreen\n")


def shard_missing(root: Path) -> None:
    (root / TRAIN_SHARD_0).unlink()


def shard_truncated(root: Path) -> None:
    shard = root / TRAIN_SHARD_0
    shard.write_bytes(shard.read_bytes()[:70_000])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_info, r"dataset_info\.json: No such file"),
        (info_is_no_json, r"dataset_info\.json: .*Invalid JSON"),
        (info_of_tfrecords, r"dataset_info\.json: fileFormat: Input should be 'array_record'"),
        (info_of_other_splits, r"dataset_info\.json: no split train, only full"),
        (info_of_other_lengths, r"00001-of-00002: 2 records, but dataset_info\.json says 4"),
        (features_without_a_label, r"features\.json: .*label.*: Field required"),
        (too_few_names, r"label\.labels\.txt: 2 class names, but features\.json says 3"),
        (shard_missing, r"train\.array_record-00000-of-00002: no readable ArrayRecord file"),
        (shard_truncated, r"train\.array_record-00000-of-00002: no readable ArrayRecord file"),
    ],
)
def test_set_that_does_not_fit(
    prepared: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(prepared)
    with pytest.raises(DataError, match=message):
        read_array_records(prepared, "train")
