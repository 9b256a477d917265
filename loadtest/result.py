"""What a run measured, computed from every sample once the run is over."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.sample import Sample
from loadtest.server_timing import ServerTiming, parse_server_timing

REFUSED = (429, 503)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A mean and percentiles, each a value that was observed; all None when nothing was."""

    count: int
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    largest: float | None = None


@dataclass(frozen=True, slots=True)
class Generator:
    """How the generator itself fared: a starved one measures itself instead of the server."""

    cpu_s: float
    cpu_ms_per_request: float
    worst_lag_ms: float
    p99_lag_ms: float


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The numbers of one run. Latency counts from the scheduled arrival, for 2xx answers alone."""

    mode: str  # "open" or "closed"
    elapsed_s: float  # until the end of the schedule or the last answer, whichever came later
    offered_per_s: float
    requests: int
    statuses: dict[str, int]
    answered: int  # with 2xx
    refused: int  # with 429 or 503
    failed: int  # no whole answer
    failures: dict[str, int]
    late: int  # 2xx, but after limit_ms
    limit_ms: float | None
    throughput_per_s: float  # 2xx
    goodput_per_s: float  # 2xx within limit_ms
    steady_per_s: float  # 2xx between the ramp and the drain: see `steady_rate`
    latency_ms: Distribution
    stages_ms: dict[str, Distribution]  # of Server-Timing; `outside`: what the server did not see
    batch_images: Distribution
    generator: Generator

    def to_json(self) -> str:
        """Return every field, as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    def write(self, file: Path) -> None:
        """Write the JSON to a file."""
        file.write_text(self.to_json() + "\n", encoding="utf-8")


def summarise(
    samples: Sequence[Sample],
    *,
    mode: str,
    duration_s: float,
    limit_s: float | None,
    cpu_s: float,
) -> LoadResult:
    """Count and measure the samples of a run that was to last `duration_s`."""
    elapsed_s = max([duration_s, *(sample.done_s for sample in samples)])
    answered = [s for s in samples if s.failure is None and 200 <= s.status < 300]
    late = sum(limit_s is not None and s.latency_s > limit_s for s in answered)
    statuses = Counter(str(s.status) for s in samples if s.failure is None)
    failures = Counter(str(s.failure) for s in samples if s.failure is not None)
    timings = [(s, parse_server_timing(s.server_timing.decode("latin-1"))) for s in answered]
    return LoadResult(
        mode=mode,
        elapsed_s=elapsed_s,
        offered_per_s=len(samples) / duration_s,
        requests=len(samples),
        statuses=dict(sorted(statuses.items())),
        answered=len(answered),
        refused=sum(statuses[str(status)] for status in REFUSED),
        failed=failures.total(),
        failures=dict(sorted(failures.items())),
        late=late,
        limit_ms=None if limit_s is None else limit_s * 1e3,
        throughput_per_s=len(answered) / elapsed_s,
        goodput_per_s=(len(answered) - late) / elapsed_s,
        steady_per_s=steady_rate((s.done_s for s in answered), duration_s),
        latency_ms=distribution(s.latency_s * 1e3 for s in answered),
        stages_ms=_stages_ms(timings),
        batch_images=distribution(t.batch_images for _, t in timings if t.batch_images is not None),
        generator=_generator(samples, cpu_s),
    )


def steady_rate(done_s: Iterable[float], duration_s: float) -> float:
    """Return the answers a second in the last three quarters of a run, up to its scheduled end.

    Before, a queue forms; after, it drains. It is the slope of the straight line that is nearest to
    the count of answers at every instant, by least squares: answers come in bursts, and how many of
    these lie between two instants is chance.
    """
    began_s = duration_s / 4
    window_s, middle_s = duration_s - began_s, (began_s + duration_s) / 2
    from_middle_s = np.array([t - middle_s for t in done_s if began_s < t <= duration_s])
    # What one answer adds to the slope: half as much again as to a count in the middle of the
    # window, and nothing at its ends.
    return float((6 / window_s**3 * (window_s**2 / 4 - from_middle_s**2)).sum())


def distribution(values: Iterable[float]) -> Distribution:
    """Return mean and nearest-rank percentiles of all values."""
    array = np.fromiter(values, np.float64)
    if array.size == 0:
        return Distribution(0)
    ranks = np.percentile(array, (50, 90, 95, 99, 99.9, 100), method="inverted_cdf")
    return Distribution(array.size, float(array.mean()), *map(float, ranks))


def _stages_ms(timings: Iterable[tuple[Sample, ServerTiming]]) -> dict[str, Distribution]:
    found: dict[str, list[float]] = {}
    for sample, timing in timings:
        for stage, duration_ms in timing.stages_ms.items():
            found.setdefault(stage, []).append(duration_ms)
        if (total_ms := timing.stages_ms.get("total")) is not None:
            outside_ms = (sample.done_s - sample.sent_s) * 1e3 - total_ms
            found.setdefault("outside", []).append(outside_ms)
    return {stage: distribution(values) for stage, values in found.items()}


def _generator(samples: Sequence[Sample], cpu_s: float) -> Generator:
    lags_ms = distribution((s.released_s - s.scheduled_s) * 1e3 for s in samples)
    return Generator(
        cpu_s=cpu_s,
        cpu_ms_per_request=cpu_s * 1e3 / max(len(samples), 1),
        worst_lag_ms=lags_ms.largest or 0.0,
        p99_lag_ms=lags_ms.p99 or 0.0,
    )


def describe(result: LoadResult) -> str:
    """Return the numbers as a few lines to read."""
    counts = {**result.statuses, **result.failures}
    lines = [
        f"{result.mode} loop: {result.requests} requests in {result.elapsed_s:.1f} s "
        f"({result.offered_per_s:.1f}/s offered)",
        "answers: " + ", ".join(f"{count} x {name}" for name, count in counts.items()),
        f"throughput {result.throughput_per_s:.1f}/s, goodput {result.goodput_per_s:.1f}/s "
        f"({result.late} late)",
        _row("latency", result.latency_ms),
        *(_row(stage, values) for stage, values in result.stages_ms.items()),
    ]
    if result.batch_images.mean is not None:
        lines.append(f"mean batch {result.batch_images.mean:.1f} images")
    generator = result.generator
    lines.append(
        f"generator: {generator.cpu_ms_per_request:.3f} ms CPU a request, "
        f"lag p99 {generator.p99_lag_ms:.1f} ms, worst {generator.worst_lag_ms:.1f} ms"
    )
    return "\n".join(lines)


def _row(name: str, values: Distribution) -> str:
    shown: list[Any] = [values.mean, values.p50, values.p90, values.p99, values.largest]
    texts = ["-" if value is None else f"{value:.1f}" for value in shown]
    heads = ("mean", "p50", "p90", "p99", "max")
    return f"{name + ' ms':<12}" + "  ".join(
        f"{head} {text}" for head, text in zip(heads, texts, strict=True)
    )
