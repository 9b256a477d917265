"""Where the pixels of a data set come from: arrays in memory, image files, a part of another."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from PIL import Image

from trainer.data.bad_data import DataError


class Pictures(Protocol):
    """Random access to decoded RGB pictures."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Image.Image:
        """Decode one picture; raises DataError where it cannot be decoded."""

    def name(self, index: int) -> str:
        """Say where the picture lies: its file, and its place in a file of many."""

    def digest(self) -> str:
        """SHA-256 (hex) of the content, independent of where it lies."""


@dataclass(frozen=True)
class ArrayPictures:
    """Pictures held in memory as uint8 [N, H, W, 3], and the name of their origin."""

    pixels: np.ndarray
    origin: str = "array"

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])

    def name(self, index: int) -> str:
        """Return the origin and the index."""
        return f"{self.origin}[{index}]"

    def digest(self) -> str:
        """SHA-256 (hex) of the raw pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels).data).hexdigest()


@dataclass(frozen=True)
class FilePictures:
    """Image files that are decoded when they are asked for."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image.Image:
        return decode_image(self.paths[index], self.name(index))

    def name(self, index: int) -> str:
        """Return the path."""
        return str(self.paths[index])

    def digest(self) -> str:
        """SHA-256 (hex) over the files' contents in order."""
        digest = hashlib.sha256()
        for path in self.paths:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


@dataclass(frozen=True)
class SelectedPictures:
    """Those of other pictures that int64 `indices` [M] name, in that order."""

    whole: Pictures
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Image.Image:
        return self.whole[int(self.indices[index])]

    def name(self, index: int) -> str:
        """Return the name that the picture has in the whole."""
        return self.whole.name(int(self.indices[index]))

    def digest(self) -> str:
        """SHA-256 (hex) over the whole's digest and the indices."""
        return hashlib.sha256(self.whole.digest().encode() + self.indices.tobytes()).hexdigest()


def decode_image(source: Path | IO[bytes], name: str) -> Image.Image:
    """Decode an image file as RGB.

    Raises:
        DataError: it cannot be decoded; the message begins with `name`.
    """
    try:
        with Image.open(source) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        msg = f"{name}: no readable image"
        raise DataError(msg) from error
