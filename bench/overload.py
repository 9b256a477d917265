"""The service under more than it can do: what is answered in time, what is refused, what is late.

Callers are independent (Poisson) and give 500 ms. Then: how soon it is as fast as when idle again.
"""

import itertools
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from bench.caller import Caller, Probe
from bench.job import Job
from bench.load import Result
from bench.repetition import interleave
from bench.rows import Row
from bench.serving import Running

FACTORS = (0.5, 0.8, 1.0, 1.5, 2.0)
CLIENTS = 64  # of the closed loop that measures the capacity
LIMIT_MS = 500
IDLE_PROBES = 15
IDLE_FACTOR = 1.5  # times the idle median is still idle speed
LONGEST_RECOVERY_S = 10.0
CLOSED = 0.0  # no multiple of the capacity: clients who wait for their answers
PART = "overload"

Run = tuple[Result, float | None]  # and the seconds until the service had recovered


class Capacity(NamedTuple):
    """What the service does when idle and when closed loops fill it."""

    images_per_s: float
    idle_s: float


def measure(job: Job, *, variant: str = "S/32", factors: Sequence[float] = FACTORS) -> list[Row]:
    """Return goodput, refusals and lateness at each multiple of the measured capacity."""
    with job.server(job.publish(variant)) as server:
        capacity = _capacity(job, server)
        seeds = itertools.count()
        loads: dict[float, Callable[[], Run]] = {CLOSED: partial(_closed, job, server)}
        loads |= {f: partial(_overload, job, server, capacity, f, seeds) for f in factors}
        found = interleave(loads, job.effort.rounds)
    command = f"python -m bench overload --variants {variant} --factors"
    closed = tuple(result["throughput_per_s"] for result, _ in found.pop(CLOSED))
    goodputs = {f: [result["goodput_per_s"] for result, _ in runs] for f, runs in found.items()}
    peak = max(map(statistics.median, (closed, *goodputs.values())))
    rows = [
        Row(PART, "closed loop", "images/s", closed, f"{command} 1"),
        Row(PART, "peak", "images/s", (peak,), command, note="the best median, closed or open"),
    ]
    for factor, runs in found.items():
        rows += _rows(factor, runs, peak, f"{command} {factor:g}")
    return rows


def _closed(job: Job, server: Running) -> Run:
    return job.generator.closed(server.url, CLIENTS, job.effort.seconds), None


def admitted(result: Result) -> int:
    """Return how many were let in: neither refused nor left without a connection."""
    return int(result["requests"] - result["refused"] - result["failed"])


def shares(result: Result) -> dict[str, float]:
    """Return the shares of the offered requests, and of the admitted those within the limit."""
    offered = max(result["requests"], 1)
    in_time = result["answered"] - result["late"]
    too_late = result["late"] + result["statuses"].get("504", 0)
    return {
        "in time": in_time / offered,
        "refused": result["refused"] / offered,
        "late": too_late / offered,
        "failed": result["failed"] / offered,
        "in time, of the admitted": in_time / max(admitted(result), 1),
    }


def recovery_s(probes: Sequence[Probe], load_ended_s: float, idle_s: float) -> float | None:
    """Return how long after the load's end a lone caller was first answered at idle speed."""
    after = (p for p in probes if p.done_s >= load_ended_s and at_idle_speed(p, idle_s))
    return next((probe.done_s - load_ended_s for probe in after), None)


def at_idle_speed(probe: Probe, idle_s: float) -> bool:
    """Say whether a lone caller was answered as fast as when the server was idle."""
    return probe.status == 200 and probe.latency_s <= IDLE_FACTOR * idle_s


class Watch(threading.Thread):
    """A lone caller beside the load, who asks again whenever he was answered."""

    def __init__(self, caller: Caller, idle_s: float) -> None:
        super().__init__(daemon=True)
        self.probes: list[Probe] = []
        self.load_ended_s: float | None = None  # set by the owner, when it is known
        self._caller, self._idle_s = caller, idle_s

    def run(self) -> None:
        """Ask until he is answered at idle speed after the end of the load, or it lasts long."""
        while not self._recovered():
            self.probes.append(self._caller.ask())

    def _recovered(self) -> bool:
        if self.load_ended_s is None or not self.probes:
            return False
        too_long = self.probes[-1].done_s > self.load_ended_s + LONGEST_RECOVERY_S
        return too_long or recovery_s(self.probes, self.load_ended_s, self._idle_s) is not None


def _capacity(job: Job, server: Running) -> Capacity:
    job.generator.closed(server.url, CLIENTS, job.effort.seconds / 2)  # warm
    rates = [
        job.generator.closed(server.url, CLIENTS, job.effort.seconds)["throughput_per_s"]
        for _ in range(job.effort.rounds)
    ]
    with Caller(server.url, job.files[0]) as caller:
        idle = [caller.ask() for _ in range(IDLE_PROBES)]
    idle_s = statistics.median(probe.latency_s for probe in idle)
    return Capacity(statistics.median(rates), idle_s)


def _overload(
    job: Job, server: Running, capacity: Capacity, factor: float, seeds: Iterator[int]
) -> Run:
    """Return what the generator saw, and the seconds until the service had recovered."""
    rate_per_s, duration_s = factor * capacity.images_per_s, job.effort.seconds
    with Caller(server.url, job.files[0]) as caller:
        watch = Watch(caller, capacity.idle_s)
        watch.start()
        result = job.generator.poisson(server.url, rate_per_s, duration_s, LIMIT_MS, next(seeds))
        # The result was written when the last request was settled, `elapsed_s` after the start.
        written_s = job.generator.result.stat().st_mtime
        watch.load_ended_s = ended_s = written_s - (result["elapsed_s"] - duration_s)
        watch.join()
    return result, recovery_s(watch.probes, ended_s, capacity.idle_s)


def _rows(factor: float, runs: Sequence[Run], peak: float, command: str) -> list[Row]:
    def row(series: str, unit: str, values: Sequence[float], note: str = "") -> Row:
        return Row(PART, series, unit, tuple(values), command, factor, "capacity x", note)

    results = [result for result, _ in runs]
    rows = [
        row("offered", "requests/s", [result["offered_per_s"] for result in results]),
        row("goodput", "images/s", [result["goodput_per_s"] for result in results]),
        row("goodput over the peak", "ratio", [r["goodput_per_s"] / peak for r in results]),
    ]
    rows += [
        row(name, "share", [shares(result)[name] for result in results])
        for name in shares(results[0])
    ]
    recovered = [seconds * 1e3 for _, seconds in runs if seconds is not None]
    missing = len(runs) - len(recovered)
    never = f"{missing} not within {LONGEST_RECOVERY_S:g} s" if missing else ""
    if recovered:
        rows.append(row("recovery", "ms", recovered, never))
    else:
        rows.append(row("recovery", "ms", [LONGEST_RECOVERY_S * 1e3], f"{never}: a lower bound"))
    return rows
