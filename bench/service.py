"""The service under clients that each wait for their answer, against the bound of the same run."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from bench.bounds import ORDINARY, bounds
from bench.job import Job
from bench.load import Result
from bench.plain_loop import Rate
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
Rates = Mapping[str, Sequence[Rate]]  # of the rounds, by the name of a way past HTTP


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
        limits = bounds(parts, job)
        job.generator.closed(parts.running.url, COMPARED, job.effort.seconds / 2)  # warm
        run = partial(closed_run, job, parts.running, duration_s=job.effort.turn_s)
        rates, found = interleaved(limits, run, connections, rounds or job.effort.turns)
    given = f" --rounds {rounds}" if rounds else ""
    command = f"python -m bench service --variants {variant}{given} --connections"
    rows = rate_rows(rates, f"{command} {COMPARED}")
    for clients, runs in found.items():
        rows += run_rows(PART, ("mixer", clients), runs, f"{command} {clients}")
        rows += ratio_rows(clients, runs, rates, f"{command} {clients}")
    return rows


def interleaved(
    limits: Mapping[str, Callable[[], Rate]],
    run: Callable[[int], Run],
    connections: Sequence[int],
    rounds: int,
) -> tuple[dict[str, list[Rate]], dict[int, list[Run]]]:
    """Return the rates past HTTP and the runs, all of one round after another.

    In one process and in short turns, the limits beside the run that matters most: a shared machine
    may change its speed every ten seconds.
    """
    runs = {str(clients): partial(run, clients) for clients in connections}
    compared = {name: call for name, call in runs.items() if name == str(COMPARED)}
    others = {name: call for name, call in runs.items() if name not in compared}
    measures: dict[str, Callable[[], Rate | Run]] = {**others, **limits, **compared}
    found = interleave(measures, rounds)
    return (
        {name: [rate for rate in found[name] if isinstance(rate, Rate)] for name in limits},
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


def rate_rows(rates: Rates, command: str) -> list[Row]:
    """Return a row for each way past HTTP; the bound is the fastest of our own parts."""
    best = _bound(rates)
    return [
        Row(
            PART,
            name,
            "images/s",
            tuple(rate.images_per_s for rate in each),
            command,
            note="the bound" if name == best else "",
        )
        for name, each in rates.items()
    ]


def ratio_rows(clients: int, runs: Sequence[Run], rates: Rates, command: str) -> list[Row]:
    """Compare each run with the bound, and with an ordinary server's parts, of the same round.

    Of the rates ramp and drain are left out, which a bound has not.
    """

    def row(series: str, ratios: Iterable[float]) -> Row:
        whole = f"mixer, {series}"
        return Row(PART, whole, "ratio", tuple(ratios), command, clients, "connections")

    steady_per_s = [run.result["steady_per_s"] for run in runs]
    cpu_ms = [run.numbers["server CPU"][0] for run in runs]
    bound, ordinary = rates[_bound(rates)], rates[ORDINARY]
    return [
        row("share of the bound", _over(steady_per_s, [rate.images_per_s for rate in bound])),
        row("CPU over the bound's", _over(cpu_ms, [rate.cpu_ms for rate in bound])),
        row("CPU over ordinary parts'", _over(cpu_ms, [rate.cpu_ms for rate in ordinary])),
    ]


def _over(values: Sequence[float], others: Sequence[float]) -> Iterable[float]:
    return (value / other for value, other in zip(values, others, strict=True))


def _bound(rates: Rates) -> str:
    """Return the name of the faster way past HTTP with our own parts."""

    def median(name: str) -> float:
        return statistics.median(rate.images_per_s for rate in rates[name])

    return max((name for name in rates if name != ORDINARY), key=median)


def _failures(runs: Sequence[Run]) -> str:
    """Name what was not answered with 2xx: a throughput beside refusals is no throughput."""
    missed = sum(run.result["requests"] - run.result["answered"] for run in runs)
    return f"{missed} without an answer" if missed else ""
