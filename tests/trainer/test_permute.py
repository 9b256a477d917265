from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from model_store.preprocess import Preprocessing
from tests.model_store.reference_forward import forward, tokens
from tests.model_store.tiny import TINY, random_arrays, random_images
from tests.trainer.tiny import tiny_config
from trainer.config import AugmentConfig, OptimiserConfig
from trainer.permute import PatchPermutation, permute_all_pixels
from trainer.step import build_step

ARRAYS = random_arrays(TINY)
IMAGES = random_images(TINY, batch=2).astype(np.float64)
PERMUTATION = PatchPermutation.draw(TINY, np.random.default_rng(0))
NOTHING = PatchPermutation(np.arange(9), np.arange(16))


def test_every_pixel_lands_where_the_orders_say() -> None:
    found = PERMUTATION.images(IMAGES)
    for y, x in np.ndindex(12, 12):
        token, pixel = (y // 4) * 3 + x // 4, (y % 4) * 4 + x % 4
        patch_y, patch_x = divmod(int(PERMUTATION.tokens_S[token]), 3)
        inner_y, inner_x = divmod(int(PERMUTATION.pixels_PP[pixel]), 4)
        origin = IMAGES[:, 4 * patch_y + inner_y, 4 * patch_x + inner_x]
        np.testing.assert_array_equal(found[:, y, x], origin)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_keep_their_type_and_do_not_change_themselves(dtype: type) -> None:
    images: np.ndarray = (100 * IMAGES).astype(dtype)
    before = images.copy()
    found = PERMUTATION.images(images)
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(NOTHING.images(images), before)


def test_permuted_parameters_answer_permuted_images_alike() -> None:
    found = forward(PERMUTATION.images(IMAGES), PERMUTATION.parameters(ARRAYS), gelu="tanh")
    wanted = forward(IMAGES, ARRAYS, gelu="tanh")
    for output, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(output, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kept", [{"tokens_S": np.arange(9)}, {"pixels_PP": np.arange(16)}])
def test_each_of_the_two_orders_matters_to_unpermuted_parameters(
    kept: dict[str, np.ndarray],
) -> None:
    images = replace(PERMUTATION, **kept).images(IMAGES)
    found, _ = forward(images, ARRAYS, gelu="tanh")
    assert np.abs(found - forward(IMAGES, ARRAYS, gelu="tanh")[0]).max() > 1e-3


def test_stem_alone_turns_permuted_images_into_permuted_tokens() -> None:
    found = tokens(PERMUTATION.images(IMAGES), PERMUTATION.parameters(ARRAYS))
    wanted = tokens(IMAGES, ARRAYS)[:, PERMUTATION.tokens_S]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


def test_orders_are_drawn_apart_and_by_the_generator() -> None:
    again = PatchPermutation.draw(TINY, np.random.default_rng(0))
    other = PatchPermutation.draw(TINY, np.random.default_rng(1))
    np.testing.assert_array_equal(again.tokens_S, PERMUTATION.tokens_S)
    np.testing.assert_array_equal(again.pixels_PP, PERMUTATION.pixels_PP)
    assert not np.array_equal(other.tokens_S, PERMUTATION.tokens_S)
    assert not np.array_equal(other.pixels_PP, PERMUTATION.pixels_PP)


@pytest.mark.parametrize(
    ("tokens_S", "pixels_PP", "message"),
    [
        ([0, 1, 2, 2], [0], "tokens: no permutation of the 4 places from 0 to 3"),
        ([0], [1, 2, 3, 4], "pixels: no permutation of the 4 places from 0 to 3"),
        ([0, 1, 2], [0], "tokens: 3 places do not make a square"),
    ],
)
def test_orders_of_no_square_grid_are_refused(
    tokens_S: list[int], pixels_PP: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PatchPermutation(np.array(tokens_S), np.array(pixels_PP))


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"have shape \(8, 8, 3\), .* for \(12, 12, 3\)"):
        PERMUTATION.images(np.zeros((2, 8, 8, 3)))


# All pixels


def test_all_pixels_go_by_one_order_with_their_colours() -> None:
    images = IMAGES[:, :8]  # 8 rows, 12 columns
    order = np.random.default_rng(3).permutation(96)
    found = permute_all_pixels(images, order)
    for y, x in np.ndindex(8, 12):
        from_y, from_x = divmod(int(order[12 * y + x]), 12)
        np.testing.assert_array_equal(found[:, y, x], images[:, from_y, from_x])


def test_order_that_repeats_a_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="no permutation of the 144 places"):
        permute_all_pixels(IMAGES, np.zeros(144, np.int64))


# A whole training


def training_losses(images_NxBxHxWx3: np.ndarray, start: dict[str, np.ndarray]) -> list[float]:
    config = replace(
        tiny_config(Path("unused")),
        model=TINY,
        preprocessing=Preprocessing(resize="squash", resize_size=12, crop_size=12),
        augment=AugmentConfig(mixup=0.3),
        optimiser=OptimiserConfig(learning_rate=0.01, warmup_steps=2, clip_norm=0.5),
    )
    state, step = build_step(config, len(images_NxBxHxWx3), start=start)
    losses = []
    for number, images_BxHxWx3 in enumerate(images_NxBxHxWx3):
        labels_B = (np.arange(len(images_BxHxWx3), dtype=np.int32) + number) % TINY.num_classes
        state, report = step(state, jnp.asarray(images_BxHxWx3), jnp.asarray(labels_B))
        losses.append(float(report.loss))
    return losses


def test_training_of_permuted_parameters_on_permuted_images_has_the_same_losses() -> None:
    images = np.random.default_rng(5).integers(0, 256, (10, 7, 12, 12, 3), dtype=np.uint8)
    permuted = np.stack([PERMUTATION.images(batch) for batch in images])
    wanted = training_losses(images, ARRAYS)
    found = training_losses(permuted, PERMUTATION.parameters(ARRAYS))
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
    # Neither half alone does it: from the second update on the losses are others.
    for others in (
        training_losses(permuted, ARRAYS),
        training_losses(images, PERMUTATION.parameters(ARRAYS)),
    ):
        assert np.abs(np.subtract(others, wanted)).max() > 0.05
