"""One training of a study: a network on a part of the data, and what is measured of it."""

import json
import math
import time
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model_store.layers import Execution
from model_store.preprocess import normalise
from trainer.checks import check_run
from trainer.config import TrainConfig
from trainer.data import DataSet, training_batches
from trainer.evaluation import Evaluation, collect_outputs, measure
from trainer.run import TrainingDiverged
from trainer.step import Params, TrainState, build_step
from trainer.studies.candidates import Candidate
from trainer.studies.subsets import subset

Case = tuple[str, ...]


@dataclass(frozen=True)
class Training:
    """What is trained on what."""

    case: Case
    """Name of the training beside its seed, in parts: ("Mixer", "30 %")."""
    candidate: Candidate
    config: TrainConfig
    """Settings of the run; of the model it takes the image size and the classes alone."""
    images: int
    """Training images; smaller subsets lie in larger ones."""
    evaluated_images: int = 5000
    """At most so many images of train, and of test, are evaluated."""
    curve_points: int = 0
    """Evaluations on test along the training, at equal distances, the last one at its end."""

    @property
    def name(self) -> str:
        """The case and the seed, for people."""
        return f"{', '.join(self.case)}, seed {self.config.seed}"


@dataclass(frozen=True)
class CurvePoint:
    """Measures on test after some steps."""

    step: int
    accuracy: float
    loss: float


@dataclass(frozen=True)
class Result:
    """What was measured of a finished training."""

    parameters: int
    train: Evaluation
    """On training images as evaluation sees them, without augmentation."""
    test: Evaluation
    curve: tuple[CurvePoint, ...]
    step_ms: float
    """Time of a step that a tenth of them were faster than, without the wait for its batch: other
    work on the machine lengthens the median, but leaves some steps alone."""
    elapsed_s: float
    """Time of the whole training, compilation and evaluation included."""

    @property
    def gap(self) -> float:
        """Accuracy on train less that on test."""
        return self.train.accuracy - self.test.accuracy


class Program:
    """A network's initial state and its compiled step and evaluation, for subsets of any size."""

    def __init__(self, candidate: Candidate, config: TrainConfig) -> None:
        if config.steps is None:
            msg = "the trainings of a study have the same number of steps, not of epochs"
            raise ValueError(msg)
        self.steps, self._preprocessing = config.steps, config.preprocessing
        self._initial, self.step = build_step(config, config.steps, network=candidate.build)
        shapes = nnx.eval_shape(lambda: candidate.build(Execution(), nnx.Rngs(0)))
        graph, _ = nnx.split(shapes, nnx.Param)

        @jax.jit
        def forward(params: Params, images_BxHxWx3: jax.Array) -> jax.Array:
            logits_BxN, _ = nnx.merge(graph, params)(
                normalise(images_BxHxWx3, config.preprocessing)
            )
            return logits_BxN

        self._forward = forward

    def begin(self) -> TrainState:
        """Return a copy of the initial state, for the step takes its buffers."""
        state: TrainState = jax.tree.map(jnp.copy, self._initial)
        return state

    def evaluate(self, params: Params, data: DataSet) -> Evaluation:
        """Measure parameters on data."""
        outputs = collect_outputs(partial(self._forward, params), data, self._preprocessing)
        return measure(*outputs)


class Trainer:
    """Trains on parts of one data set; what was compiled for one part serves the others."""

    def __init__(self, train_set: DataSet, test_set: DataSet) -> None:
        self._train_set, self._test_set = train_set, test_set
        self._programs: dict[tuple[str, TrainConfig], Program] = {}

    def train(self, training: Training) -> Result:
        """Train to the end and measure.

        Raises:
            DataError: the splits have other classes, or images are bad.
            TrainingDiverged: the loss became NaN or infinite.
            ValueError: settings that fit neither each other nor the data.
        """
        began_s = time.monotonic()
        part = subset(self._train_set, training.images)
        check_run(training.config, part, self._test_set)
        program = self._program(training)
        test_set = _at_most(training.evaluated_images, self._test_set)
        state, curve, step_times_s = _take_steps(training, program, part, test_set)
        seen = _at_most(training.evaluated_images, part)
        return Result(
            parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
            train=program.evaluate(state.params, seen),
            test=program.evaluate(state.params, test_set),
            curve=curve,
            step_ms=1e3 * float(np.quantile(step_times_s, 0.1)),
            elapsed_s=time.monotonic() - began_s,
        )

    def _program(self, training: Training) -> Program:
        settings = json.dumps(dict(training.candidate.settings), sort_keys=True)
        key = (settings, training.config)
        if key not in self._programs:
            self._programs[key] = Program(training.candidate, training.config)
        return self._programs[key]


def _take_steps(
    training: Training, program: Program, train_set: DataSet, test_set: DataSet
) -> tuple[TrainState, tuple[CurvePoint, ...], list[float]]:
    """Return the last state, the points of the curve, and the seconds that each step took."""
    state, curve, times_s = program.begin(), [], []
    points = curve_steps(program.steps, training.curve_points)
    batches = training_batches(training.config, train_set)
    try:
        for number in range(1, program.steps + 1):
            images, labels = next(batches)
            began_s = time.monotonic()
            state, report = program.step(state, jnp.asarray(images), jnp.asarray(labels))
            _check_loss(float(report.loss), number, training.name)
            times_s.append(time.monotonic() - began_s)
            if number in points:
                test = program.evaluate(state.params, test_set)
                curve.append(CurvePoint(number, test.accuracy, test.loss))
    finally:
        batches.close()
    return state, tuple(curve), times_s


def _at_most(images: int, data: DataSet) -> DataSet:
    return subset(data, min(images, len(data)))


def curve_steps(total_steps: int, points: int) -> frozenset[int]:
    """Return the steps after which test is evaluated, at equal distances up to the last one.

    Raises:
        ValueError: fewer than no points.
    """
    if points < 0:
        msg = f"curve_points {points} is below 0"
        raise ValueError(msg)
    steps = (round(total_steps * point / points) for point in range(1, points + 1))
    return frozenset(max(step, 1) for step in steps)


def _check_loss(loss: float, step: int, name: str) -> None:
    if not math.isfinite(loss):
        msg = f"{name}: the loss is {loss} at step {step}"
        raise TrainingDiverged(msg)
