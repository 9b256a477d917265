import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_store.preprocess import Preprocessing
from tests.trainer.tiny import (
    CLASSES,
    TRAIN_PER_CLASS,
    draw_pictures,
    tiny_config,
    write_class_folders,
    write_sheet,
)
from trainer.config import AugmentConfig, TrainConfig
from trainer.data import (
    ArrayPictures,
    DataError,
    DataSet,
    evaluation_batches,
    load_dataset,
    training_batches,
)

SIDE = 8


@pytest.fixture
def sheets(tmp_path: Path) -> Path:
    """A pack with two training sheets of 40 and 80 tiles, and one test sheet."""
    root = tmp_path / "sheets"
    root.mkdir()
    tiles = draw_pictures(0, 120)
    write_sheet(root / "train_00.webp", tiles[:40])
    write_sheet(root / "train_01.webp", tiles[40:])
    write_sheet(root / "test_00.webp", draw_pictures(1, 40))
    write_labels(root, train=np.arange(120) % 3, test=np.arange(40) % 3)
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return root


def write_labels(root: Path, *, train: np.ndarray, test: np.ndarray) -> None:
    np.savez(root / "labels.npz", y_train=train, y_test=test)


# Layouts


def test_class_folders_are_read_in_the_order_of_names(data_folder: Path) -> None:
    data = load_dataset(data_folder, "train")
    assert data.classes == CLASSES
    assert data.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert len(data) == 30
    picture, label = data[2 * TRAIN_PER_CLASS + 3]
    assert label == 2
    np.testing.assert_array_equal(picture, draw_pictures(2, 4, seed=len("train"))[3])


def test_test_split_is_the_other_folder(data_folder: Path) -> None:
    assert load_dataset(data_folder, "test").labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "pictures")
    (root / "train" / "blue" / "notes.txt").write_text("not a picture")
    assert len(load_dataset(root, "train")) == 30


def test_sheets_are_cut_row_by_row_in_the_order_of_their_names(sheets: Path) -> None:
    data = load_dataset(sheets, "train")
    assert data.classes == CLASSES
    assert data.labels.dtype == np.int32
    pictures = np.stack([np.asarray(data[i][0]) for i in range(len(data))])
    np.testing.assert_array_equal(pictures, draw_pictures(0, 120))
    assert [data[i][1] for i in range(4)] == [0, 1, 2, 0]


def test_sheets_of_the_test_split(sheets: Path) -> None:
    data = load_dataset(sheets, "test")
    np.testing.assert_array_equal(data[39][0], draw_pictures(1, 40)[39])


# Refusals


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: neither class folders"):
        load_dataset(tmp_path / "nowhere", "train")


def test_empty_class_is_named(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "pictures")
    (root / "train" / "mauve").mkdir()
    with pytest.raises(DataError, match="train: no images of mauve"):
        load_dataset(root, "train")


def test_split_without_classes(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="no images of any class"):
        load_dataset(tmp_path, "train")


@pytest.mark.parametrize("content", [b"", b"no picture at all", "truncated", "damaged"])
def test_unreadable_image_is_named(tmp_path: Path, content: bytes | str) -> None:
    root = write_class_folders(tmp_path / "pictures")
    file = root / "train" / "blue" / "0.png"
    png = file.read_bytes()
    if content == "truncated":
        content = png[: len(png) // 2]
    elif content == "damaged":
        content = png.replace(b"IDAT", b"ID\0T")
    assert isinstance(content, bytes)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"blue/0\.png: no readable image"):
        load_dataset(root, "train")[0]


def label_out_of_range(root: Path) -> None:
    write_labels(root, train=np.full(120, 3), test=np.zeros(40))


def label_below_zero(root: Path) -> None:
    write_labels(root, train=np.full(120, -1), test=np.zeros(40))


def too_few_labels(root: Path) -> None:
    write_labels(root, train=np.zeros(119), test=np.zeros(40))


