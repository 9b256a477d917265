import itertools
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_store.preprocess import Preprocessing
from tests.trainer.tiny import draw_pictures, tiny_config, write_class_folders
from trainer.config import AugmentConfig, TrainConfig
from trainer.data import (
    ArrayPictures,
    BadData,
    DataError,
    DataSet,
    FilePictures,
    TrainingBatches,
    evaluation_batches,
    load_dataset,
    training_batches,
)

REPOSITORY = Path(__file__).parents[3]
SIDE = 8
RANDOM = AugmentConfig(crop_min_area=0.1, flip=True)
SQUARE = Preprocessing(resize="squash", resize_size=8, crop_size=8)


def numbered(count: int) -> DataSet:
    """Return pictures of one grey each, that of their number, which is their label too."""
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None]
    greys = np.broadcast_to(pixels, (count, SIDE, SIDE, 3))
    return DataSet(ArrayPictures(greys), np.arange(count, dtype=np.int32), ())


def noise(count: int) -> DataSet:
    return DataSet(ArrayPictures(draw_pictures(0, count)), np.arange(count, dtype=np.int32), ())


def batches_of_four(tmp_path: Path, **changes: object) -> TrainConfig:
    return replace(tiny_config(tmp_path), batch_size=4, **changes)  # type: ignore[arg-type]


def take(batches: TrainingBatches, count: int) -> list[tuple[bytes, list[int]]]:
    """Return the next batches in a form that can be compared, and end their threads."""
    taken = itertools.islice(batches, count)
    found = [(images.tobytes(), labels.tolist()) for images, labels in taken]
    batches.close()
    return found


# Batches for training


