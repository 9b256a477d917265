"""Draw what `loadtest.saturation` measured: `python -m loadtest.figure saturation.json out.svg`.

Needs matplotlib, which is in the development environment.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure


def saturation_figure(results: Sequence[dict[str, Any]]) -> Figure:
    """Draw answers and refusals over the offered load, and the latency of the answers below."""
    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    offered = [result["offered_per_s"] for result in results]
    above.plot(offered, offered, ":", color="grey", label="offered")
    above.plot(offered, _each(results, "goodput_per_s"), "o-", label="answered in time")
    refused = [result["refused"] / result["elapsed_s"] for result in results]
    above.plot(offered, refused, "s--", label="refused at once (429, 503)")
    above.set(ylabel="requests per second", title=_title(results))
    above.legend()
    for name in ("p50", "p99"):
        latencies_ms = [result["latency_ms"][name] for result in results]
        shown = [(x, y) for x, y in zip(offered, latencies_ms, strict=True) if y is not None]
        below.plot(*zip(*shown, strict=True), "o-", label=name)
    below.axhline(results[0]["limit_ms"], linestyle=":", color="grey", label="deadline")
    below.set(xlabel="offered requests per second", ylabel="latency of 2xx in ms", yscale="log")
    below.legend()
    return figure


def _each(results: Sequence[dict[str, Any]], key: str) -> list[float]:
    return [result[key] for result in results]


def _title(results: Sequence[dict[str, Any]]) -> str:
    most = max(_each(results, "goodput_per_s"))
    return f"at most {most:.0f} answers per second within {results[0]['limit_ms']:.0f} ms"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the file; return 0."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.figure", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("svg", type=Path)
    options = parser.parse_args(arguments)
    figure = saturation_figure(json.loads(options.results.read_text(encoding="utf-8")))
    # Text stays text, and the same results give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mixer"}):
        figure.savefig(options.svg, format="svg", metadata={"Date": None, "Creator": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