def labels_in_a_table(root: Path) -> None:
    write_labels(root, train=np.zeros((120, 2)), test=np.zeros(40))


def labels_of_the_test_split_alone(root: Path) -> None:
    np.savez(root / "labels.npz", y_test=np.zeros(40))


def labels_damaged(root: Path) -> None:
    (root / "labels.npz").write_bytes((root / "labels.npz").read_bytes()[:100])


def labels_of_python_objects(root: Path) -> None:
    np.savez(root / "labels.npz", y_train=np.array([None] * 120))


def no_class_names(root: Path) -> None:
    (root / "classes.txt").unlink()


def class_names_in_no_encoding(root: Path) -> None:
    (root / "classes.txt").write_bytes(b"\xff\xfe\xff")


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
        (label_out_of_range, "120 train images, 120 labels from 0 to 3, 3 class names"),
        (label_below_zero, "120 labels from -1 to 0"),
        (too_few_labels, "120 train images, 119 labels"),
        (labels_in_a_table, "120 train images, 240 labels"),
        (labels_of_the_test_split_alone, r"labels\.npz: no readable labels y_train"),
        (labels_damaged, r"labels\.npz: no readable labels y_train"),
        (labels_of_python_objects, r"labels\.npz: no readable labels y_train"),
        (no_class_names, r"classes\.txt: no readable class names"),
        (class_names_in_no_encoding, r"classes\.txt: no readable class names"),
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
        load_dataset(sheets, "train")


# Digests


@pytest.mark.parametrize("layout", ["class folders", "sheets"])
def test_digest_does_not_depend_on_the_place(
    data_folder: Path, sheets: Path, tmp_path: Path, layout: str
) -> None:
    original = sheets if layout == "sheets" else data_folder
    moved = shutil.copytree(original, tmp_path / "elsewhere")
    digest = load_dataset(original, "train").digest()
    assert len(bytes.fromhex(digest)) == 32
    assert load_dataset(moved, "train").digest() == digest
    assert load_dataset(moved, "test").digest() != digest


def test_digest_of_files_sees_every_change(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "pictures")
    digests = [load_dataset(root, "train").digest()]
    blue = root / "train" / "blue"
    (blue / "0.png").write_bytes((blue / "1.png").read_bytes())
    digests.append(load_dataset(root, "train").digest())
    (blue / "9.png").rename(root / "train" / "green" / "-.png")
    digests.append(load_dataset(root, "train").digest())
    blue.rename(root / "train" / "azure")
    digests.append(load_dataset(root, "train").digest())
    assert len(set(digests)) == len(digests)


def test_digest_of_arrays_sees_pixels_labels_and_names() -> None:
    data = DataSet(ArrayPictures(draw_pictures(0, 3)), np.arange(3, dtype=np.int32), CLASSES)
    others = [
        replace(data, pictures=ArrayPictures(draw_pictures(1, 3))),
        replace(data, labels=np.array([0, 2, 1], np.int32)),
        replace(data, classes=("blue", "green", "rouge")),
    ]
    assert len({each.digest() for each in (data, *others)}) == 4


# Batches for training


def numbered(count: int) -> DataSet:
    """Return pictures of one grey each, that of their number, which is their label too."""
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None]
    greys = np.broadcast_to(pixels, (count, SIDE, SIDE, 3))
    return DataSet(ArrayPictures(greys), np.arange(count, dtype=np.int32), ())


def batches_of_four(tmp_path: Path, **changes: object) -> TrainConfig:
    return replace(tiny_config(tmp_path), batch_size=4, **changes)  # type: ignore[arg-type]


def test_each_epoch_holds_every_image_once_in_a_new_order(tmp_path: Path) -> None:
    batches = training_batches(batches_of_four(tmp_path), numbered(10))
    labels = np.concatenate([labels for _, labels in itertools.islice(batches, 5)])
    first, second = labels[:10].tolist(), labels[10:].tolist()
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert first != sorted(first)


