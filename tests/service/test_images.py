import os
import random
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from service.errors import (
    ImageTooLarge,
    ImageTruncated,
    ImageUndecodable,
    ServiceError,
    UnsupportedImage,
)
from service.images import decode
from tests.service.image_files import (
    bmp,
    chunk,
    encoded,
    gif,
    gradient,
    jpeg,
    png,
    riff,
    segment,
)

MAX_PIXELS = 1_000_000
FILES = {
    "jpeg": encoded(gradient(), "JPEG", quality=95),
    "progressive": encoded(gradient(), "JPEG", quality=95, progressive=True),
    "png": encoded(gradient(), "PNG"),
    "png palette": encoded(gradient().quantize(64), "PNG"),
    "webp lossless": encoded(gradient(), "WEBP", lossless=True),
    "webp lossy": encoded(gradient(), "WEBP", quality=95),
    "webp alpha": encoded(gradient().convert("RGBA"), "WEBP", lossless=True),
    "gif": encoded(gradient(), "GIF"),
    "bmp": encoded(gradient(), "BMP"),
    "bmp run-length": bmp(40, 3, 1, b"\x28\1\0\0" * 3 + b"\0\1"),
}


def pixel(data: bytes, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    picture = decode(data, max_pixels=MAX_PIXELS)
    assert picture.mode == "RGB"
    value = picture.getpixel(at)
    assert isinstance(value, tuple)
    return value


def outcome(data: bytes) -> Image.Image | ServiceError:
    try:
        return decode(data, max_pixels=MAX_PIXELS)
    except ServiceError as refusal:
        return refusal


def deviation(one: Image.Image, other: Image.Image) -> int:
    assert one.size == other.size
    return max(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True))


@pytest.mark.parametrize(
    ("format_", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("PNG", {"interlace": 1}, 0),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 100}, 12),
        ("JPEG", {"quality": 100, "subsampling": 0}, 4),
        ("JPEG", {"quality": 100, "subsampling": 0, "progressive": True}, 4),
        ("GIF", {}, 40),  # 256 colours for 768
    ],
)
def test_accepted_formats_decode_to_the_picture(
    format_: str, options: dict[str, object], tolerance: int
) -> None:
    picture = decode(encoded(gradient(), format_, **options), max_pixels=MAX_PIXELS)
    assert picture.mode == "RGB"
    assert deviation(picture, gradient()) <= tolerance


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "empty"),
        (b"hello", "no image"),
        (b"\0" * 100, "no image"),
        (b"BMW is a car and not a bitmap", "no image"),
        (encoded(gradient(), "TIFF"), "TIFF"),
        (encoded(gradient(), "ICO"), "ICO"),
        (encoded(gradient(), "JPEG2000"), "JPEG 2000"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x1cftypheic", "HEIC"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\3\4", "ZIP"),
        (b"RIFF\0\0\0\0WAVE", "RIFF"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><svg/>', "SVG"),
        (b" <!DOCTYPE html><p>", "HTML"),
        (b'{"image": ""}', "JSON"),
        (encoded(gradient(), "PNG")[:6], "no image"),
    ],
)
def test_other_data_are_named_and_refused(data: bytes, name: str) -> None:
    with pytest.raises(UnsupportedImage) as refusal:
        decode(data, max_pixels=MAX_PIXELS)
    assert name in refusal.value.detail
    assert "JPEG, PNG, WebP, GIF and BMP" in refusal.value.detail


@pytest.mark.parametrize("name", FILES)
def test_pixel_limit_is_exact(name: str) -> None:
    size = decode(FILES[name], max_pixels=MAX_PIXELS).size
    pixels = size[0] * size[1]
    assert decode(FILES[name], max_pixels=pixels).size == size
    with pytest.raises(ImageTooLarge, match=f"{size[0]} x {size[1]} pixels; at most {pixels - 1}"):
        decode(FILES[name], max_pixels=pixels - 1)


HUGE = {
    "jpeg": b"\xff\xd8"
    + segment(0xC0, b"\x08\xff\xdc\xff\xdc\x01\x01\x11\x00")
    + segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
    "png": png((2**31 - 1, 2**31 - 1), 8, 6, []),
    "gif canvas": gif((65535, 65535), (0, 0, 1, 1)),
    "gif frame": gif((1, 1), (0, 0, 1, 1)).replace(
        b"," + struct.pack("<4H", 0, 0, 1, 1), b"," + struct.pack("<4H", 60000, 60000, 5000, 5000)
    ),
    "webp lossless": riff((b"VP8L", struct.pack("<BI", 0x2F, 12999 << 14 | 12999) + b"\0" * 9)),
    "webp lossy": riff(
        (b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 13000, 13000) + b"\0" * 8)
    ),
    "webp extended": riff((b"VP8X", b"\0" * 4 + struct.pack("<HIxx", 12999, 12999 << 8)[:6])),
    "bmp": bmp(60000, 60000, 0, b""),
    "bmp upside down": bmp(60000, -60000, 0, b""),
    "bmp odd height": bmp(1, -0x02000000, 0, b""),
}


