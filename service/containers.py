"""Image files by their structure: the size, the EXIF, and the same file with its pixels alone.

bytes of a known format → inspect → Container(width, height, exif, pixels)

A decoder that reads metadata can be made to work for an attacker: text that inflates, a directory
that names the same megabyte a thousand times, a million comments, and warnings about all of them.
So each reader walks a file's blocks, never their pixels, in bounded steps, and drops what no pixel
depends on. Its errors are ImageTruncated and ImageUndecodable.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from service.errors import ImageTruncated, ImageUndecodable

Format = Literal["JPEG", "PNG", "WebP", "GIF", "BMP"]

# Far above any honest file within the body limit, far below what costs a noticeable time to walk.
_MAX_BLOCKS = 65_536
# Honest progressive files have about ten scans. Each scan costs a pass over the whole picture.
_MAX_JPEG_SCANS = 64
# Together, for a PNG's colour profile and compressed texts.
_MAX_INFLATED_BYTES = 4 * 2**20
# Pillow undoes this rare compression in Python, several microseconds for each run.
_MAX_BMP_RUN_LENGTH_PIXELS = 2**20


@dataclass(frozen=True)
class Container:
    """What an image file's header says, and the file without its metadata.

    `width` and `height` are in pixels, before any orientation is applied. `exif` is the TIFF
    structure of the EXIF block, empty when there is none. `reducible` pixels are coded as blocks of
    frequencies, of which a decoder can take the low ones alone.
    """

    width: int
    height: int
    exif: bytes
    pixels: bytes
    reducible: bool = False


def inspect(data: bytes, format_: Format) -> Container:
    """Read the structure of a file of that format; raise when it is cut short or nonsense."""
    try:
        return _READERS[format_](data)
    except (struct.error, IndexError) as error:
        # Only reads past the end of the data raise these.
        raise ImageTruncated(f"The {format_} data end within its header.") from error


_Block = tuple[int, int, int]
_SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")  # not stuffing, restart markers or fill
_SCAN = re.compile(rb"\xff\xda")
_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_SIZE_SEGMENTS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# APP0 (JFIF) and APP14 (Adobe) stay: they tell the decoder which colours the components are.
_JPEG_METADATA = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})


def _jpeg(data: bytes) -> Container:
    width, height, exif, reducible = 0, 0, b"", False
    kept, segments = [data[:2]], _jpeg_segments(data)
    for marker, start, end in segments:
        if marker in _SIZE_SEGMENTS:
            height, width = struct.unpack_from(">HH", data, start + 5)
            reducible = marker & 3 != 3  # SOF3, 7, 11 and 15 are lossless
        elif marker == _APP1 and data.startswith(b"Exif\0\0", start + 4):
            exif = exif or data[start + 10 : end]
        if marker not in _JPEG_METADATA:
            kept.append(data[start:end])
        if marker == _SOS:
            _check_jpeg_scans(data, end, segments)
            pixels = b"".join([*kept, memoryview(data)[end:]])
            return Container(width, height, exif, pixels, reducible)
    raise ImageTruncated("The JPEG data end before its first scan.")


def _jpeg_segments(data: bytes) -> Iterator[_Block]:
    """Yield (marker, start, end) up to the end of the image, over the coded pixels between."""
    position = 2
    for _ in range(_MAX_BLOCKS):
        found = _SEGMENT.search(data, position)
        if found is None:
            raise ImageTruncated("The JPEG data end before the image does.")
        start, marker = found.start(), data[found.start() + 1]
        if marker == _EOI:
            return
        length = 0 if marker == _SOI else struct.unpack_from(">H", data, start + 2)[0]
        position = start + 2 + length
        if position > len(data):
            raise ImageTruncated("The JPEG data end within a segment.")
        yield marker, start, position
    raise ImageUndecodable(f"The JPEG has more than {_MAX_BLOCKS} segments.")


def _check_jpeg_scans(data: bytes, position: int, segments: Iterator[_Block]) -> None:
    # The search in all bytes, twice as fast as bytes.count, never misses a scan; what it finds
    # beside scans, such as a video appended to a photograph, is worth the exact walk.
    if len(list(islice(_SCAN.finditer(data, position), _MAX_JPEG_SCANS))) < _MAX_JPEG_SCANS:
        return
    if 1 + sum(marker == _SOS for marker, _, _ in segments) > _MAX_JPEG_SCANS:
        raise ImageUndecodable(f"The JPEG has more than {_MAX_JPEG_SCANS} scans.")


_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_COMPRESSED = frozenset({b"iCCP", b"zTXt", b"iTXt"})


def _png(data: bytes) -> Container:
    if data[12:16] != b"IHDR"[: len(data[12:16])]:
        raise ImageUndecodable("The PNG does not begin with its header chunk.")
    width, height = struct.unpack_from(">II", data, 16)
    exif, inflatable = b"", _MAX_INFLATED_BYTES
    kept = [data[:8]]
    for kind, start, end in _png_chunks(data):
        if kind in _PNG_PIXELS:
            kept.append(data[start:end])
        elif kind == b"eXIf":
            exif = exif or data[start + 8 : end - 4]
        elif kind in _PNG_COMPRESSED:
            inflatable -= _inflated_bytes(kind, data[start + 8 : end - 4], inflatable)
    return Container(width, height, exif, b"".join(kept))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, end) of each chunk; what follows sound pixel data may be damaged."""
    position, pixels_seen = 8, False
    for _ in range(_MAX_BLOCKS):
        if pixels_seen and position + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        start, position = position, position + 12 + length
        if kind == b"IDAT":
            pixels_seen = True  # its own checksum is inside, and the decoder sees where it ends
        elif damage := _png_damage(data, start, position):
            if pixels_seen:
                return
            raise damage
        yield kind, start, position
        if kind == b"IEND":
            return
    raise ImageUndecodable(f"The PNG has more than {_MAX_BLOCKS} chunks.")


