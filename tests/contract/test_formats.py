"""The bytes decide: each format and colour mode answers as the same RGB picture does."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.contract.asking import embedding
from tests.contract.pictures import (
    bmp,
    encoded,
    oriented,
    over_white,
    picture,
    png,
    png16,
    upright,
)

# A lossy file read by two decoders may differ by a level or two in 255.
LOSSY = 0.03


def same(client: httpx.Client, file: bytes, image: Image.Image) -> None:
    """Check that the file answers as the RGB picture does, and that another would not."""
    expected = embedding(client, bmp(image))
    np.testing.assert_array_equal(embedding(client, file), expected)
    assert np.abs(embedding(client, bmp(picture(seed=99))) - expected).max() > 0.1


@pytest.mark.parametrize(
    "file",
    [
        encoded(picture(), "PNG"),
        encoded(picture(), "PNG", compress_level=0),
        encoded(picture(), "WEBP", lossless=True),
        encoded(picture(), "BMP"),
    ],
    ids=["PNG", "PNG stored", "WebP lossless", "BMP"],
)
def test_lossless_formats_answer_the_same_bit_for_bit(client: httpx.Client, file: bytes) -> None:
    same(client, file, picture())


@pytest.mark.parametrize(
    "file",
    [
        encoded(picture(), "JPEG", quality=95, subsampling=0),
        encoded(picture(), "JPEG", quality=95, subsampling=0, progressive=True),
        encoded(picture(), "WEBP", quality=95),
        encoded(picture(size=(640, 480)), "JPEG", quality=95),
    ],
    ids=["JPEG", "JPEG progressive", "WebP lossy", "JPEG large"],
)
def test_lossy_formats_answer_as_their_pixels_do(client: httpx.Client, file: bytes) -> None:
    decoded = Image.open(io.BytesIO(file)).convert("RGB")
    difference = embedding(client, file) - embedding(client, bmp(decoded))
    assert np.abs(difference).max() < LOSSY


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_exif_orientation_is_applied(client: httpx.Client, format_: str, orientation: int) -> None:
    options = {"lossless": True} if format_ == "WEBP" else {}
    file = oriented(picture(), format_, orientation, **options)
    same(client, file, upright(picture(), orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_jpeg_is_applied(client: httpx.Client, orientation: int) -> None:
    file = oriented(picture(), "JPEG", orientation, quality=95, subsampling=0)
    expected = embedding(client, bmp(upright(picture(), orientation)))
    assert np.abs(embedding(client, file) - expected).max() < LOSSY


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_senseless_orientations_are_passed_over(client: httpx.Client, orientation: int) -> None:
    same(client, oriented(picture(), "PNG", orientation), picture())


def test_cmyk_becomes_rgb(client: httpx.Client) -> None:
    cmyk = picture().convert("CMYK")
    file = encoded(cmyk, "JPEG", quality=100, subsampling=0)
    expected = embedding(client, bmp(cmyk.convert("RGB")))
    assert np.abs(embedding(client, file) - expected).max() < LOSSY


@pytest.mark.parametrize("format_", ["PNG", "GIF", "BMP"])
def test_palettes_become_rgb(client: httpx.Client, format_: str) -> None:
    palette = picture().quantize(16)
    same(client, encoded(palette, format_), palette.convert("RGB"))


@pytest.mark.parametrize("mode", ["L", "1"])
@pytest.mark.parametrize("format_", ["PNG", "BMP"])
def test_grey_becomes_rgb(client: httpx.Client, mode: str, format_: str) -> None:
    grey = picture().convert(mode)
    same(client, encoded(grey, format_), grey.convert("RGB"))


def test_grey_jpeg_becomes_rgb(client: httpx.Client) -> None:
    grey = picture().convert("L")
    expected = embedding(client, bmp(grey))
    file = encoded(grey, "JPEG", quality=95)
    assert np.abs(embedding(client, file) - expected).max() < LOSSY


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_becomes_rgb(client: httpx.Client, bits: int) -> None:
    rng = np.random.default_rng(bits)
    levels = rng.integers(0, 2**bits, (16, 16), dtype=np.uint8)
    packed = [
        np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:].reshape(-1)).tobytes()
        for row in levels
    ]
    shown = Image.fromarray((levels * (255 // (2**bits - 1))).astype(np.uint8))
    same(client, png((16, 16), bits, 0, packed), shown)


def deep(image: Image.Image) -> bytes:
    """Return the picture with every sample v stored as the 16-bit v * 257."""
    samples = np.asarray(image)
    return png16(samples.reshape(*samples.shape[:2], -1).astype(np.uint16) * 257)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_sixteen_bits_answer_as_eight(client: httpx.Client, mode: str) -> None:
    same(client, deep(picture().convert(mode)), picture().convert(mode))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_sixteen_bits_with_alpha_lie_over_white(client: httpx.Client, mode: str) -> None:
    image = stencil().convert(mode)
    same(client, deep(image), over_white(image))


def stencil() -> Image.Image:
    """Return a picture of which one half is clear, with a colour beneath that must not show."""
    image = picture().convert("RGBA")
    alpha = np.full((image.height, image.width), 255, np.uint8)
    alpha[:, : image.width // 2] = 0
    image.putalpha(Image.fromarray(alpha))
    return image


@pytest.mark.parametrize(
    "file",
    [
        encoded(stencil(), "PNG"),
        encoded(stencil(), "WEBP", lossless=True, exact=True),
    ],
    ids=["PNG", "WebP"],
)
def test_alpha_lies_over_white(client: httpx.Client, file: bytes) -> None:
    same(client, file, over_white(stencil()))


def test_grey_with_alpha_lies_over_white(client: httpx.Client) -> None:
    grey = stencil().convert("LA")
    same(client, encoded(grey, "PNG"), over_white(grey))


def test_half_clear_pixels_are_mixed_with_white(client: httpx.Client) -> None:
    image = picture().convert("RGBA")
    image.putalpha(picture(seed=3).convert("L"))
    expected = embedding(client, bmp(over_white(image)))
    assert np.abs(embedding(client, encoded(image, "PNG")) - expected).max() < LOSSY
    opaque = embedding(client, bmp(image))
    assert np.abs(opaque - expected).max() > 0.1


@pytest.mark.parametrize("format_", ["PNG", "GIF"])
def test_a_palettes_clear_colour_lies_over_white(client: httpx.Client, format_: str) -> None:
    palette = picture().quantize(8)
    clear = int(np.asarray(palette)[0, 0])
    file = encoded(palette, format_, transparency=clear)
    shown = np.asarray(palette.convert("RGB")).copy()
    shown[np.asarray(palette) == clear] = 255
    same(client, file, Image.fromarray(shown))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_colour_that_is_declared_clear_lies_over_white(client: httpx.Client, mode: str) -> None:
    image = picture().convert(mode)
    samples = np.asarray(image).copy()
    samples[:5] = samples[0, 0]
    image = Image.fromarray(samples)
    clear = image.getpixel((0, 0))
    file = encoded(image, "PNG", transparency=clear)
    shown = np.asarray(image.convert("RGB")).copy()
    shown[(shown == shown[0, 0]).all(axis=-1)] = 255
    same(client, file, Image.fromarray(shown))


def test_the_first_frame_of_a_gif_counts(client: httpx.Client) -> None:
    frames = [picture(seed).quantize(16) for seed in range(3)]
    file = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=20)
    same(client, file, frames[0].convert("RGB"))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (12, 12), (300, 7), (641, 479)])
def test_any_shape_of_picture_is_taken(client: httpx.Client, size: tuple[int, int]) -> None:
    image = picture(size=size)
    np.testing.assert_array_equal(
        embedding(client, encoded(image, "PNG")), embedding(client, bmp(image))
    )
