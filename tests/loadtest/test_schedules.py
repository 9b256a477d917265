import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.schedules import Schedule, bursty, constant, poisson

rates = st.floats(1, 200)
durations = st.floats(1, 60)
seeds = st.integers(0, 2**32)


def drawn(rate_per_s: float, duration_s: float, seed: int) -> tuple[Schedule, ...]:
    return (
        constant(rate_per_s, duration_s),
        poisson(rate_per_s, duration_s, seed),
        bursty(rate_per_s, duration_s, seed, on_s=0.7, off_s=1.9),
    )


@given(rates, durations, seeds)
def test_arrivals_ascend_within_the_duration(
    rate_per_s: float, duration_s: float, seed: int
) -> None:
    for schedule in drawn(rate_per_s, duration_s, seed):
        assert schedule.duration_s == duration_s
        assert np.all(np.diff(schedule.arrivals_s) >= 0)
        assert np.all((schedule.arrivals_s >= 0) & (schedule.arrivals_s < duration_s))


@given(rates, durations, seeds)
def test_a_seed_decides_everything(rate_per_s: float, duration_s: float, seed: int) -> None:
    pairs = zip(
        drawn(rate_per_s, duration_s, seed), drawn(rate_per_s, duration_s, seed), strict=True
    )
    assert all(np.array_equal(one.arrivals_s, other.arrivals_s) for one, other in pairs)


def test_another_seed_gives_other_arrivals() -> None:
    one, other = (poisson(50, 10, seed).arrivals_s for seed in (1, 2))
    assert not np.array_equal(one, other)


@given(rates, durations)
def test_constant_arrivals_are_evenly_spaced(rate_per_s: float, duration_s: float) -> None:
    schedule = constant(rate_per_s, duration_s)
    assert schedule.arrivals_s[0] == 0
    assert np.allclose(np.diff(schedule.arrivals_s), 1 / rate_per_s)
    assert abs(len(schedule.arrivals_s) - rate_per_s * duration_s) < 1


@given(rates, durations, seeds)
def test_the_number_of_poisson_arrivals_is_near_its_mean(
    rate_per_s: float, duration_s: float, seed: int
) -> None:
    mean = rate_per_s * duration_s
    # A Poisson count strays further than this once in far more than 1e9 draws.
    assert abs(len(poisson(rate_per_s, duration_s, seed).arrivals_s) - mean) < 8 * mean**0.5 + 25


def test_poisson_gaps_are_exponential() -> None:
    gaps_s = np.diff(poisson(200, 500, 3).arrivals_s)
    # Mean and standard deviation of an exponential variable are equal: one in 100,000 gaps each.
    assert np.mean(gaps_s) == pytest.approx(1 / 200, rel=0.02)
    assert np.std(gaps_s) == pytest.approx(1 / 200, rel=0.02)
    assert np.mean(gaps_s > 2 / 200) == pytest.approx(np.exp(-2), rel=0.03)


@given(st.floats(0.1, 3), st.floats(0.1, 3), seeds)
def test_bursts_are_followed_by_silence(on_s: float, off_s: float, seed: int) -> None:
    arrivals_s = bursty(40, 20, seed, on_s=on_s, off_s=off_s).arrivals_s
    within_cycle_s = np.mod(arrivals_s, on_s + off_s)
    at_the_seam = np.isclose(within_cycle_s, on_s + off_s) | np.isclose(within_cycle_s, on_s)
    assert np.all((within_cycle_s < on_s) | at_the_seam)


@given(st.floats(0.1, 3), st.floats(0.1, 3), seeds)
def test_bursts_keep_the_mean_rate_over_whole_cycles(on_s: float, off_s: float, seed: int) -> None:
    duration_s = 50 * (on_s + off_s)
    mean = 30 * duration_s
    count = len(bursty(30, duration_s, seed, on_s=on_s, off_s=off_s).arrivals_s)
    assert abs(count - mean) < 8 * mean**0.5 + 25


def test_the_rate_is_that_of_the_whole_duration() -> None:
    assert constant(20, 3).rate_per_s == 20


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
def test_a_wrong_parameter_is_named(wrong: float) -> None:
    with pytest.raises(ValueError, match="rate_per_s is"):
        constant(wrong, 1)
    with pytest.raises(ValueError, match="duration_s is"):
        poisson(1, wrong, 0)
    with pytest.raises(ValueError, match="off_s is"):
        bursty(1, 1, 0, on_s=1, off_s=wrong)
    with pytest.raises(ValueError, match="duration_s is"):
        Schedule(np.zeros(1), wrong)
