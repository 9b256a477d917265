"""The service under clients that each wait for their answer, against the bound of the same run."""

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from bench.bounds import bounds
from bench.contenders import OURS, contenders
from bench.in_process import InProcess
from bench.job import Job
from bench.load import Result
from bench.processes import cpu_s
from bench.repetition import interleave
from bench.rows import Row
from bench.serving import Running

CONNECTIONS = (1, 8, 32, 64, 128)
COMPARED = 64  # connections at which peers are measured, and the best of the bounds is found
PART = "service"


class Run(NamedTuple):
    """A closed loop's result, and the server's CPU seconds in it."""

    result: Result
    cpu_s: float

    @property
    def numbers(self) -> dict[str, tuple[float, str]]:
        """What a row is made of: value and unit by name."""
        result = self.result
        return {
            "throughput": (result["throughput_per_s"], "images/s"),
            "p50": (result["latency_ms"]["p50"], "ms"),
            "p99": (result["latency_ms"]["p99"], "ms"),
            "server CPU": (self.cpu_s / result["answered"] * 1e3, "ms/answer"),
        }


Key = tuple[str, int]  # a contender's name, or a bound's, and the connections


def measure(
    job: Job, *, variant: str = "S/32", connections: Sequence[int] = CONNECTIONS
) -> list[Row]:
    """Return throughput, latency, batch and CPU for each number of connections."""
    model = job.publish(variant)
    with ExitStack() as stack:
        parts = stack.enter_context(InProcess(store=job.store, model=model, cache=job.cache))
        running = {c.name: stack.enter_context(c.serve()) for c in contenders(job, model)}
        for server in running.values():
            job.generator.closed(server.url, COMPARED, job.effort.seconds / 2)  # warm
        found_bounds, found = _interleaved(job, parts, running, connections)
    command = f"python -m bench service --variants {variant} --connections"
    best = max(found_bounds, key=lambda name: statistics.median(found_bounds[name]))
    rows = [
        Row(
            PART,
            name,
            "images/s",
            tuple(values),
            f"{command} {COMPARED}",
            note="the bound" if name == best else "",
        )
        for name, values in found_bounds.items()
    ]
    for key, runs in found.items():
        own_command = f"{command} {key[1]}"
        rows += run_rows(PART, key, runs, own_command)
        rows.append(_share_row(key, runs, found_bounds[best], own_command))
    return rows


def _interleaved(
    job: Job, parts: InProcess, running: dict[str, Running], connections: Sequence[int]
) -> tuple[dict[str, list[float]], dict[Key, list[Run]]]:
    """Return the bounds' images/s and the runs, all of one round after another."""
    keys = [
        (name, clients)
        for clients in connections
        for name in running
        if name == OURS or clients == COMPARED
    ]
    loads = {key: partial(closed_run, job, running[key[0]], key[1]) for key in keys}
    found_bounds: dict[str, list[float]] = {}
    found: dict[Key, list[Run]] = {}

    def note_bound(name: str, call: Callable[[], float]) -> None:
        found_bounds.setdefault(name, []).append(call())

    def note_run(key: Key, call: Callable[[], Run]) -> None:
        found.setdefault(key, []).append(call())

    measures: dict[str | Key, Callable[[], None]] = {}
    measures |= {name: partial(note_bound, name, call) for name, call in bounds(parts, job).items()}
    measures |= {key: partial(note_run, key, call) for key, call in loads.items()}
    interleave(measures, job.effort.rounds)
    return found_bounds, found


def closed_run(job: Job, server: Running, clients: int) -> Run:
    """Let so many clients ask one server.

    Raises:
        RuntimeError: it answered nothing with 2xx.
    """
    before_s = cpu_s(server.pid)
    result = job.generator.closed(server.url, clients, job.effort.seconds)
    if not result["answered"]:
        raise RuntimeError(f"{server.url} answered nothing: {result['statuses']}")
    return Run(result, cpu_s(server.pid) - before_s)


def run_rows(part: str, key: Key, runs: Sequence[Run], command: str) -> list[Row]:
    """Return a row for each number of these runs, which are repetitions of one measurement."""
    name, clients = key

    def row(series: str, unit: str, values: Sequence[float], note: str = "") -> Row:
        whole = f"{name}, {series}"
        return Row(part, whole, unit, tuple(values), command, clients, "connections", note)

    rows = [
        row(series, unit, [run.numbers[series][0] for run in runs], _failures(runs))
        for series, (_, unit) in runs[0].numbers.items()
    ]
    batches = [mean for run in runs if (mean := run.result["batch_images"]["mean"]) is not None]
    return [*rows, row("mean batch", "images", batches)] if batches else rows  # peers do not tell


def _share_row(key: Key, runs: Sequence[Run], bound: Sequence[float], command: str) -> Row:
    """Compare each run with the bound of the same round."""
    pairs = zip(runs, bound, strict=True)
    shares = tuple(run.result["throughput_per_s"] / images_per_s for run, images_per_s in pairs)
    name = f"{key[0]}, share of the bound"
    return Row(PART, name, "ratio", shares, command, key[1], "connections")


def _failures(runs: Sequence[Run]) -> str:
    """Name what was not answered with 2xx: a throughput beside refusals is no throughput."""
    missed = sum(run.result["requests"] - run.result["answered"] for run in runs)
    return f"{missed} without an answer" if missed else ""
