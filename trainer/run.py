"""One training run: its data, its state, and how both are advanced, saved and measured."""

import math
import time
from typing import NamedTuple, Self

import numpy as np

from model_store.mixer import Mixer, load_mixer, named_parameters
from trainer.checkpoints import Progress, RunCheckpoints
from trainer.checks import check_run
from trainer.config import TrainConfig, arithmetic_settings
from trainer.data import DataSet, Split, load_dataset, training_batches
from trainer.evaluation import Evaluation, evaluate
from trainer.layout import Layout
from trainer.start import start_parameters
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
        self.train_set, self.test_set = self._load("train"), self._load(config.evaluate_on)
        self.total_steps = config.total_steps(len(self.train_set))
        check_run(config, self.train_set, self.test_set)
        self._layout = Layout(config.compute)
        initial, self._step = build_step(
            config, self.total_steps, layout=self._layout, start=start_parameters(config)
        )
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

    @property
    def elapsed_s(self) -> float:
        """Seconds of training so far, earlier processes included."""
        return time.monotonic() - self._began_s

    @property
    def epochs(self) -> float:
        """Passes over the training images so far."""
        return self.done * self.config.batch_size / len(self.train_set)

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
        rows = (self._layout.place_rows(images), self._layout.place_rows(labels))
        self.state, report = self._step(self.state, *rows)
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
        if not all(np.isfinite(values).all() for values in self.parameters().values()):
            msg = f"parameters are not finite at step {self.done}; the last checkpoint is kept"
            raise TrainingDiverged(msg)
        self._checkpoints.save(Progress(self.state, self.elapsed_s))

    def model(self) -> Mixer:
        """Return the network with the parameters of now."""
        return load_mixer(self.config.model, self.parameters())

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the parameters of now by name, from wherever they lie."""
        return named_parameters(self._layout.gather(self.state.params))

    def evaluate(self) -> Evaluation:
        """Measure the parameters of now on the split that `evaluate_on` names."""
        return evaluate(self.model(), self.test_set, self.config.preprocessing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._batches.close()
        self._checkpoints.close()
