"""The correction of a measured curve by what batches really take."""

from types import SimpleNamespace

import pytest

from service.curve import LatencyCurve
from service.pace import MAX_SLOWER, WEIGHT, Pace

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


def test_a_lone_image_is_taken_for_undisturbed() -> None:
    pace = under_load()
    pace.note(4, 15.0)
    assert pace.batch_s(1) > 3.0
    pace.is_alone = True
    assert (pace.batch_s(1), pace.seconds(1)) == (3.0, 3.0)
