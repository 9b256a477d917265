"""JPEGs decoded at a half, a quarter or an eighth: the same picture, in place and upright."""

import struct
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.pictures import draw_photo
from model_store.preprocess import Preprocessing, reduction, to_input
from service.errors import ImageTooLarge, ImageTruncated
from service.images import decode, decode_reduced
from service.orientation import Picture
from tests.service.image_files import encoded, exif, gradient, jpeg, segment

MAX_PIXELS = 1_000_000
FACTORS = (2, 4, 8)
SQUASH = Preprocessing(resize="squash", resize_size=13, crop_size=11)
SHORTER_SIDE = Preprocessing(resize="shorter_side", resize_size=13, crop_size=11)


def photo(size: tuple[int, int], seed: int = 0) -> Image.Image:
    return draw_photo(np.random.default_rng(seed), size)


def reduced(data: bytes, factor: int) -> Picture:
    return decode_reduced(data, max_pixels=MAX_PIXELS, reduction=lambda _: factor)


def as_input(picture: Picture, preprocessing: Preprocessing) -> np.ndarray:
    return to_input(picture.image, preprocessing, box=picture.box).astype(int)


def deviation(data: bytes, preprocessing: Preprocessing) -> tuple[float, int]:
    """Mean and largest difference of inputs: reduced as far as is allowed, and decoded whole."""
    allowed = partial(reduction, preprocessing=preprocessing)
    picture = decode_reduced(data, max_pixels=MAX_PIXELS, reduction=allowed)
    whole = to_input(decode(data, max_pixels=MAX_PIXELS), preprocessing).astype(int)
    assert picture.image.size != decode(data, max_pixels=MAX_PIXELS).size
    difference = abs(as_input(picture, preprocessing) - whole)
    return float(difference.mean()), int(difference.max())


JPEGS = {
    "baseline": encoded(photo((211, 147)), "JPEG", quality=90),
    "4:4:4": encoded(photo((211, 147)), "JPEG", quality=90, subsampling=0),
    "4:2:2": encoded(photo((211, 147)), "JPEG", quality=90, subsampling=1),
    "progressive": encoded(photo((147, 211)), "JPEG", quality=90, progressive=True),
    "restarts": encoded(photo((211, 147)), "JPEG", quality=90, restart_marker_blocks=3),
    "grey": encoded(photo((211, 147)).convert("L"), "JPEG", quality=90),
    "CMYK": encoded(photo((211, 147)).convert("CMYK"), "JPEG", quality=90),
    "quarter": encoded(photo((421, 230)), "JPEG", quality=90),
    "eighth": encoded(photo((421, 429)), "JPEG", quality=90),
}


@pytest.mark.parametrize("preprocessing", [SQUASH, SHORTER_SIDE], ids=["squash", "shorter side"])
@pytest.mark.parametrize("name", JPEGS)
def test_a_reduced_picture_gives_nearly_the_same_input(
    name: str, preprocessing: Preprocessing
) -> None:
    mean, largest = deviation(JPEGS[name], preprocessing)
    assert mean < 1
    assert largest <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_box_turns_with_the_picture(orientation: int) -> None:
    # 211 = 26 * 8 + 3 and 147 = 18 * 8 + 3: the last pixels reach far beyond the picture.
    data = JPEGS["4:4:4"]
    turned = data[:2] + segment(0xE1, b"Exif\0\0" + exif(orientation)) + data[2:]
    picture = reduced(turned, 8)
    assert picture.image.size == ((27, 19) if orientation < 5 else (19, 27))
    left, top, right, bottom = picture.box
    size = (211 / 8, 147 / 8)
    assert (right - left, bottom - top) == (size if orientation < 5 else size[::-1])
    coarse = Preprocessing(resize="squash", resize_size=5, crop_size=5)
    whole = to_input(decode(turned, max_pixels=MAX_PIXELS), coarse).astype(int)
    exact = abs(as_input(picture, coarse) - whole).mean()
    without_box = abs(to_input(picture.image, coarse).astype(int) - whole).mean()
    assert exact < 1
    assert exact < without_box


@settings(deadline=None, max_examples=40)
@given(width=st.integers(1, 70), height=st.integers(1, 70), factor=st.sampled_from(FACTORS))
def test_sizes_are_exact(width: int, height: int, factor: int) -> None:
    assume(min(width, height) >= factor)
    picture = reduced(encoded(gradient(width, height), "JPEG"), factor)
    assert picture.box == (0.0, 0.0, width / factor, height / factor)
    assert picture.image.size == (-(-width // factor), -(-height // factor))


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "GIF", "BMP"])
def test_other_formats_stay_whole(format_: str) -> None:
    file = encoded(photo((61, 47)), format_)
    picture = reduced(file, 4)
    assert picture.box == (0.0, 0.0, 61.0, 47.0)
    assert picture.image.tobytes() == decode(file, max_pixels=MAX_PIXELS).tobytes()


@pytest.mark.parametrize("name", JPEGS)
def test_a_factor_of_one_changes_no_bit(name: str) -> None:
    whole = decode(JPEGS[name], max_pixels=MAX_PIXELS)
    picture = reduced(JPEGS[name], 1)
    assert picture.image.tobytes() == whole.tobytes()
    for preprocessing in (SQUASH, SHORTER_SIDE):
        assert np.array_equal(as_input(picture, preprocessing), to_input(whole, preprocessing))


def test_the_size_limit_is_that_of_the_whole_picture() -> None:
    data = encoded(gradient(200, 100), "JPEG")
    asked: list[tuple[int, int]] = []

    def factor(size: tuple[int, int]) -> int:
        asked.append(size)
        return 8

    with pytest.raises(ImageTooLarge, match="200 x 100"):
        decode_reduced(data, max_pixels=19_999, reduction=factor)
    assert asked == []
    decode_reduced(data, max_pixels=20_000, reduction=factor)
    assert asked == [(200, 100)]


def test_a_truncated_file_stays_truncated() -> None:
    data = JPEGS["baseline"]
    with pytest.raises(ImageTruncated):
        reduced(data[: len(data) // 2], 4)


def test_metadata_change_no_pixel() -> None:
    comments = segment(0xFE, b"comment") * 50
    assert reduced(jpeg(comments), 2).image.tobytes() == reduced(jpeg(), 2).image.tobytes()


def lossless_jpeg(width: int, height: int) -> bytes:
    """Return a lossless JPEG (SOF3) of mid grey: every difference is 0, coded as the bit 0."""
    frame = segment(0xC3, struct.pack(">BHHB3B", 8, height, width, 1, 1, 0x11, 0))
    table = segment(0xC4, bytes([0, 1, *[0] * 15, 0]))
    scan = segment(0xDA, bytes([1, 1, 0, 1, 0, 0]))
    return b"\xff\xd8" + frame + table + scan + bytes(width * height // 8 + 1) + b"\xff\xd9"


def test_a_lossless_jpeg_has_no_transform_to_reduce() -> None:
    data = lossless_jpeg(64, 48)
    whole = decode(data, max_pixels=MAX_PIXELS)
    assert whole.getextrema() == ((128, 128),) * 3
    picture = reduced(data, 4)
    assert (picture.image.size, picture.box) == ((64, 48), (0.0, 0.0, 64.0, 48.0))
    assert picture.image.tobytes() == whole.tobytes()
