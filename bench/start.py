"""How soon a server is ready, cold and warm; what one lone request costs; what it holds.

The yardstick of a start is what no start can do without: `import jax` and reading the weights.
"""

import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.caller import Caller
from bench.in_process import InProcess
from bench.job import Job
from bench.processes import held
from bench.repetition import interleave, seconds_of
from bench.rows import Row
from bench.serving import mixer_serve
from model_store.manifest import PARAMETERS_FILE
from model_store.store import ModelStore

VARIANTS = ("S/32", "B/16")
ROUNDS = 5
LATENCY_ROUNDS = 30
PART = "start"
MIB = 2**20

_BARE = """
import pathlib, sys
import jax
from model_store.parameters import read_parameters
read_parameters(pathlib.Path(sys.argv[1]))
"""


class Start(NamedTuple):
    """Seconds to ready, and the bytes resident then."""

    seconds: float
    resident_bytes: int


def measure(job: Job, *, variants: Sequence[str] = VARIANTS) -> list[Row]:
    """Return the rows of each variant: starts, latency of a lone request, memory."""
    return [row for variant in variants for row in _variant(job, variant)]


def _weights(store: Path, model: str) -> Path:
    versions = ModelStore(str(store / "versions"))
    return versions.open(versions.resolve(model)) / PARAMETERS_FILE


def _variant(job: Job, variant: str) -> list[Row]:
    command = f"python -m bench start --variants {variant}"

    def row(series: str, unit: str, values: Sequence[float], note: str = "") -> Row:
        return Row(PART, f"{variant} {series}", unit, tuple(values), command, note=note)

    model = job.publish(variant)
    weights = _weights(job.store, model)
    starts = _Starts(job, model, weights)
    measures = {"cold": starts.cold, "warm": starts.warm, "bare": starts.bare}
    found = interleave(measures, ROUNDS, budget_s=job.effort.start_budget_s)
    seconds = {name: [start.seconds for start in each] for name, each in found.items()}
    ratios = [warm / bare for warm, bare in zip(seconds["warm"], seconds["bare"], strict=True)]
    resident = [start.resident_bytes for start in found["warm"]]
    weight_bytes = weights.stat().st_size
    return [
        row("cold start to ready", "s", seconds["cold"], "empty compile cache"),
        row("warm start to ready", "s", seconds["warm"]),
        row("import jax + read weights", "s", seconds["bare"]),
        row("warm start over that", "ratio", ratios),
        row("resident when ready", "MiB", [value / MIB for value in resident], "warm start"),
        row("resident over weights", "ratio", [value / weight_bytes for value in resident]),
        *_latency_rows(job, model, row),
    ]


class _Starts:
    """The three starts of one model; a warm one uses what the last cold one left."""

    def __init__(self, job: Job, model: str, weights: Path) -> None:
        self._job, self._model, self._weights = job, model, weights
        self._numbers = itertools.count()
        self._cache = self._fresh()

    def cold(self) -> Start:
        self._cache = self._fresh()
        return self._start()

    def warm(self) -> Start:
        if not self._cache.exists():  # a round that runs backwards begins here
            self._start()
        return self._start()

    def bare(self) -> Start:
        command = [sys.executable, "-c", _BARE, str(self._weights)]
        seconds = seconds_of(partial(subprocess.run, command, check=True))
        return Start(seconds, 0)

    def _fresh(self) -> Path:
        return self._job.work / f"{self._model}-compiled-{next(self._numbers)}"

    def _start(self) -> Start:
        log, store = self._job.work / "start.log", self._job.store
        with mixer_serve(log, store=store, model=self._model, cache=self._cache) as running:
            return Start(running.ready_s, held(running.pid).resident_bytes)


def _latency_rows(job: Job, model: str, row: Callable[..., Row]) -> list[Row]:
    """Compare a lone request with the decoding and the batch of one that it cannot avoid."""
    log, store, cache = job.work / "latency.log", job.store, job.cache / model
    picture = job.files[0]
    with (
        InProcess(store=store, model=model, cache=cache) as parts,
        mixer_serve(log, store=store, model=model, cache=cache) as running,
        Caller(running.url, picture) as caller,
    ):
        measures: dict[str, Callable[[], float]] = {
            "request": lambda: caller.ask().latency_s,
            "decode": lambda: parts.decode_s(picture),
            "device": lambda: parts.device_s(1),
        }
        interleave(measures, 2)  # warm
        found = interleave(measures, LATENCY_ROUNDS)
    needed = [sum(pair) for pair in zip(found["decode"], found["device"], strict=True)]
    ratios = [whole / part for whole, part in zip(found["request"], needed, strict=True)]
    return [
        *(row(f"{name}, alone", "ms", [s * 1e3 for s in found[name]]) for name in found),
        row("request over decode + device", "ratio", ratios),
    ]
