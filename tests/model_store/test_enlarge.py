"""The nine identities of spec section 5.3 in float64, by a forward pass of the tests' own."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from pydantic import ValidationError

from model_store.enlarge import (
    enlarge,
    enlarged_config,
    enlargement_factor,
    tile_places,
    with_new_head,
)
from model_store.errors import ParameterMismatch
from model_store.mixer import load_mixer, named_parameters
from model_store.parameters import check_parameters
from model_store.variants import variant_config
from tests.model_store.reference_forward import forward, normalised_tokens
from tests.model_store.tiny import TINY, random_arrays, random_images

ARRAYS = random_arrays(TINY)
HEADLESS = TINY.model_copy(update={"num_classes": 0})
TOKEN_KERNELS = [
    f"MixerBlock_{i}/token_mixing/Dense_{j}/kernel" for i in range(TINY.depth) for j in range(2)
]


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    """Allow for float64's rounding alone."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


def large_images(factor: int, batch: int = 2) -> np.ndarray:
    return random_images(enlarged_config(TINY, factor), batch).astype(np.float64)


def tiles(images_BxHxWx3: np.ndarray) -> np.ndarray:
    """Cut images into tiles of the old size, row by row: [B, K², R, R, 3]."""
    r = TINY.image_size
    k = images_BxHxWx3.shape[1] // r
    return images_BxHxWx3.reshape(-1, k, r, k, r, 3).swapaxes(2, 3).reshape(-1, k * k, r, r, 3)


def joined(tiles_BxQxRxRx3: np.ndarray) -> np.ndarray:
    """Undo `tiles` for four of them."""
    r = TINY.image_size
    return tiles_BxQxRxRx3.reshape(-1, 2, 2, r, r, 3).swapaxes(2, 3).reshape(-1, 2 * r, 2 * r, 3)