def _png_damage(data: bytes, start: int, end: int) -> ImageTruncated | ImageUndecodable | None:
    if end > len(data):
        return ImageTruncated("The PNG data end within a chunk.")
    if zlib.crc32(data[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
        return ImageUndecodable("The PNG has a chunk with a wrong checksum.")
    return None


def _inflated_bytes(kind: bytes, chunk: bytes, limit: int) -> int:
    """Return how many bytes a metadata chunk's text inflates to; refuse more than `limit`."""
    _, _, text = chunk.partition(b"\0")  # after the keyword
    if kind == b"iTXt" and text[:1] != b"\1":
        return 0  # not compressed
    # What precedes: the method; in iTXt a flag, the method, a language and a translated keyword.
    stream = text[2:].split(b"\0", 2)[-1] if kind == b"iTXt" else text[1:]
    try:
        size = len(zlib.decompressobj().decompress(stream, limit + 1))
    except zlib.error:
        return limit  # nobody knows how far it came: forgive one such chunk, not a thousand
    if size > limit:
        raise ImageUndecodable("The PNG has compressed metadata that inflate beyond 4 MiB.")
    return size


_GIF_INTRODUCER = re.compile(rb"[!,;]")


def _gif(data: bytes) -> Container:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    palette_end = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    start, control = _gif_first_frame(data, palette_end)
    left, top, frame_width, frame_height = struct.unpack_from("<4H", data, start + 1)
    # A frame that leaves the canvas enlarges it, as decoders do: said here, it is checked first.
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    head = data[:6] + struct.pack("<HH", width, height) + data[10:palette_end]
    return Container(width, height, b"", b"".join([head, control, data[start:]]))


def _gif_first_frame(data: bytes, position: int) -> tuple[int, bytes]:
    """Return where the first frame starts, and its control block with the transparency alone."""
    control, blocks = b"", 0
    while blocks < _MAX_BLOCKS:
        found = _GIF_INTRODUCER.search(data, position)
        if found is None or found.group() == b";":
            raise ImageTruncated("The GIF data end before the first frame.")
        position = found.end()
        if found.group() == b",":
            return found.start(), control
        if data[position] == 0xF9:  # 4 bytes: flags, delay in two, transparent colour
            control = bytes([0x21, 0xF9, 4, data[position + 2] & 1, 0, 0, data[position + 5], 0])
        position += 1
        while blocks < _MAX_BLOCKS and (size := data[position]):
            position, blocks = position + 1 + size, blocks + 1
        blocks += 1
    raise ImageUndecodable(f"The GIF has more than {_MAX_BLOCKS} blocks before its first frame.")


def _webp(data: bytes) -> Container:
    (riff_size,) = struct.unpack_from("<I", data, 4)
    if 8 + riff_size > len(data):
        raise ImageTruncated("The WebP data end before the length that their header states.")
    return Container(*_webp_size(data), _webp_exif(data, 8 + riff_size), data)


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        low, high = struct.unpack_from("<HI", data, 24)
        return 1 + (low | (high & 0xFF) << 16), 1 + (high >> 8)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ImageUndecodable("The WebP does not begin with a chunk of pixels.")


def _webp_exif(data: bytes, end: int) -> bytes:
    position = 12
    for _ in range(_MAX_BLOCKS):
        if position + 8 > end:
            break
        kind, size = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            return data[position + 8 : position + 8 + size].removeprefix(b"Exif\0\0")
        position += 8 + size + size % 2
    return b""


def _bmp(data: bytes) -> Container:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == 12:  # OS/2
        width, height = struct.unpack_from("<HH", data, 18)
        return Container(width, height, b"", data)
    width, height, compression = struct.unpack_from("<Ii4xI", data, 18)
    height = abs(height)  # negative: rows run from the top
    if compression in {1, 2} and max(width * height, len(data)) > _MAX_BMP_RUN_LENGTH_PIXELS:
        raise ImageUndecodable("A run-length encoded BMP may have a million pixels at most.")
    return Container(width, height, b"", data)


_READERS: dict[Format, Callable[[bytes], Container]]
_READERS = {"JPEG": _jpeg, "PNG": _png, "WebP": _webp, "GIF": _gif, "BMP": _bmp}
