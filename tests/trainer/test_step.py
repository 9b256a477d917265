import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model_store.mixer import named_parameters, parameter_name
from tests.trainer.tiny import CLASSES, MODEL, draw_pictures, tiny_config
from trainer.config import AugmentConfig, TrainConfig
from trainer.step import Step, TrainState, build_step

CONFIG = replace(tiny_config(Path("unused")), batch_size=12)
LABELS = np.repeat(np.arange(3, dtype=np.int32), 4)
IMAGES = np.concatenate([draw_pictures(label, 4) for label in range(3)])
TOTAL_STEPS = 60


def take_steps(
    state: TrainState, step: Step, images: np.ndarray = IMAGES, *, count: int
) -> tuple[TrainState, list[float]]:
    """Return the state after `count` steps on the same batch, and the losses."""
    losses = []
    for _ in range(count):
        state, report = step(state, jnp.asarray(images), jnp.asarray(LABELS))
        losses.append(float(report.loss))
    return state, losses


def run(config: TrainConfig, *, count: int) -> tuple[dict[str, np.ndarray], list[float]]:
    """Return the parameters and the losses of a fresh run's first steps."""
    state, losses = take_steps(*build_step(config, TOTAL_STEPS), count=count)
    return named_parameters(state.params), losses


def test_loss_falls_from_that_of_chance_until_every_image_is_right() -> None:
    state, step = build_step(CONFIG, TOTAL_STEPS)
    state, losses = take_steps(state, step, count=TOTAL_STEPS)
    assert losses[0] == losses[1] == pytest.approx(math.log(len(CLASSES)))  # first rate is 0
    assert losses[-1] < 0.5 * losses[0]
    assert int(state.step) == TOTAL_STEPS
    _, report = step(state, jnp.asarray(IMAGES), jnp.asarray(LABELS))
    assert report.accuracy == 1.0
    assert report.gradient_norm > 0


def test_same_seed_gives_the_same_bits_and_another_seed_another_start() -> None:
    random = replace(CONFIG, stochastic_depth=0.5, dropout=0.5, augment=AugmentConfig(mixup=0.5))
    params, losses = run(random, count=5)
    again, losses_again = run(random, count=5)
    assert losses_again == losses
    for name, values in params.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)
    other, _ = build_step(replace(random, seed=1), TOTAL_STEPS)
    this, _ = build_step(random, TOTAL_STEPS)
    other_stem, this_stem = other.params["stem"]["kernel"], this.params["stem"]["kernel"]
    assert not np.array_equal(other_stem[...], this_stem[...])


def test_closing_epochs_have_no_mixup() -> None:
    mixed = replace(CONFIG, augment=AugmentConfig(mixup=0.5))
    closing = replace(mixed, augment=replace(mixed.augment, closing_epochs=CONFIG.epochs))
    params, losses = run(closing, count=5)
    plain, plain_losses = run(CONFIG, count=5)
    assert losses == plain_losses
    for name, values in plain.items():
        np.testing.assert_array_equal(params[name], values, err_msg=name)
    assert run(mixed, count=5)[1] != plain_losses


def test_step_gives_the_buffers_of_the_old_state_to_the_new_one() -> None:
    old, step = build_step(CONFIG, TOTAL_STEPS)
    take_steps(old, step, count=1)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))


@pytest.mark.parametrize("microbatch_size", [6, 3])
def test_accumulated_gradients_are_those_of_the_whole_batch(microbatch_size: int) -> None:
    whole, whole_losses = run(CONFIG, count=6)
    parts, parts_losses = run(replace(CONFIG, microbatch_size=microbatch_size), count=6)
    np.testing.assert_allclose(parts_losses, whole_losses, rtol=1e-4)
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(
    "randomness",
    [
        {"stochastic_depth": 0.9},
        {"dropout": 0.5},
        {"augment": AugmentConfig(mixup=5.0)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_regularisation_changes_the_loss(randomness: dict[str, Any]) -> None:
    # With the head of zeros every first loss is log 3.
    _, plain = run(CONFIG, count=5)
    _, regularised = run(replace(CONFIG, **randomness), count=5)
    assert regularised[0] == pytest.approx(plain[0])
    assert abs(regularised[-1] - plain[-1]) > 1e-3


@pytest.mark.parametrize("microbatch_size", [5, 24, -6, 8])
def test_batch_that_is_no_multiple_of_its_parts_is_refused(microbatch_size: int) -> None:
    config = replace(CONFIG, microbatch_size=microbatch_size)
    with pytest.raises(
        ValueError, match=f"batch_size 12 is no multiple of microbatch_size {microbatch_size}"
    ):
        build_step(config, TOTAL_STEPS)


# Invariance to permutations of patches, and of pixels within them (spec section 7.3)

TOKENS = np.random.default_rng(1).permutation(MODEL.tokens)
PIXELS = np.random.default_rng(2).permutation(MODEL.patch_size**2)


def permute_images(images: np.ndarray) -> np.ndarray:
    g, p = MODEL.grid, MODEL.patch_size
    patches = images.reshape(-1, g, p, g, p, 3).swapaxes(2, 3).reshape(-1, g * g, p * p, 3)
    permuted = patches[:, TOKENS][:, :, PIXELS].reshape(-1, g, g, p, p, 3)
    return permuted.swapaxes(2, 3).reshape(images.shape)


def permute_parameter(name: str, values: np.ndarray) -> np.ndarray:
    if name == "stem/kernel":
        return values.reshape(-1, *values.shape[2:])[PIXELS].reshape(values.shape)
    if name.endswith("token_mixing/Dense_0/kernel"):
        return values[TOKENS]
    if name.endswith(("token_mixing/Dense_1/kernel", "token_mixing/Dense_1/bias")):
        return values[..., TOKENS]
    return values


def permute(state: TrainState) -> TrainState:
    """Return the state with the same permutation of its parameters; the optimiser's are zero."""

    def permuted(path: tuple[Any, ...], variable: Any) -> Any:
        values = permute_parameter(parameter_name(path), np.asarray(variable[...]))
        return variable.replace(jnp.asarray(values))

    return state._replace(params=nnx.map_state(permuted, state.params))


def test_permuted_run_has_the_same_losses() -> None:
    state, step = build_step(CONFIG, TOTAL_STEPS)
    permuted_state = permute(jax.tree.map(jnp.copy, state))
    unpermuted_state = jax.tree.map(jnp.copy, state)
    _, losses = take_steps(state, step, count=10)
    _, permuted_losses = take_steps(permuted_state, step, permute_images(IMAGES), count=10)
    np.testing.assert_allclose(permuted_losses, losses, rtol=1e-4)
    _, other_losses = take_steps(unpermuted_state, step, permute_images(IMAGES), count=10)
    assert abs(other_losses[-1] - losses[-1]) > 1e-3
