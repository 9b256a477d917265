"""The latency curve: its plans are the fastest splits there are, against trying them all."""

from collections.abc import Iterator
from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.curve import LatencyCurve, worthwhile

seconds = st.integers(1, 40).map(float)
curves = st.builds(
    LatencyCurve,
    st.dictionaries(st.integers(1, 9), seconds, min_size=1).map(lambda d: {1: 3.0, **d}),
    pads=st.booleans(),
)


def splits(images: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Every way to write so many images as batches."""
    for batches in range(1, images + 1):
        for split in combinations_with_replacement(range(1, largest + 1), batches):
            if sum(split) == images:
                yield split


@given(curves, st.integers(1, 7))
def test_a_plan_is_the_fastest_of_all_splits(curve: LatencyCurve, images: int) -> None:
    best_s = min(sum(map(curve.latency_s, split)) for split in splits(images, curve.largest))
    assert curve.seconds(images) == pytest.approx(best_s)
    first = curve.first_batch(images)
    rest_s = curve.seconds(images - first)
    assert 1 <= first <= min(images, curve.largest)
    assert curve.latency_s(first) + rest_s == pytest.approx(best_s)


@given(curves, st.integers(0, 60))
def test_more_images_never_end_sooner_when_larger_batches_take_longer(
    curve: LatencyCurve, images: int
) -> None:
    grown = LatencyCurve(
        dict(zip(curve.latencies_s, sorted(curve.latencies_s.values()), strict=True)),
        pads=curve.pads,
    )
    assert grown.seconds(images) <= grown.seconds(images + 1) + 1e-9


def test_nine_go_as_eight_and_one_where_sixteen_is_slower() -> None:
    slow = LatencyCurve({1: 2.0, 8: 9.0, 16: 16.0}, pads=True)
    assert (slow.first_batch(9), slow.seconds(9)) == (8, 11.0)
    fast = LatencyCurve({1: 2.0, 8: 9.0, 16: 10.0}, pads=True)
    assert (fast.first_batch(9), fast.seconds(9)) == (9, 10.0)


def test_a_padding_device_runs_the_measured_sizes_alone() -> None:
    curve = LatencyCurve({2: 3.0, 5: 7.0}, pads=True)
    assert [curve.bucket(n) for n in (1, 2, 3, 5)] == [2, 2, 5, 5]
    assert [curve.latency_s(n) for n in (1, 2, 3, 5)] == [3.0, 3.0, 7.0, 7.0]


def test_another_device_runs_any_size_in_a_time_between_the_measured_ones() -> None:
    curve = LatencyCurve({2: 3.0, 6: 7.0}, pads=False)
    assert [curve.bucket(n) for n in (1, 3, 6, 9)] == [1, 3, 6, 6]
    assert [curve.latency_s(n) for n in (2, 3, 4, 6)] == [3.0, 4.0, 5.0, 7.0]


@pytest.mark.parametrize("pads", [True, False])
def test_a_shorter_curve_plans_with_the_smaller_sizes_alone(*, pads: bool) -> None:
    curve = LatencyCurve({1: 3.0, 2: 4.0, 4: 5.0}, pads=pads)
    shorter = curve.up_to(2)
    assert (shorter.latencies_s, shorter.pads) == ({1: 3.0, 2: 4.0}, pads)
    assert (shorter.largest, shorter.first_batch(4), shorter.seconds(4)) == (2, 2, 8.0)
    assert curve.up_to(4).seconds(4) == 5.0


def test_the_capacity_is_that_of_the_best_batch() -> None:
    assert LatencyCurve({1: 0.5, 4: 1.0, 8: 4.0}, pads=True).capacity_images_per_s == 4.0


@pytest.mark.parametrize(
    ("latencies_s", "kept"),
    [
        ({1: 5.0}, (1,)),
        ({1: 1.0, 2: 2.0, 4: 4.0}, (1,)),  # a loop of single images is as fast
        ({1: 10.0, 2: 10.1, 4: 10.2, 8: 10.3}, (8,)),  # padding costs nothing
        ({1: 16.0, 2: 22.0, 4: 40.0, 8: 79.0}, (1, 2, 4)),
        ({1: 4.0, 2: 5.0, 4: 7.0}, (1, 2, 4)),
    ],
)
def test_sizes_are_kept_that_nothing_else_replaces(
    latencies_s: dict[int, float], kept: tuple[int, ...]
) -> None:
    assert tuple(worthwhile(latencies_s)) == kept


@given(st.dictionaries(st.integers(1, 32), seconds, min_size=1))
def test_some_size_is_always_kept_and_costs_at_most_the_margin(
    latencies_s: dict[int, float],
) -> None:
    all_sizes = LatencyCurve(latencies_s, pads=True)
    some = worthwhile(latencies_s)
    assert some
    kept = LatencyCurve({size: latencies_s[size] for size in some}, pads=True)
    # Each size that was dropped had a substitute within the margin when its turn came.
    assert kept.capacity_images_per_s >= all_sizes.capacity_images_per_s * 0.95**5
