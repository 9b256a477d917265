"""What the hardware allows: the device alone, decoding alone, and both in one process."""

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import get_args

import numpy as np

from bench import ordinary
from bench.in_process import InProcess, pixels_of
from bench.job import Job
from bench.networks import architecture, random_weights
from bench.plain_loop import PlainLoop, Rate
from bench.repetition import interleave, seconds_of
from bench.rows import Row
from model_store.preprocess import Preprocessing
from service.runtimes.program import Program
from service.runtimes.selection import Compiling, Network, Unsupported, make_program, runtimes
from service.settings import Precision, Runtime, load_settings

BATCHES = (1, 2, 4, 8, 16, 32)
DEVICE_ROUNDS = 9
IN_FLIGHT = 64
ORDINARY = "ordinary parts, plain loop"
PART = "bounds"


def measure(job: Job, *, variant: str = "S/32", batches: Sequence[int] = BATCHES) -> list[Row]:
    """Return the device's, the decoders' and the pipeline's images/s."""
    command = f"python -m bench bounds --variants {variant}"
    rows = device_rows(job, variant, batches, command)
    with job.parts(job.publish(variant)) as parts:
        rows.append(_decode_row(job, parts.preprocessing, command))
        found = interleave(bounds(parts, job), job.effort.turns)
    return rows + [
        _row(name, [rate.images_per_s for rate in rates], command) for name, rates in found.items()
    ]


def device_rows(job: Job, variant: str, batches: Sequence[int], command: str) -> list[Row]:
    """Return images/s of every runtime and precision, one batch size after another."""
    programs = _programs(variant)
    rows = []
    for batch in batches:
        calls = {name: _timed(program, variant, batch) for name, program in programs.items()}
        budget_s = job.effort.batch_budget_s
        found = interleave(calls, DEVICE_ROUNDS, budget_s=budget_s)
        for (runtime, precision), seconds in found.items():
            rates = [batch / value for value in seconds]
            series, own_command = (
                f"device alone, {runtime} {precision}",
                f"{command} --batches {batch}",
            )
            rows.append(_row(series, rates, own_command, batch))
    return rows


def bounds(parts: InProcess, job: Job) -> dict[str, Callable[[], Rate]]:
    """Return ways to keep decoders and device busy at once, as measures: two with our parts."""
    options = (job.files, IN_FLIGHT, job.effort.turn_s)
    return {
        "pipeline bound, the service's batcher": partial(parts.through_batcher, *options),
        "pipeline bound, plain loop": partial(parts.by_hand, *options),
        ORDINARY: partial(_ordinary_loop(parts, job.precision).run, *options),
    }


def _ordinary_loop(parts: InProcess, precision: Precision) -> PlainLoop:
    """Return the loop around what `bench.ordinary` makes of the architecture, weights random."""
    # Only here: a server of OpenVINO's has no jax either, beside which the other parts measure.
    from bench.ordinary_program import OrdinaryProgram  # noqa: PLC0415

    manifest = parts.model.manifest
    config, preprocessing = manifest.architecture, manifest.preprocessing
    arrays = random_weights(config)
    program = OrdinaryProgram(config, preprocessing, arrays, precision=precision)
    return PlainLoop(
        decode=partial(ordinary.pixels_of, preprocessing=preprocessing),
        compute=program,
        batch=program.best_batch(),
        threads=parts.decode_threads,
    )


def _programs(variant: str) -> dict[tuple[Runtime, Precision], Program]:
    config = architecture(variant)
    preprocessing = Preprocessing(
        resize="squash", resize_size=config.image_size, crop_size=config.image_size
    )
    arrays = random_weights(config)
    nobody = Compiling(lambda: None)
    return {
        (runtime, precision): make_program(
            runtime, Network(config, preprocessing, arrays, precision), nobody
        )
        for precision in get_args(Precision)
        for runtime in _runtimes(precision)
    }


def _runtimes(precision: Precision) -> tuple[Runtime, ...]:
    try:
        return runtimes("auto", precision)
    except Unsupported:
        return ()


def _timed(program: Program, variant: str, batch: int) -> Callable[[], float]:
    size = architecture(variant).image_size
    images = np.random.default_rng(batch).integers(0, 256, (batch, size, size, 3), np.uint8)
    program.compile(batch)
    program(images)  # the first is not counted
    return lambda: seconds_of(lambda: program(images))


def _decode_row(job: Job, preprocessing: Preprocessing, command: str) -> Row:
    threads = load_settings({}).decode_threads
    rates = [_decode_rate(job, preprocessing, threads) for _ in range(job.effort.rounds)]
    kilobytes = sum(map(len, job.files)) / len(job.files) / 1e3
    note = f"{threads} threads, {kilobytes:.0f} kB a picture"
    return Row(PART, "decode and resize alone", "images/s", tuple(rates), command, note=note)


def _decode_rate(job: Job, preprocessing: Preprocessing, threads: int) -> float:
    following = itertools.cycle(job.files)
    with ThreadPoolExecutor(threads) as decoders:
        done, began_s = 0, time.perf_counter()
        while time.perf_counter() - began_s < job.effort.seconds / 2:
            batch = list(itertools.islice(following, IN_FLIGHT))
            done += len(list(decoders.map(partial(pixels_of, preprocessing=preprocessing), batch)))
        return done / (time.perf_counter() - began_s)


def _row(series: str, rates: Sequence[float], command: str, batch: int | None = None) -> Row:
    return Row(PART, series, "images/s", tuple(rates), command, batch, "batch" if batch else "")
