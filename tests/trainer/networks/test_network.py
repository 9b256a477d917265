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
from tests.trainer.networks.tiny import CONFIG, NETWORKS, forward, random_images, randomise
from tests.trainer.tiny import draw_pictures, tiny_config
from trainer.config import OptimiserConfig
from trainer.networks import NetworkBuilder, parameter_count
from trainer.step import build_step

LABELS = np.arange(8, dtype=np.int32) % 3
PICTURES = np.stack([draw_pictures(int(k), 8, side=12)[i] for i, k in enumerate(LABELS)])
each_network = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


@each_network
def test_loss_falls_from_that_of_chance(build: NetworkBuilder) -> None:
    config = replace(
        tiny_config(Path("unused")),
        model=CONFIG,
        preprocessing=Preprocessing(resize="squash", resize_size=12, crop_size=12),
        optimiser=OptimiserConfig(learning_rate=0.02, warmup_steps=2),
        stochastic_depth=0.05,
    )
    state, step = build_step(config, 30, network=build)
    losses = []
    for _ in range(30):
        state, report = step(state, jnp.asarray(PICTURES), jnp.asarray(LABELS))
        losses.append(float(report.loss))
    assert losses[0] == losses[1] == pytest.approx(np.log(5))  # first rate is 0
    assert losses[-1] < 0.5 * losses[0]


@each_network
def test_untrained_logits_are_zero_and_the_features_are_not(build: NetworkBuilder) -> None:
    outputs = forward(build(Execution(), nnx.Rngs(0)), random_images(12, batch=2))
    assert np.array_equal(outputs[:, :5], np.zeros((2, 5)))
    assert np.abs(outputs[:, 5:]).max() > 0.1


@each_network
def test_an_image_s_outputs_do_not_depend_on_its_batch(build: NetworkBuilder) -> None:
    network = randomise(build(Execution(), nnx.Rngs(0)))
    images = random_images(12, batch=3)
    np.testing.assert_allclose(
        forward(network, images[1:2]), forward(network, images)[1:2], rtol=1e-4, atol=1e-5
    )


@each_network
def test_bfloat16_computes_near_float32_and_answers_in_float32(build: NetworkBuilder) -> None:
    images = random_images(12, batch=2)
    exact = forward(randomise(build(Execution(), nnx.Rngs(0))), images)
    found = forward(randomise(build(Execution(dtype=jnp.bfloat16), nnx.Rngs(0))), images)
    assert found.dtype == np.float32
    assert 1e-4 < np.abs(found - exact).max() / np.abs(exact).max() < 0.1


@each_network
def test_only_a_key_makes_stochastic_depth_act(build: NetworkBuilder) -> None:
    network = randomise(
        build(Execution(stochastic_depth=1.0, stochastic_depth_rule="ramp"), nnx.Rngs(0))
    )
    images = random_images(12, batch=2)
    dropped, _ = nnx.jit(lambda model, x: model(x, jax.random.key(0)))(network, images)
    plain = randomise(build(Execution(), nnx.Rngs(0)))
    assert np.array_equal(forward(network, images), forward(plain, images))
    assert np.abs(dropped - forward(plain, images)[:, :5]).max() > 0.01


@each_network
def test_images_of_another_size_are_refused(build: NetworkBuilder) -> None:
    with pytest.raises(ValueError, match=r"shape \(12, 9, 3\), the model takes \(12, 12, 3\)"):
        build(Execution(), nnx.Rngs(0))(jnp.zeros((2, 12, 9, 3)))


def test_parameters_of_shapes_are_counted_as_those_of_arrays() -> None:
    def build() -> Mixer:
        return Mixer(CONFIG, rngs=nnx.Rngs(0))

    counts = {parameter_count(build()), parameter_count(nnx.eval_shape(build))}
    assert counts == {CONFIG.parameter_count}
