"""Golden images: pictures that a loaded model must answer as its maker's program did."""

import io

import numpy as np
from PIL import Image, ImageDraw


def draw_golden_images(seed: int = 0) -> dict[str, bytes]:
    """Draw four pictures and return them as file names and PNG bytes (lossless, under 20 KB each).

    They differ in what preprocessing can get wrong: a landscape larger than any crop, a tall
    picture of fine lines (aliasing), a square of noise (every pixel counts), and a picture smaller
    than the crop, which must be enlarged.
    """
    rng = np.random.default_rng(seed)
    images = (
        _draw_shapes(rng, (400, 300), count=12),
        _draw_lines((96, 250)),
        Image.fromarray(rng.integers(0, 256, (72, 72, 3), dtype=np.uint8)),
        _draw_shapes(rng, (41, 17), count=6),
    )
    return {f"golden/{i}.png": _png(image) for i, image in enumerate(images)}


def deviation(expected: np.ndarray, found: np.ndarray) -> float:
    """Return max |expected - found| / max(max |expected|, 1): how far two programs disagree.

    Rounding errors of a network's sums grow with the size of its outputs, so the difference is
    taken relative to the largest one. Relative to each output it would be meaningless for those
    that happen to be near zero. The floor of 1 serves models whose outputs are all near zero, as
    those of an untrained head. NaN or infinity anywhere gives infinity.

    Raises:
        ValueError: the shapes differ, which broadcasting would hide.
    """
    if expected.shape != found.shape:
        msg = f"outputs of shape {found.shape} against {expected.shape}"
        raise ValueError(msg)
    if not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return float("inf")
    scale = np.abs(expected).max(initial=1.0)
    return float(np.abs(expected - found).max(initial=0.0) / scale)


def _draw_shapes(rng: np.random.Generator, size: tuple[int, int], *, count: int) -> Image.Image:
    """Ellipses and triangles of random colours on a gradient from left to right."""
    ramp_HxW = np.broadcast_to(np.linspace(0, 255, size[0]), (size[1], size[0]))
    pixels_HxWx3 = np.stack([ramp_HxW, ramp_HxW[:, ::-1], np.full_like(ramp_HxW, 96)], axis=-1)
    image = Image.fromarray(pixels_HxWx3.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for i in range(count):
        points = rng.integers(0, size, (3, 2))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        if i % 2:
            draw.polygon([(int(x), int(y)) for x, y in points], fill=colour)
        else:
            (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
            draw.ellipse((int(left), int(top), int(right), int(bottom)), fill=colour)
    return image


def _draw_lines(size: tuple[int, int]) -> Image.Image:
    """Diagonal lines two pixels apart, in two colours."""
    image = Image.new("RGB", size, (250, 240, 200))
    draw = ImageDraw.Draw(image)
    for x in range(-size[1], size[0], 3):
        draw.line((x, 0, x + size[1], size[1]), fill=(20, 60 + x % 128, 120))
    return image


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
