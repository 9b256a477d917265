"""CPU time of the host path by stage: `python -m bench.decode --help`.

Every stage of every case runs once in each round, in one process and one thread, so that what slows
the machine down for a while slows all of them alike; the median over the rounds is printed.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from bench.pictures import draw_photo, encode
from model_store.preprocess import Preprocessing, reduction, to_input
from service.containers import Format, inspect
from service.images import decode, decode_reduced

SIZES = ((500, 375), (1500, 1000), (4000, 3000))
TARGETS = (32, 224)
MAX_PIXELS = 50_000_000
MIN_SLICE_S = 0.004  # a stage is repeated for this long in each round, above the clock's grain

Stage = Callable[[bytes], object]


class Case(NamedTuple):
    """Files of one kind, and how they are named in the table."""

    name: str
    format: Format
    files: list[bytes]


def drawn_cases(seed: int = 0, sizes: Sequence[tuple[int, int]] = SIZES) -> Iterator[Case]:
    """Yield each size as JPEG of quality 85 and 90; the smallest size as PNG and WebP too."""
    rng = np.random.default_rng(seed)
    for size in sizes:
        photos = [draw_photo(rng, size) for _ in range(2)]
        name = f"{size[0]}x{size[1]}"
        qualities = (85, 90)
        jpegs = [encode(p, "JPEG", quality=q) for p, q in zip(photos, qualities, strict=True)]
        yield Case(f"JPEG {name}", "JPEG", jpegs)
        if size == sizes[0]:
            yield Case(f"PNG {name}", "PNG", [encode(p, "PNG") for p in photos])
            webps = [encode(p, "WEBP", quality=q) for p, q in zip(photos, qualities, strict=True)]
            yield Case(f"WebP {name}", "WebP", webps)


def folder_case(folder: Path) -> Case:
    """Return all JPEG files below a folder as one case."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
    if not paths:
        raise SystemExit(f"There is no .jpg or .jpeg file below {folder}.")
    return Case(f"JPEG, {len(paths)} of --images", "JPEG", [path.read_bytes() for path in paths])


def stages(case: Case, target: int) -> dict[str, Stage]:
    """Return the stages of a case at a target: bilinear, squash. Each takes a file's bytes.

    There is no stage of conversion: what these files hold is decoded to RGB.
    """
    preprocessing = Preprocessing(resize="squash", resize_size=target, crop_size=target)
    allowed = partial(reduction, preprocessing=preprocessing)
    decoded = {data: decode(data, max_pixels=MAX_PIXELS) for data in case.files}
    resized = {
        data: image.resize((target, target), Image.Resampling.BILINEAR)
        for data, image in decoded.items()
    }

    def scaled(data: bytes) -> object:
        picture = decode_reduced(data, max_pixels=MAX_PIXELS, reduction=allowed)
        return to_input(picture.image, preprocessing, box=picture.box)

    return {
        "inspect": lambda data: inspect(data, case.format),
        "load": lambda data: _load(data, case.format),
        "resize": lambda data: to_input(decoded[data], preprocessing),
        "asarray": lambda data: np.asarray(resized[data]),
        "whole path": lambda data: to_input(decode(data, max_pixels=MAX_PIXELS), preprocessing),
        "scaled path": scaled,
    }


def peers() -> dict[str, Stage]:
    """Return other JPEG decoders that are installed, decoding alone: load is their yardstick."""
    found: dict[str, Stage] = {}
    if find_spec("simplejpeg"):
        simplejpeg = import_module("simplejpeg")
        found["simplejpeg"] = lambda data: simplejpeg.decode_jpeg(data, "RGB")
        found["simplejpeg, fast"] = lambda data: simplejpeg.decode_jpeg(
            data, "RGB", fastdct=True, fastupsample=True
        )
        found["simplejpeg, M/8"] = lambda data: simplejpeg.decode_jpeg(
            data, "RGB", min_height=256, min_width=256, min_factor=1
        )
    if find_spec("cv2"):
        cv2 = import_module("cv2")
        cv2.setNumThreads(1)
        found["opencv"] = lambda data: cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB
        )
    if find_spec("pyvips"):
        pyvips = import_module("pyvips")
        found["pyvips"] = lambda data: pyvips.Image.new_from_buffer(data, "").numpy()
    return found


def measure(measured: dict[str, Stage], files: Sequence[bytes], rounds: int) -> dict[str, float]:
    """Return the median CPU milliseconds per file of each stage, over interleaved rounds."""
    for stage in measured.values():
        stage(files[0])  # loads what is loaded once
    spent_ms: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, stage in measured.items():
            spent_ms[name].append(_cpu_ms(stage, files))
    return {name: statistics.median(times) for name, times in spent_ms.items()}


def _cpu_ms(stage: Stage, files: Sequence[bytes]) -> float:
    began_s, calls = time.process_time(), 0
    while (spent_s := time.process_time() - began_s) < MIN_SLICE_S or not calls:
        for data in files:
            stage(data)
        calls += len(files)
    return spent_s / calls * 1e3


def _load(data: bytes, format_: Format) -> object:
    with Image.open(BytesIO(data), formats=[format_]) as image:
        return image.load()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table to standard error and JSON to standard output."""
    parser = argparse.ArgumentParser(prog="python -m bench.decode", description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of JPEG photos to measure as well")
    parser.add_argument("--rounds", type=int, default=15, help="interleaved rounds (default 15)")
    parser.add_argument("--peers", action="store_true", help="other decoders that are installed")
    chosen = parser.parse_args(arguments)
    given = [folder_case(chosen.images)] if chosen.images else []
    cases = [*drawn_cases(), *given]
    results = []
    for case in cases:
        kilobytes = round(sum(map(len, case.files)) / len(case.files) / 1000)
        for target in TARGETS:
            measured = stages(case, target)
            if chosen.peers and case.format == "JPEG":
                measured |= peers()
            cpu_ms = measure(measured, case.files, chosen.rounds)
            results.append(
                {"case": case.name, "kilobytes": kilobytes, "target": target, "cpu_ms": cpu_ms}
            )
            row = "  ".join(f"{name} {value:.3f}" for name, value in cpu_ms.items())
            sys.stderr.write(f"{case.name:24} {kilobytes:5} kB  {target:4}  {row}\n")
    json.dump(results, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
