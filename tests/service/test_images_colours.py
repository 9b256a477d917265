"""What becomes of the colours: every mode to RGB, alpha over white, upright."""

import struct

import pytest
from PIL import Image

from service.images import decode
from tests.service.image_files import chunk, encoded, exif, gif, jpeg, png, segment

MAX_PIXELS = 1_000_000


def pixel(data: bytes, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    picture = decode(data, max_pixels=MAX_PIXELS)
    assert picture.mode == "RGB"
    value = picture.getpixel(at)
    assert isinstance(value, tuple)
    return value


@pytest.mark.parametrize(
    ("format_", "mode"),
    [
        (format_, mode)
        for format_ in ("PNG", "GIF", "BMP", "WEBP", "JPEG")
        for mode in ("1", "L", "P", "RGB")
        if (format_, mode) != ("JPEG", "P")
    ],
)
def test_modes_become_rgb(format_: str, mode: str) -> None:
    white = Image.new("RGB", (8, 8), "white").convert(mode)
    assert pixel(encoded(white, format_)) == (255, 255, 255)


def test_cmyk_jpeg_as_adobe_writes_it() -> None:
    cyan = encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=100)
    assert b"Adobe" in cyan
    assert pixel(cyan) == pytest.approx((0, 255, 255), abs=3)


def test_ycck_jpeg() -> None:
    # The same samples, now said to be YCCK: white light becomes full ink.
    cmyk = encoded(Image.new("CMYK", (16, 16), (0, 128, 128, 0)), "JPEG", quality=100)
    at = cmyk.index(b"Adobe") + 11
    ycck = cmyk[:at] + b"\2" + cmyk[at + 1 :]
    assert pixel(ycck) == pytest.approx((0, 0, 0), abs=6)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (200, 1), (300, 1), (0x1234, 18), (65535, 255)]
)
def test_16_bit_grey_is_scaled_not_clipped(value: int, expected: int) -> None:
    assert pixel(png((1, 1), 16, 0, [struct.pack(">H", value)])) == (expected,) * 3


def test_16_bit_colour_is_scaled() -> None:
    assert pixel(png((1, 1), 16, 2, [struct.pack(">3H", 0, 0x8000, 0xFFFF)])) == (0, 128, 255)


@pytest.mark.parametrize(
    ("mode", "colour"), [("RGBA", (0, 0, 200, 51)), ("LA", (0, 51))], ids=["RGBA", "LA"]
)
def test_alpha_lies_over_white(mode: str, colour: tuple[int, ...]) -> None:
    translucent = encoded(Image.new(mode, (2, 2), colour), "PNG")
    assert pixel(translucent) == ((204, 204, 244) if mode == "RGBA" else (204, 204, 204))


def test_webp_alpha_lies_over_white() -> None:
    clear = encoded(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "WEBP", lossless=True)
    assert pixel(clear) == (255, 255, 255)


def test_16_bit_alpha_lies_over_white() -> None:
    assert pixel(png((1, 1), 16, 4, [struct.pack(">2H", 0, 0)])) == (255, 255, 255)
    assert pixel(png((1, 1), 16, 6, [struct.pack(">4H", 0, 0, 0, 0xFFFF)])) == (0, 0, 0)


@pytest.mark.parametrize("alphas", [b"\xff\0", b"\x80\0"], ids=["one entry", "every entry"])
def test_palette_transparency_lies_over_white(alphas: bytes) -> None:
    palette = chunk(b"PLTE", bytes([1, 2, 3, 4, 5, 6])) + chunk(b"tRNS", alphas)
    assert pixel(png((1, 1), 8, 3, [b"\1"], palette)) == (255, 255, 255)
    opaque = pixel(png((1, 1), 8, 3, [b"\0"], palette))
    assert opaque == ((1, 2, 3) if alphas[0] == 255 else (128, 128, 129))


@pytest.mark.parametrize(
    ("bits", "row", "colour"),
    [(1, 0b1000_0000, 1), (2, 0b1101_0000, 3), (4, 0b0101_0001, 5), (8, 77, 77)],
)
def test_transparent_grey_is_read_in_the_files_bit_depth(bits: int, row: int, colour: int) -> None:
    keyed = chunk(b"tRNS", struct.pack(">H", colour))
    assert pixel(png((1, 1), bits, 0, [bytes([row])], keyed)) == (255, 255, 255)
    other = chunk(b"tRNS", struct.pack(">H", colour - 1))
    grey = colour * 255 // (2**bits - 1)
    assert pixel(png((1, 1), bits, 0, [bytes([row])], other)) == (grey,) * 3


def test_transparent_16_bit_colours() -> None:
    grey = png((2, 1), 16, 0, [struct.pack(">2H", 4660, 4661)], chunk(b"tRNS", b"\x12\x34"))
    assert (pixel(grey), pixel(grey, (1, 0))) == ((255, 255, 255), (18, 18, 18))
    key = struct.pack(">3H", 0x1256, 0x3478, 0x5690)
    colour = png((2, 1), 16, 2, [key + b"\0" * 6], chunk(b"tRNS", key))
    assert (pixel(colour), pixel(colour, (1, 0))) == ((255, 255, 255), (0, 0, 0))


def test_transparent_rgb_colour() -> None:
    keyed = png(
        (2, 1), 8, 2, [bytes([1, 2, 3, 4, 5, 6])], chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3]))
    )
    assert (pixel(keyed), pixel(keyed, (1, 0))) == ((255, 255, 255), (4, 5, 6))


def test_gif_transparency_and_first_frame() -> None:
    clear = bytes([0x21, 0xF9, 4, 1, 0, 0, 0, 0])
    assert pixel(gif((2, 2), (0, 0, 2, 2), clear)) == (255, 255, 255)
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    film = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixel(film) == (255, 0, 0)


def test_first_frame_of_animated_webp_and_png() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for format_ in ("WEBP", "PNG"):
        film = encoded(frames[0], format_, save_all=True, append_images=frames[1:], lossless=True)
        assert pixel(film) == (255, 0, 0)


CORNERS = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", CORNERS)
def test_exif_orientation(format_: str, orientation: int) -> None:
    # Table 6 of the EXIF standard says in which upright corner the stored first pixel belongs.
    stored = Image.new("RGB", (48, 32), "white")
    stored.paste((0, 0, 0), (0, 0, 16, 16))
    file = encoded(stored, format_, exif=b"Exif\0\0" + exif(orientation))
    picture = decode(file, max_pixels=MAX_PIXELS)
    assert picture.size == ((48, 32) if orientation < 5 else (32, 48))
    right, low = CORNERS[orientation]
    black = (right * (picture.width - 1), low * (picture.height - 1))
    assert pixel(file, black) == pytest.approx((0, 0, 0), abs=20)


@pytest.mark.parametrize(
    ("block", "turned"),
    [
        (exif(6, ">"), True),
        (exif(6), True),
        (exif(9), False),
        (exif(0), False),
        (exif(6, kind=7), False),
        (exif(6)[:-8], False),
        (b"II*\0", False),
        (b"II*\0\xff\xff\xff\xff" + b"\0" * 16, False),
        (b"II*\0\x08\0\0\0\xff\xff" + b"\1" * 100, False),
        (b"XX" + exif(6)[2:], False),
        (b"", False),
    ],
)
def test_orientation_of_odd_exif_is_upright(block: bytes, *, turned: bool) -> None:
    picture = decode(jpeg(segment(0xE1, b"Exif\0\0" + block)), max_pixels=MAX_PIXELS)
    assert (picture.size == (24, 32)) is turned
