from typing import Any

from bench.service import Run, run_rows


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
