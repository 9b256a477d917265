"""Sums over requests by name, which add up across the workers of a distributed run."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtest.server_timing import parse_server_timing


@dataclass
class Row:
    """Sums of one name; a mean is `sum / timed`."""

    requests: int = 0
    failures: int = 0
    within_limit: int = 0  # successes no later than the limit
    timed: int = 0  # with Server-Timing
    client_ms: float = 0.0  # of those with Server-Timing, so that it compares with the stages
    stages_ms: dict[str, float] = field(default_factory=dict)

    def mean_ms(self, stage: str) -> float:
        """Return the mean of a stage over the answers with Server-Timing; 0 without any."""
        return self.stages_ms.get(stage, 0.0) / max(self.timed, 1)


class Tally:
    """One row for each name of a request."""

    def __init__(self, limit_ms: float) -> None:
        self.limit_ms = limit_ms
        self.rows: dict[str, Row] = {}

    def add(self, name: str, elapsed_ms: float, timing: str | None, *, failed: bool) -> None:
        """Count one request; `timing` is its Server-Timing header, if it had one."""
        row = self.rows.setdefault(name, Row())
        row.requests += 1
        row.failures += failed
        row.within_limit += not failed and elapsed_ms <= self.limit_ms
        if timing is not None:
            row.timed += 1
            row.client_ms += elapsed_ms
            _add(row.stages_ms, parse_server_timing(timing).stages_ms.items())

    def take(self) -> dict[str, Any]:
        """Return the rows as plain data and begin anew: what a worker sends to the master."""
        taken = {name: asdict(row) for name, row in self.rows.items()}
        self.rows = {}
        return taken

    def merge(self, taken: dict[str, Any]) -> None:
        """Add what `take` of another tally returned."""
        for name, other in taken.items():
            row = self.rows.setdefault(name, Row())
            row.requests += other["requests"]
            row.failures += other["failures"]
            row.within_limit += other["within_limit"]
            row.timed += other["timed"]
            row.client_ms += other["client_ms"]
            _add(row.stages_ms, other["stages_ms"].items())

    def write(self, file: Path, duration_s: float) -> None:
        """Write the rows as JSON, with the seconds that they were gathered in."""
        data = {"duration_s": duration_s, "limit_ms": self.limit_ms, "rows": self._data()}
        file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")

    def _data(self) -> dict[str, Any]:
        return {name: asdict(row) for name, row in self.rows.items()}


def _add(sums: dict[str, float], more: Iterable[tuple[str, float]]) -> None:
    for name, value in more:
        sums[name] = sums.get(name, 0.0) + value
