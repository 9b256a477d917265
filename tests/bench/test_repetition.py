import itertools
from functools import partial

import pytest

from bench.repetition import interleave, seconds_of


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


def test_a_call_takes_time() -> None:
    assert seconds_of(lambda: sum(range(1000))) > 0
