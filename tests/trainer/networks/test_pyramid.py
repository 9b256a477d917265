from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model_store.layers import Execution
from model_store.mixer import Mixer
from model_store.variants import MixerConfig
from tests.trainer.networks.tiny import drawn, forward, random_images
from trainer.networks import PyramidMixer, parameter_count
from trainer.networks.pyramid import ReducingBlock, grid_sides

# A grid of 6·6 tokens.
CONFIG = MixerConfig(
    image_size=12,
    patch_size=2,
    width=5,
    depth=3,
    token_mlp_width=7,
    channel_mlp_width=11,
    num_classes=4,
)
IMAGES = random_images(12, batch=2)


def reducing_block(before: int, after: int) -> ReducingBlock:
    grids = (before, after)
    return drawn(lambda: ReducingBlock(CONFIG, Execution(), 0.0, nnx.Rngs(0), grids=grids))


def test_chosen_blocks_leave_fewer_tokens() -> None:
    shapes = []

    def stages() -> None:
        x_BxSxC = jnp.ones((2, 36, 5))
        for block in PyramidMixer(CONFIG, tokens_after={0: 9, 2: 1}, rngs=nnx.Rngs(0)).blocks:
            x_BxSxC = block(x_BxSxC, None)
            shapes.append(x_BxSxC.shape)

    nnx.eval_shape(stages)
    assert shapes == [(2, 9, 5), (2, 9, 5), (2, 1, 5)]


def test_token_mlps_shrink_with_the_tokens() -> None:
    shapes = nnx.eval_shape(lambda: PyramidMixer(CONFIG, tokens_after={1: 9}, rngs=nnx.Rngs(0)))

    def token_mlp(before: int, after: int) -> int:
        return before * 7 + 7 + 7 * after + after

    saved = token_mlp(36, 36) - token_mlp(36, 9) + token_mlp(36, 36) - token_mlp(9, 9)
    assert parameter_count(shapes) == CONFIG.parameter_count - saved


@pytest.mark.parametrize("tokens_after", [{}, {0: 36, 2: 36}])
def test_where_no_token_is_dropped_it_is_the_mixer(tokens_after: Mapping[int, int]) -> None:
    base = drawn(lambda: Mixer(CONFIG, rngs=nnx.Rngs(0)))
    network = drawn(lambda: PyramidMixer(CONFIG, tokens_after=tokens_after, rngs=nnx.Rngs(1)))
    nnx.update(network, nnx.state(base))
    np.testing.assert_allclose(forward(network, IMAGES), forward(base, IMAGES), rtol=1e-6)


@pytest.mark.parametrize(("before", "after"), [(6, 3), (6, 2), (6, 1)])
def test_the_skip_averages_each_neighbourhood(before: int, after: int) -> None:
    block = reducing_block(before, after)
    tokens_BxSxC = np.random.default_rng(0).standard_normal((2, before**2, 5)).astype(np.float32)
    grid = tokens_BxSxC.reshape(2, before, before, 5)
    n = before // after
    wanted = [
        grid[:, n * row : n * (row + 1), n * column : n * (column + 1)].mean(axis=(1, 2))
        for row in range(after)
        for column in range(after)
    ]
    found = np.asarray(block.skip(jnp.asarray(tokens_BxSxC)))
    np.testing.assert_allclose(found, np.stack(wanted, axis=1), rtol=1e-5, atol=1e-6)


def test_the_token_mlp_sees_every_token_that_it_drops() -> None:
    block = reducing_block(6, 2)
    tokens_1xSxC = np.random.default_rng(0).standard_normal((1, 36, 5)).astype(np.float32)
    before = np.asarray(block(jnp.asarray(tokens_1xSxC), None))
    tokens_1xSxC[0, 35, 0] += 1
    change = np.abs(np.asarray(block(jnp.asarray(tokens_1xSxC), None)) - before)
    assert (change[0].max(axis=-1) > 1e-4).all()  # not the last neighbourhood alone


@pytest.mark.parametrize(
    ("tokens_after", "message"),
    [
        ({0: 16}, "block 0 cannot leave 16 tokens: .* divisors of 6"),
        ({1: 9, 2: 4}, "block 2 cannot leave 4 tokens: .* divisors of 3"),
        ({0: 8}, "block 0 cannot leave 8 tokens"),
        ({0: 144}, "block 0 cannot leave 144 tokens"),
        ({0: 0}, "block 0 cannot leave 0 tokens"),
        ({0: -9}, "block 0 cannot leave -9 tokens"),
        ({3: 9}, "tokens_after names block 3, the blocks are 0 to 2"),
        ({-1: 9}, "tokens_after names block -1, the blocks are 0 to 2"),
    ],
)
def test_tokens_that_do_not_tile_the_grid_are_refused(
    tokens_after: Mapping[int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        grid_sides(CONFIG, tokens_after)
