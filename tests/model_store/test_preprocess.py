from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from model_store.preprocess import Preprocessing, normalise, to_input

SQUASH = Preprocessing(resize="squash", resize_size=256, crop_size=224)
SHORTER_SIDE = SQUASH.model_copy(update={"resize": "shorter_side"})
KERNELS = [
    {"filter": "area"},
    {"filter": "bilinear"},
    {"filter": "bicubic"},
    {"filter": "bilinear", "antialias": False},
    {"filter": "bicubic", "antialias": False},
]
PILLOW = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return smooth colours with some noise, so that neither a shift nor a blur goes unseen."""
    rng = np.random.default_rng(seed)
    smooth = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize((width, height))
    noise = rng.integers(-20, 21, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(smooth, np.int16) + noise, 0, 255).astype(np.uint8))


def difference(found: np.ndarray, wanted: np.ndarray) -> int:
    return int(np.abs(found.astype(np.int16) - wanted.astype(np.int16)).max())


def central_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("resize", ["squash", "shorter_side"])
def test_a_pure_colour_is_unchanged(resize: str, kernel: dict[str, Any]) -> None:
    preprocessing = SQUASH.model_copy(update={"resize": resize, **kernel})
    found = to_input(Image.new("RGB", (500, 333), (0, 101, 255)), preprocessing)
    assert found.shape == (224, 224, 3)
    assert found.dtype == np.uint8
    assert (found == (0, 101, 255)).all()


def test_bytes_map_onto_minus_one_to_one() -> None:
    bytes_1x16x16x3 = np.arange(768, dtype=np.uint16).astype(np.uint8).reshape(1, 16, 16, 3)
    wanted = bytes_1x16x16x3.astype(np.float64) / 127.5 - 1
    on_host = normalise(bytes_1x16x16x3, SQUASH)
    on_device = normalise(jnp.asarray(bytes_1x16x16x3), SQUASH)
    assert isinstance(on_device, jax.Array)
    for found in (on_host, on_device):
        assert found.dtype == np.float32
        assert np.abs(np.asarray(found) - wanted).max() < 1e-6
    assert on_host.min() == -1


def test_bytes_map_onto_the_checkpoint_s_own_range() -> None:
    unit = SQUASH.model_copy(update={"input_range": (0.0, 1.0)})
    found = normalise(np.array([0, 51, 255], np.uint8), unit)
    assert found == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("size", [(512, 256), (256, 512)])
def test_pipelines_differ_where_the_sides_do(size: tuple[int, int]) -> None:
    # The outer quarters of the longer side are dark: squashing keeps most of them, cropping none.
    pixels = np.full((size[1], size[0], 3), 255, np.uint8)
    outer = pixels if size[0] > size[1] else pixels.transpose(1, 0, 2)
    outer[:, :128], outer[:, -128:] = 0, 0
    image = Image.fromarray(pixels)
    assert to_input(image, SHORTER_SIDE).min() == 255
    assert (to_input(image, SQUASH) < 128).mean() == pytest.approx((64 - 16) * 2 / 224, abs=0.01)


@pytest.mark.parametrize("size", [(640, 427), (333, 500), (300, 900), (100, 130)])
@pytest.mark.parametrize("kernel", ["area", "bilinear", "bicubic"])
def test_the_crop_equals_the_crop_of_the_whole_resize(kernel: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    factor = 256 / min(size)
    resized = {
        "squash": (256, 256),
        "shorter_side": (round(size[0] * factor), round(size[1] * factor)),
    }
    for resize, whole_size in resized.items():
        whole = np.asarray(image.resize(whole_size, PILLOW[kernel]))
        preprocessing = SQUASH.model_copy(update={"resize": resize, "filter": kernel})
        found = to_input(image, preprocessing)
        # Pillow rounds between its two passes and picks their order by the sizes: 3 levels. Its
        # box is float32, so that a pixel on the edge of two cells of an area may change sides.
        apart = np.abs(found.astype(int) - central_crop(whole, 224).astype(int))
        assert apart.mean() < 0.3
        assert (apart > 3).mean() <= (0.02 if kernel == "area" else 0)


@pytest.mark.parametrize("size", [(40, 31), (9, 20)])
@pytest.mark.parametrize("resize", ["squash", "shorter_side"])
def test_without_antialias_it_is_bilinear_at_half_pixel_centres(
    resize: str, size: tuple[int, int]
) -> None:
    preprocessing = Preprocessing.model_validate(
        {"resize": resize, "resize_size": 16, "crop_size": 14, "antialias": False}
    )
    image = picture(*size)
    factor = 16 / min(size)
    whole_size = (
        (16, 16) if resize == "squash" else (round(size[0] * factor), round(size[1] * factor))
    )
    whole = half_pixel_bilinear(np.asarray(image, np.float64), *whole_size)
    assert difference(to_input(image, preprocessing), np.round(central_crop(whole, 14))) <= 1


def half_pixel_bilinear(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Sample at (i + 1/2) * scale - 1/2, between neighbours, with the border repeated."""
    for axis, size in ((0, height), (1, width)):
        last = pixels.shape[axis] - 1
        centres = (np.arange(size) + 0.5) * pixels.shape[axis] / size - 0.5
        lower = np.floor(centres).astype(int)
        weight = (centres - lower).reshape([-1 if a == axis else 1 for a in range(3)])
        below = pixels.take(np.clip(lower, 0, last), axis)
        above = pixels.take(np.clip(lower + 1, 0, last), axis)
        pixels = below * (1 - weight) + above * weight
    return pixels


