"""Decode every file of a hostile image pack and judge what happened.

    python -m tests.measure_hostile_images ../shared/data/hostile_images

The pack holds `manifest.csv` (columns `file` and `expect`: accept, reject, either or policy) and
perhaps `fuzz_corpus.tar.gz`. Prints one line for each kind of outcome, then every violation: a
verdict against `expect`, an exception that is no refusal, a warning, a slow or greedy decode.
Exits 1 when there is one.
"""

import csv
import resource
import sys
import tarfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service.errors import ServiceError
from service.images import decode

MAX_PIXELS = 50_000_000
MAX_SECONDS = 2.0
MAX_GROWTH_MIB = 512


@dataclass
class Report:
    """What was seen: counts by folder, expectation and outcome; sentences about violations."""

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


def inputs(pack: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield (name, expectation, bytes) of the single files, then of the fuzzing corpus."""
    with (pack / "manifest.csv").open(newline="") as manifest:
        for row in csv.DictReader(manifest):
            yield row["file"], row["expect"], (pack / row["file"]).read_bytes()
    if (pack / "fuzz_corpus.tar.gz").exists():
        with tarfile.open(pack / "fuzz_corpus.tar.gz") as corpus:
            for member in corpus:
                if content := corpus.extractfile(member):
                    yield f"fuzz/{member.name}", "either", content.read()


def outcome(data: bytes) -> str:
    """Return "accepted", or the code of the refusal, or the name of what else was raised."""
    try:
        picture = decode(data, max_pixels=MAX_PIXELS)
    except ServiceError as refusal:
        return refusal.code
    except Exception as error:
        return f"raised {type(error).__name__}"
    return "accepted" if picture.mode == "RGB" else f"mode {picture.mode}"


def judge(name: str, expect: str, data: bytes, report: Report) -> None:
    """Decode one input, and add what happened to the report."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start_s = time.perf_counter()
        seen = outcome(data)
        took_s = time.perf_counter() - start_s
    report.outcomes[name.partition("/")[0], expect, seen] += 1
    report.slowest_s = max(report.slowest_s, took_s)
    if seen.startswith(("raised", "mode")):
        report.violations.append(f"{name}: {seen}")
    if (expect, seen == "accepted") in {("accept", False), ("reject", True)}:
        report.violations.append(f"{name}: expected {expect}, was {seen}")
    if took_s > MAX_SECONDS:
        report.violations.append(f"{name}: took {took_s:.1f} s")
    report.violations.extend(f"{name}: warned {warning.message}" for warning in caught)


def main(pack: Path) -> int:
    """Print the table and the violations; return the exit status."""
    report = Report()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, expect, data in inputs(pack):
        judge(name, expect, data, report)
    growth_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    if growth_mib > MAX_GROWTH_MIB:
        report.violations.append(f"memory grew by {growth_mib:.0f} MiB")
    for (folder, expect, seen), count in sorted(report.outcomes.items()):
        print(f"{folder:12} {expect:8} {seen:20} {count:5}")
    total = report.outcomes.total()
    print(f"{total} inputs, slowest {report.slowest_s:.2f} s, memory +{growth_mib:.0f} MiB")
    print("\n".join(report.violations) or "no violation")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
