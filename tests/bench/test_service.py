from functools import partial
from typing import Any

from bench.bounds import ORDINARY
from bench.plain_loop import Rate
from bench.service import COMPARED, Run, interleaved, rate_rows, ratio_rows, run_rows


def result(**more: Any) -> dict[str, Any]:
    return {
        "requests": 44,
        "answered": 40,
        "throughput_per_s": 20.0,
        "latency_ms": {"p50": 3.0, "p99": 9.0},
        "batch_images": {"mean": 4.5},
        **more,
    }


def test_each_number_of_the_repetitions_is_a_row() -> None:
    runs = [Run(result(), cpu_s=0.2), Run(result(throughput_per_s=30.0), cpu_s=0.4)]
    rows = run_rows("service", ("mixer", 8), runs, "command")
    assert {row.name: (row.values, row.unit) for row in rows} == {
        "mixer, throughput, connections 8": ((20.0, 30.0), "images/s"),
        "mixer, p50, connections 8": ((3.0, 3.0), "ms"),
        "mixer, p99, connections 8": ((9.0, 9.0), "ms"),
        "mixer, server CPU, connections 8": ((5.0, 10.0), "ms/answer"),
        "mixer, mean batch, connections 8": ((4.5, 4.5), "images"),
    }
    assert rows[0].note == "8 without an answer"


def test_runs_are_compared_with_the_faster_of_our_ways_past_http_and_with_ordinary_parts() -> None:
    # The machine halves its speed from round to round; the ratios within each stay.
    rates = {
        "batcher": [Rate(32.0, 20.0), Rate(16.0, 40.0)],
        "loop": [Rate(40.0, 25.0), Rate(20.0, 50.0)],
        ORDINARY: [Rate(50.0, 40.0), Rate(25.0, 80.0)],
    }
    assert [(row.series, row.values, row.note) for row in rate_rows(rates, "command")] == [
        ("batcher", (32.0, 16.0), ""),
        ("loop", (40.0, 20.0), "the bound"),
        (ORDINARY, (50.0, 25.0), ""),
    ]
    runs = [Run(result(steady_per_s=30.0), cpu_s=1.2), Run(result(steady_per_s=15.0), cpu_s=2.4)]
    assert [(row.series, row.values) for row in ratio_rows(8, runs, rates, "command")] == [
        ("mixer, share of the bound", (0.75, 0.75)),
        ("mixer, CPU over the bound's", (1.2, 1.2)),
        ("mixer, CPU over ordinary parts'", (0.75, 0.75)),
    ]


def test_the_limits_stand_beside_the_run_that_is_compared_with_them() -> None:
    order: list[str] = []

    def run(clients: int) -> Run:
        order.append(str(clients))
        return Run(result(), cpu_s=clients)

    def limit(name: str) -> Rate:
        order.append(name)
        return Rate(1.0, 1.0)

    limits = {name: partial(limit, name) for name in ("a", "b")}
    rates, runs = interleaved(limits, run, (8, COMPARED, 3), rounds=2)
    once = ["8", "3", "a", "b", str(COMPARED)]
    assert order == [*once, *once[::-1]]
    assert {name: len(found) for name, found in rates.items()} == {"a": 2, "b": 2}
    assert {clients: [run.cpu_s for run in found] for clients, found in runs.items()} == {
        clients: [clients, clients] for clients in (8, COMPARED, 3)
    }
