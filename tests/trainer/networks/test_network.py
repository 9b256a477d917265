"""What all networks of the studies have in common, and that the step trains each."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model_store.layers import Execution
from model_store.mixer import Mixer
from model_store.preprocess import Preprocessing
from tests.trainer.networks.tiny import CONFIG, NETWORKS, drawn, forward, random_images
from tests.trainer.tiny import draw_pictures, tiny_config
from trainer.config import OptimiserConfig
from trainer.networks import Network, NetworkBuilder, parameter_count
from trainer.step import build_step

LABELS = np.arange(8, dtype=np.int32) % 3
PICTURES = np.stack([draw_pictures(int(k), 8, side=12)[i] for i, k in enumerate(LABELS)])
IMAGES = random_images(12, batch=2)
each_network = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


def drawn_with(build: NetworkBuilder, execution: Execution) -> Network:
    return drawn(lambda: build(execution, nnx.Rngs(0)))


@each_network
def test_loss_falls_from_that_of_chance(build: NetworkBuilder) -> None:
    config = replace(
        tiny_config(Path("unused")),
        model=CONFIG,
        preprocessing=Preprocessing(resize="squash", resize_size=12, crop_size=12),
        optimiser=OptimiserConfig("sgd", learning_rate=0.1, warmup_steps=2),
    )
    losses = []
    with jax.default_prng_impl("rbg"):  # compiles faster
        state, step = build_step(config, 30, network=build)
        for _ in range(30):
            state, report = step(state, jnp.asarray(PICTURES), jnp.asarray(LABELS))
            losses.append(float(report.loss))
    assert losses[0] == losses[1] == pytest.approx(np.log(5))  # first rate is 0
    assert losses[-1] < 0.5 * losses[0]


@each_network
def test_an_image_s_outputs_do_not_depend_on_its_batch(build: NetworkBuilder) -> None:
    network = drawn_with(build, Execution())
    images, others = random_images(12, batch=2), random_images(12, batch=2, seed=5)
    others[0] = images[0]
    found, wanted = forward(network, others), forward(network, images)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5, atol=1e-6)
    assert np.abs(found[1] - wanted[1]).max() > 0.01


@each_network
def test_bfloat16_computes_near_float32_and_answers_in_float32(build: NetworkBuilder) -> None:
    exact, near = (
        forward(drawn_with(build, Execution(dtype=dtype)), IMAGES)
        for dtype in (None, jnp.dtype(jnp.bfloat16))
    )
    assert near.dtype == np.float32
    assert 1e-4 < np.abs(near - exact).max() / np.abs(exact).max() < 0.1


@each_network
def test_stochastic_depth_acts_on_calls_with_a_key_alone(build: NetworkBuilder) -> None:
    plain, dropping = (drawn_with(build, Execution(stochastic_depth=rate)) for rate in (0.0, 1.0))
    wanted = forward(plain, IMAGES)
    np.testing.assert_allclose(forward(dropping, IMAGES), wanted, rtol=1e-5, atol=1e-6)
    dropped = forward(dropping, IMAGES, jax.random.key(0, impl="rbg"))
    assert np.abs(dropped - wanted).max() > 0.01


@each_network
def test_images_of_another_size_are_refused(build: NetworkBuilder) -> None:
    with pytest.raises(ValueError, match=r"shape \(12, 9, 3\), the model takes \(12, 12, 3\)"):
        nnx.eval_shape(lambda: build(Execution(), nnx.Rngs(0))(jnp.zeros((2, 12, 9, 3))))


def test_parameters_of_shapes_are_counted_as_those_of_arrays() -> None:
    def build() -> Mixer:
        return Mixer(CONFIG, rngs=nnx.Rngs(0))

    counts = [parameter_count(drawn(build)), parameter_count(nnx.eval_shape(build))]
    assert counts == [CONFIG.parameter_count] * 2
