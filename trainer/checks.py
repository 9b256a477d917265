"""What would stop a run, or spoil its result, hours later: refused before it begins."""

import jax

from model_store.names import check_model_name
from trainer.config import TrainConfig
from trainer.data import DataError, DataSet


def check_run(config: TrainConfig, train_set: DataSet, evaluated: DataSet) -> None:
    """Refuse settings that fit neither each other, nor the data, nor the devices.

    Raises:
        DataError: the splits have other classes.
        ValueError: names the setting and what it must be.
    """
    path, classes = config.data.path, train_set.classes
    if classes != evaluated.classes:
        msg = f"{path}: train has classes {classes}, {config.evaluate_on} {evaluated.classes}"
        raise DataError(msg)
    for wrong, msg in _faults(config, images=len(train_set), classes=len(classes)):
        if wrong:
            raise ValueError(msg)
    check_model_name(config.publish_as)


def _faults(config: TrainConfig, *, images: int, classes: int) -> list[tuple[bool, str]]:
    """Pair each way in which settings can be wrong with the sentence that says it."""
    batch_size, devices, hosts = config.batch_size, jax.device_count(), config.hosts
    rows = config.microbatch_size or batch_size
    crop_size, image_size = config.preprocessing.crop_size, config.model.image_size
    return [
        (
            classes != config.model.num_classes,
            f"{config.data.path} has {classes} classes, the model {config.model.num_classes}",
        ),
        (batch_size > images, f"batch_size {batch_size} exceeds {images} images"),
        (
            rows % devices != 0 or batch_size % hosts.processes != 0,
            f"each pass of {rows} images is no multiple of {devices} devices",
        ),
        (
            not 0 <= config.augment.closing_share <= 1,
            f"closing_share {config.augment.closing_share} is not in 0 to 1",
        ),
        (
            crop_size != image_size,
            f"crop_size {crop_size} is not the model's image_size {image_size}",
        ),
        (
            config.data.loader_threads < 1 or config.data.worker_processes < 0,
            "loader_threads is at least 1, worker_processes at least 0",
        ),
        (
            min(config.checkpoint_every_steps, config.evaluate_every_epochs) < 1,
            "checkpoint_every_steps and evaluate_every_epochs are at least 1",
        ),
        (
            config.steps is not None and config.steps < 1,
            f"steps {config.steps} is not at least 1",
        ),
    ]
