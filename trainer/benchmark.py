"""How fast training steps are here: `python -m trainer.benchmark` (or `make bench-train`).

Each row is a process of its own, so that its peak memory is its own, and trains on JPEG photos of
500 x 375 pixels made for the occasion, through the whole pipeline: decoding, augmentation, step.
MFU is analytic FLOP/s (three times those of a forward pass) over what one large matrix product in
float32 reaches in the same process.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

from model_store.allocator import keep_freed_memory
from model_store.variants import variant_config
from trainer.config import ComputeConfig, DataConfig
from trainer.configs.paper import RECIPES
from trainer.run import TrainingRun

CLASSES, PHOTOS_PER_CLASS = 4, 24
MATRIX_SIDE = 2048


@dataclass(frozen=True)
class Benchmark:
    """One row: steps of a variant at 224 pixels with RandAugment, mixup and stochastic depth."""

    variant: str = "S/16"
    dtype: Literal["float32", "bfloat16"] = "float32"
    rematerialise: bool = False
    batch_size: int = 8
    steps: int = 3
    """Timed steps, after two that are not."""


class Row(NamedTuple):
    """What was measured; see the table's heads for the units."""

    images_per_second: float
    gflop_per_second: float
    mfu: float
    data_wait_share: float
    peak_memory_gib: float


def measure(benchmark: Benchmark, photos: Path, run_dir: Path) -> Row:
    """Train on the photos and return medians over the timed steps."""
    _, recipe = RECIPES["imagenet-b16"]
    config = replace(
        recipe,
        model=variant_config(benchmark.variant, num_classes=CLASSES),
        data=DataConfig(path=photos),
        evaluate_on="test",
        steps=1000,
        batch_size=benchmark.batch_size,
        compute=ComputeConfig(benchmark.dtype, rematerialise=benchmark.rematerialise),
        run_dir=run_dir,
    )
    peak_flop_per_s = matrix_flop_per_second()
    with TrainingRun(config) as run:
        times = []
        for step in range(2 + benchmark.steps):
            run.advance()
            if step >= 2:
                times.append(run.step_time)
    step_s = statistics.median(time.total_s for time in times)
    images_per_second = config.batch_size / step_s
    flop_per_s = images_per_second * 3 * 2 * config.model.multiply_accumulates
    return Row(
        images_per_second,
        flop_per_s / 1e9,
        flop_per_s / peak_flop_per_s,
        sum(time.data_wait_s for time in times) / sum(time.total_s for time in times),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    )


def matrix_flop_per_second() -> float:
    """Return the median rate of a square float32 product, in FLOP/s."""
    x = jnp.ones((MATRIX_SIDE, MATRIX_SIDE))
    product = jax.jit(jnp.matmul)
    product(x, x).block_until_ready()
    seconds = []
    for _ in range(5):
        began_s = time.perf_counter()
        product(x, x).block_until_ready()
        seconds.append(time.perf_counter() - began_s)
    return 2 * MATRIX_SIDE**3 / statistics.median(seconds)


def write_photos(folder: Path) -> None:
    """Write class folders of JPEG photos as large as ImageNet's, smooth as photos are."""
    rng = np.random.default_rng(0)
    for split, count in (("train", PHOTOS_PER_CLASS), ("test", 1)):
        for label in range(CLASSES):
            (folder / split / f"class-{label}").mkdir(parents=True)
            for number in range(count):
                coarse = rng.integers(0, 256, (38, 50, 3), dtype=np.uint8)
                photo = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
                photo.save(folder / split / f"class-{label}" / f"{number}.jpg", quality=90)


ROWS = tuple(
    Benchmark(variant, dtype, rematerialise, batch_size)
    for variant, batch_size in (("S/16", 32), ("B/16", 16))
    for dtype in ("float32", "bfloat16")
    for rematerialise in (False, True)
)


def run_all(rows: tuple[Benchmark, ...] = ROWS) -> None:
    """Measure every row in a process of its own and print the table."""
    table = Table(
        *("variant", "dtype", "remat", "batch", "images/s", "GFLOP/s", "MFU", "data wait"),
        "peak GiB",
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder)
        for benchmark in rows:
            row = _in_own_process(benchmark, folder)
            table.add_row(
                *(benchmark.variant, benchmark.dtype, "yes" if benchmark.rematerialise else "no"),
                *(str(benchmark.batch_size), f"{row.images_per_second:.2f}"),
                *(f"{row.gflop_per_second:.0f}", f"{row.mfu:.0%}"),
                *(f"{row.data_wait_share:.1%}", f"{row.peak_memory_gib:.1f}"),
            )
    Console(width=100).print(table)


def _in_own_process(benchmark: Benchmark, folder: Path) -> Row:
    done = subprocess.run(  # noqa: S603 - this module with our own arguments
        [
            *(sys.executable, "-m", "trainer.benchmark", "one", "--folder", str(folder)),
            *("--benchmark.variant", benchmark.variant, "--benchmark.dtype", benchmark.dtype),
            *("--benchmark.batch-size", str(benchmark.batch_size)),
            *("--benchmark.steps", str(benchmark.steps)),
            "--benchmark.rematerialise"
            if benchmark.rematerialise
            else "--benchmark.no-rematerialise",
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def run_one(folder: Path, benchmark: Benchmark = Benchmark()) -> None:
    """Measure one row and print it as JSON."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as run_dir:
        print(json.dumps(measure(benchmark, folder, Path(run_dir))._asdict()))


def main() -> None:
    """Run the command line."""
    tyro.extras.subcommand_cli_from_dict({"all": run_all, "one": run_one})


if __name__ == "__main__":
    main()
