from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from model_store.mixer import load_mixer, named_parameters
from tests.model_store.tiny import random_arrays
from tests.trainer.networks.tiny import drawn
from tests.trainer.tiny import MODEL
from trainer.config import OptimiserConfig
from trainer.networks import UntiedMixer
from trainer.optimiser import make_optimiser, schedule

Arrays = dict[str, np.ndarray]
TOTAL_STEPS = 101


def second_update(config: OptimiserConfig, params: Any, gradient: Any) -> Any:
    """Return the update of step t = 1, whose rate is the peak after one step of warm-up.

    The gradient is the same at t = 0, where the rate is 0.
    """
    optimiser = make_optimiser(config, TOTAL_STEPS)

    @jax.jit
    def both(params: Any, gradient: Any) -> tuple[Any, Any]:
        first, state = optimiser.update(gradient, optimiser.init(params), params)
        second, _ = optimiser.update(gradient, state, params)
        return first, second

    first, second = both(params, gradient)
    assert optax.tree.norm(first) == 0
    return second


def mixer_params() -> Any:
    """Return the parameters of MODEL, none of them zero."""
    return nnx.state(load_mixer(MODEL, random_arrays(MODEL)), nnx.Param)


def zeros(params: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, params)


# Schedule


@pytest.mark.parametrize(
    ("step", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (35, 0.75), (110, 0.0), (200, 0.0)]
)
def test_schedule_rises_to_the_peak_and_falls_to_zero(step: int, share: float) -> None:
    assert schedule(OptimiserConfig(warmup_steps=10), 110)(step) == pytest.approx(share)


def test_schedule_without_warm_up_is_at_its_peak_after_the_first_step() -> None:
    share = schedule(OptimiserConfig(warmup_steps=0), 100)
    assert [float(share(step)) for step in (0, 1, 100)] == pytest.approx([0.0, 0.99, 0.0])


def test_run_shorter_than_its_warm_up_never_reaches_the_peak() -> None:
    share = schedule(OptimiserConfig(warmup_steps=100), 50)
    assert float(share(50)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("step", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (35, 0.8536), (60, 0.5), (110, 0.0)]
)
def test_cosine_schedule_falls_as_half_a_wave(step: int, share: float) -> None:
    config = OptimiserConfig(warmup_steps=10, decay="cosine")
    assert schedule(config, 110)(step) == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_final_share_is_where_the_schedule_ends(decay: Literal["linear", "cosine"]) -> None:
    share = schedule(OptimiserConfig(warmup_steps=10, decay=decay, final_share=0.25), 110)
    assert [float(share(step)) for step in (5, 60, 110)] == pytest.approx([0.5, 0.625, 0.25])


# SGD


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_momentum_steps_are_those_done_by_hand(dtype: Literal["float32", "bfloat16"]) -> None:
    config = OptimiserConfig(
        name="sgd", learning_rate=0.5, clip_norm=9.0, warmup_steps=1, momentum_dtype=dtype
    )
    optimiser = make_optimiser(config, 101)
    params = nnx.State({"kernel": nnx.Param(jnp.asarray([2.0, -1.0]))})
    gradient = nnx.State({"kernel": nnx.Param(jnp.asarray([1.0, 4.0]))})
    state = optimiser.init(params)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state) if leaf.ndim} == {dtype}
    for _ in range(3):
        updates, state = optimiser.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    # Buffers g, 1.9 g and 2.71 g with rates 0, 0.5 and 0.495; nothing decays.
    moved = (0.5 * 1.9 + 0.495 * 2.71) * np.array([1.0, 4.0])
    tolerance = 1e-6 if dtype == "float32" else 0.02
    found, expected = np.asarray(params["kernel"][...]), np.array([2.0, -1.0]) - moved
    np.testing.assert_allclose(found, expected, rtol=tolerance)


# Adam


def adam_by_hand(
    config: OptimiserConfig, params: Arrays, gradient: Arrays, shares: tuple[float, ...]
) -> Arrays:
    """Return the parameters after one step for each share of the peak rate, in float64.

    w <- w - s·lr·(adam + wd·w), decay on kernels alone, gradients clipped (spec section 4.2).
    """
    norm = np.sqrt(sum((g.astype(float) ** 2).sum() for g in gradient.values()))
    clipped = {k: g * min(1, config.clip_norm / norm) for k, g in gradient.items()}
    w = {name: value.astype(float) for name, value in params.items()}
    m = {name: np.zeros_like(value) for name, value in w.items()}
    v = {name: np.zeros_like(value) for name, value in w.items()}
    for t, share in enumerate(shares, start=1):
        for name, g in clipped.items():
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            adam = m[name] / (1 - 0.9**t) / (np.sqrt(v[name] / (1 - 0.999**t)) + 1e-8)
            decay = config.weight_decay if name == "kernel" else 0.0
            w[name] = w[name] - share * config.learning_rate * (adam + decay * w[name])
    return w