def test_antialias_averages_what_single_points_alias() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::4] = 255
    preprocessing = Preprocessing(resize="squash", resize_size=64, crop_size=64)
    smooth = to_input(Image.fromarray(stripes), preprocessing)
    points = to_input(
        Image.fromarray(stripes), preprocessing.model_copy(update={"antialias": False})
    )
    assert 40 < smooth.min() <= smooth.max() < 90
    assert points.max() == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_image_of_the_right_size_is_taken_as_it_is(kernel: dict[str, Any]) -> None:
    image = picture(24, 24)
    pixels = np.asarray(image)
    matching = {"resize": "squash", "resize_size": 24, "crop_size": 24, **kernel}
    assert np.array_equal(to_input(image, Preprocessing.model_validate(matching)), pixels)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_odd_margin_is_larger_at_the_end(kernel: dict[str, Any]) -> None:
    image = picture(7, 7)
    preprocessing = Preprocessing.model_validate(
        {"resize": "squash", "resize_size": 7, "crop_size": 4, **kernel}
    )
    wanted = np.asarray(image)[1:5, 1:5]
    assert np.array_equal(to_input(image, preprocessing), wanted)


def test_the_longer_side_rounds_half_to_even() -> None:
    # 5 x 2 pixels to a height of 5: the width is 12.5.
    image = picture(5, 2)
    preprocessing = Preprocessing(resize="shorter_side", resize_size=5, crop_size=5)
    found = to_input(image, preprocessing)
    even, odd = (
        central_crop(np.asarray(image.resize((width, 5), Image.Resampling.BILINEAR)), 5)
        for width in (12, 13)
    )
    assert difference(found, even) <= 1
    assert difference(found, odd) > 5


@given(
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)).filter(lambda s: min(s) < 40),
    resize=st.sampled_from(["squash", "shorter_side"]),
    kernel=st.sampled_from(KERNELS),
    crop=st.integers(1, 32),
    margin=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_no_aspect_ratio_fails(
    size: tuple[int, int], resize: str, kernel: dict[str, Any], crop: int, margin: int
) -> None:
    preprocessing = Preprocessing.model_validate(
        {"resize": resize, "resize_size": crop + margin, "crop_size": crop, **kernel}
    )
    found = to_input(Image.new("RGB", size, (10, 20, 30)), preprocessing)
    assert found.shape == (crop, crop, 3)
    assert (found == (10, 20, 30)).all()


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1), (65_000, 2)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_most_extreme_images_pass(size: tuple[int, int], kernel: dict[str, Any]) -> None:
    for resize in ("squash", "shorter_side"):
        preprocessing = SQUASH.model_copy(update={"resize": resize, **kernel})
        found = to_input(Image.new("RGB", size, (10, 20, 30)), preprocessing)
        assert (found == (10, 20, 30)).all()


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"crop_size": 257}, "crop_size 257 is larger than resize_size 256"),
        ({"filter": "area", "antialias": False}, "no form without antialias"),
        ({"input_range": (1.0, -1.0)}, "is not \\(low, high\\)"),
        ({"input_range": (0.0, 0.0)}, "is not \\(low, high\\)"),
        ({"crop_size": 0}, "greater than 0"),
        ({"mean": 0.5}, "mean"),
    ],
)
def test_contradictory_settings_are_refused(change: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ValidationError, match=refusal):
        Preprocessing.model_validate({**SQUASH.model_dump(), **change})
