"""Thousands of image files for the job, three of which are none."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from bench.pictures import draw_photo, encode
from trainer.data.sheets import LABELS_FILE, read_sheets

IMAGES = 4000
# Suffix and name.
FORMATS = (("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"))

# Path → the code of the error that the service gives for it.
BAD = {
    "bad/cut off.png": "image_truncated",
    "bad/nothing.jpg": "unsupported_image",
    "bad/ümlaut.txt": "unsupported_image",
}


def write_pictures(folder: Path, sheets: Path) -> list[str]:
    """Write images in three formats, and the bad ones; return all paths, sorted.

    They are CIFAR-10's test images where `sheets` has them, else drawn in odd sizes.
    """
    paths = []
    for i, image in enumerate(_pictures(sheets)):
        suffix, format_ = FORMATS[i % len(FORMATS)]
        path = f"{i % 7}/{i:05d}.{suffix}"
        _write(folder / path, encode(image, format_))
        paths.append(path)
    cut_off = (folder / paths[0]).read_bytes()[:-200]
    for path, data in zip(BAD, (cut_off, b"", b"no image"), strict=True):
        _write(folder / path, data)
    return sorted([*paths, *BAD])


def _pictures(sheets: Path) -> Iterator[Image.Image]:
    if (sheets / LABELS_FILE).exists():
        data = read_sheets(sheets, "test")
        return (data[i][0] for i in range(IMAGES))
    rng = np.random.default_rng(0)
    return (draw_photo(rng, (40 + i % 11, 36 + i % 13)) for i in range(IMAGES))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
