"""All measurements of the service, or one part of them: `python -m bench [PART] [--quick]`.

Without a part: all but the soak, each part in a process of its own, then one table, one JSON file
and one picture of everything.
"""

import argparse
import logging
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from bench import bounds, compute, frontends, machine, overload, service, soak, start
from bench.job import FULL, QUICK, Job
from bench.rows import Row, read, table, write
from bench.serving import end
from bench.steal import StolenShare
from model_store.variants import VARIANTS
from service.settings import Precision

PARTS = (bounds.PART, service.PART, frontends.PART, overload.PART, start.PART, compute.PART)
QUICK_BATCHES, QUICK_CONNECTIONS, QUICK_FACTORS = (1, 8), (1, 64), (0.5, 2.0)
DEFAULT_PRECISION: Precision = "float32"
TORCH_PYTHON = Path(".venv-torch/bin/python")

Options = argparse.Namespace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a part failed."""
    logging.basicConfig(level="WARNING", format="%(name)s: %(message)s")
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through every `finally`: see `end`
    if options.part is None:
        return _all(options)
    facts, stolen = machine.facts(), StolenShare()
    print(machine.describe(facts), end="\n\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        effort = QUICK if options.quick else FULL
        job = Job(effort, Path(folder), options.images, options.precision)
        found = [row for measure in options.measures(options) for row in measure(job)]
    rows = [replace(row, command=" ".join([row.command, *_flags(options)])) for row in found]
    facts |= {"precision": options.precision, "stolen": stolen.told()}
    print(table(rows), end=f"\n\nstolen: {facts['stolen']}\n")
    write(options.out / f"{options.part}.json", facts, rows)
    _draw(rows, options.out / f"{options.part}.svg")
    return 0


def _all(options: Options) -> int:
    """Run every part in a process of its own, and gather what they wrote."""
    facts, stolen = machine.facts(), StolenShare()
    print(machine.describe(facts), end="\n\n", flush=True)
    failed = [part for part in PARTS if not _run_part(part, options)]
    rows = [row for part in PARTS if part not in failed for row in _read(options.out, part)]
    facts |= {"stolen": stolen.told()}
    print(table(rows), end=f"\n\nstolen: {facts['stolen']}\n")
    write(options.out / "bench.json", facts, rows)
    _draw(rows, options.out / "bench.svg")
    (options.out / "bench.md").write_text(f"{machine.describe(facts)}\n\n{table(rows)}\n")
    for part in failed:
        print(f"{part}: failed, see above", file=sys.stderr)
    return 1 if failed else 0


def _run_part(part: str, options: Options) -> bool:
    print(f"measuring: {part}", file=sys.stderr, flush=True)
    python = sys.executable
    if part == compute.PART and not find_spec("torch"):
        python = str(options.torch_python)
        if not options.torch_python.exists():
            print(f"no torch here, and no {python}: `make bench` makes it", file=sys.stderr)
            return False
    command = [python, "-m", "bench", part, "--out", str(options.out)]
    # Its table is part of the one at the end.
    process = subprocess.Popen([*command, *_flags(options)], stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        return process.wait() == 0
    finally:
        end(process)  # when we are told to end meanwhile; it ends its servers


def _flags(options: Options) -> list[str]:
    """Return the options that change how any part measures."""
    flags = ["--quick"] if options.quick else []
    if options.images:
        flags += ["--images", str(options.images)]
    if options.precision != DEFAULT_PRECISION:
        flags += ["--precision", options.precision]
    return flags


def _draw(rows: Sequence[Row], file: Path) -> None:
    if find_spec("matplotlib"):  # not beside torch, where no picture is needed
        from bench import plot  # noqa: PLC0415

        plot.draw(rows, file)


def _read(folder: Path, part: str) -> list[Row]:
    return read(folder / f"{part}.json")[1]


Measures = list[Callable[[Job], list[Row]]]


def _bounds(options: Options) -> Measures:
    batches = options.batches or (QUICK_BATCHES if options.quick else bounds.BATCHES)
    return [partial(bounds.measure, variant=v, batches=batches) for v in _variants(options)]


def _service(options: Options) -> Measures:
    chosen = options.connections or (QUICK_CONNECTIONS if options.quick else service.CONNECTIONS)
    measure = partial(service.measure, connections=chosen, rounds=options.rounds)
    return [partial(measure, variant=v) for v in _variants(options)]


def _frontends(options: Options) -> Measures:
    return [partial(frontends.measure, frontends=options.frontends or frontends.FRONTENDS)]


def _overload(options: Options) -> Measures:
    chosen = options.factors or (QUICK_FACTORS if options.quick else overload.FACTORS)
    measure = partial(overload.measure, factors=chosen, rounds=options.rounds)
    return [partial(measure, variant=v) for v in _variants(options)]


def _start(options: Options) -> Measures:
    variants = options.variants or (("S/32",) if options.quick else start.VARIANTS)
    return [partial(start.measure, variants=variants)]


def _compute(options: Options) -> Measures:
    variants = options.variants or (("S/32",) if options.quick else compute.VARIANTS)
    batches = options.batches or (QUICK_BATCHES if options.quick else compute.BATCHES)
    return [partial(compute.measure, variants=variants, batches=batches)]


def _soak(options: Options) -> Measures:
    return [partial(soak.measure, variant=v, minutes=options.minutes) for v in _variants(options)]


def _variants(options: Options) -> Sequence[str]:
    return options.variants or ("S/32",)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    _add_common(parser)
    parser.add_argument(
        "--torch-python", type=Path, default=TORCH_PYTHON, help="runs the part that needs torch"
    )
    parts = parser.add_subparsers(dest="part", metavar="PART")
    for module, measures in (
        (bounds, _bounds),
        (service, _service),
        (frontends, _frontends),
        (overload, _overload),
        (start, _start),
        (compute, _compute),
        (soak, _soak),
    ):
        summary = (module.__doc__ or "").splitlines()[0]
        part = parts.add_parser(module.PART, help=summary, description=module.__doc__)
        part.set_defaults(measures=measures)
        _add_common(part, inherits=True)
        _add_own(part, module)
    return parser


def _add_own(part: argparse.ArgumentParser, module: ModuleType) -> None:
    """Add what this part alone, or some of them, can be told."""
    if module is not frontends:
        part.add_argument("--variants", nargs="+", choices=list(VARIANTS), help="of Table 1")
    if module in (bounds, compute):
        part.add_argument("--batches", type=_positive, nargs="+")
    if module is service:
        part.add_argument("--connections", type=_positive, nargs="+")
    if module is frontends:
        part.add_argument("--frontends", type=_positive, nargs="+", help="numbers to compare")
    if module is overload:
        part.add_argument("--factors", type=_factor, nargs="+", help="times the capacity")
    if module in (service, overload):
        usual = FULL.turns if module is service else FULL.rounds
        part.add_argument("--rounds", type=_positive, help=f"repetitions ({usual})")
    if module is soak:
        part.add_argument("--minutes", type=_several, default=10, help="2 or more (10)")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _several(text: str) -> int:
    if (value := _positive(text)) < 2:
        raise argparse.ArgumentTypeError("the last minute is compared with the first: at least 2")
    return value


def _factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, up to 100")
    return value


def _add_common(parser: argparse.ArgumentParser, *, inherits: bool = False) -> None:
    """Add what may stand before a part and behind it; what stands behind wins."""

    def add(name: str, default: object, summary: str, **more: Any) -> None:
        chosen = argparse.SUPPRESS if inherits else default
        parser.add_argument(name, default=chosen, help=summary, **more)

    add("--out", Path("build/bench"), "folder to write to (build/bench)", type=Path)
    add("--images", None, "folder of photos to send instead of drawn ones", type=Path)
    add("--quick", False, "a short run, to see that it works", action="store_true")
    precisions = get_args(Precision)
    summary = f"that models are served in ({DEFAULT_PRECISION})"
    add("--precision", DEFAULT_PRECISION, summary, choices=precisions)


if __name__ == "__main__":
    sys.exit(main())
