"""From a data set to batches: shuffled and augmented to train on, all in order to evaluate.

A training batch is a function of the seed and its number alone: whichever threads and processes
make it, and wherever a run began.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, SupportsIndex

import grain
import numpy as np
from absl import flags
from PIL import Image

from model_store.preprocess import Preprocessing, to_input
from trainer.augment import augment_image
from trainer.config import AugmentConfig, TrainConfig
from trainer.data.bad_data import DataError
from trainer.data.dataset import DataSet

logger = logging.getLogger(__name__)

NOT_BAD = -1


class TrainingBatches:
    """Iterator of (uint8 [B, S, S, 3], int32 [B]) that reports the bad images it comes across."""

    def __init__(self, batches: grain.DatasetIterator[Any], data: DataSet) -> None:
        self._batches, self._data = batches, data

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return self

    def __next__(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the next batch; raises DataError when too much data is bad."""
        images, labels, bad_B = next(self._batches)
        # Reported here and not where they were found: only this process counts for all workers.
        for index in bad_B[bad_B != NOT_BAD]:
            _read(self._data, int(index))
        return images, labels

    def close(self) -> None:
        """End the threads and processes that make batches."""
        self._batches.close()


def training_batches(config: TrainConfig, data: DataSet, first_batch: int = 0) -> TrainingBatches:
    """Return the shuffled batches of all epochs, from number `first_batch` on.

    A last partial batch of an epoch is filled from the next epoch. An unreadable image is replaced
    by the next readable one of the set. Each thread makes whole batches ahead of their use.
    """
    augment = config.augment
    images = _augmented(config, data, augment)
    if augment.closing_epochs:
        closing = config.closing_step(len(data) // config.batch_size) * config.batch_size
        near = _augmented(config, data, augment.closing())
        images = grain.MapDataset.concatenate([images[:closing], near[closing:]])
    threads = config.data.loader_threads
    stream = images.batch(config.batch_size)[first_batch:].to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    )
    # grain 0.2.18 reads absl flags before it starts a worker, parsed or not (google/grain#1355).
    flags.FLAGS.mark_as_parsed()
    workers = grain.MultiprocessingOptions(num_workers=config.data.worker_processes)
    return TrainingBatches(iter(stream.mp_prefetch(workers, _follow_parent)), data)


def _augmented(config: TrainConfig, data: DataSet, augment: AugmentConfig) -> grain.MapDataset[Any]:
    """Return all epochs' images in order; the order does not depend on the augmentation."""
    return (
        grain.MapDataset.source(_ReadableImages(data))
        .seed(config.seed)
        .shuffle()
        .repeat(config.epochs)
        .random_map(_Augment(config.model.image_size, augment))
    )


class _ReadableImages:
    """Source of (picture, label, the image's own index if it is another's stand-in, or NOT_BAD)."""

    def __init__(self, data: DataSet) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: SupportsIndex) -> tuple[Image.Image, int, int]:
        passed_over = 0
        while True:
            try:
                found = self._data[(int(index) + passed_over) % len(self)]
            except DataError as error:
                passed_over += 1
                # Without this a set of nothing but unreadable images would be searched for ever.
                self._data.bad.check(str(error), passed_over)
            else:
                return *found, int(index) if passed_over else NOT_BAD


class _Augment(grain.transforms.RandomMap):  # type: ignore[misc]
    """Picture -> augmented uint8 [S, S, 3]; its randomness is grain's, so it resumes exactly."""

    def __init__(self, size: int, config: AugmentConfig) -> None:
        self._size, self._config = size, config

    def random_map(
        self, element: tuple[Image.Image, int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.int32, np.int64]:
        picture, label, bad = element
        image = augment_image(picture, self._size, self._config, rng)
        return image, np.int32(label), np.int64(bad)


def _follow_parent(_index: int, _count: int) -> None:
    """Leave signals to the parent, which ends its workers, and end with it if it is killed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def evaluation_batches(
    data: DataSet, preprocessing: Preprocessing, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (uint8 [B, S, S, 3], int32 [B]) over the whole set in order.

    Unreadable images are left out, which the log says with their number; a batch that lacks some
    is smaller.

    Raises:
        DataError: too many images are unreadable.
    """
    left_out = 0
    for start in range(0, len(data), batch_size):
        indices = range(start, min(start + batch_size, len(data)))
        found = [each for index in indices if (each := _read(data, index)) is not None]
        left_out += len(indices) - len(found)
        if found:
            images = np.stack([to_input(picture, preprocessing) for picture, _ in found])
            yield images, np.array([label for _, label in found], np.int32)
    if left_out:
        logger.warning("%d of %d images left out of the evaluation", left_out, len(data))


def _read(data: DataSet, index: int) -> tuple[Image.Image, int] | None:
    """Return an image and its label, or None and a report where it is unreadable."""
    try:
        return data[index]
    except DataError as error:
        data.bad.report(str(error))
        return None
