import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.scipy.linalg import block_diag

from model_store.layers import Execution, Mlp
from model_store.mixer import Mixer
from tests.trainer.networks.tiny import (
    CONFIG,
    copy_all_but_token_mixing,
    drawn,
    forward,
    random_images,
    token_mlp,
)
from trainer.networks import GroupedMixer, parameter_count
from trainer.networks.grouped import GroupedMlp, Views

WIDTH, TOKENS = CONFIG.width, CONFIG.tokens
TOKENS_BxCxS = np.random.default_rng(2).standard_normal((3, WIDTH, TOKENS)).astype(np.float32)


def grouped_mlp(groups: int, views: Views) -> GroupedMlp:
    return drawn(lambda: GroupedMlp(CONFIG, Execution(), nnx.Rngs(0), groups=groups, views=views))


def set_block_diagonal(grouped: Mlp, base: Mlp, groups: int) -> None:
    """Give each of the groups the base's MLP, without weights between them."""
    for old, new in ((base.dense_0, grouped.dense_0), (base.dense_1, grouped.dense_1)):
        assert old.bias is not None
        assert new.bias is not None
        new.kernel[...] = block_diag(*[old.kernel[...]] * groups)
        new.bias[...] = jnp.tile(old.bias[...], groups)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_without_weights_between_groups_it_is_the_mixer(groups: int) -> None:
    base = drawn(lambda: Mixer(CONFIG, rngs=nnx.Rngs(0)))
    network = drawn(lambda: GroupedMixer(CONFIG, groups=groups, rngs=nnx.Rngs(1)))
    copy_all_but_token_mixing(base, network)
    for old, new in zip(base.blocks, network.blocks, strict=True):
        assert isinstance(new.token_mixing, GroupedMlp)
        set_block_diagonal(new.token_mixing.mlp, token_mlp(old), groups)
    images = random_images(12, batch=2)
    np.testing.assert_allclose(
        forward(network, images), forward(base, images), rtol=1e-4, atol=1e-5
    )


def test_one_group_has_the_parameters_of_the_mixer() -> None:
    shapes = nnx.eval_shape(lambda: GroupedMixer(CONFIG, groups=1, rngs=nnx.Rngs(0)))
    assert parameter_count(shapes) == CONFIG.parameter_count


@pytest.mark.parametrize("groups", [2, 3])
def test_neighbouring_channels_are_joined_by_the_index_rule(groups: int) -> None:
    mixing = grouped_mlp(groups, "reshape")
    joined = np.zeros((3, WIDTH // groups, groups * TOKENS), np.float32)
    for place in range(groups * TOKENS):
        k, s = divmod(place, TOKENS)
        for channel in range(WIDTH // groups):
            joined[:, channel, place] = TOKENS_BxCxS[:, channel * groups + k, s]
    mixed = np.asarray(mixing.mlp(jnp.asarray(joined), None))
    wanted_BxCxS = np.zeros_like(TOKENS_BxCxS)
    for place in range(groups * TOKENS):
        k, s = divmod(place, TOKENS)
        for channel in range(WIDTH // groups):
            wanted_BxCxS[:, channel * groups + k, s] = mixed[:, channel, place]
    found = mixing(jnp.asarray(TOKENS_BxCxS), None)
    np.testing.assert_allclose(found, wanted_BxCxS, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [2, 3])
def test_learned_views_are_maps_of_each_token_stacked_along_the_tokens(groups: int) -> None:
    mixing = grouped_mlp(groups, "learned")
    assert mixing.views is not None
    maps_CxC = np.asarray(mixing.views.kernel[...])
    tokens_BxSxC = TOKENS_BxCxS.swapaxes(1, 2)
    views = [tokens_BxSxC @ maps_CxC[:, k::groups] for k in range(groups)]  # [B, S, C/G] each
    stacked = np.concatenate(views, axis=1).swapaxes(1, 2)
    mixed = np.asarray(mixing.mlp(jnp.asarray(stacked), None))
    wanted_BxCxS = np.zeros_like(TOKENS_BxCxS)
    for k, part in enumerate(np.split(mixed, groups, axis=2)):
        wanted_BxCxS[:, k::groups] = part
    found = mixing(jnp.asarray(TOKENS_BxCxS), None)
    np.testing.assert_allclose(found, wanted_BxCxS, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("groups", [2, 3])
def test_views_that_select_channels_are_the_reshape(groups: int) -> None:
    learned, reshape = grouped_mlp(groups, "learned"), grouped_mlp(groups, "reshape")
    nnx.update(learned.mlp, nnx.state(reshape.mlp))
    assert learned.views is not None
    # View k picks the channels k, k + G, k + 2G, ...
    for k in range(groups):
        selection = np.zeros((WIDTH, WIDTH // groups), np.float32)
        selection[k::groups] = np.eye(WIDTH // groups)
        learned.views.kernel[...] = learned.views.kernel[...].at[:, k::groups].set(selection)
    x_BxCxS = jnp.asarray(TOKENS_BxCxS)
    np.testing.assert_allclose(learned(x_BxCxS, None), reshape(x_BxCxS, None), rtol=1e-6)


@pytest.mark.parametrize("groups", [4, 0, -2, 12])
def test_groups_that_do_not_divide_the_width_are_refused(groups: int) -> None:
    with pytest.raises(ValueError, match=f"{groups} groups do not divide the width, 6 channels"):
        GroupedMixer(CONFIG, groups=groups, rngs=nnx.Rngs(0))
