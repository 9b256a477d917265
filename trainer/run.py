"""One training run: its data, its state, and how both are advanced, saved and measured."""

import math
import time
from typing import Self

import jax.numpy as jnp

from model_store.mixer import Mixer, load_mixer, named_parameters
from trainer.checkpoints import Progress, RunCheckpoints
from trainer.config import TrainConfig
from trainer.data import load_dataset, training_batches
from trainer.evaluation import Evaluation, evaluate
from trainer.step import StepReport, build_step


class TrainingDiverged(Exception):
    """The loss is no longer a number; the last checkpoint is from before."""


class TrainingRun:
    """A run at some step, started fresh or from its folder's newest checkpoint.

    Raises:
        DataError: the data set does not fit.
        ValueError: the data set's classes are not the model's, or an epoch holds no whole batch.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.train_set = load_dataset(config.data.path, "train")
        self.test_set = load_dataset(config.data.path, "test")
        self.steps_per_epoch = len(self.train_set) // config.batch_size
        self.total_steps = config.epochs * self.steps_per_epoch
        self._check_sizes()
        initial, self._step = build_step(config, self.total_steps)
        self._batches = training_batches(config, self.train_set)
        config.run_dir.mkdir(parents=True, exist_ok=True)
        self._checkpoints = RunCheckpoints(config.run_dir)
        self.state, elapsed_s = self._checkpoints.restore(initial, self._batches)
        self.done = int(self.state.step)
        self._began_s = time.monotonic() - elapsed_s

    def _check_sizes(self) -> None:
        classes, expected = len(self.train_set.classes), self.config.model.num_classes
        if classes != expected:
            msg = f"{self.config.data.path} has {classes} classes, the model {expected}"
            raise ValueError(msg)
        if not self.steps_per_epoch:
            msg = f"batch_size {self.config.batch_size} exceeds {len(self.train_set)} images"
            raise ValueError(msg)

    @property
    def elapsed_s(self) -> float:
        """Seconds of training so far, earlier processes included."""
        return time.monotonic() - self._began_s

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.done >= self.total_steps

    def advance(self) -> StepReport:
        """Take one step on the next batch.

        Raises:
            TrainingDiverged: the loss became NaN or infinite.
        """
        images, labels = next(self._batches)
        self.state, report = self._step(self.state, jnp.asarray(images), jnp.asarray(labels))
        self.done += 1
        if not math.isfinite(loss := float(report.loss)):
            msg = f"the loss is {loss} at step {self.done}; the last checkpoint is kept"
            raise TrainingDiverged(msg)
        return report

    def save(self) -> None:
        """Write a checkpoint of this step."""
        self._checkpoints.save(Progress(self.state, self.elapsed_s), self._batches)

    def model(self) -> Mixer:
        """Return the network with the parameters of now."""
        return load_mixer(self.config.model, named_parameters(self.state.params))

    def evaluate(self) -> Evaluation:
        """Measure the parameters of now on the test split."""
        return evaluate(self.model(), self.test_set, self.config.preprocessing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._checkpoints.close()
