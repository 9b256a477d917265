import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model_store.layers import Execution
from model_store.mixer import Mixer, named_parameters
from tests.model_store.tiny import random_arrays
from tests.trainer.tiny import CLASSES, MODEL, draw_pictures, tiny_config
from trainer.config import ComputeConfig, TrainConfig
from trainer.step import Step, StepReport, TrainState, build_step

CONFIG = tiny_config(Path("unused"))
LABELS = np.arange(8, dtype=np.int32) % 3
IMAGES = np.stack([draw_pictures(int(label), 8)[i] for i, label in enumerate(LABELS)])
TOTAL_STEPS = 60
STEPS_PER_EPOCH = TOTAL_STEPS // CONFIG.epochs


def take_steps(
    state: TrainState, step: Step, images: np.ndarray = IMAGES, *, count: int
) -> tuple[TrainState, list[StepReport]]:
    """Return the state after `count` steps on the same batch, and the steps' reports."""
    reports = []
    for _ in range(count):
        state, report = step(state, jnp.asarray(images), jnp.asarray(LABELS))
        reports.append(jax.device_get(report))
    return state, reports


def run(config: TrainConfig, *, count: int) -> tuple[dict[str, np.ndarray], list[StepReport]]:
    """Return the parameters after a fresh run's first steps, and the steps' reports."""
    state, reports = take_steps(*build_step(config, TOTAL_STEPS), count=count)
    return named_parameters(state.params), reports


def test_loss_falls_from_that_of_chance_until_every_image_is_right() -> None:
    state, reports = take_steps(*build_step(CONFIG, TOTAL_STEPS), count=TOTAL_STEPS)
    losses = [report.loss for report in reports]
    assert losses[0] == losses[1] == pytest.approx(math.log(len(CLASSES)))  # first rate is 0
    assert losses[-1] < 0.5 * losses[0]
    assert reports[-1].accuracy == 1.0
    assert int(state.step) == TOTAL_STEPS


def test_same_seed_gives_the_same_bits() -> None:
    random = replace(CONFIG, dropout=0.5)
    params, reports = run(random, count=5)
    again, reports_again = run(random, count=5)
    assert reports_again == reports
    for name, values in params.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)


def test_another_seed_begins_elsewhere() -> None:
    this, _ = build_step(CONFIG, TOTAL_STEPS)
    other, _ = build_step(replace(CONFIG, seed=1), TOTAL_STEPS)
    this_stem, other_stem = this.params["stem"]["kernel"], other.params["stem"]["kernel"]
    assert not np.array_equal(this_stem[...], other_stem[...])


def test_step_gives_the_buffers_of_the_old_state_to_the_new_one() -> None:
    old, step = build_step(CONFIG, TOTAL_STEPS)
    take_steps(old, step, count=1)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))


def test_accumulated_gradients_are_those_of_the_whole_batch() -> None:
    _, whole_reports = run(CONFIG, count=6)
    _, parts_reports = run(replace(CONFIG, microbatch_size=2), count=6)
    # The norms of the gradients too: neither clipping nor Adam would notice another scale. Not
    # the parameters: Adam moves those without a gradient by the sign of its rounding error.
    np.testing.assert_allclose(parts_reports, whole_reports, rtol=1e-3)


@pytest.mark.parametrize(
    "randomness",
    [{"stochastic_depth": 0.9}, {"dropout": 0.5}],
    ids=lambda changes: next(iter(changes)),
)
def test_regularisation_changes_the_loss(randomness: dict[str, Any]) -> None:
    _, plain = run(CONFIG, count=5)
    _, regularised = run(replace(CONFIG, **randomness), count=5)
    assert regularised[0].loss == pytest.approx(plain[0].loss)  # log 3, for the head is zero
    assert abs(regularised[-1].loss - plain[-1].loss) > 1e-4


def test_sigmoid_loss_starts_at_its_bias() -> None:
    _, (report,) = run(replace(CONFIG, loss="sigmoid", head_bias=-2.0), count=1)
    p = 1 / (1 + math.exp(2.0))
    assert report.loss == pytest.approx(-math.log(p) - 2 * math.log(1 - p))


def test_bfloat16_computes_nearly_the_same_and_keeps_float32_weights() -> None:
    _, exact = run(CONFIG, count=6)
    config = replace(CONFIG, compute=ComputeConfig(dtype="bfloat16"))
    state, reports = take_steps(*build_step(config, TOTAL_STEPS), count=6)
    losses = np.array([report.loss for report in reports])
    wanted = np.array([report.loss for report in exact])
    np.testing.assert_allclose(losses, wanted, rtol=0.02)
    assert (losses != wanted).any()
    arrays = [leaf for leaf in jax.tree.leaves((state.params, state.optimiser)) if leaf.ndim]
    assert {leaf.dtype.name for leaf in arrays} == {"float32"}


def test_rematerialised_step_has_the_same_losses() -> None:
    compute = ComputeConfig(rematerialise=True)
    random = replace(CONFIG, stochastic_depth=0.5)
    _, plain = run(random, count=6)
    _, reports = run(replace(random, compute=compute), count=6)
    np.testing.assert_allclose(reports, plain, rtol=1e-4)


def test_given_parameters_are_where_the_run_starts() -> None:
    arrays = random_arrays(MODEL)
    state, _ = build_step(CONFIG, TOTAL_STEPS, start=arrays)
    for name, values in named_parameters(state.params).items():
        np.testing.assert_array_equal(values, arrays[name], err_msg=name)


def test_mixup_ends_where_the_closing_steps_begin() -> None:
    state, plain = build_step(CONFIG, TOTAL_STEPS)
    state, _ = take_steps(state, plain, count=5)
    augment = replace(CONFIG.augment, mixup=5.0, closing_share=1 - 1 / CONFIG.epochs)
    _, mixing = build_step(replace(CONFIG, augment=augment), TOTAL_STEPS)

    def loss(step: Step, number: int) -> float:
        at_number = state._replace(step=jnp.asarray(number, jnp.int32))
        _, (report,) = take_steps(jax.tree.map(jnp.copy, at_number), step, count=1)
        return float(report.loss)

    unmixed = loss(plain, 0)
    assert loss(mixing, STEPS_PER_EPOCH) == pytest.approx(unmixed, rel=1e-5)
    assert abs(loss(mixing, STEPS_PER_EPOCH - 1) - unmixed) > 1e-3


@pytest.mark.parametrize("microbatch_size", [5, 16, -4, 6])
def test_batch_that_is_no_multiple_of_its_parts_is_refused(microbatch_size: int) -> None:
    config = replace(CONFIG, microbatch_size=microbatch_size)
    with pytest.raises(
        ValueError, match=f"batch_size 8 is no multiple of microbatch_size {microbatch_size}"
    ):
        build_step(config, TOTAL_STEPS)


def test_parameters_of_a_mixer_do_not_start_another_network() -> None:
    with pytest.raises(ValueError, match="start has the parameters of a Mixer"):
        build_step(CONFIG, TOTAL_STEPS, start=random_arrays(MODEL), network=_wider_mixer)


def test_network_with_other_classes_than_the_run_is_refused() -> None:
    with pytest.raises(ValueError, match="tells 5 classes apart, the run's configuration has 3"):
        build_step(CONFIG, TOTAL_STEPS, network=_wider_mixer)


def _wider_mixer(execution: Execution, rngs: nnx.Rngs) -> Mixer:
    return Mixer(MODEL.model_copy(update={"num_classes": 5}), execution, rngs=rngs)
