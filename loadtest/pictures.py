"""Pictures to send, drawn from a seed: many sizes, and every format that the service takes.

python -m loadtest.pictures FOLDER writes them as files.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
SMALLEST_SIDE, LARGEST_SIDE = 32, 1280


@dataclass(frozen=True, slots=True)
class Picture:
    """One file: its name says number, size and format."""

    name: str
    data: bytes


def draw_pictures(count: int, seed: int) -> list[Picture]:
    """Return `count` pictures, no two alike, sides spread evenly over the orders of magnitude."""
    return [_draw(number, seed) for number in range(count)]


def _draw(number: int, seed: int) -> Picture:
    # A generator for each, so that a picture does not depend on how many there are.
    rng = np.random.default_rng((seed, number))
    sides = np.exp(rng.uniform(np.log(SMALLEST_SIDE), np.log(LARGEST_SIDE + 1), 2))
    width, height = (int(side) for side in sides)
    patches_HxWxC = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(patches_HxWxC).resize((width, height), Image.Resampling.BICUBIC)
    file_format, buffer = FORMATS[number % len(FORMATS)], io.BytesIO()
    image.save(buffer, file_format)
    return Picture(f"{number:03d}-{width}x{height}.{file_format.lower()}", buffer.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures; return 0."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.pictures", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for picture in draw_pictures(options.count, options.seed):
        (options.folder / picture.name).write_bytes(picture.data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
