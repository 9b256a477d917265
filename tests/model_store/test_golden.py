import io

import jax
import numpy as np
import pytest
from PIL import Image

from model_store.assembly import golden_outputs
from model_store.golden import deviation, draw_golden_images
from model_store.mixer import Mixer, load_mixer
from model_store.preprocess import Preprocessing, to_input
from tests.model_store import reference_forward
from tests.model_store.tiny import TINY, random_arrays
from tests.model_store.versions import PREPROCESSING

ARRAYS = random_arrays(TINY)


def golden_pictures() -> list[Image.Image]:
    return [Image.open(io.BytesIO(data)) for data in draw_golden_images().values()]


def test_golden_images_are_four_small_lossless_rgb_pictures() -> None:
    images = draw_golden_images()
    assert list(images) == [f"golden/{i}.png" for i in range(4)]
    assert max(len(data) for data in images.values()) < 20_000
    assert {(image.format, image.mode) for image in golden_pictures()} == {("PNG", "RGB")}


def test_golden_images_differ_in_size_and_shape() -> None:
    sizes = [image.size for image in golden_pictures()]
    assert any(width > height > 224 for width, height in sizes), "larger than the usual crop"
    assert any(width < height for width, height in sizes)
    assert any(width == height for width, height in sizes)
    assert any(max(size) < 224 for size in sizes), "smaller than the usual crop"


def test_golden_images_are_drawn_alike_from_a_seed() -> None:
    assert draw_golden_images(3) == draw_golden_images(3)
    assert draw_golden_images(3).values() != draw_golden_images(4).values()


def test_no_golden_image_is_flat() -> None:
    usual = Preprocessing(resize="shorter_side", resize_size=256, crop_size=224)
    for image in golden_pictures():
        assert to_input(image, usual).std(axis=(0, 1)).min() > 10


@pytest.mark.parametrize("input_range", [(-1.0, 1.0), (0.0, 1.0)])
def test_outputs_are_those_of_the_reference(input_range: tuple[float, float]) -> None:
    preprocessing = PREPROCESSING.model_copy(update={"input_range": input_range})
    images = golden_pictures()
    found = golden_outputs(load_mixer(TINY, ARRAYS), preprocessing, images)
    low, high = input_range
    pixels = np.stack([to_input(image, preprocessing) for image in images]).astype(np.float64)
    normalised = low + pixels * (high - low) / 255
    for expected, output in zip(
        reference_forward.forward(normalised, ARRAYS, gelu="tanh"), found, strict=True
    ):
        assert output.dtype == np.float32
        assert deviation(expected, output) < 1e-5


def test_outputs_are_computed_at_the_highest_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    call = Mixer.__call__

    def note(mixer: Mixer, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        seen.append(str(jax.config.jax_default_matmul_precision))  # type: ignore[attr-defined]
        return call(mixer, x)

    monkeypatch.setattr(Mixer, "__call__", note)
    golden_outputs(load_mixer(TINY, ARRAYS), PREPROCESSING, golden_pictures())
    assert seen == ["highest"]


def test_outputs_depend_on_the_preprocessing() -> None:
    mixer, images = load_mixer(TINY, ARRAYS), golden_pictures()
    squashed = Preprocessing(resize="squash", resize_size=14, crop_size=12)
    one, other = (golden_outputs(mixer, each, images)[0] for each in (PREPROCESSING, squashed))
    assert deviation(one, other) > 1e-3


def test_deviation_is_relative_to_the_largest_output() -> None:
    expected = np.array([[0.0, 100.0], [1.0, -50.0]])
    assert deviation(expected, expected) == 0
    assert deviation(expected, np.array([[0.0, 100.0], [1.0, -52.0]])) == pytest.approx(0.02)
    assert deviation(-expected, np.array([[1.0, -100.0], [-1.0, 50.0]])) == pytest.approx(0.01)


def test_deviation_of_small_outputs_is_absolute() -> None:
    zeros = np.zeros((4, 6))
    assert deviation(zeros, zeros + 0.003) == pytest.approx(0.003)
    assert deviation(zeros + 0.5, zeros) == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_deviation_of_what_is_not_finite_is_infinite(bad: float) -> None:
    good = np.ones((1, 2))
    assert deviation(good, np.array([[1.0, bad]])) == np.inf
    assert deviation(np.array([[1.0, bad]]), good) == np.inf


def test_deviation_of_no_outputs_is_zero() -> None:
    assert deviation(np.zeros((4, 0)), np.zeros((4, 0))) == 0


def test_deviation_of_other_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 6\) against \(4, 6\)"):
        deviation(np.zeros((4, 6)), np.zeros((1, 6)))
