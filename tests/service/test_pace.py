"""The correction of a measured curve by what batches really take, and the sizes in use."""

import math
from types import SimpleNamespace

import pytest

from service.curve import LatencyCurve
from service.pace import BATCH_SHARE, MAX_SLOWER, NEWEST, WEIGHT, Pace

CURVE = LatencyCurve({1: 3.0, 2: 4.0, 4: 5.0}, pads=True)


def under_load() -> Pace:
    pace = Pace(SimpleNamespace(curve=CURVE))
    pace.is_alone = False
    return pace


def test_until_a_batch_has_run_times_are_as_measured() -> None:
    pace = under_load()
    assert [pace.batch_s(images) for images in range(5)] == [0.0, 3.0, 4.0, 5.0, 5.0]
    assert pace.seconds(7) == CURVE.seconds(7) == 10.0


@pytest.mark.parametrize(("images", "share"), [(1, 1 / 4), (3, 3 / 4), (4, 1.0)])
def test_a_batch_counts_by_how_full_it_was(images: int, share: float) -> None:
    pace = under_load()
    pace.note(images, 2 * CURVE.latency_s(images))
    slower = 1 + WEIGHT * share
    assert pace.batch_s(2) == pytest.approx(4.0 * slower)
    assert pace.seconds(7) == pytest.approx(10.0 * slower)


def test_one_stall_says_little_of_the_next_batches() -> None:
    pace = under_load()
    pace.note(4, 3000.0)
    assert pace.batch_s(1) == pytest.approx(3.0 * (1 + WEIGHT * (MAX_SLOWER - 1)))


def test_the_newest_batches_are_what_counts_in_the_end() -> None:
    pace = under_load()
    for took_s in (15.0, *[10.0] * 60):
        pace.note(4, took_s)
    assert pace.batch_s(4) == pytest.approx(10.0, rel=1e-3)


def of_callers(*patience_s: float) -> Pace:
    pace = under_load()
    for each in patience_s:
        pace.expect(each)
    pace.note(1, CURVE.latency_s(1))
    return pace


@pytest.mark.parametrize(
    ("bearable_s", "largest"),
    [(math.inf, 4), (5.1, 4), (4.9, 2), (4.1, 2), (3.9, 1), (3.1, 1), (2.9, 1), (0.1, 1)],
)
def test_no_batch_lasts_longer_than_its_callers_can_bear(bearable_s: float, largest: int) -> None:
    pace = of_callers(*[bearable_s / BATCH_SHARE] * NEWEST)
    assert pace.curve.largest == largest
    assert pace.seconds(largest + 1) == CURVE.up_to(largest).seconds(largest + 1)
    assert pace.batch_s(4) == 5.0  # one that was begun before


@pytest.mark.parametrize(
    ("patient", "hurried", "largest"), [(17, 15, 4), (15, 17, 1), (NEWEST, 15, 4), (NEWEST, 17, 1)]
)
def test_the_newest_callers_decide_and_most_of_them(
    patient: int, hurried: int, largest: int
) -> None:
    pace = of_callers(*[math.inf] * patient, *[0.1] * hurried)
    assert pace.curve.largest == largest


def test_another_measurement_counts_at_once() -> None:
    measured = SimpleNamespace(curve=CURVE)
    pace = Pace(measured)
    measured.curve = LatencyCurve({1: 9.0}, pads=True)
    assert (pace.batch_s(1), pace.seconds(2), pace.curve.largest) == (9.0, 18.0, 1)


def test_before_anyone_has_come_every_size_is_in_use() -> None:
    assert of_callers().curve is CURVE


def test_a_batch_that_takes_longer_under_load_may_be_too_long() -> None:
    pace = of_callers(*[6.0 / BATCH_SHARE] * NEWEST)
    assert pace.curve.largest == 4
    for _ in range(20):
        pace.note(4, 10.0)
    assert pace.curve.largest == 1


@pytest.mark.parametrize("images", [1, 4])
def test_a_batch_that_fills_the_sizes_in_use_counts_in_full(images: int) -> None:
    pace = of_callers(*[0.1] * NEWEST)
    assert pace.curve.largest == 1
    pace.note(images, 2 * CURVE.latency_s(images))
    assert pace.batch_s(1) == pytest.approx(3.0 * (1 + WEIGHT))


def test_a_running_batch_that_is_overdue_slows_the_estimates() -> None:
    pace = under_load()
    for so_far, multiple in ((0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (1.5, 1.5), (100.0, MAX_SLOWER)):
        pace.so_far = so_far
        assert (pace.batch_s(2), pace.seconds(7)) == (4.0 * multiple, 10.0 * multiple)


def test_a_lone_image_is_taken_for_undisturbed() -> None:
    pace = under_load()
    pace.note(4, 15.0)
    assert pace.batch_s(1) > 3.0
    pace.is_alone = True
    assert (pace.batch_s(1), pace.seconds(1)) == (3.0, 3.0)
