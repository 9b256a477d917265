"""Image files built by hand, for what no honest encoder writes."""

import io
import struct
import zlib

from PIL import Image


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    """Return the image as a file of that format."""
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def gradient(width: int = 32, height: int = 24) -> Image.Image:
    """Return an RGB picture that no flip or rotation maps to itself."""
    pixels = bytes(
        value
        for y in range(height)
        for x in range(width)
        for value in (x * 255 // width, y * 255 // height, 40)
    )
    return Image.frombytes("RGB", (width, height), pixels)


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    """Return a PNG chunk."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(
    size: tuple[int, int], bits: int, colour_type: int, rows: list[bytes], *extra: bytes
) -> bytes:
    """Return a PNG of unfiltered rows, with `extra` chunks before the pixels."""
    header = struct.pack(">IIBBBBB", *size, bits, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels), chunk(b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def segment(marker: int, content: bytes = b"") -> bytes:
    """Return a JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(*extra: bytes, tail: bytes = b"") -> bytes:
    """Return a JPEG of the gradient with `extra` segments at its start and bytes at its end."""
    file = encoded(gradient(), "JPEG", quality=95)
    return file[:2] + b"".join(extra) + file[2:] + tail


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """Return a TIFF structure with one entry: the orientation."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return head + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, kind, 1, orientation, 0, 0)


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP of these chunks."""
    body = b"".join(
        kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
        for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def gif(canvas: tuple[int, int], frame: tuple[int, int, int, int], *blocks: bytes) -> bytes:
    """Return a GIF of a black first frame (left, top, width, height), `blocks` before it."""
    black = encoded(Image.new("L", frame[2:]), "GIF")
    palette_end = 13 + (3 << ((black[10] & 7) + 1))
    start = black.index(b",", palette_end)
    head = black[:6] + struct.pack("<HH", *canvas) + black[10:palette_end]
    return head + b"".join(blocks) + b"," + struct.pack("<4H", *frame) + black[start + 9 :]


def bmp(width: int, height: int, compression: int, pixels: bytes) -> bytes:
    """Return a BMP of 8 bits with a palette of black and orange."""
    palette = bytes([0, 0, 0, 0, 0, 128, 255, 0])
    bits = 4 if compression == 2 else 8
    sizes = (40, width, height, 1, bits, compression, len(pixels), 0, 0, 2, 0)
    header = struct.pack("<IiiHHIIiiII", *sizes)
    start = 14 + len(header) + len(palette)
    return (
        b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + palette + pixels
    )
