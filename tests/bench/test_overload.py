from typing import Any

import pytest

from bench.caller import Probe
from bench.overload import Run, admitted, lone_per_s, peak_rows, recovery_s, run_rows, shares

RESULT: dict[str, Any] = {
    "requests": 100,
    "answered": 60,
    "late": 10,
    "refused": 25,
    "failed": 5,
    "statuses": {"200": 60, "429": 20, "503": 5, "504": 10},
}


def test_the_offered_are_in_time_refused_late_or_failed() -> None:
    found = shares(RESULT)
    assert found == {
        "in time": 0.5,
        "refused": 0.25,
        "late": 0.2,
        "failed": 0.05,
        "in time, of the admitted": pytest.approx(50 / 70),
    }
    assert sum(list(found.values())[:4]) == pytest.approx(1)
    assert admitted(RESULT) == 70


def test_nothing_offered_is_nothing_of_everything() -> None:
    nothing = {"requests": 0, "answered": 0, "late": 0, "refused": 0, "failed": 0, "statuses": {}}
    assert set(shares(nothing).values()) == {0.0}


def test_recovered_is_the_first_fast_answer_after_the_load() -> None:
    probes = [
        Probe(done_s=9.9, latency_s=0.01, status=200),  # before the load ended
        Probe(done_s=10.2, latency_s=0.3, status=200),  # slow
        Probe(done_s=10.3, latency_s=0.01, status=429),  # refused fast
        Probe(done_s=10.4, latency_s=0.015, status=200),
        Probe(done_s=10.5, latency_s=0.01, status=200),
    ]
    assert recovery_s(probes, 10.0, idle_s=0.01) == pytest.approx(0.4)
    assert recovery_s(probes[:3], 10.0, idle_s=0.01) is None


def test_what_a_lone_caller_got_in_time_during_the_load_counts() -> None:
    probes = [
        Probe(done_s=9.9, latency_s=0.1, status=200),  # before
        Probe(done_s=10.4, latency_s=0.5, status=200),
        Probe(done_s=11.1, latency_s=0.6, status=200),  # late
        Probe(done_s=11.2, latency_s=0.1, status=503),
        Probe(done_s=11.9, latency_s=0.4, status=200),
        Probe(done_s=12.1, latency_s=0.1, status=200),  # after
    ]
    assert lone_per_s(probes, 10.0, 12.0) == 1.0


def test_goodput_is_compared_with_the_capacity_around_it() -> None:
    runs = [
        Run(RESULT | {"offered_per_s": 40.0, "goodput_per_s": 16.0}, 2.0, 0.25, 20.0),
        Run(RESULT | {"offered_per_s": 80.0, "goodput_per_s": 32.0}, 0.0, None, 40.0),
    ]
    found = {row.series: row for row in run_rows(2.0, runs, "a command")}
    assert found["goodput over the capacity"].values == pytest.approx((0.9, 0.8))
    assert found["capacity"].values == (20.0, 40.0)
    assert found["recovery"].values == (250.0,)
    assert found["recovery"].note == "1 not within 10 s"
    assert found["in time"].name == "in time, capacity x 2"


def test_goodput_is_compared_with_that_of_the_best_load() -> None:
    def runs(*goodput_per_s: float) -> list[Run]:
        return [Run({"goodput_per_s": each}, 0.0, None, 20.0) for each in goodput_per_s]

    found = peak_rows({1.0: runs(12, 14, 19), 1.5: runs(16), 2.0: runs(15, 8)}, "a command 1 1.5 2")
    assert [row.values for row in found] == [
        pytest.approx((12 / 16, 14 / 16, 19 / 16)),
        pytest.approx((1.0,)),
        pytest.approx((15 / 16, 8 / 16)),
    ]
    assert [row.at for row in found] == [1.0, 1.5, 2.0]
    assert {row.command for row in found} == {"a command 1 1.5 2"}
    assert peak_rows({2.0: runs(15, 8)}, "a command 2") == []
