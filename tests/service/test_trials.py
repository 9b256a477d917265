"""Trials, with programs that take as long as they say, in virtual time."""

import asyncio
from collections.abc import Sequence
from itertools import chain, count, repeat

import numpy as np
import pytest

from service import trials
from service.curve import LatencyCurve
from service.runner import Device
from service.trials import Sizes, Trials
from tests.service.fake_program import SIZE, Clock, FakeProgram, aside


def curve(program: FakeProgram, *, sizes: Sequence[int] = (), largest: int = 64) -> LatencyCurve:
    async def run() -> LatencyCurve:
        device = Device()
        try:
            return await Trials(SIZE, device, aside).curve(program, Sizes(tuple(sizes), largest))
        finally:
            device.close()

    return asyncio.run(run())


def test_the_given_sizes_are_measured(clock: Clock) -> None:
    program = FakeProgram(clock, lambda size: 1.0 + size)
    found = curve(program, sizes=(1, 3, 5))
    assert found.latencies_s == pytest.approx({1: 2.0, 3: 4.0, 5: 6.0})
    assert program.compiled == [1, 3, 5]


def test_sizes_are_tried_until_more_images_bring_nothing(clock: Clock) -> None:
    program = FakeProgram(clock, lambda size: (max(8.0, size) + 2.0) / 10_000)
    found = curve(program, largest=1024)
    # 32 take 34 and two of 16 take 36; 64 take 66, hardly less than two of 32, and 128 take 130,
    # hardly less than four of 32: two doublings in a row.
    assert max(program.compiled) == 128
    assert list(found.latencies_s) == [8, 16, 32]


def test_a_device_whose_batches_bring_nothing_runs_single_images(clock: Clock) -> None:
    program = FakeProgram(clock, float)
    found = curve(program)
    assert found.latencies_s == {1: 1.0}
    assert max(program.compiled) == 2


def test_short_batches_are_tried_and_kept_up_to_eight(clock: Clock) -> None:
    """Where nothing is padded: what a batch costs beside the device is not in the measurement."""
    program = FakeProgram(clock, lambda size: 0.001 * size, pads=False)
    found = curve(program)
    assert list(found.latencies_s) == [1, 2, 4, 8]
    assert max(program.compiled) == 8


def test_long_batches_must_be_worth_it(clock: Clock) -> None:
    """Sixteen would take 0.36 s after 0.2 for 8; 32 of the other device 0.52 after 0.36 for 16."""
    program = FakeProgram(clock, lambda size: 0.039 + 0.02 * size, pads=False)
    assert list(curve(program).latencies_s) == [1, 2, 4, 8]
    assert max(program.compiled) == 16
    program = FakeProgram(clock, lambda size: 0.2 + 0.01 * size, pads=False)
    assert list(curve(program).latencies_s) == [1, 2, 4, 8, 16]
    assert max(program.compiled) == 32


def test_a_machine_that_becomes_slower_meanwhile_changes_no_size(clock: Clock) -> None:
    """Eight would seem to bring nothing over two that were measured before."""
    slower = 1.0

    def seconds(size: int) -> float:
        nonlocal slower
        slower = 2.0 if size == 8 else slower
        return slower * (0.002 + 0.0005 * size)

    found = curve(FakeProgram(clock, seconds, pads=False))
    sizes = (1, 2, 4, 8, 16, 32)
    assert found.latencies_s == pytest.approx({n: 0.004 + 0.001 * n for n in sizes})


def test_a_moment_in_which_the_machine_is_faster_changes_no_size(clock: Clock) -> None:
    """Each five calls of eight images have such a moment: they would seem the fastest."""
    eights = count()

    def seconds(size: int) -> float:
        faster = size == 8 and next(eights) % trials.REPEATS == 3
        return (1.0 if faster else 2.0) * (0.002 + 0.0005 * size)

    found = curve(FakeProgram(clock, seconds, pads=False))
    sizes = (1, 2, 4, 8, 16, 32)
    assert found.latencies_s == pytest.approx({n: 0.004 + 0.001 * n for n in sizes})


@pytest.mark.parametrize("seed", range(20))
def test_a_machine_that_keeps_changing_its_speed_gets_no_small_batches(
    clock: Clock, seed: int
) -> None:
    """Every fifth of a second, as the neighbours on its host come and go."""
    took_ms = {1: 5.2, 2: 7.6, 4: 12.0, 8: 21.4, 16: 38.0, 32: 71.0, 64: 134.0}
    random, slower, until_s = np.random.default_rng(seed), 1.0, 0.0

    def seconds(size: int) -> float:
        nonlocal slower, until_s
        left_s, now_s = took_ms[size] / 1e3, clock.now_s
        while left_s > 0:
            if now_s >= until_s:
                slower, until_s = random.choice([1.0, 1.4, 2.0]), now_s + random.exponential(0.2)
            step_s = min(left_s * slower, until_s - now_s)
            left_s, now_s = left_s - step_s / slower, now_s + step_s
        return now_s - clock.now_s

    found = curve(FakeProgram(clock, seconds, pads=False)).latencies_s
    assert max(found) >= 16
    for size in (2, 4, 8, 16):
        of_half = found[size] / found[size // 2]
        assert of_half == pytest.approx(took_ms[size] / took_ms[size // 2], rel=0.2)


def test_of_repetitions_the_least_disturbed_counts(clock: Clock) -> None:
    disturbed_s = chain([0.0, 0.05, 0.0, 0.07, 0.09, 0.04], repeat(0.0))  # the first call warms
    program = FakeProgram(clock, lambda _: 0.01 + next(disturbed_s))
    assert curve(program, sizes=(1,)).latencies_s[1] == pytest.approx(0.01)


def test_no_size_beyond_the_largest_is_tried(clock: Clock) -> None:
    program = FakeProgram(clock, lambda _: 1.0)
    curve(program, largest=20)
    assert max(program.compiled) == 16


def test_without_padding_every_measured_size_is_kept(clock: Clock) -> None:
    program = FakeProgram(clock, lambda _: 1.0, pads=False)
    assert list(curve(program, largest=8).latencies_s) == [1, 2, 4, 8]


@pytest.mark.parametrize(("took_32_ms", "padded", "unpadded"), [(46, 32, 16), (44, 32, 32)])
@pytest.mark.parametrize("pads", [True, False])
def test_where_nothing_is_padded_a_larger_batch_must_be_faster_by_a_tenth(
    clock: Clock, took_32_ms: float, padded: int, unpadded: int, *, pads: bool
) -> None:
    took_ms = {1: 3.0, 2: 5.0, 4: 8.0, 8: 14.0, 16: 25.0, 32: took_32_ms, 64: 110.0}
    largest = padded if pads else unpadded
    program = FakeProgram(clock, lambda size: took_ms[size] / 1e3, pads=pads)
    assert curve(program).largest == largest
    assert max(program.compiled) == 64


def test_measuring_ends_soon_where_batches_are_slow(clock: Clock) -> None:
    program = FakeProgram(clock, lambda _: trials.ENOUGH_S * 2)
    curve(program, sizes=(3,))
    assert program.ran == [3, 3, 3], "one to warm up, two measured"


def test_a_slow_size_does_not_end_the_measuring_of_a_fast_one(clock: Clock) -> None:
    program = FakeProgram(clock, lambda size: 0.01 if size == 1 else 2.0)
    curve(program, sizes=(1, 5))
    assert program.ran.count(1) == 1 + trials.REPEATS
    assert program.ran.count(5) == 1 + trials.LEAST_REPEATS
