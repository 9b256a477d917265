"""Every variant of Table 1 on a GPU: `python -m bench.gpu` (or `make bench-gpu`).

Images per second and MFU of our network in bfloat16 at batches of 32 to 8192, each against timm's
in PyTorch (`torch.compile`) where torch with CUDA and timm are installed: same GPU, same process,
runs in turn, each with 45 % of the memory. Batches lie on the GPU; ours are bytes, normalised
inside, timm's are normalised already. A batch that does not fit is left out. Then the HTTP path.

THIS HAS NEVER RUN ON A GPU: there was none to run it on. Without a GPU it says so, and that is all
that has been seen of it.
"""

import argparse
import importlib
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine
from bench.job import FULL, QUICK, Job
from bench.networks import architecture, random_weights
from bench.repetition import interleave
from bench.rows import Row, table, write
from bench.service import closed_run, run_rows
from model_store.preprocess import Preprocessing, normalise
from model_store.variants import VARIANTS, MixerConfig

PART = "gpu"
BATCHES = tuple(2**power for power in range(5, 14))  # 32 to 8192
CALLS = 10  # in a row, and waited for together
MEMORY_SHARE = 0.45
HTTP_VARIANT, HTTP_CONNECTIONS = "S/32", (64, 128, 256)

# Dense bfloat16 FLOP/s by a part of jax's device kind, as their makers state; the first match.
PEAK_FLOP_PER_S = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "T4": 65e12,  # float16: it has no bfloat16
}

_KIND = """
import jax
found = [device.device_kind for device in jax.devices() if device.platform == "gpu"]
print(found[0] if found else "")
"""

Measure = Callable[[], float]  # images/s


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, without a GPU too."""
    logging.basicConfig(level="WARNING", format="%(name)s: %(message)s")
    options = _parser().parse_args(arguments)
    kind = gpu_kind()
    if not kind:
        print("bench.gpu: jax sees no GPU here, so there is nothing to measure")
        return 0
    facts = machine.facts() | {"gpu": kind}
    print(machine.describe(facts), end="\n\n", flush=True)
    effort = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        # First, while this process holds none of the GPU's memory.
        rows = http_rows(Job(effort, Path(folder), precision="bfloat16"))
    rows += device_rows(options.variants, options.batches, kind, effort.rounds)
    print(table(rows))
    write(options.out / "gpu.json", facts, rows)
    return 0


def gpu_kind() -> str:
    """Return the first GPU's kind, or nothing; asked in a child, which leaves the GPU again."""
    command = [sys.executable, "-c", _KIND]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout.strip()


def peak_flop_per_s(kind: str) -> float | None:
    """Return the dense bfloat16 peak of a device kind, None when it is not known."""
    return next((peak for name, peak in PEAK_FLOP_PER_S.items() if name in kind), None)


def mfu(config: MixerConfig, images_per_s: float, peak: float) -> float:
    """Return the share of the peak that the forward passes' matrix products need."""
    return config.forward_cost.flops * images_per_s / peak


def http_rows(job: Job) -> list[Row]:
    """Return the service's throughput, latency and CPU over HTTP, in bfloat16."""
    with job.server(job.publish(HTTP_VARIANT)) as server:
        job.generator.closed(server.url, HTTP_CONNECTIONS[0], job.effort.seconds / 2)  # warm
        runs = {
            n: partial(closed_run, job, server, n, duration_s=job.effort.seconds)
            for n in HTTP_CONNECTIONS
        }
        found = interleave(runs, job.effort.rounds)
    name = f"{HTTP_VARIANT} over HTTP"
    rows = [run_rows(PART, (name, n), each, "python -m bench.gpu") for n, each in found.items()]
    return [row for each in rows for row in each]


def device_rows(
    variants: Sequence[str], batches: Sequence[int], kind: str, rounds: int
) -> list[Row]:
    """Return images/s, MFU and the ratio to timm of every variant and batch that fits."""
    # Read when jax first looks for devices. Set, not read.
    os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = str(MEMORY_SHARE)  # noqa: TID251
    rows: list[Row] = []
    for variant in variants:
        config = architecture(variant)
        engines = list(_engines(config))
        for batch in batches:
            measures = {
                name: measure
                for name, prepare in engines
                if (measure := prepare(batch)) is not None
            }
            if measures:
                found = interleave(measures, max(rounds, 1))
                rows += _rows(variant, batch, found, peak_flop_per_s(kind))
    return rows


Prepare = Callable[[int], Measure | None]  # None: the batch does not fit


def _engines(config: MixerConfig) -> Iterator[tuple[str, Prepare]]:
    yield "ours", partial(_prepare_ours, _network(config), config)
    if (
        find_spec("torch")
        and find_spec("timm")
        and importlib.import_module("torch").cuda.is_available()
    ):
        timm = importlib.import_module("bench.timm_mixer")
        timm.limit_memory(MEMORY_SHARE)
        yield "timm", partial(_prepare_timm, timm, timm.timm_mixer(config), config)


def _network(config: MixerConfig) -> tuple[Any, Any]:
    """Return the jitted function of parameters and bytes, as the service has it, and parameters."""
    import jax  # noqa: PLC0415  (after the environment is set)
    import jax.numpy as jnp  # noqa: PLC0415
    from flax import nnx  # noqa: PLC0415

    from model_store.layers import Execution  # noqa: PLC0415
    from model_store.mixer import load_state  # noqa: PLC0415

    size = config.image_size
    preprocessing = Preprocessing(resize="squash", resize_size=size, crop_size=size)
    graph, params = load_state(config, random_weights(config), Execution(dtype=jnp.bfloat16))

    def forward(params: Any, images_BxHxWx3: Any) -> Any:
        return nnx.merge(graph, params)(normalise(images_BxHxWx3, preprocessing))

    return jax.jit(forward), jax.device_put(params)


def _prepare_ours(network: tuple[Any, Any], config: MixerConfig, batch: int) -> Measure | None:
    import jax  # noqa: PLC0415

    jitted, params = network
    shape = (batch, config.image_size, config.image_size, 3)
    pixels = np.random.default_rng(batch).integers(0, 256, shape, np.uint8)

    def run() -> float:
        began_s = time.perf_counter()
        for _ in range(CALLS):
            output = compiled(params, images)
        jax.block_until_ready(output)  # type: ignore[no-untyped-call]
        return batch * CALLS / (time.perf_counter() - began_s)

    try:
        images = jax.device_put(pixels)
        compiled = jitted.lower(params, images).compile()
        run()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None
    return run


def _prepare_timm(timm: Any, model: Any, config: MixerConfig, batch: int) -> Measure | None:
    try:
        measure: Measure = timm.prepare(model, config, batch, CALLS)
    except timm.OutOfMemory:
        return None
    return measure


def _rows(variant: str, batch: int, found: dict[str, list[float]], peak: float | None) -> list[Row]:
    command = f"python -m bench.gpu --variants {variant} --batches {batch}"

    def row(series: str, unit: str, values: Sequence[float]) -> Row:
        return Row(PART, f"{variant} {series}", unit, tuple(values), command, batch, "batch")

    rows = [row(name, "images/s", rates) for name, rates in found.items()]
    if peak is not None:
        config = architecture(variant)
        rows += [
            row(f"{name}, MFU", "share", [mfu(config, rate, peak) for rate in rates])
            for name, rates in found.items()
        ]
    if len(found) == 2:
        ratios = [ours / timm for ours, timm in zip(found["ours"], found["timm"], strict=True)]
        rows.append(row("ours over timm", "ratio", ratios))
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder to write to")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter repetitions")
    return parser


if __name__ == "__main__":
    sys.exit(main())
