"""How soon a server is ready, cold and warm; what one lone request costs; what it holds.

The yardstick of a start is what a server of jax models cannot do without: `import jax` in a new
Python process, from its start to its end, and reading the file of the weights into arrays, by
safetensors and from the page cache, without a look at its digest. Both are measured in every round
between the starts, and a ratio is one round's start over the same round's sum.
"""

import compileall
import itertools
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import model_store
import service
from bench.caller import DistantCaller
from bench.job import Job
from bench.processes import held
from bench.repetition import interleave, seconds_of
from bench.rows import Row
from model_store.manifest import PARAMETERS_FILE
from model_store.store import ModelStore

VARIANTS = ("S/32", "B/16")
ROUNDS = 5
LATENCY_ROUNDS = 200
PART = "start"
MIB = 2**20

_READ = """
import sys, time
import ml_dtypes
from safetensors.numpy import load_file
began_s = time.perf_counter()
load_file(sys.argv[1])
print(time.perf_counter() - began_s)
"""

MakeRow = Callable[..., Row]


class Start(NamedTuple):
    """Seconds to ready, and the bytes resident then."""

    seconds: float
    resident_bytes: int


def measure(job: Job, *, variants: Sequence[str] = VARIANTS) -> list[Row]:
    """Return the rows of each variant: starts, latency of a lone request, memory."""
    for package in (service, model_store):  # as in an image, whatever PYTHONDONTWRITEBYTECODE says
        compileall.compile_dir(package.__path__[0], quiet=1)
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
    measures = {
        "cold": starts.cold,
        "warm": starts.warm,
        "import": starts.import_jax,
        "read": starts.read_weights,
    }
    found = interleave(measures, ROUNDS, budget_s=job.effort.start_budget_s)
    return [
        *start_rows(found, weights.stat().st_size, row),
        *_latency_rows(job, model, row),
    ]


def start_rows(found: Mapping[str, Sequence[Start]], weight_bytes: int, row: MakeRow) -> list[Row]:
    """Compare the starts with the yardstick of their own round."""
    seconds = {name: [start.seconds for start in each] for name, each in found.items()}
    needed = [sum(pair) for pair in zip(seconds["import"], seconds["read"], strict=True)]
    resident = [start.resident_bytes for start in found["warm"]]

    def over_needed(name: str) -> list[float]:
        return [start / least for start, least in zip(seconds[name], needed, strict=True)]

    return [
        row("import jax", "s", seconds["import"], "a process of its own"),
        row("read weights", "s", seconds["read"], "file in the page cache to arrays"),
        row("import jax + read weights", "s", needed),
        row("cold start to ready", "s", seconds["cold"], "empty compile cache"),
        row("warm start to ready", "s", seconds["warm"]),
        row("cold start over import + read", "ratio", over_needed("cold")),
        row("warm start over import + read", "ratio", over_needed("warm")),
        row("resident when ready", "MiB", [value / MIB for value in resident], "warm start"),
        row("resident over weights", "ratio", [value / weight_bytes for value in resident]),
    ]


class _Starts:
    """The starts of one model, and their yardstick; a warm one uses what the last cold one left."""

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

    def import_jax(self) -> Start:
        command = [sys.executable, "-c", "import jax"]
        return Start(seconds_of(partial(subprocess.run, command, check=True)), 0)

    def read_weights(self) -> Start:
        command = [sys.executable, "-c", _READ, str(self._weights)]
        done = subprocess.run(command, check=True, capture_output=True)  # noqa: S603
        return Start(float(done.stdout), 0)

    def _fresh(self) -> Path:
        return self._job.work / f"{self._model}-compiled-{next(self._numbers)}"

    def _start(self) -> Start:
        with self._job.server(self._model, cache=self._cache) as running:
            return Start(running.ready_s, held(running.pid).resident_bytes)


def _latency_rows(job: Job, model: str, row: MakeRow) -> list[Row]:
    """Compare a lone request with the decoding and the batch of one that it cannot avoid.

    In one process, but for the client: of two, one may be slower by more than what is looked for.
    """
    picture = job.files[0]
    with (
        job.parts(model, cache=job.cache / model) as parts,
        DistantCaller(parts.running.url, picture) as caller,
    ):
        measures: dict[str, Callable[[], float]] = {
            "request": lambda: caller.ask().latency_s,
            "decode": lambda: parts.decode_s(picture),
            "device": lambda: parts.device_s(1),
        }
        interleave(measures, 2)  # warm
        found = interleave(measures, LATENCY_ROUNDS, budget_s=job.effort.batch_budget_s)
    needed = [sum(pair) for pair in zip(found["decode"], found["device"], strict=True)]
    pairs = list(zip(found["request"], needed, strict=True))
    return [
        *(row(f"{name}, alone", "ms", [s * 1e3 for s in found[name]]) for name in found),
        row("request over decode + device", "ratio", [whole / part for whole, part in pairs]),
        row("request less decode + device", "ms", [(whole - part) * 1e3 for whole, part in pairs]),
    ]
