"""What became of the requests: a table with one line a restart, and the verdict."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.result import distribution
from loadtest.sample import Sample

OK = "200"


@dataclass(frozen=True, slots=True)
class Restart:
    """Instants of one restart, in seconds of the load's clock."""

    instance: str
    began_s: float  # preStop, then SIGTERM
    exited_s: float
    ready_s: float
    listed_s: float  # the proxy sends it requests again
    exit_code: int


def outcome(sample: Sample) -> str:
    """Return the status, or why there is none."""
    return str(sample.failure or sample.status)


def failed(samples: Sequence[Sample]) -> Counter[str]:
    """Count everything but 200 by its outcome: also 429 and 503, since a client asked in vain."""
    return Counter(found for sample in samples if (found := outcome(sample)) != OK)


def faults(samples: Sequence[Sample], restarts: Sequence[Restart], retries: int) -> list[str]:
    """Return what went wrong, one line each."""
    found = [f"{count} x {name}" for name, count in sorted(failed(samples).items())]
    if not samples:
        found.append("no request was sent")
    if retries:
        found.append(f"the proxy retried {retries} times, and may have hidden failures")
    return found + [
        f"restart {number}: {restart.instance} exited with {restart.exit_code}"
        for number, restart in enumerate(restarts, 1)
        if restart.exit_code != 0
    ]


def table(samples: Sequence[Sample], restarts: Sequence[Restart]) -> str:
    """Return the lines: a restart has the requests that were due from its beginning to its end."""
    lines = ["  # instance  stop s  start s  requests  failed  p50 ms  p99 ms  max ms"]
    for number, restart in enumerate(restarts, 1):
        during = [s for s in samples if restart.began_s <= s.scheduled_s < restart.listed_s]
        lines.append(
            f"{number:3} {restart.instance:<8}  {restart.exited_s - restart.began_s:6.1f}"
            f"  {restart.ready_s - restart.exited_s:7.1f}  {_numbers(during)}"
        )
    lines.append(f"{'whole run':<12}  {'':6}  {'':7}  {_numbers(samples)}")
    return "\n".join(lines)


def _numbers(samples: Sequence[Sample]) -> str:
    answered = [s.latency_s * 1e3 for s in samples if outcome(s) == OK]
    latency_ms = distribution(answered)
    texts = [
        "-" if value is None else f"{value:.0f}"
        for value in (latency_ms.p50, latency_ms.p99, latency_ms.largest)
    ]
    return f"{len(samples):8}  {failed(samples).total():6}  " + "  ".join(f"{t:>6}" for t in texts)
