from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model_store.preprocess import Preprocessing, to_input
from tests.trainer.tiny import draw_pictures
from trainer.augment import augment_image, inception_box, mixup
from trainer.config import AugmentConfig
from trainer.rand_augment import rand_augment

SIDES = st.integers(1, 300)
SEEDS = st.integers(0, 2**32)


# Inception crop


@given(width=SIDES, height=SIDES, min_area=st.floats(0, 1), seed=SEEDS)
def test_box_is_inside_with_area_and_aspect_in_range(
    width: int, height: int, min_area: float, seed: int
) -> None:
    box = inception_box((width, height), min_area, np.random.default_rng(seed))
    left, top, right, bottom = box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    if box == (0, 0, width, height):  # perhaps the fallback, of any aspect
        return
    # The sides are rounded by half a pixel at most.
    low_w, high_w = right - left - 0.5, right - left + 0.5
    low_h, high_h = bottom - top - 0.5, bottom - top + 0.5
    assert low_w * low_h <= width * height
    assert high_w * high_h >= min_area * width * height
    assert low_w / high_h <= 4 / 3
    assert high_w / low_h >= 3 / 4


def test_boxes_spread_over_areas_aspects_and_places() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([inception_box((200, 200), 0.25, rng) for _ in range(400)])
    left, top, right, bottom = boxes.T
    width, height = right - left, bottom - top
    areas, ratios = width * height / 200**2, width / height
    for values, low, high in ((areas, 0.25, 1.0), (ratios, 3 / 4, 4 / 3)):
        assert values.min() < low + 0.05
        assert values.max() > high - 0.05
    for gaps in (left, 200 - right, top, 200 - bottom):
        assert gaps.min() <= 2
        assert gaps.max() >= 80


@given(side=SIDES, seed=SEEDS)
def test_whole_area_of_a_square_is_the_square(side: int, seed: int) -> None:
    assert inception_box((side, side), 1.0, np.random.default_rng(seed)) == (0, 0, side, side)


@given(seed=SEEDS)
def test_image_that_no_box_fits_is_taken_whole(seed: int) -> None:
    assert inception_box((1000, 1), 0.5, np.random.default_rng(seed)) == (0, 0, 1000, 1)


# Crop, flip and RandAugment


def square(side: int) -> Preprocessing:
    return Preprocessing(resize="squash", resize_size=side, crop_size=side)


CROP = AugmentConfig(crop_min_area=0.1, flip=False)
WHOLE = AugmentConfig(crop_min_area=1.0, flip=False)


def test_rand_augment_acts_on_the_resized_crop() -> None:
    picture = Image.fromarray(draw_pictures(0, 1)[0])
    augmented = replace(WHOLE, rand_augment_layers=2, rand_augment_magnitude=15.0)
    for seed in range(20):
        draws = np.random.default_rng(seed)
        inception_box(picture.size, 1.0, draws)
        expected = rand_augment(picture.resize((6, 6), 2), layers=2, magnitude=15.0, rng=draws)
        pixels = augment_image(picture, square(6), augmented, np.random.default_rng(seed))
        np.testing.assert_array_equal(pixels, np.asarray(expected))


def test_augmented_image_is_the_resized_content_of_its_box() -> None:
    # Red says the column, green the row.
    columns, rows = np.meshgrid(np.arange(120, dtype=np.uint8), np.arange(90, dtype=np.uint8))
    image = Image.fromarray(np.stack([columns, rows, columns], axis=-1))
    for seed in range(10):
        left, top, right, bottom = inception_box(image.size, 0.1, np.random.default_rng(seed))
        pixels = augment_image(image, square(16), CROP, np.random.default_rng(seed))
        assert pixels.shape == (16, 16, 3)
        assert pixels.dtype == np.uint8
        red, green = pixels[..., 0].astype(float), pixels[..., 1].astype(float)
        np.testing.assert_allclose(red.mean(), (left + right - 1) / 2, atol=1)
        np.testing.assert_allclose(green.mean(), (top + bottom - 1) / 2, atol=1)
        assert (np.diff(red[0]) > 0).all()
        assert (np.diff(green[:, 0]) > 0).all()


def test_random_crop_is_a_crop_of_evaluations_resize_at_any_place() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8))
    pipeline = Preprocessing(
        resize="shorter_side", resize_size=7, crop_size=5, filter="bilinear", antialias=False
    )
    random = AugmentConfig(crop="random", flip=False)
    found = set()
    for seed in range(60):
        pixels = augment_image(picture, pipeline, random, np.random.default_rng(seed))
        for top in range(5):
            for left in range(3):
                if np.array_equal(pixels, np.asarray(picture)[top : top + 5, left : left + 5]):
                    found.add((top, left))
    assert len(found) == 15  # the free rows are 0 to 4, the free columns 0 to 2
    centre = to_input(picture, pipeline)
    np.testing.assert_array_equal(centre, np.asarray(picture)[2:7, 1:6])


@pytest.mark.parametrize("flip", [True, False])
def test_flip_mirrors_left_to_right_about_every_second_time(flip: bool) -> None:
    original = draw_pictures(0, 1)[0]
    picture = Image.fromarray(original)
    results = [
        augment_image(picture, square(8), replace(WHOLE, flip=flip), np.random.default_rng(seed))
        for seed in range(100)
    ]
    mirrored = sum(np.array_equal(result, original[:, ::-1]) for result in results)
    unchanged = sum(np.array_equal(result, original) for result in results)
    assert mirrored + unchanged == 100
    assert 30 <= mirrored <= 70 if flip else mirrored == 0


# Mixup

TARGETS_4x4 = jnp.eye(4)
IMAGES_4x2x2x3 = jax.random.normal(jax.random.key(5), (4, 2, 2, 3))


def test_mixup_mixes_images_and_labels_with_the_example_before() -> None:
    shares = []
    for seed in range(20):
        images, targets = mixup(IMAGES_4x2x2x3, TARGETS_4x4, 0.8, jax.random.key(seed))
        share = float(targets[0, 0])
        expected_targets = share * np.eye(4) + (1 - share) * np.roll(np.eye(4), 1, axis=0)
        np.testing.assert_allclose(targets, expected_targets, atol=1e-6)
        original = np.asarray(IMAGES_4x2x2x3)
        for i in range(4):
            expected = share * original[i] + (1 - share) * original[i - 1]
            np.testing.assert_allclose(images[i], expected, atol=1e-6)
        shares.append(share)
    assert 0.5 <= min(shares) < 0.7
    assert 0.9 < max(shares) <= 1.0


def test_mixup_of_zero_changes_nothing() -> None:
    images, targets = mixup(IMAGES_4x2x2x3, TARGETS_4x4, 0.0, jax.random.key(0))
    assert images is IMAGES_4x2x2x3
    assert targets is TARGETS_4x4
