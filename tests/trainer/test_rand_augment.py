import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.trainer.tiny import draw_pictures
from trainer.rand_augment import GREY, OPERATIONS, rand_augment

NAMES = sorted(OPERATIONS)
MAGNITUDES = st.floats(0, 20)


def apply(name: str, pixels: np.ndarray, magnitude: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(OPERATIONS[name](Image.fromarray(pixels), magnitude / 10, rng))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_there_are_the_sixteen_operations_of_the_reference() -> None:
    assert len(OPERATIONS) == 16


@given(
    name=st.sampled_from(NAMES),
    magnitude=MAGNITUDES,
    height=st.integers(3, 20),
    width=st.integers(3, 20),
    seed=st.integers(0, 99),
)
def test_every_operation_keeps_size_and_type(
    name: str, magnitude: float, height: int, width: int, seed: int
) -> None:
    result = apply(name, noise(height, width, seed), magnitude, seed)
    assert result.shape == (height, width, 3)
    assert result.dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "magnitude"),
    [
        ("Rotate", 0),
        ("ShearX", 0),
        ("ShearY", 0),
        ("TranslateX", 0),
        ("TranslateY", 0),
        ("Cutout", 0),
        ("Solarize", 10),
        ("Solarize", 15),
        ("SolarizeAdd", 0),
        ("Posterize", 20),
        ("Color", 5),
        ("Contrast", 5),
        ("Brightness", 5),
        ("Sharpness", 5),
    ],
)
def test_neutral_magnitude_changes_nothing(name: str, magnitude: float) -> None:
    pixels = noise(11, 13)
    np.testing.assert_array_equal(apply(name, pixels, magnitude), pixels)


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_does_something_at_magnitude_8(name: str) -> None:
    pixels = noise(32, 28) // 10 * 8 + 20  # no full black or white
    assert (apply(name, pixels, 8) != pixels).any()


def test_invert_is_its_own_inverse() -> None:
    pixels = noise(7, 5)
    np.testing.assert_array_equal(apply("Invert", pixels, 3), 255 - pixels)


@pytest.mark.parametrize(("magnitude", "bits"), [(10, 4), (15, 6), (0, 0)])
def test_posterize_keeps_the_high_bits(magnitude: float, bits: int) -> None:
    pixels = noise(9, 6)
    np.testing.assert_array_equal(
        apply("Posterize", pixels, magnitude), pixels >> (8 - bits) << (8 - bits)
    )


def test_solarize_inverts_from_its_threshold_on() -> None:
    pixels = noise(9, 6)
    expected = np.where(pixels >= 128, 255 - pixels, pixels)
    np.testing.assert_array_equal(apply("Solarize", pixels, 5), expected)


def test_solarize_add_brightens_the_dark_half() -> None:
    pixels = noise(9, 6)
    expected = np.where(pixels < 128, np.minimum(pixels.astype(int) + 165, 255), pixels)
    np.testing.assert_array_equal(apply("SolarizeAdd", pixels, 15), expected)


def test_enhancement_factor_is_the_references() -> None:
    pixels = noise(9, 6)
    expected = np.minimum(np.floor(pixels * np.float32(1.9)), 255)
    np.testing.assert_allclose(apply("Brightness", pixels, 10), expected, atol=1)
    np.testing.assert_allclose(apply("Brightness", pixels, 0), pixels * 0.1, atol=1)


@pytest.mark.parametrize(("name", "axis"), [("TranslateX", 1), ("TranslateY", 0)])
def test_translation_moves_100_of_224_pixels_either_way(name: str, axis: int) -> None:
    pixels = noise(224, 224)
    seen = set()
    for seed in range(12):
        moved = apply(name, pixels, 10, seed)
        for sign in (1, -1):
            expected = np.roll(pixels, sign * 100, axis)
            uncovered = [slice(None)] * 2
            uncovered[axis] = slice(0, 100) if sign > 0 else slice(-100, None)
            expected[tuple(uncovered)] = GREY
            if np.array_equal(moved, expected):
                seen.add(sign)
                break
        else:
            pytest.fail(f"seed {seed}: neither way")
    assert seen == {1, -1}


def test_lengths_shrink_with_the_image() -> None:
    moved = apply("TranslateX", noise(56, 56), 10)
    grey_columns = (moved == np.array(GREY)).all(axis=(0, 2)).sum()
    assert grey_columns == 25  # 100 · 56 / 224


@pytest.mark.parametrize(("name", "axis"), [("ShearX", 0), ("ShearY", 1)])
def test_shear_moves_rows_or_columns_in_proportion(name: str, axis: int) -> None:
    pixels = np.full((40, 40, 3), 255, np.uint8)
    sheared = apply(name, pixels, 10)
    covered = (sheared == 255).all(-1).sum(axis=1 - axis)
    np.testing.assert_allclose(covered, 40 - 0.3 * np.arange(40), atol=1.01)


def test_rotation_turns_by_its_angle() -> None:
    pixels = np.full((101, 101, 3), 255, np.uint8)
    pixels[50, 50:] = 0  # a hand that points to the right
    hands = set()
    for seed in range(12):
        rows, columns = np.nonzero((apply("Rotate", pixels, 10, seed) == 0).all(-1))
        hands.add(round(np.degrees(np.arctan2(50 - rows.mean(), columns.mean() - 50))))
    assert hands == {30, -30}


def test_cutout_is_a_grey_square_around_any_pixel() -> None:
    pixels = np.zeros((112, 112, 3), np.uint8)
    centres = []
    for seed in range(40):
        cut = (apply("Cutout", pixels, 10, seed) == np.array(GREY)).all(-1)
        rows, columns = np.nonzero(cut)
        assert cut.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert max(np.ptp(rows), np.ptp(columns)) < 40
        centres.append((rows.mean(), columns.mean()))
    assert np.ptp(centres, axis=0).min() > 60


def test_layers_are_drawn_uniformly_and_one_after_the_other() -> None:
    picture = Image.fromarray(draw_pictures(3, 1)[0])
    for seed in range(30):
        rng = np.random.default_rng(seed)
        expected = picture
        for _ in range(2):
            expected = list(OPERATIONS.values())[rng.integers(16)](expected, 1.2, rng)
        drawn = rand_augment(picture, layers=2, magnitude=12, rng=np.random.default_rng(seed))
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(expected))


def test_no_layers_return_the_image() -> None:
    picture = Image.fromarray(draw_pictures(3, 1)[0])
    rng = np.random.default_rng(0)
    assert rand_augment(picture, layers=0, magnitude=10, rng=rng) is picture
