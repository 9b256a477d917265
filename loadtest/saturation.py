"""How much load a service bears: the open loop at one rate after another.

    python -m loadtest.saturation --url … --images … --rates 25 50 100 --json saturation.json

Each run has Poisson arrivals and begins when the last has been answered; `loadtest.figure` draws
them.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from loadtest.open_loop import run_open_loop
from loadtest.result import LoadResult, describe
from loadtest.schedules import poisson
from loadtest.target import Target, read_target


async def sweep(
    target: Target,
    requests: Sequence[bytes],
    rates_per_s: Sequence[float],
    *,
    duration_s: float,
    limit_s: float,
    seed: int = 0,
) -> list[LoadResult]:
    """Return one result for each rate, in that order."""
    results = []
    for rate_per_s in rates_per_s:
        schedule = poisson(rate_per_s, duration_s, seed)
        results.append(await run_open_loop(target, schedule, requests, limit_s=limit_s))
        print(describe(results[-1]), end="\n\n", flush=True)
    return results


def write(results: Sequence[LoadResult], file: Path) -> None:
    """Write the results as a JSON list, ascending by what was offered."""
    ordered = sorted(results, key=lambda result: result.offered_per_s)
    text = json.dumps([dataclasses.asdict(result) for result in ordered], indent=2)
    file.write_text(text + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 when it cannot be followed."""
    options = _parser().parse_args(arguments)
    try:
        results = uvloop.run(_run(options))
    except (OSError, ValueError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 2
    write(results, options.json)
    return 0


async def _run(options: argparse.Namespace) -> list[LoadResult]:
    target = read_target(options.url)
    headers = {
        "Content-Type": "application/octet-stream",
        "X-Request-Timeout-Ms": str(options.timeout_ms),
    }
    files = sorted(file for file in options.images.iterdir() if file.is_file())
    return await sweep(
        target,
        [target.request(file.read_bytes(), headers) for file in files],
        options.rates,
        duration_s=options.duration_s,
        limit_s=options.timeout_ms / 1e3,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.saturation", description=__doc__)
    add = parser.add_argument
    add("--url", required=True, help="such as http://127.0.0.1:8000/classify")
    add("--images", type=Path, required=True, help="folder; its files are sent as they are")
    add("--rates", type=float, nargs="+", required=True, help="arrivals per second")
    add("--duration-s", type=float, default=15.0, help="of each run")
    add("--timeout-ms", type=int, default=500, help="deadline sent, and limit of goodput")
    add("--json", type=Path, required=True, help="file to write the results to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
