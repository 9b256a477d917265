import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model_store.layers import Execution
from model_store.mixer import Mixer
from model_store.variants import variant_config
from tests.trainer.networks.tiny import (
    CONFIG,
    copy_all_but_token_mixing,
    drawn,
    forward,
    random_images,
    token_mlp,
)
from trainer.networks import UntiedMixer, parameter_count
from trainer.networks.untied import UntiedMlp


def untied_mlp(dropout: float = 0.0) -> UntiedMlp:
    return UntiedMlp(CONFIG, Execution(dropout=dropout), nnx.Rngs(0))


def test_equal_copies_are_the_tied_mixer() -> None:
    tied = drawn(lambda: Mixer(CONFIG, rngs=nnx.Rngs(0)))
    untied = drawn(lambda: UntiedMixer(CONFIG, rngs=nnx.Rngs(1)))
    copy_all_but_token_mixing(tied, untied)
    for old, new in zip(tied.blocks, untied.blocks, strict=True):
        assert isinstance(new.token_mixing, UntiedMlp)
        copies = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (CONFIG.width, *x.shape)), nnx.state(token_mlp(old))
        )
        nnx.update(new.token_mixing.mlps, copies)
    images = random_images(12, batch=2)
    np.testing.assert_allclose(forward(untied, images), forward(tied, images), rtol=1e-4, atol=1e-5)


def test_each_channel_has_an_mlp_of_its_own() -> None:
    mixing = untied_mlp()
    x_BxCxS = jnp.ones((1, 6, 16))
    before = np.asarray(mixing(x_BxCxS, None))[0]
    assert len(np.unique(before, axis=0)) == 6  # drawn apart
    bias_CxS = mixing.mlps.dense_1.bias
    assert bias_CxS is not None
    bias_CxS[...] = bias_CxS[...].at[4].add(1.0)
    change = np.asarray(mixing(x_BxCxS, None))[0] - before
    np.testing.assert_allclose(change, np.eye(6)[4][:, None] * np.ones(16), atol=1e-6)


def test_kernels_start_with_the_variance_of_the_tied_ones() -> None:
    kernel_CxSxD = np.asarray(untied_mlp().mlps.dense_0.kernel[...])
    assert kernel_CxSxD.shape == (6, 16, 7)
    assert kernel_CxSxD.std() * np.sqrt(16) == pytest.approx(1, abs=0.1)


def test_dropout_draws_for_each_channel() -> None:
    mixing = untied_mlp(dropout=0.5)
    dropped_CxS = np.asarray(mixing(jnp.ones((1, 6, 16)), jax.random.key(0)))[0] == 0
    assert len(np.unique(dropped_CxS, axis=0)) == 6


@pytest.mark.parametrize(
    ("variant", "tied", "untied"),
    [("S/32", 203_144, 104_009_728), ("B/16", 1_813_296, 1_392_611_328)],
)
def test_token_mixing_has_as_many_parameters_as_it_should(
    variant: str, tied: int, untied: int
) -> None:
    config = variant_config(variant, num_classes=1000)
    shapes = nnx.eval_shape(lambda: UntiedMixer(config, rngs=nnx.Rngs(0)))
    assert parameter_count(shapes) == config.parameter_count - tied + untied
