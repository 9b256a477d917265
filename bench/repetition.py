"""Repetitions of several measurements, interleaved so that a disturbance meets them all alike."""

import math
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from bench.steal import StolenShare

# What lost a larger share of the processor's time to the hypervisor is measured again.
DISTURBED = 0.02
TRIES = 3

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


def interleave(
    measures: Mapping[Name, Callable[[], Value]],
    rounds: int,
    *,
    budget_s: float = math.inf,
    now_s: Callable[[], float] = time.monotonic,
) -> dict[Name, list[Value]]:
    """Call every measure once a round, every second round backwards; return what each gave.

    More than once where the hypervisor disturbed it: see `undisturbed`. No round begins once
    `budget_s` is spent; the first always runs, and each to its end.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; at least one is needed")
    found: dict[Name, list[Value]] = {name: [] for name in measures}
    began_s = now_s()
    for number in range(rounds):
        if number and now_s() - began_s >= budget_s:
            break
        # Back and forth, so that none always follows the same other.
        for name in list(measures)[:: -1 if number % 2 else 1]:
            found[name].append(undisturbed(measures[name]))
    return found


def undisturbed(
    measure: Callable[[], Value], share: Callable[[], StolenShare] = StolenShare
) -> Value:
    """Return what the measure gives when the hypervisor leaves it alone.

    If it never does, of `TRIES` calls what the one gave that lost least to it.
    """
    least = math.inf
    for _ in range(TRIES):
        stolen = share()
        value = measure()
        lost = stolen.so_far()
        if lost < least:
            least, best = lost, value
        if lost <= DISTURBED:
            break
    return best


def seconds_of(call: Callable[[], object]) -> float:
    """Return the wall seconds of one call."""
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s
