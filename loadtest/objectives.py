"""Service level objectives: a TOML file of limits, and how measured numbers compare with them."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from loadtest.measured import BadInput, Measured

AT_MOST = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "error_rate")
AT_LEAST = ("goodput_per_s", "requests")


@dataclass(frozen=True, slots=True)
class Objective:
    """A limit on one number of every name that fits the pattern (`*` stands for anything)."""

    pattern: str
    number: str
    limit: float

    @property
    def sign(self) -> str:
        """How the number must stand to the limit."""
        return "<=" if self.number in AT_MOST else ">="

    def met_by(self, value: float) -> bool:
        """Say whether the value keeps the limit."""
        return value <= self.limit if self.number in AT_MOST else value >= self.limit


@dataclass(frozen=True, slots=True)
class Verdict:
    """One objective on one name; `value` is None if nothing was measured, and that is a miss."""

    name: str
    objective: Objective
    value: float | None

    @property
    def met(self) -> bool:
        """Say whether the objective was met."""
        return self.value is not None and self.objective.met_by(self.value)


def read_objectives(file: Path) -> list[Objective]:
    """Read tables such as `["POST /classify"]` with lines such as `p99_ms = 500`.

    Raises:
        BadInput: the file cannot be read, names an unknown number, or sets no limit.
    """
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from error
    objectives = [
        _objective(file, pattern, number, limit)
        for pattern, limits in tables.items()
        for number, limit in (limits.items() if isinstance(limits, dict) else [(pattern, limits)])
    ]
    if not objectives:
        raise BadInput(f"{file} holds no objective")
    return objectives


def _objective(file: Path, pattern: str, number: str, limit: object) -> Objective:
    if number not in (*AT_MOST, *AT_LEAST):
        known = ", ".join((*AT_MOST, *AT_LEAST))
        raise BadInput(f"{file}: {number!r} of {pattern!r} is unknown; allowed are {known}")
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit >= 0:
        raise BadInput(f"{file}: {number} of {pattern!r} is {limit!r}; a number from 0 is allowed")
    return Objective(pattern, number, float(limit))


def judge(objectives: Sequence[Objective], measured: Sequence[Measured]) -> list[Verdict]:
    """Hold every objective against every name that it is about.

    Raises:
        BadInput: an objective is about nothing that was measured.
    """
    verdicts = []
    for objective in objectives:
        found = [one for one in measured if fnmatchcase(one.name, objective.pattern)]
        if not found:
            names = ", ".join(repr(one.name) for one in measured) or "nothing"
            raise BadInput(f"{objective.pattern!r} was not measured, but {names}")
        verdicts += [Verdict(m.name, objective, m.values.get(objective.number)) for m in found]
    return verdicts
