"""One measured number with its repetitions, and the table and the file that hold many of them."""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """What was measured, by which command, and what each repetition gave."""

    part: str
    series: str  # what is measured, of whom
    unit: str
    values: tuple[float, ...]  # one of each repetition, in order
    command: str
    at: float | None = None  # where: 8 of "batch 8"
    at_name: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.part}, {self.name}: there is no value")

    @property
    def name(self) -> str:
        """The series and where it was measured."""
        return self.series if self.at is None else f"{self.series}, {self.at_name} {self.at:g}"

    @property
    def median(self) -> float:
        """The median of the repetitions."""
        return statistics.median(self.values)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as one table in Markdown, whose columns also line up as plain text."""
    cells = [["part", "what", "median", "unit", "lowest", "highest", "n", "command", "note"]]
    cells += [
        [
            row.part,
            row.name,
            number(row.median),
            row.unit,
            number(min(row.values)),
            number(max(row.values)),
            str(len(row.values)),
            f"`{row.command}`",
            row.note,
        ]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(c.ljust(width) for c, width in zip(line, widths, strict=True)) + " |"
        for line in (cells[0], rule, *cells[1:])
    )


def number(value: float) -> str:
    """Return three significant digits, without an exponent."""
    decimals = next((d for d, limit in ((0, 100), (1, 10), (2, 1)) if abs(value) >= limit), 3)
    return f"{value:.{decimals}f}"


def write(file: Path, facts: dict[str, Any], rows: Iterable[Row]) -> None:
    """Write the machine's facts and the rows as JSON."""
    data = {"facts": facts, "rows": [dataclasses.asdict(row) for row in rows]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def read(file: Path) -> tuple[dict[str, Any], list[Row]]:
    """Read what `write` wrote."""
    data = json.loads(file.read_text(encoding="utf-8"))
    rows = [Row(**{**row, "values": tuple(row["values"])}) for row in data["rows"]]
    return data["facts"], rows
