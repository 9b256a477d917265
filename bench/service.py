"""The service under clients that each wait for their answer, against the bound of the same run."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from bench.bounds import bounds
from bench.in_process import InProcess
from bench.job import Job
from bench.load import Result
from bench.processes import cpu_s
from bench.repetition import interleave
from bench.rows import Row
from bench.serving import Running

CONNECTIONS = (1, 8, 32, 64, 128)
COMPARED = 64  # connections that the bounds have under way, too
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


Key = tuple[str, int]  # who was measured, and the connections


def measure(
    job: Job,
    *,
    variant: str = "S/32",
    connections: Sequence[int] = CONNECTIONS,
    rounds: int | None = None,
) -> list[Row]:
    """Return throughput, latency, batch and CPU for each number of connections.

    Instead of as many turns as the effort says, each has `rounds`.
    """
    model = job.publish(variant)
    with job.parts(model) as parts:
        job.generator.closed(parts.running.url, COMPARED, job.effort.seconds / 2)  # warm
        found_bounds, found = _interleaved(job, parts, connections, rounds or job.effort.turns)
    given = f" --rounds {rounds}" if rounds else ""
    command = f"python -m bench service --variants {variant}{given} --connections"
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
    for clients, runs in found.items():
        own_command = f"{command} {clients}"
        rows += run_rows(PART, ("mixer", clients), runs, own_command)
        rows.append(_share_row(clients, runs, found_bounds[best], own_command))
    return rows


def _interleaved(
    job: Job, parts: InProcess, connections: Sequence[int], rounds: int
) -> tuple[dict[str, list[float]], dict[int, list[Run]]]:
    """Return the bounds' images/s and the runs, all of one round after another.

    In one process and in short turns, the bounds beside the run that matters most: a shared machine
    may change its speed every ten seconds.
    """
    limits = bounds(parts, job)
    run = partial(closed_run, job, parts.running, duration_s=job.effort.turn_s)
    runs = {str(clients): partial(run, clients) for clients in connections}
    compared = {name: call for name, call in runs.items() if name == str(COMPARED)}
    others = {name: call for name, call in runs.items() if name not in compared}
    measures: dict[str, Callable[[], float | Run]] = {**others, **limits, **compared}
    found = interleave(measures, rounds)
    return (
        {name: [rate for rate in found[name] if isinstance(rate, float)] for name in limits},
        {int(name): [run for run in found[name] if isinstance(run, Run)] for name in runs},
    )


def closed_run(job: Job, server: Running, clients: int, *, duration_s: float) -> Run:
    """Let so many clients ask one server.

    Raises:
        RuntimeError: it answered nothing with 2xx.
    """
    before_s = cpu_s(server.pid)
    result = job.generator.closed(server.url, clients, duration_s)
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
    batches = [run.result["batch_images"]["mean"] for run in runs]
    return [*rows, row("mean batch", "images", batches)]


def _share_row(clients: int, runs: Sequence[Run], bound: Sequence[float], command: str) -> Row:
    """Compare each run, less ramp and drain, with the bound of the same round, which has none."""
    pairs = zip(runs, bound, strict=True)
    shares = tuple(run.result["steady_per_s"] / images_per_s for run, images_per_s in pairs)
    return Row(PART, "mixer, share of the bound", "ratio", shares, command, clients, "connections")


def _failures(runs: Sequence[Run]) -> str:
    """Name what was not answered with 2xx: a throughput beside refusals is no throughput."""
    missed = sum(run.result["requests"] - run.result["answered"] for run in runs)
    return f"{missed} without an answer" if missed else ""
