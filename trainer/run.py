"""One training run: its data, its state, and how both are advanced, saved and measured."""

import math
import time
from typing import NamedTuple, Self

import jax.numpy as jnp
import numpy as np

from model_store.mixer import Mixer, load_mixer, named_parameters
from model_store.names import check_model_name
from trainer.checkpoints import Progress, RunCheckpoints
from trainer.config import TrainConfig, arithmetic_settings
from trainer.data import DataError, DataSet, Split, load_dataset, training_batches
from trainer.evaluation import Evaluation, evaluate
from trainer.step import StepReport, build_step


class TrainingDiverged(Exception):
    """The loss is no longer a number; the last checkpoint is from before."""


class StepTime(NamedTuple):
    """Seconds that a step took, from asking for its batch on, and how many it waited for that."""

    total_s: float
    data_wait_s: float


class TrainingRun:
    """A run at some step, started fresh or from its folder's newest checkpoint.

    Raises:
        CheckpointError: all checkpoints in its folder are damaged.
        DataError: the data set does not fit.
        ValueError: settings that fit neither each other nor the data, or another run's folder.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.train_set, self.test_set = self._load("train"), self._load("test")
        self.steps_per_epoch = len(self.train_set) // config.batch_size
        self.total_steps = config.epochs * self.steps_per_epoch
        self._check()
        initial, self._step = build_step(config, self.total_steps)
        config.run_dir.mkdir(parents=True, exist_ok=True)
        settings = {**arithmetic_settings(config), "training_images": len(self.train_set)}
        self._checkpoints = RunCheckpoints(config.run_dir, settings)
        self.state, elapsed_s = self._checkpoints.restore(initial)
        self.done = int(self.state.step)
        self._batches = training_batches(config, self.train_set, first_batch=self.done)
        self.step_time = StepTime(0.0, 0.0)
        self._began_s = time.monotonic() - elapsed_s

    def _load(self, split: Split) -> DataSet:
        data = self.config.data
        return load_dataset(
            data.path, split, holdout_share=data.holdout_share, max_bad_share=data.max_bad_share
        )

    def _check(self) -> None:
        """Refuse now what would stop the run, or spoil its result, hours later."""
        config, classes = self.config, self.train_set.classes
        if classes != self.test_set.classes:
            msg = f"{config.data.path}: train has classes {classes}, test {self.test_set.classes}"
            raise DataError(msg)
        if len(classes) != config.model.num_classes:
            msg = (
                f"{config.data.path} has {len(classes)} classes, "
                f"the model {config.model.num_classes}"
            )
            raise ValueError(msg)
        if not self.steps_per_epoch:
            msg = f"batch_size {config.batch_size} exceeds {len(self.train_set)} images"
            raise ValueError(msg)
        if not 0 <= config.augment.closing_epochs <= config.epochs:
            msg = f"closing_epochs {config.augment.closing_epochs} is not in 0 to {config.epochs}"
            raise ValueError(msg)
        if config.preprocessing.crop_size != config.model.image_size:
            msg = (
                f"crop_size {config.preprocessing.crop_size} is not the model's "
                f"image_size {config.model.image_size}"
            )
            raise ValueError(msg)
        if config.data.loader_threads < 1 or config.data.worker_processes < 0:
            msg = "loader_threads is at least 1, worker_processes at least 0"
            raise ValueError(msg)
        if min(config.checkpoint_every_steps, config.evaluate_every_epochs) < 1:
            msg = "checkpoint_every_steps and evaluate_every_epochs are at least 1"
            raise ValueError(msg)
        check_model_name(config.publish_as)

    @property
    def elapsed_s(self) -> float:
        """Seconds of training so far, earlier processes included."""
        return time.monotonic() - self._began_s

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.done >= self.total_steps

    def advance(self) -> StepReport:
        """Take one step on the next batch, and note in `step_time` how long it took.

        Raises:
            DataError: more images than allowed are bad.
            TrainingDiverged: the loss became NaN or infinite.
        """
        began_s = time.monotonic()
        images, labels = next(self._batches)
        data_wait_s = time.monotonic() - began_s
        self.state, report = self._step(self.state, jnp.asarray(images), jnp.asarray(labels))
        self.done += 1
        loss = float(report.loss)
        self.step_time = StepTime(time.monotonic() - began_s, data_wait_s)
        if not math.isfinite(loss):
            msg = f"the loss is {loss} at step {self.done}; the last checkpoint is kept"
            raise TrainingDiverged(msg)
        return report

    def save(self) -> None:
        """Write a checkpoint of this step.

        Raises:
            CheckpointError: it cannot be written; the last checkpoint is kept.
            TrainingDiverged: a parameter is NaN or infinite; the last checkpoint is kept.
        """
        parameters = named_parameters(self.state.params).values()
        if not all(np.isfinite(values).all() for values in parameters):
            msg = f"parameters are not finite at step {self.done}; the last checkpoint is kept"
            raise TrainingDiverged(msg)
        self._checkpoints.save(Progress(self.state, self.elapsed_s))

    def model(self) -> Mixer:
        """Return the network with the parameters of now."""
        return load_mixer(self.config.model, named_parameters(self.state.params))

    def evaluate(self) -> Evaluation:
        """Measure the parameters of now on the test split."""
        return evaluate(self.model(), self.test_set, self.config.preprocessing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._batches.close()
        self._checkpoints.close()
