import struct
import zlib

import pytest
from PIL import Image

from service.containers import Format, inspect
from service.errors import ImageTruncated, ImageUndecodable
from tests.service.image_files import (
    bmp,
    chunk,
    encoded,
    exif,
    gif,
    gradient,
    jpeg,
    png,
    riff,
    segment,
)


def sized(data: bytes, format_: Format) -> tuple[int, int]:
    container = inspect(data, format_)
    return container.width, container.height


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (encoded(gradient(), "JPEG"), "JPEG"),
        (encoded(gradient(), "JPEG", progressive=True), "JPEG"),
        (encoded(gradient(), "PNG"), "PNG"),
        (encoded(gradient(), "GIF"), "GIF"),
        (encoded(gradient(), "BMP"), "BMP"),
        (encoded(gradient(), "WEBP"), "WebP"),
        (encoded(gradient(), "WEBP", lossless=True), "WebP"),
        (encoded(gradient(), "WEBP", exif=exif(1)), "WebP"),
    ],
)
def test_size_of_every_format(data: bytes, format_: Format) -> None:
    assert sized(data, format_) == (32, 24)


def test_size_of_wide_and_high_webp() -> None:
    for size in ((5000, 3), (3, 5000)):
        for options in ({}, {"lossless": True}, {"exif": exif(1)}):
            assert sized(encoded(Image.new("RGB", size), "WEBP", **options), "WebP") == size


def test_size_of_odd_bitmaps() -> None:
    os2 = b"BM" + b"\0" * 12 + struct.pack("<IHHHH", 12, 7, 9, 1, 24)
    assert sized(os2, "BMP") == (7, 9)
    assert sized(bmp(7, -9, 0, b""), "BMP") == (7, 9)


def test_a_gif_frame_beyond_the_canvas_enlarges_it() -> None:
    assert sized(gif((2, 2), (3, 5, 7, 11)), "GIF") == (10, 16)


def test_jpeg_keeps_what_decoding_needs_and_nothing_else() -> None:
    plain = jpeg()
    colour = segment(0xEE, b"Adobe\0\x64\0\0\0\0\1")
    metadata = [segment(marker, b"secret") for marker in (*range(0xE1, 0xEE), 0xEF, 0xFE)]
    container = inspect(jpeg(*metadata, colour), "JPEG")
    assert container.pixels == plain[:2] + colour + plain[2:]


def test_png_keeps_what_decoding_needs_and_nothing_else() -> None:
    palette = chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", b"\0")
    metadata = [chunk(kind, b"secret") for kind in (b"tEXt", b"zTXt", b"acTL", b"fcTL", b"prVt")]
    container = inspect(png((1, 1), 8, 3, [b"\0"], *metadata, palette), "PNG")
    assert container.pixels == png((1, 1), 8, 3, [b"\0"], palette)


def test_gif_keeps_transparency_and_drops_comments_and_disposal() -> None:
    comment, control = b"!\xfe\6secret\0", bytes([0x21, 0xF9, 4, 0b1001, 50, 0, 1, 0])
    container = inspect(gif((2, 2), (0, 0, 2, 2), comment, control), "GIF")
    quiet = bytes([0x21, 0xF9, 4, 1, 0, 0, 1, 0])
    assert container.pixels == gif((2, 2), (0, 0, 2, 2), quiet)


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (jpeg(segment(0xE1, b"Exif\0\0" + exif(3)), segment(0xE1, b"Exif\0\0later")), "JPEG"),
        (png((1, 1), 8, 0, [b"\0"], chunk(b"eXIf", exif(3))), "PNG"),
        (encoded(gradient(), "WEBP", exif=b"Exif\0\0" + exif(3)), "WebP"),
        (encoded(gradient(), "WEBP", exif=exif(3)), "WebP"),
    ],
)
def test_exif_is_found_without_its_prefix(data: bytes, format_: Format) -> None:
    assert inspect(data, format_).exif == exif(3)


def test_png_exif_after_the_pixels() -> None:
    data = encoded(gradient(), "PNG")
    assert inspect(data[:-12] + chunk(b"eXIf", exif(8)) + data[-12:], "PNG").exif == exif(8)


def test_jpeg_over_junk_and_fill_bytes() -> None:
    plain = jpeg()
    container = inspect(plain[:2] + b"junk\xff\x00\xff\xd0" + b"\xff" * 9 + plain[2:], "JPEG")
    assert (container.width, container.height, container.pixels) == (32, 24, plain)


def scans(count: int) -> bytes:
    """Return a JPEG with its last scan repeated until there are `count`."""
    data = encoded(gradient().convert("L"), "JPEG", progressive=True)
    tables = data.rindex(b"\xff\xc4")
    has = data.count(b"\xff\xda")
    return data[:-2] + data[tables:-2] * (count - has) + b"\xff\xd9"