def small_outputs(tiles_BxQxRxRx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the old model's logits and embeddings, averaged over the tiles of each image."""
    count = tiles_BxQxRxRx3.shape[1]
    outputs = [forward(tiles_BxQxRxRx3[:, q], ARRAYS, gelu="tanh") for q in range(count)]
    logits, embeddings = zip(*outputs, strict=True)
    return np.mean(logits, axis=0), np.mean(embeddings, axis=0)


@pytest.mark.parametrize("factor", [2, 3])
def test_1_tokens_are_those_of_the_tiles(factor: int) -> None:
    images = large_images(factor)
    _, arrays = enlarge(TINY, ARRAYS, factor)
    found_BxNxC = normalised_tokens(images, arrays, gelu="tanh")
    by_tile = [normalised_tokens(t, ARRAYS, gelu="tanh") for t in tiles(images).swapaxes(0, 1)]
    side = factor * TINY.grid
    for n in range(side**2):
        y, x = divmod(n, side)
        tile = (y // TINY.grid) * factor + x // TINY.grid
        patch = (y % TINY.grid) * TINY.grid + x % TINY.grid
        assert_same(found_BxNxC[:, n], by_tile[tile][:, patch])


@pytest.mark.parametrize("factor", [2, 3])
def test_2_and_3_embedding_and_logits_are_the_means_of_the_tiles(factor: int) -> None:
    images = large_images(factor)
    _, arrays = enlarge(TINY, ARRAYS, factor)
    logits, embedding = forward(images, arrays, gelu="tanh")
    wanted_logits, wanted_embedding = small_outputs(tiles(images))
    assert_same(embedding, wanted_embedding)
    assert_same(logits, wanted_logits)


def test_4_a_repeated_tile_gives_its_own_outputs() -> None:
    tile = random_images(TINY, batch=2).astype(np.float64)
    _, arrays = enlarge(TINY, ARRAYS, 2)
    found = forward(np.tile(tile, (1, 2, 2, 1)), arrays, gelu="tanh")
    for output, wanted in zip(found, forward(tile, ARRAYS, gelu="tanh"), strict=True):
        assert_same(output, wanted)


def test_5_whole_tiles_may_change_places_and_patches_within_may_not() -> None:
    images = large_images(2)
    _, arrays = enlarge(TINY, ARRAYS, 2)
    logits, embedding = forward(images, arrays, gelu="tanh")
    moved = joined(tiles(images)[:, [2, 0, 3, 1]])
    moved_logits, moved_embedding = forward(moved, arrays, gelu="tanh")
    assert_same(moved_logits, logits)
    assert_same(moved_embedding, embedding)
    rolled = images.copy()
    rolled[:, :12, :12] = np.roll(images[:, :12, :12], TINY.patch_size, axis=1)
    assert np.abs(forward(rolled, arrays, gelu="tanh")[0] - logits).max() > 1e-3


def test_6_a_factor_of_one_changes_no_bit() -> None:
    config, arrays = enlarge(TINY, ARRAYS, 1)
    assert config == TINY
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].tobytes() == array.tobytes(), name


def test_7_two_enlargements_are_one_by_their_product() -> None:
    twice_config, twice = enlarge(*enlarge(TINY, ARRAYS, 2), 3)
    once_config, once = enlarge(TINY, ARRAYS, 6)
    assert twice_config == once_config
    images = large_images(6, batch=1)
    found, wanted = (forward(images, arrays, gelu="tanh") for arrays in (twice, once))
    assert_same(found[0], wanted[0])
    assert_same(found[1], wanted[1])


def test_8_zeros_between_the_tiles_are_parameters_with_gradients() -> None:
    config, arrays = enlarge(TINY, ARRAYS, 2)
    graph, state = nnx.split(load_mixer(config, arrays))
    images = large_images(2)

    def loss(state: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits, embedding = nnx.merge(graph, state)(x)
        return (logits**2).sum(), embedding

    gradient, embedding = jax.jit(jax.grad(loss, has_aux=True))(state, jnp.float32(images))
    gradients = named_parameters(gradient)
    for name in TOKEN_KERNELS:
        between = arrays[name] == 0
        assert np.count_nonzero(arrays[name]) == 4 * np.count_nonzero(ARRAYS[name])
        assert between.sum() == 12 * ARRAYS[name].size
        assert abs(gradients[name][between].mean()) > 1e-5
    # The network itself, in float32, computes what the reference in float64 does.
    np.testing.assert_allclose(embedding, small_outputs(tiles(images))[1], rtol=0, atol=1e-5)


def test_9_the_head_is_kept_or_replaced_by_zeros() -> None:
    config, arrays = enlarge(TINY, ARRAYS, 2)
    assert arrays["head/kernel"] is ARRAYS["head/kernel"]
    new_config, new_arrays = with_new_head(config, arrays, num_classes=8)
    check_parameters(new_config, new_arrays)
    images = large_images(2)
    logits, embedding = forward(images, new_arrays, gelu="tanh")
    assert np.array_equal(logits, np.zeros((2, 8)))
    assert np.array_equal(embedding, forward(images, arrays, gelu="tanh")[1])


def test_all_but_the_token_mlps_are_the_same_arrays() -> None:
    config, arrays = enlarge(TINY, ARRAYS, 3)
    check_parameters(config, arrays)
    assert (config.tokens, config.token_mlp_width) == (81, 63)
    copied = {name for name, array in arrays.items() if array is not ARRAYS[name]}
    assert copied == {name for name in ARRAYS if "/token_mixing/" in name}


def test_bfloat16_and_a_missing_head_stay_as_they_are() -> None:
    arrays = {k: v.astype(ml_dtypes.bfloat16) for k, v in random_arrays(HEADLESS).items()}
    config, enlarged = enlarge(HEADLESS, arrays, 2)
    check_parameters(config, enlarged)
    assert {array.dtype for array in enlarged.values()} == {np.dtype(ml_dtypes.bfloat16)}


def test_places_are_a_permutation_that_fills_a_grid_tile_after_tile() -> None:
    places = tile_places(grid=3, factor=2).reshape(6, 6)
    assert sorted(places.reshape(-1).tolist()) == list(range(36))
    assert places[:3, :3].reshape(-1).tolist() == list(range(9))
    assert places[3:, :3].reshape(-1).tolist() == list(range(18, 27))
    assert places[4, 3:].tolist() == [30, 31, 32]


@pytest.mark.parametrize("factor", [0, -1])
def test_factor_below_one_is_refused(factor: int) -> None:
    with pytest.raises(ValueError, match=f"integer of at least 1, not {factor}"):
        enlarge(TINY, ARRAYS, factor)


def test_foreign_parameters_are_refused() -> None:
    fewer = {name: array for name, array in ARRAYS.items() if name != "head/bias"}
    with pytest.raises(ParameterMismatch, match="1 missing"):
        enlarge(TINY, fewer, 2)
    with pytest.raises(ParameterMismatch, match="1 missing"):
        with_new_head(TINY, fewer, num_classes=2)


# Which sizes


def test_factor_of_a_size_is_its_multiple() -> None:
    assert [enlargement_factor(TINY, size) for size in (12, 24, 60)] == [1, 2, 5]


@pytest.mark.parametrize("size", [384, 112, 0, -224])
def test_sizes_between_the_multiples_are_refused_with_those_allowed(size: int) -> None:
    config = variant_config("B/16", num_classes=10)
    with pytest.raises(
        ValueError,
        match=f"image_size {size} is no multiple of the model's 224: allowed are 224, 448, 672",
    ):
        enlargement_factor(config, size)


# New heads


def test_model_without_a_head_gets_one() -> None:
    arrays = random_arrays(HEADLESS)
    config, renewed = with_new_head(HEADLESS, arrays, num_classes=4)
    check_parameters(config, renewed)
    assert not renewed["head/kernel"].any()
    assert all(renewed[name] is array for name, array in arrays.items())


def test_no_classes_are_no_head() -> None:
    config, renewed = with_new_head(TINY, ARRAYS, num_classes=0)
    assert config == HEADLESS
    check_parameters(config, renewed)


def test_negative_number_of_classes_is_refused() -> None:
    with pytest.raises(ValidationError, match="num_classes"):
        with_new_head(TINY, ARRAYS, num_classes=-1)