@pytest.mark.parametrize("name", HUGE)
def test_size_is_refused_by_the_header_alone(name: str) -> None:
    # None of these has pixels: anything that began to decode would call them truncated.
    with pytest.raises(ImageTooLarge, match="pixels; at most 50000000"):
        decode(HUGE[name], max_pixels=50_000_000)


@pytest.mark.parametrize("name", FILES)
def test_the_limit_is_ours_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Above its own limit Pillow warns, and warnings are errors here.
    data = FILES[name]
    width, height = decode(data, max_pixels=MAX_PIXELS).size
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", width * height - 1)
    assert decode(data, max_pixels=MAX_PIXELS).size == (width, height)


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_refused_or_complete(name: str) -> None:
    data = FILES[name]
    whole = decode(data, max_pixels=MAX_PIXELS).tobytes()
    for length in range(12, len(data), 1 if len(data) < 400 else 7):
        try:
            picture = decode(data[:length], max_pixels=MAX_PIXELS)
        except ImageTruncated:
            continue
        except ImageUndecodable:
            assert name == "bmp run-length"  # it has no length that could be missed
        else:
            assert picture.tobytes() == whole
            assert len(data) - length <= 24


@pytest.mark.parametrize("name", FILES)
def test_damage_is_refused_or_decoded_and_never_anything_else(name: str) -> None:
    chance = random.Random(0)
    for _ in range(150):
        data = bytearray(FILES[name])
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        seen = outcome(bytes(data))
        if isinstance(seen, ServiceError):
            assert seen.status < 500
            assert not re.search(r"PIL|/|Error|0x|<", seen.detail)
        else:
            assert seen.mode == "RGB"


INFLATES = zlib.compress(b"\0" * 2**22 + b"\0")


@pytest.mark.parametrize(
    "bomb",
    [
        chunk(b"zTXt", b"a\0\0" + INFLATES),
        chunk(b"iTXt", b"a\0\1\0\0\0" + INFLATES),
        chunk(b"iCCP", b"a\0\0" + INFLATES),
        chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 2**20)) * 5,
        chunk(b"zTXt", b"\0\0" + INFLATES[:-8] + b"damaged!") * 2,
    ],
    ids=["text", "international text", "profile", "many", "damaged"],
)
def test_png_metadata_that_inflate_are_refused(bomb: bytes) -> None:
    with pytest.raises(ImageUndecodable, match="inflate"):
        decode(png((1, 1), 8, 0, [b"\0"], bomb), max_pixels=MAX_PIXELS)


def test_honest_compressed_metadata_are_accepted() -> None:
    texts = chunk(b"iTXt", b"a\0\0\0\0\0plain") + chunk(b"iTXt", b"a\0\1\0\0\0" + INFLATES[:0])
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(os.urandom(2**19)))
    assert pixel(png((1, 1), 8, 0, [b"\7"], texts, profile)) == (7, 7, 7)


def test_bmp_run_lengths_are_bounded() -> None:
    assert pixel(FILES["bmp run-length"]) == (255, 128, 0)
    with pytest.raises(ImageUndecodable, match="million"):
        decode(bmp(1200, 1000, 1, b"\0\1"), max_pixels=50_000_000)
    with pytest.raises(ImageUndecodable, match="million"):
        decode(bmp(10, 10, 2, b"\0\0" * 2**19), max_pixels=50_000_000)


@pytest.mark.parametrize(
    "metadata",
    [
        segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x05\0" + b"\x1a\x01\5\0\1\0\0\0\xff\xff\0\0" * 5),
        segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
        segment(0xE2, b"ICC_PROFILE\0\1\2"),
        segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0"),
        segment(0xFE, b"<script>alert(1)</script>"),
    ],
    ids=["exif", "multi-picture", "profile", "photoshop", "comment"],
)
def test_damaged_jpeg_metadata_do_no_harm(metadata: bytes) -> None:
    # Pillow warns about several of these, and warnings are errors here.
    picture = decode(jpeg(metadata), max_pixels=MAX_PIXELS)
    assert deviation(picture, decode(jpeg(), max_pixels=MAX_PIXELS)) == 0


def test_damaged_png_animation_does_no_harm() -> None:
    control = chunk(b"acTL", b"\0" * 8) * 2 + chunk(b"fcTL", b"\xff" * 26)
    assert pixel(png((1, 1), 8, 0, [b"\7"], control)) == (7, 7, 7)


def test_what_follows_the_image_does_not_matter() -> None:
    plain = decode(jpeg(), max_pixels=MAX_PIXELS)
    film = b"\xff\xda\0\2" * 1000  # an appended video may hold what looks like scans
    assert deviation(decode(jpeg(tail=film), max_pixels=MAX_PIXELS), plain) == 0
    archive = FILES["png"] + b"PK\3\4" + b"\0" * 100
    assert decode(archive, max_pixels=MAX_PIXELS).size == (32, 24)


def test_threads_decode_independently() -> None:
    expected = {name: decode(data, max_pixels=MAX_PIXELS).tobytes() for name, data in FILES.items()}
    names = list(FILES) * 12
    with ThreadPoolExecutor(8) as threads:
        got = threads.map(lambda name: decode(FILES[name], max_pixels=MAX_PIXELS).tobytes(), names)
        assert all(pixels == expected[name] for name, pixels in zip(names, got, strict=True))
