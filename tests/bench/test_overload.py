from typing import Any

import pytest

from bench.caller import Probe
from bench.overload import admitted, recovery_s, shares

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
