"""Pictures to send, drawn here, and what their upright, opaque RGB form is."""

import base64
import struct

import numpy as np
from PIL import Image, ImageOps

from tests.service.image_files import encoded, png

__all__ = [
    "base64_of",
    "base64url_of",
    "bmp",
    "claiming",
    "encoded",
    "oriented",
    "over_white",
    "picture",
    "png",
    "png16",
    "upright",
]

ORIENTATION = 0x0112


def picture(seed: int = 0, size: tuple[int, int] = (19, 14)) -> Image.Image:
    """Return an RGB picture whose corners, sides and channels all differ."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def bmp(image: Image.Image) -> bytes:
    """Return the picture in the plainest format there is, to compare others with."""
    return encoded(image.convert("RGB"), "BMP")


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def base64url_of(data: bytes, *, padded: bool = False) -> str:
    text = base64.urlsafe_b64encode(data).decode()
    return text if padded else text.rstrip("=")


def oriented(image: Image.Image, format_: str, orientation: int, **options: object) -> bytes:
    """Return a file whose stored pixels are to be turned as EXIF says."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(image, format_, exif=exif, **options)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return what a viewer shows of the picture stored with this orientation."""
    turned = image.copy()
    turned.getexif()[ORIENTATION] = orientation
    return ImageOps.exif_transpose(turned)


def over_white(image: Image.Image) -> Image.Image:
    """Return the picture laid on white paper."""
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")


def png16(samples_HxWxC: np.ndarray) -> bytes:
    """Return a PNG of 16 bits a sample: grey, grey and alpha, RGB or RGBA."""
    height, width, channels = samples_HxWxC.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = [row.astype(">u2").tobytes() for row in samples_HxWxC]
    return png((width, height), 16, colour_type, rows)


def claiming(format_: str, width: int, height: int) -> bytes:
    """Return a small file whose header claims the size, and whose pixels are another's."""
    if format_ == "PNG":
        return png((width, height), 8, 2, [b"\0" * 30])
    file = bytearray(encoded(picture(), format_))
    if format_ == "BMP":
        file[18:26] = struct.pack("<ii", width, height)
    elif format_ == "GIF":
        file[6:10] = struct.pack("<HH", width, height)
        frame = file.index(b"\x2c", 13 + 3 * 2 ** ((file[10] & 7) + 1))
        file[frame + 5 : frame + 9] = struct.pack("<HH", width, height)
    elif format_ == "JPEG":
        start = file.index(b"\xff\xc0")
        file[start + 5 : start + 9] = struct.pack(">HH", height, width)
    elif format_ == "WEBP":
        start = file.index(b"\x9d\x01\x2a")
        file[start + 3 : start + 7] = struct.pack("<HH", width, height)
    return bytes(file)