def test_batches_have_the_model_size_and_keep_images_with_their_labels(tmp_path: Path) -> None:
    images, labels = next(training_batches(batches_of_four(tmp_path), numbered(10)))
    assert (images.shape, images.dtype) == ((4, SIDE, SIDE, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((4,), np.int32)
    np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


def take(batches: object, count: int) -> list[tuple[bytes, list[int]]]:
    """Return the next batches in a form that can be compared."""
    taken = itertools.islice(batches, count)  # type: ignore[call-overload]
    return [(images.tobytes(), labels.tolist()) for images, labels in taken]


RANDOM = AugmentConfig(crop_min_area=0.1, flip=True)


def test_batches_depend_on_the_seed_alone(tmp_path: Path) -> None:
    data = DataSet(ArrayPictures(draw_pictures(0, 10)), np.arange(10, dtype=np.int32), ())
    config = batches_of_four(tmp_path, augment=RANDOM)
    taken = take(training_batches(config, data), 6)
    more_threads = replace(config, data=replace(config.data, loader_threads=5))
    assert take(training_batches(more_threads, data), 6) == taken
    assert take(training_batches(replace(config, seed=1), data), 6) != taken


@pytest.mark.parametrize("taken", [1, 3])
def test_restored_state_goes_on_at_the_next_batch(tmp_path: Path, taken: int) -> None:
    data = DataSet(ArrayPictures(draw_pictures(0, 10)), np.arange(10, dtype=np.int32), ())
    # The closing steps begin with the third batch; the second epoch within it.
    config = batches_of_four(tmp_path, augment=replace(RANDOM, closing_share=0.95))
    batches = training_batches(config, data)
    take(batches, taken)
    state = batches.get_state()
    expected = take(batches, 4)
    resumed = training_batches(config, data)
    resumed.set_state(state)
    assert take(resumed, 4) == expected


def test_augmentation_differs_from_epoch_to_epoch(tmp_path: Path) -> None:
    data = DataSet(ArrayPictures(draw_pictures(0, 1)), np.zeros(1, np.int32), ())
    batches = training_batches(batches_of_four(tmp_path, augment=RANDOM, steps=1), data)
    images, _ = next(batches)
    assert len({image.tobytes() for image in images}) > 1


def test_closing_steps_see_whole_pictures_in_the_same_order(tmp_path: Path) -> None:
    data = DataSet(ArrayPictures(draw_pictures(0, 8)), np.arange(8, dtype=np.int32), ())
    config = batches_of_four(tmp_path, augment=RANDOM, epochs=3)
    closing = replace(RANDOM, closing_share=1 / 3, closing_crop_min_area=1.0, flip=False)
    random = list(training_batches(replace(config, augment=replace(RANDOM, flip=False)), data))
    closed = list(training_batches(replace(config, augment=closing), data))
    assert [labels.tolist() for _, labels in closed] == [labels.tolist() for _, labels in random]
    for (seen, _), (expected, _) in zip(closed[:4], random[:4], strict=True):
        np.testing.assert_array_equal(seen, expected)
    for images, labels in closed[4:]:
        np.testing.assert_array_equal(images, draw_pictures(0, 8)[labels])


# Batches for evaluation


def test_evaluation_takes_the_whole_set_in_order_and_ends_with_the_rest() -> None:
    preprocessing = Preprocessing(resize="squash", resize_size=8, crop_size=8)
    batches = list(evaluation_batches(numbered(10), preprocessing, 4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert np.concatenate([labels for _, labels in batches]).tolist() == list(range(10))
    images = np.concatenate([images for images, _ in batches])
    np.testing.assert_array_equal(images[:, 3, 3, 1], np.arange(10))


def test_evaluation_applies_the_preprocessing() -> None:
    preprocessing = Preprocessing(resize="squash", resize_size=6, crop_size=4)
    ((images, _),) = evaluation_batches(numbered(3), preprocessing, 250)
    assert images.shape == (3, 4, 4, 3)
