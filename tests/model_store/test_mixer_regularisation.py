"""Dropout and stochastic depth, which act on calls with a key alone."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model_store.layers import Execution, Mlp
from model_store.mixer import Mixer, MixerBlock
from tests.model_store.tiny import TINY, random_images

EXAMPLES = 400
Rule = Literal["ramp", "constant"]


def key(seed: int) -> jax.Array:
    """JAX's other generator, whose code compiles in half the time."""
    return jax.random.key(seed, impl="rbg")


def mlp(dropout: float) -> Mlp:
    return Mlp(5, 11, jax.nn.gelu, Execution(dropout=dropout), nnx.Rngs(3))


def block(drop_rate: float, rule: Rule) -> MixerBlock:
    return MixerBlock(TINY, Execution(stochastic_depth_rule=rule), drop_rate, nnx.Rngs(4))


@pytest.mark.parametrize(
    ("rule", "rates"), [("ramp", [0, 0.2, 0.4]), ("constant", [0.4, 0.4, 0.4])]
)
def test_rates_follow_their_rule(rule: Rule, rates: list[float]) -> None:
    execution = Execution(stochastic_depth=0.4, stochastic_depth_rule=rule)
    model = Mixer(TINY, execution, rngs=nnx.Rngs(0))
    assert [b.drop.rate for b in model.blocks] == pytest.approx(rates)


def test_a_single_block_of_a_ramp_is_never_dropped() -> None:
    shallow = TINY.model_copy(update={"depth": 1})
    model = Mixer(shallow, Execution(stochastic_depth=0.4), rngs=nnx.Rngs(0))
    assert [b.drop.rate for b in model.blocks] == [0]


@pytest.mark.parametrize(("rule", "scale"), [("ramp", 1), ("constant", 1 / 0.75)])
def test_branches_are_dropped_per_example_and_rescaled_by_their_rule(
    rule: Rule, scale: float
) -> None:
    x_1xSxC = jax.random.normal(key(0), (1, 9, 5))
    dropping = block(0.25, rule)
    # The four ways in which one example can go: token branch, then channel branch, or neither.
    token_1xSxC = dropping.token_mixing(
        dropping.layer_norm_0(x_1xSxC).swapaxes(1, 2), None
    ).swapaxes(1, 2)
    outcomes = []
    for start in (x_1xSxC + scale * token_1xSxC, x_1xSxC):
        channel = scale * dropping.channel_mixing(dropping.layer_norm_1(start), None)
        outcomes += [start + channel, start]
    y_BxSxC = dropping(jnp.tile(x_1xSxC, (EXAMPLES, 1, 1)), key(1))
    matches_4xB = np.stack(
        [np.isclose(y_BxSxC, outcome, atol=1e-5).all((1, 2)) for outcome in outcomes]
    )
    assert (matches_4xB.sum(axis=0) == 1).all()
    # Independent draws: 9/16, 3/16, 3/16 and 1/16 of the examples, within five deviations.
    wanted = np.array([9, 3, 3, 1]) / 16
    deviation = np.sqrt(wanted * (1 - wanted) / EXAMPLES)
    assert (np.abs(matches_4xB.mean(axis=1) - wanted) < 5 * deviation).all()


def test_blocks_draw_apart_from_each_other() -> None:
    # Rates 0, 1/3, 2/3 and 1: both branches of the two middle blocks vary, in 2**4 ways. Were their
    # draws the same, the third block would keep nothing that the second drops: 9 ways.
    deep = TINY.model_copy(update={"depth": 4})
    model = nnx.jit(Mixer(deep, Execution(stochastic_depth=1.0), rngs=nnx.Rngs(0)))
    images = jnp.asarray(np.tile(random_images(TINY, batch=1), (1024, 1, 1, 1)))
    _, embedding = model(images, key(0))
    assert len(np.unique(np.round(np.asarray(embedding), 4), axis=0)) == 16


def test_dropout_keeps_the_mean_and_zeroes_its_share_of_the_outputs() -> None:
    x_BxC = jnp.ones((20_000, 5))
    dropped = np.asarray(mlp(0.25)(x_BxC, key(2)))
    wanted = np.asarray(mlp(0.0)(x_BxC, None))[0]
    assert (dropped == 0).mean() == pytest.approx(0.25, abs=0.01)
    error = dropped.std(axis=0) / np.sqrt(len(dropped))
    assert (np.abs(dropped.mean(axis=0) - wanted) < 5 * error).all()


def test_dropout_acts_on_hidden_units_too() -> None:
    kept = np.asarray(mlp(0.25)(jnp.ones((1000, 5)), key(2)))[:, 0]
    values = kept[kept != 0]
    assert len(np.unique(np.round(values, 5))) > 100  # one value, were the hidden units all kept


def test_equal_keys_repeat_and_other_keys_do_not() -> None:
    shallow = TINY.model_copy(update={"depth": 1})
    model = nnx.jit(Mixer(shallow, Execution(dropout=0.1), rngs=nnx.Rngs(0)))
    images = jnp.asarray(random_images(TINY, batch=8))
    one, same, other = (model(images, key(seed))[1] for seed in (5, 5, 6))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_rates_of_zero_make_a_key_irrelevant() -> None:
    model = nnx.jit(Mixer(TINY, rngs=nnx.Rngs(0)))
    images = jnp.asarray(random_images(TINY, batch=2))
    assert np.array_equal(model(images)[1], model(images, key(0))[1])
