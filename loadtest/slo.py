"""Compare a run with its objectives: `python -m loadtest.slo --stats … --tally …`.

Prints where the time went and which objectives were met. Exit code 0: all; 1: not all; 2: the input
cannot be judged.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.measured import BadInput, Measured, read_locust, read_open_loop
from loadtest.objectives import Verdict, judge, read_objectives

OBJECTIVES = Path(__file__).with_name("objectives.toml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        measured = _read(options)
        verdicts = judge(read_objectives(options.objectives), measured)
    except BadInput as error:
        print(f"slo: {error}", file=sys.stderr)
        return 2
    print(report(measured, verdicts))
    return 0 if all(verdict.met for verdict in verdicts) else 1


def report(measured: Sequence[Measured], verdicts: Sequence[Verdict]) -> str:
    """Return both tables and a line that sums them up."""
    missed = sum(not verdict.met for verdict in verdicts)
    conclusion = f"{len(verdicts) - missed} of {len(verdicts)} objectives met"
    spent = _table(_spent_rows(measured))
    return "\n\n".join([*([spent] if spent else []), _table(_verdict_rows(verdicts)), conclusion])


def _spent_rows(measured: Sequence[Measured]) -> list[list[str]]:
    timed = [one for one in measured if one.spent_ms]
    if not timed:
        return []
    rows = [["mean ms", *timed[0].spent_ms, "client"]]
    for one in timed:
        spent_ms = [*one.spent_ms.values(), sum(one.spent_ms.values())]
        rows.append([one.name, *(f"{value:.1f}" for value in spent_ms)])
    return rows


def _verdict_rows(verdicts: Sequence[Verdict]) -> list[list[str]]:
    rows = [["objective", "", "measured", "", "limit", ""]]
    for verdict in verdicts:
        goal = verdict.objective
        value = "nothing" if verdict.value is None else f"{verdict.value:.4g}"
        word = "met" if verdict.met else "MISSED"
        rows.append([verdict.name, goal.number, value, goal.sign, f"{goal.limit:g}", word])
    return rows


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            # Names to the left, numbers to the right.
            cell.rjust(width) if any(c.isdigit() for c in cell) and place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _read(options: argparse.Namespace) -> list[Measured]:
    measured = [read_open_loop(file) for file in options.open_loop]
    if options.stats is not None and options.tally is not None:
        measured += read_locust(options.stats, options.tally)
    elif options.stats is not None or options.tally is not None:
        raise BadInput("--stats and --tally go together")
    if not measured:
        raise BadInput("nothing to judge: give --stats and --tally, or --open-loop")
    return sorted(measured, key=lambda one: one.name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.slo", description=__doc__)
    add = parser.add_argument
    add("--stats", type=Path, help="Locust's …_stats.csv")
    add("--tally", type=Path, help="what --tally of loadtest/locustfile.py wrote")
    add("--open-loop", type=Path, action="append", default=[], help="JSON of loadtest.open_loop")
    add("--objectives", type=Path, default=OBJECTIVES)
    return parser


if __name__ == "__main__":
    sys.exit(main())
