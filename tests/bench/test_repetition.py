import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from bench.repetition import DISTURBED, interleave, seconds_of, undisturbed


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens on the host meanwhile."""
    monkeypatch.setattr("bench.repetition.DISTURBED", 1e9)


def test_every_second_round_runs_backwards() -> None:
    order: list[str] = []
    found = interleave({name: partial(order.append, name) for name in "abc"}, 3)
    assert "".join(order) == "abccbaabc"
    assert found == {"a": [None] * 3, "b": [None] * 3, "c": [None] * 3}


def test_values_keep_the_order_of_the_rounds() -> None:
    numbers = itertools.count()
    found = interleave({"a": lambda: next(numbers), "b": lambda: next(numbers)}, 3)
    assert found == {"a": [0, 3, 4], "b": [1, 2, 5]}


@pytest.mark.parametrize(("budget_s", "rounds"), [(0, 1), (1, 1), (1.5, 2), (100, 5)])
def test_no_round_begins_once_the_budget_is_spent(budget_s: float, rounds: int) -> None:
    times_s = itertools.count(10.0)  # each look at the clock is a second later
    found = interleave({"a": int}, 5, budget_s=budget_s, now_s=lambda: next(times_s))
    assert len(found["a"]) == rounds


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds is 0; at least one"):
        interleave({"a": int}, 0)


class Lost:
    """What the hypervisor takes of each call in turn."""

    def __init__(self, shares: Iterator[float]) -> None:
        self._shares = shares

    def so_far(self) -> float:
        return next(self._shares)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((DISTURBED, 0.0), 0),
        ((0.5, DISTURBED, 0.0), 1),
        ((0.5, 0.3, 0.4, 0.0), 1),
        ((0.3, 0.4, 0.5, 0.0), 0),
    ],
)
def test_what_the_hypervisor_disturbed_is_measured_again(
    shares: tuple[float, ...], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to three times; what lost least counts."""
    monkeypatch.setattr("bench.repetition.DISTURBED", DISTURBED)
    numbers, lost = itertools.count(), iter(shares)
    share: Any = partial(Lost, lost)
    assert undisturbed(lambda: next(numbers), share) == expected


def test_a_call_takes_time() -> None:
    assert seconds_of(lambda: sum(range(1000))) > 0
