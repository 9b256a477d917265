"""Which way up a picture is, and turning it."""

import struct
from typing import NamedTuple

from PIL import Image

from model_store.preprocess import Box

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Picture(NamedTuple):
    """A decoded picture: `box` is where it lies in the image, (left, top, right, bottom)."""

    image: Image.Image
    box: Box


def orientation(exif: bytes) -> int:
    """Return the orientation 1..8 that the first directory states, 1 if it states none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    count = int.from_bytes(exif[start : start + 2], "little" if order == "<" else "big")
    entries = exif[start + 2 : start + 2 + 12 * count]
    for tag, kind, _, value in struct.iter_unpack(
        f"{order}HHIH2x", entries[: len(entries) // 12 * 12]
    ):
        if (tag, kind) == (0x0112, 3):
            return value if 1 <= value <= 8 else 1
    return 1


def upright(picture: Picture, stated: int) -> Picture:
    """Turn and mirror the picture; what lies beyond its right and lower edges goes along."""
    turn = _TURNS.get(stated)
    if turn is None:
        return picture
    image = picture.image.transpose(turn)
    _, _, width, height = picture.box
    if stated > 4:
        width, height = height, width
    # Where the first row and the first column of the file belong: table 6 of the EXIF standard.
    left = image.width - width if stated in {2, 3, 6, 7} else 0.0
    top = image.height - height if stated in {3, 4, 7, 8} else 0.0
    return Picture(image, (left, top, left + width, top + height))
