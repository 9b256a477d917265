"""The stopwatch: what has ended, and what runs."""

import time

import pytest

from service.stopwatch import Stopwatch


def test_it_tells_what_calls_took_while_and_after_they_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, seen_s, watch = 5.0, list[float](), Stopwatch()

    def work(seconds: float) -> str:
        nonlocal now_s
        now_s += seconds
        seen_s.append(watch.seconds)
        now_s += seconds
        if seconds == 3:
            raise ValueError("bad")
        return "done"

    monkeypatch.setattr(time, "perf_counter", lambda: now_s)
    assert watch.seconds == 0
    assert watch.time(lambda: work(1)) == "done"
    now_s += 10
    assert watch.seconds == 2
    with pytest.raises(ValueError, match="bad"):
        watch.time(lambda: work(3))
    now_s += 10
    assert watch.seconds == 8
    assert seen_s == [1, 5]
