"""Photo-like pictures, drawn from a seed: smooth fields, texture and noise."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOS, PHOTO_SIZE = 16, (500, 375)
PHOTO_QUALITY = 98  # then a drawn picture has about as many bytes as a real photo of this size


def draw_photo(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Return an RGB picture of `size` (width, height) whose spectrum falls as a photograph's does.

    Fields of random colours are drawn on grids of 3, 6, 12 … cells and enlarged smoothly, each
    finer one weaker; the last term is a sensor's noise, of standard deviation 2 of 255.
    """
    width, height = size
    sum_HxWx3 = np.full((height, width, 3), 128, np.float32)
    cells, amplitude = 3, 90.0
    while cells < max(size) // 2:
        shape = (max(2, cells * height // width), cells, 3)
        field_hxwx3 = rng.integers(0, 256, shape, dtype=np.uint8)
        smooth = Image.fromarray(field_hxwx3).resize(size, Image.Resampling.BICUBIC)
        sum_HxWx3 += (np.asarray(smooth, np.float32) - 128) * np.float32(amplitude / 128)
        cells, amplitude = cells * 2, amplitude * 0.6
    sum_HxWx3 += rng.standard_normal(sum_HxWx3.shape, np.float32) * 2
    return Image.fromarray(sum_HxWx3.clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, format_: str, **options: object) -> bytes:
    """Return the image as a file of that format."""
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def photo_files() -> list[bytes]:
    """Return the JPEG files, all different, that are sent where no photos are given."""
    rng = np.random.default_rng(0)
    photos = (draw_photo(rng, PHOTO_SIZE) for _ in range(PHOTOS))
    return [encode(photo, "JPEG", quality=PHOTO_QUALITY) for photo in photos]


def write_photos(folder: Path) -> None:
    """Write `photo_files` into a folder, which is made."""
    folder.mkdir(exist_ok=True)
    for number, photo in enumerate(photo_files()):
        (folder / f"{number:02d}.jpg").write_bytes(photo)