def test_jpeg_scans_are_bounded() -> None:
    assert sized(scans(64), "JPEG") == (32, 24)
    with pytest.raises(ImageUndecodable, match="more than 64 scans"):
        inspect(scans(65), "JPEG")


def test_an_end_marker_inside_a_segment_hides_no_scans() -> None:
    data = scans(65)
    first = data.index(b"\xff\xda")
    hidden = data[:first] + data[first:].replace(
        b"\xff\xc4", segment(0xFE, b"\xff\xd9") + b"\xff\xc4"
    )
    with pytest.raises(ImageUndecodable, match="more than 64 scans"):
        inspect(hidden, "JPEG")


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (jpeg(segment(0xFE) * 65_536), "JPEG"),
        (png((1, 1), 8, 0, [b"\0"], chunk(b"tEXt") * 65_536), "PNG"),
        (gif((1, 1), (0, 0, 1, 1), b"!\xfe" + b"\1a" * 65_536 + b"\0"), "GIF"),
        (gif((1, 1), (0, 0, 1, 1), b"!\xfe\0" * 65_536), "GIF"),
    ],
    ids=["segments", "chunks", "sub-blocks", "blocks"],
)
def test_blocks_are_bounded(data: bytes, format_: Format) -> None:
    with pytest.raises(ImageUndecodable, match="more than 65536"):
        inspect(data, format_)


def test_webp_chunks_are_bounded() -> None:
    pixels = (b"VP8X", struct.pack("<IHIB", 8, 6, 6 << 8, 0)[:10])
    near = riff(pixels, *[(b"junk", b"odd")] * 100, (b"EXIF", exif(3)))
    far = riff(pixels, *[(b"junk", b"")] * 65_536, (b"EXIF", exif(3)))
    assert (inspect(near, "WebP").exif, inspect(far, "WebP").exif) == (exif(3), b"")


@pytest.mark.parametrize("junk", [b"\xff", b"\xff\0", b"\0", b"\xff\xd0", b"!"])
def test_long_junk_is_walked_quickly(junk: bytes) -> None:
    # Quadratic in 4 MiB would not end within this test run.
    head = jpeg()[:2] if junk != b"!" else b"GIF89a" + b"\0" * 7
    with pytest.raises((ImageTruncated, ImageUndecodable)):
        inspect(head + junk * (2**22 // len(junk)), "GIF" if junk == b"!" else "JPEG")


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (b"\xff\xd8\xff", "JPEG"),
        (b"\xff\xd8\xff\xd9", "JPEG"),
        (b"\xff\xd8" + segment(0xFE, b"text")[:-1], "JPEG"),
        (encoded(gradient(), "PNG")[:8], "PNG"),
        (encoded(gradient(), "PNG")[:30], "PNG"),
        (png((1, 1), 8, 0, [], struct.pack(">I", 2**30) + b"tEXt"), "PNG"),
        (b"GIF89a", "GIF"),
        (b"GIF89a" + b"\0" * 7 + b";", "GIF"),
        (encoded(gradient(), "WEBP")[:-1], "WebP"),
        (b"RIFF\4\0\0\0WEBP", "WebP"),
        (b"BM", "BMP"),
    ],
)
def test_cut_headers_are_truncated(data: bytes, format_: Format) -> None:
    with pytest.raises((ImageTruncated, ImageUndecodable)) as refusal:
        inspect(data, format_)
    assert refusal.type is (ImageUndecodable if data.endswith(b"WEBP") else ImageTruncated)


def test_nonsense_is_undecodable() -> None:
    data = encoded(gradient(), "PNG")
    wrong = data[:29] + bytes([data[29] ^ 1]) + data[30:]
    with pytest.raises(ImageUndecodable, match="checksum"):
        inspect(wrong, "PNG")
    with pytest.raises(ImageUndecodable, match="begin with its header"):
        inspect(data[:8] + chunk(b"CgBI", b"\0" * 4) + data[8:], "PNG")


def test_damage_after_png_pixels_is_forgiven() -> None:
    data = encoded(gradient(), "PNG")
    for tail in (b"", b"\0" * 5, struct.pack(">I", 9) + b"tEXt", b"\xff" * 40):
        assert sized(data[:-12] + tail, "PNG") == (32, 24)


def test_png_profile_within_the_limit_is_no_bomb() -> None:
    profile = chunk(b"iCCP", b"name\0\0" + zlib.compress(b"\0" * 2**20))
    assert sized(png((1, 1), 8, 0, [b"\0"], profile), "PNG") == (1, 1)
