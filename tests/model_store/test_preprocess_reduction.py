"""How far a decoder may reduce a picture, and where the picture then lies."""

import numpy as np
import pytest
from PIL import Image

from model_store.preprocess import Preprocessing, reduction, to_input


@pytest.mark.parametrize("filter_", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("size", "factor"),
    [
        ((500, 375), 1),
        ((1791, 4000), 1),
        ((1792, 4000), 2),
        ((4000, 3000), 2),
        ((3584, 3584), 4),
        ((7167, 9000), 4),
        ((9000, 7168), 8),
        ((90_000, 90_000), 8),
        ((1, 1), 1),
    ],
)
def test_a_reduction_leaves_four_pixels_for_each(
    size: tuple[int, int], factor: int, filter_: str
) -> None:
    for resize in ("squash", "shorter_side"):
        preprocessing = Preprocessing.model_validate(
            {"resize": resize, "resize_size": 224, "crop_size": 200, "filter": filter_}
        )
        assert reduction(size, preprocessing) == reduction(size[::-1], preprocessing) == factor


@pytest.mark.parametrize("odd", [{"filter": "area"}, {"antialias": False}], ids=str)
def test_no_reduction_where_single_pixels_count(odd: dict[str, object]) -> None:
    preprocessing = Preprocessing.model_validate(
        {"resize": "squash", "resize_size": 2, "crop_size": 2, **odd}
    )
    assert reduction((4000, 3000), preprocessing) == 1


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("resize", ["squash", "shorter_side"])
def test_a_box_selects_the_picture_within_the_image(resize: str, *, antialias: bool) -> None:
    rng = np.random.default_rng(5)
    picture = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    framed = Image.new("RGB", (71, 45), "magenta")
    framed.paste(picture, (7, 3))
    preprocessing = Preprocessing.model_validate(
        {"resize": resize, "resize_size": 17, "crop_size": 13, "antialias": antialias}
    )
    found = to_input(framed, preprocessing, box=(7.0, 3.0, 67.0, 43.0))
    wanted = to_input(picture, preprocessing)
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