# Of norm 5; the small entries show Adam's epsilon, and so the clipping.
GRADIENT = {"kernel": np.array([3.0, 1e-7], np.float32), "bias": np.array([4.0, 2e-8], np.float32)}


@pytest.mark.parametrize("clip_norm", [1.0, 5.5])
def test_three_adam_steps_are_those_done_by_hand(clip_norm: float) -> None:
    config = OptimiserConfig(
        learning_rate=0.1, weight_decay=0.5, clip_norm=clip_norm, warmup_steps=2
    )
    start = {"kernel": np.array([2.0, -1.0], np.float32), "bias": np.array([3.0, 1.0], np.float32)}
    optimiser = make_optimiser(config, 10)
    params = nnx.State({name: nnx.Param(jnp.asarray(value)) for name, value in start.items()})
    gradient = nnx.State({name: nnx.Param(jnp.asarray(g)) for name, g in GRADIENT.items()})
    state = optimiser.init(params)
    for _ in range(3):
        updates, state = optimiser.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    expected = adam_by_hand(config, start, GRADIENT, shares=(0.0, 0.5, 1.0))
    for name, value in expected.items():
        np.testing.assert_allclose(np.asarray(params[name][...]), value, rtol=1e-5)


def test_adam_decays_every_kernel_and_nothing_else() -> None:
    config = OptimiserConfig(learning_rate=0.1, weight_decay=0.5, warmup_steps=1)
    params = mixer_params()
    updates = named_parameters(second_update(config, params, zeros(params)))
    arrays = named_parameters(params)
    assert {"stem/kernel", "head/kernel"} < updates.keys()
    for name, update in updates.items():
        decay = 0.1 * 0.5 if name.endswith("/kernel") else 0.0
        np.testing.assert_allclose(update, -decay * arrays[name], rtol=1e-5, err_msg=name)


# Muon

MUON = OptimiserConfig(
    name="muon", learning_rate=0.1, adam_learning_rate=0.01, weight_decay=0.5, warmup_steps=1
)
MIXING_KERNELS = {
    f"MixerBlock_{i}/{mlp}_mixing/Dense_{j}/kernel"
    for i in range(MODEL.depth)
    for mlp in ("token", "channel")
    for j in range(2)
}


def test_muon_owns_and_decays_exactly_the_mixing_kernels() -> None:
    params = mixer_params()
    updates = named_parameters(second_update(MUON, params, zeros(params)))
    arrays = named_parameters(params)
    assert {name for name, update in updates.items() if update.any()} == MIXING_KERNELS
    for name in MIXING_KERNELS:
        np.testing.assert_allclose(updates[name], -0.1 * 0.5 * arrays[name], rtol=1e-5)


def test_muon_orthogonalises_its_updates_and_leaves_the_rest_to_adam() -> None:
    params = mixer_params()
    gradient = jax.tree.map(lambda x: 1e-3 * jnp.cos(1000 * x), params)
    updates = named_parameters(second_update(MUON, params, gradient))
    arrays = named_parameters(params)
    for name, update in updates.items():
        if name in MIXING_KERNELS:
            inputs, outputs = update.shape
            direction = (update + 0.1 * 0.5 * arrays[name]) / 0.1
            values = np.linalg.svd(direction, compute_uv=False)
            values /= max(1, outputs / inputs) ** 0.5
            assert values.min() > 0.3, name
            assert values.max() < 1.3, name
        else:
            np.testing.assert_allclose(np.abs(update), 0.01, rtol=0.2, err_msg=name)


def test_muon_orthogonalises_each_of_the_kernels_that_an_untied_mixer_stacks() -> None:
    shallow = MODEL.model_copy(update={"depth": 1})
    params = nnx.state(drawn(lambda: UntiedMixer(shallow, rngs=nnx.Rngs(0))), nnx.Param)
    gradient = jax.tree.map(lambda x: 1e-3 * jnp.cos(1000 * x), params)
    name = "MixerBlock_0/token_mixing/mlps/Dense_0/kernel"
    update_CxSxD = named_parameters(second_update(MUON, params, gradient))[name]
    direction = (update_CxSxD + 0.1 * 0.5 * named_parameters(params)[name]) / 0.1
    values = np.linalg.svd(direction, compute_uv=False)
    values /= max(1, MODEL.token_mlp_width / MODEL.tokens) ** 0.5
    assert values.shape == (MODEL.width, min(MODEL.tokens, MODEL.token_mlp_width))
    assert values.min() > 0.3
    assert values.max() < 1.3
