"""The service under more than it can do: what is answered in time, what is refused, what is late.

Callers are independent (Poisson) and give 500 ms. Then: how soon it is as fast as when idle again.
The capacity is what closed loops get right before and right after, since a shared machine may
change its speed from one minute to the next.
"""

import itertools
import statistics
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from bench.caller import Caller, Probe
from bench.job import Job
from bench.load import Result
from bench.repetition import interleave
from bench.rows import Row
from bench.serving import Running

FACTORS = (0.5, 0.8, 1.0, 1.5, 2.0)
CLIENTS = 64  # of the closed loops that measure the capacity
LIMIT_MS = 500
IDLE_PROBES = 15
IDLE_FACTOR = 1.5  # times the idle median is still idle speed
LONGEST_RECOVERY_S = 10.0
PART = "overload"


class Run(NamedTuple):
    """What the generator saw and a lone caller beside it, and the capacity around them.

    What the lone caller was answered in time counts as goodput: he takes it from the others.
    """

    result: Result
    lone_per_s: float
    recovery_s: float | None
    capacity_per_s: float

    @property
    def goodput_per_s(self) -> float:
        """Answers in time, whoever got them."""
        return float(self.result["goodput_per_s"]) + self.lone_per_s

    @property
    def of_capacity(self) -> float:
        """Goodput over the capacity of the same minute."""
        return self.goodput_per_s / self.capacity_per_s


def measure(
    job: Job,
    *,
    variant: str = "S/32",
    factors: Sequence[float] = FACTORS,
    rounds: int | None = None,
) -> list[Row]:
    """Return goodput, refusals and lateness at each multiple of the measured capacity.

    Instead of as often as the effort says, each is measured `rounds` times.
    """
    with job.server(job.publish(variant)) as server:
        _closed(job, server)  # warm
        idle_s = _idle_s(job, server)
        seeds = itertools.count()
        loads = {f: partial(_overload, job, server, idle_s, f, seeds) for f in factors}
        found = interleave(loads, rounds or job.effort.rounds)
    given = f"--rounds {rounds} " if rounds else ""
    command = f"python -m bench overload --variants {variant} {given}--factors"
    rows = [
        row
        for factor, runs in found.items()
        for row in run_rows(factor, runs, f"{command} {factor:g}")
    ]
    return rows + peak_rows(found, f"{command} {' '.join(f'{factor:g}' for factor in found)}")


def _closed(job: Job, server: Running) -> float:
    result = job.generator.closed(server.url, CLIENTS, job.effort.turn_s)
    return float(result["throughput_per_s"])


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


def lone_per_s(probes: Sequence[Probe], began_s: float, ended_s: float) -> float:
    """Return how many answers a second a lone caller got in time between two moments."""
    in_time = [
        probe
        for probe in probes
        if probe.status == 200
        and probe.latency_s <= LIMIT_MS / 1e3
        and began_s <= probe.done_s <= ended_s
    ]
    return len(in_time) / (ended_s - began_s)


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


def _idle_s(job: Job, server: Running) -> float:
    with Caller(server.url, job.files[0]) as caller:
        return statistics.median(caller.ask().latency_s for _ in range(IDLE_PROBES))


def _overload(job: Job, server: Running, idle_s: float, factor: float, seeds: Iterator[int]) -> Run:
    before_per_s = _closed(job, server)
    rate_per_s, duration_s = factor * before_per_s, job.effort.seconds
    with Caller(server.url, job.files[0]) as caller:
        watch = Watch(caller, idle_s)
        watch.start()
        result = job.generator.poisson(server.url, rate_per_s, duration_s, LIMIT_MS, next(seeds))
        # The result was written when the last request was settled, `elapsed_s` after the start.
        written_s = job.generator.result.stat().st_mtime
        watch.load_ended_s = ended_s = written_s - (result["elapsed_s"] - duration_s)
        watch.join()
    capacity_per_s = (before_per_s + _closed(job, server)) / 2
    return Run(
        result,
        lone_per_s(watch.probes, ended_s - duration_s, ended_s),
        recovery_s(watch.probes, ended_s, idle_s),
        capacity_per_s,
    )


def run_rows(factor: float, runs: Sequence[Run], command: str) -> list[Row]:
    """Return the rows of one multiple of the capacity."""

    def row(series: str, unit: str, values: Sequence[float], note: str = "") -> Row:
        return Row(PART, series, unit, tuple(values), command, factor, "capacity x", note)

    results = [run.result for run in runs]
    rows = [
        row("capacity", "images/s", [run.capacity_per_s for run in runs], "before and after"),
        row("offered", "requests/s", [result["offered_per_s"] for result in results]),
        row("goodput", "images/s", [run.goodput_per_s for run in runs]),
        row("goodput over the capacity", "ratio", [run.of_capacity for run in runs]),
    ]
    rows += [
        row(name, "share", [shares(result)[name] for result in results])
        for name in shares(results[0])
    ]
    recovered = [run.recovery_s * 1e3 for run in runs if run.recovery_s is not None]
    missing = len(runs) - len(recovered)
    never = f"{missing} not within {LONGEST_RECOVERY_S:g} s" if missing else ""
    if recovered:
        rows.append(row("recovery", "ms", recovered, never))
    else:
        rows.append(row("recovery", "ms", [LONGEST_RECOVERY_S * 1e3], f"{never}: a lower bound"))
    return rows


def peak_rows(found: Mapping[float, Sequence[Run]], command: str) -> list[Row]:
    """Return each load's goodput over that of the load where it is highest, by medians.

    Both over the capacity of their own minutes. Where there is one load alone, nothing.
    """
    if len(found) == 1:
        return []
    peak = max(statistics.median(run.of_capacity for run in runs) for runs in found.values())
    return [
        Row(
            PART,
            "goodput over the peak",
            "ratio",
            tuple(run.of_capacity / peak for run in runs),
            command,
            factor,
            "capacity x",
        )
        for factor, runs in found.items()
    ]