def test_each_epoch_holds_every_image_once_in_a_new_order(tmp_path: Path) -> None:
    taken = take(training_batches(batches_of_four(tmp_path), numbered(10)), 5)
    labels = [label for _, labels in taken for label in labels]
    first, second = labels[:10], labels[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert first != sorted(first)


def test_batches_have_the_model_size_and_keep_images_with_their_labels(tmp_path: Path) -> None:
    images, labels = next(training_batches(batches_of_four(tmp_path), numbered(10)))
    assert images.shape == (4, SIDE, SIDE, 3)
    assert labels.shape == (4,)
    assert (images.dtype, labels.dtype) == (np.dtype(np.uint8), np.dtype(np.int32))
    np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


def test_batches_depend_on_the_seed_alone(tmp_path: Path) -> None:
    config = batches_of_four(tmp_path, augment=RANDOM)
    taken = take(training_batches(config, noise(10)), 6)
    more_threads = replace(config, data=replace(config.data, loader_threads=5))
    assert take(training_batches(more_threads, noise(10)), 6) == taken
    assert take(training_batches(replace(config, seed=1), noise(10)), 6) != taken


@pytest.mark.parametrize("first_batch", [1, 3])
def test_run_that_begins_later_sees_the_same_batches(tmp_path: Path, first_batch: int) -> None:
    # The closing epochs begin with the third batch; the second epoch within it.
    config = batches_of_four(tmp_path, augment=replace(RANDOM, closing_epochs=19))
    whole = take(training_batches(config, noise(10)), first_batch + 4)
    assert take(training_batches(config, noise(10), first_batch), 4) == whole[first_batch:]


def test_finished_run_has_no_batches_left(tmp_path: Path) -> None:
    config = batches_of_four(tmp_path, epochs=3)
    assert len(take(training_batches(config, noise(8)), 99)) == 6
    assert take(training_batches(config, noise(8), first_batch=6), 1) == []


def test_augmentation_differs_from_epoch_to_epoch(tmp_path: Path) -> None:
    images, _ = next(training_batches(batches_of_four(tmp_path, augment=RANDOM), noise(1)))
    assert len({image.tobytes() for image in images}) > 1


def test_closing_epochs_see_whole_pictures_in_the_same_order(tmp_path: Path) -> None:
    config = batches_of_four(tmp_path, augment=RANDOM, epochs=3)
    closing = replace(RANDOM, closing_epochs=1, closing_crop_min_area=1.0, flip=False)
    random = list(training_batches(replace(config, augment=replace(RANDOM, flip=False)), noise(8)))
    closed = list(training_batches(replace(config, augment=closing), noise(8)))
    assert [labels.tolist() for _, labels in closed] == [labels.tolist() for _, labels in random]
    for (seen, _), (expected, _) in zip(closed[:4], random[:4], strict=True):
        np.testing.assert_array_equal(seen, expected)
    for images, labels in closed[4:]:
        np.testing.assert_array_equal(images, draw_pictures(0, 8)[labels])


class Watched:
    """Pictures that note how many were asked for, and by which threads."""

    def __init__(self, count: int, awaited: int) -> None:
        self._pictures, self._awaited = ArrayPictures(draw_pictures(0, count)), awaited
        self.threads: list[int] = []
        self.seen = threading.Event()
        self.name, self.digest = self._pictures.name, self._pictures.digest

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Image.Image:
        self.threads.append(threading.get_ident())
        if len(self.threads) == self._awaited:
            self.seen.set()
        return self._pictures[index]


def test_next_batch_is_made_by_another_thread_before_it_is_asked_for(tmp_path: Path) -> None:
    watched = Watched(10, awaited=8)
    config = batches_of_four(tmp_path)
    config = replace(config, data=replace(config.data, loader_threads=1))
    batches = training_batches(config, DataSet(watched, np.arange(10, dtype=np.int32), ()))
    next(batches)
    assert watched.seen.wait(timeout=60)
    batches.close()
    assert threading.get_ident() not in watched.threads


# Worker processes


def test_worker_processes_make_the_same_batches_from_any_of_them_on(
    tmp_path: Path, data_folder: Path
) -> None:
    config = batches_of_four(tmp_path, augment=replace(RANDOM, closing_epochs=19))
    data = load_dataset(data_folder, "train")
    expected = take(training_batches(config, data), 8)
    workers = replace(config, data=replace(config.data, worker_processes=2))
    assert take(training_batches(workers, data, first_batch=3), 5) == expected[3:]


WITH_A_WORKER = """
import itertools, signal, sys
from dataclasses import replace
from pathlib import Path
from tests.trainer.tiny import tiny_config
from trainer.data import load_dataset, training_batches

if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    config = tiny_config(Path("unused"), Path(sys.argv[1]))
    config = replace(config, data=replace(config.data, worker_processes=1))
    batches = training_batches(config, load_dataset(config.data.path, "train"))
    next(batches)
    print("first batch", flush=True)
    sys.stdin.readline()
    print(len(list(itertools.islice(batches, 20))), "more", flush=True)
    sys.stdin.readline()
"""


def test_worker_leaves_signals_to_its_parent_and_ends_with_it(
    tmp_path: Path, data_folder: Path
) -> None:
    script = tmp_path / "with_a_worker.py"
    script.write_text(WITH_A_WORKER)
    with subprocess.Popen(
        [sys.executable, str(script), str(data_folder)],
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"first batch\n"
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        os.killpg(process.pid, signal.SIGTERM)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"20 more\n"
        process.kill()
        # The worker has inherited the pipe, which ends when the worker is gone too.
        rest, _ = process.communicate(timeout=60)
        assert rest == b""


# Bad images


BROKEN = ("train/blue/3.png", "train/blue/4.png", "train/red/9.png", "test/green/1.png")
STAND_INS = {3: 5, 4: 5, 29: 0}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Class folders with three unreadable pictures of 30 in train, and one of 12 in test."""
    root = write_class_folders(tmp_path / "pictures")
    for name in BROKEN:
        (root / name).write_bytes(b"broken")
    return root


def names_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the file names that the log has, each as often as it has them."""
    return [name for name in BROKEN for _ in range(caplog.text.count(name))]


def test_unreadable_image_stops_training_by_default(tmp_path: Path, broken: Path) -> None:
    batches = training_batches(tiny_config(tmp_path), load_dataset(broken, "train"))
    with pytest.raises(DataError, match=r"png: no readable image \(bad data: 1; data\.max_bad_s"):
        take(batches, 4)


@pytest.mark.parametrize("worker_processes", [0, 1])
def test_unreadable_images_within_the_share_are_replaced_by_the_next_and_counted_once(
    tmp_path: Path, broken: Path, caplog: pytest.LogCaptureFixture, worker_processes: int
) -> None:
    whole = load_dataset(write_class_folders(tmp_path / "whole"), "train")
    whole = whole.select(np.array([STAND_INS.get(index, index) for index in range(30)]))
    config = tiny_config(tmp_path)
    expected = take(training_batches(config, whole), 8)  # two epochs and more
    workers = replace(config, data=replace(config.data, worker_processes=worker_processes))
    data = load_dataset(broken, "train", max_bad_share=0.1)
    assert take(training_batches(workers, data), 8) == expected
    assert names_in(caplog) == list(BROKEN[:3])
    assert len(data.bad.found) == 3


def test_run_that_begins_later_replaces_the_same_images(tmp_path: Path, broken: Path) -> None:
    data = load_dataset(broken, "train", max_bad_share=0.1)
    expected = take(training_batches(tiny_config(tmp_path), data), 6)
    assert take(training_batches(tiny_config(tmp_path), data, 3), 3) == expected[3:]


@pytest.mark.parametrize("allowed", [1, 2])
def test_one_unreadable_image_too_many_stops_training(
    tmp_path: Path, broken: Path, allowed: int
) -> None:
    data = load_dataset(broken, "train", max_bad_share=allowed / 30)
    message = rf"\(bad data: {allowed + 1}; data\.max_bad_share allows {allowed}\)"
    with pytest.raises(DataError, match=message):
        take(training_batches(tiny_config(tmp_path), data), 4)


def test_set_without_any_readable_image_ends_the_search(tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.png" for index in range(9)]
    data = DataSet(FilePictures(files), np.zeros(9, np.int32), (), BadData(limit=8))
    with pytest.raises(DataError, match=r"bad data: 9; data\.max_bad_share allows 8"):
        next(training_batches(tiny_config(tmp_path), data))


def test_evaluation_leaves_unreadable_images_out_and_says_how_many(
    broken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = load_dataset(broken, "test", max_bad_share=0.1)
    for _ in range(2):
        batches = list(evaluation_batches(data, SQUARE, 5))
        assert [len(images) for images, _ in batches] == [5, 4, 2]
        assert (
            np.concatenate([labels for _, labels in batches]).tolist()
            == [0] * 4 + [1] * 3 + [2] * 4
        )
    assert names_in(caplog) == ["test/green/1.png"]
    assert caplog.text.count("1 of 12 images left out of the evaluation") == 2


def test_evaluation_passes_over_a_batch_without_readable_images(broken: Path) -> None:
    data = load_dataset(broken, "test", max_bad_share=0.1)
    assert [len(images) for images, _ in evaluation_batches(data, SQUARE, 1)] == [1] * 11


def test_unreadable_image_stops_evaluation_by_default(broken: Path) -> None:
    data = load_dataset(broken, "test")
    with pytest.raises(DataError, match=r"green/1\.png: no readable image \(bad data: 1"):
        list(evaluation_batches(data, SQUARE, 5))


# Batches for evaluation


def test_evaluation_takes_the_whole_set_in_order_and_ends_with_the_rest() -> None:
    batches = list(evaluation_batches(numbered(10), SQUARE, 4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert np.concatenate([labels for _, labels in batches]).tolist() == list(range(10))
    images = np.concatenate([images for images, _ in batches])
    np.testing.assert_array_equal(images[:, 3, 3, 1], np.arange(10))


def test_evaluation_applies_the_preprocessing() -> None:
    preprocessing = Preprocessing(resize="squash", resize_size=6, crop_size=4)
    ((images, _),) = evaluation_batches(numbered(3), preprocessing, 250)
    assert images.shape == (3, 4, 4, 3)
