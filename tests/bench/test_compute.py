import numpy as np
import pytest

from bench.compute import Graphs, floats_of, pixels_of, ratio_rows, require_equal


def test_pixels_become_floats_with_channels_first() -> None:
    pixels = pixels_of(3, 5)
    assert pixels.shape == (3, 5, 5, 3)
    assert pixels.dtype == np.uint8
    pixels[0, 1, 2] = (0, 255, 51)
    floats = floats_of(pixels)
    assert floats.shape == (3, 3, 5, 5)
    assert floats.dtype == np.float32
    assert floats[0, :, 1, 2] == pytest.approx([-1, 1, -0.6])


def test_the_ratio_is_of_pairs() -> None:
    seconds = {"ours": [1.0, 4.0, 2.0], "converted": [2.0, 2.0, 2.0]}
    rows = {row.series: row.values for row in ratio_rows("S/32 float32", "S/32", 4, seconds)}
    assert rows == {
        "S/32 float32, ours": (4.0, 1.0, 2.0),
        "S/32 float32, converted": (2.0, 2.0, 2.0),
        "S/32 float32, ours over converted": (2.0, 0.5, 1.0),
    }


def test_graphs_that_compute_something_else_are_not_compared() -> None:
    def logits(images: np.ndarray) -> np.ndarray:
        return np.ones((len(images), 7), np.float32)

    pixels = pixels_of(2, 4)
    require_equal(Graphs(logits, logits), pixels, "float32")
    other = Graphs(logits, lambda images: logits(images) * np.float32(1.01))
    with pytest.raises(RuntimeError, match=r"differ by 9\.9e-03 in float32"):
        require_equal(other, pixels, "float32")
