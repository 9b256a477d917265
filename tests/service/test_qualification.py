"""Qualification, with programs that take as long as they say, in virtual time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import TypeVar

import numpy as np
import pytest

from model_store.manifest import GoldenImage
from model_store.names import VersionRef
from service import qualification
from service.compile_cache import Plan
from service.qualification import Golden, GoldenMismatch, Qualified, Qualifier, Sizes
from service.runner import Device
from service.settings import Precision, Runtime

T = TypeVar("T")

SIZE = 2
PIXELS = [np.full((SIZE, SIZE, 3), value, np.uint8) for value in (10, 20, 30)]


@dataclass
class Clock:
    now_s: float = 0.0


@dataclass
class FakeProgram:
    """Answers with an image's first pixel plus `error`; each call takes `seconds` of its size."""

    clock: Clock
    seconds: Callable[[int], float]
    pads: bool = True
    error: float = 0.0
    runtime: str = "fake"
    precision: Precision = "float32"
    device: str = "none"
    compiled: list[int] = field(default_factory=list)
    ran: list[int] = field(default_factory=list)

    def compile(self, bucket: int) -> None:
        self.compiled.append(bucket)

    def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = len(images_BxHxWx3)
        assert not self.pads or size in self.compiled
        self.ran.append(size)
        self.clock.now_s += self.seconds(size)
        first_Bx1 = images_BxHxWx3[:, 0, 0, :1].astype(np.float32)
        return first_Bx1 + self.error, np.repeat(first_Bx1, 2, axis=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now_s)
    return clock


async def aside(function: Callable[[], T], /) -> T:
    return function()


def golden() -> Golden:
    outputs = [
        GoldenImage(file=f"{value}.png", logits=(float(value),), embedding=(float(value),) * 2)
        for value in (10, 20, 30)
    ]
    return Golden(VersionRef("one", 1), PIXELS, outputs, tolerance=0.01)


def qualify(
    programs: dict[Runtime, FakeProgram | Exception],
    *,
    sizes: Sequence[int] = (),
    largest: int = 64,
    plan: Plan | None = None,
) -> Qualified:
    def make(runtime: Runtime) -> FakeProgram:
        program = programs[runtime]
        if isinstance(program, Exception):
            raise program
        return program

    async def run() -> Qualified:
        device = Device()
        qualifier = Qualifier(make, SIZE, golden(), Sizes(tuple(sizes), largest), device, aside)
        try:
            if plan is not None:
                return await qualifier.by_plan(plan)
            return await qualifier.best_of(list(programs))
        finally:
            device.close()

    return asyncio.run(run())


def test_the_given_sizes_are_measured(clock: Clock) -> None:
    program = FakeProgram(clock, lambda size: 1.0 + size)
    found = qualify({"xla": program}, sizes=(1, 3, 5))
    assert found.curve.latencies_s == pytest.approx({1: 2.0, 3: 4.0, 5: 6.0})
    assert program.compiled == [1, 3, 5]


def test_sizes_are_tried_until_more_images_bring_nothing(clock: Clock) -> None:
    program = FakeProgram(clock, lambda size: (max(8.0, size) + 2.0) / 10_000)
    found = qualify({"xla": program}, largest=1024)
    # 32 take 34 and two of 16 take 36; 64 take 66, hardly less than two of 32, and 128 take 130,
    # hardly less than four of 32: two doublings in a row.
    assert max(program.compiled) == 128
    assert list(found.curve.latencies_s) == [8, 16, 32]


def test_a_device_whose_batches_bring_nothing_runs_single_images(clock: Clock) -> None:
    program = FakeProgram(clock, float)
    found = qualify({"xla": program})
    assert found.curve.latencies_s == {1: 1.0}
    assert max(program.compiled) == 2


def test_short_batches_are_tried_and_kept_up_to_eight(clock: Clock) -> None:
    """Where nothing is padded: what a batch costs beside the device is not in the measurement."""
    program = FakeProgram(clock, lambda size: 0.001 * size, pads=False)
    found = qualify({"openvino": program})
    assert list(found.curve.latencies_s) == [1, 2, 4, 8]
    assert max(program.compiled) == 8


def test_long_batches_must_be_worth_it(clock: Clock) -> None:
    """Sixteen would take 0.36 s after 0.2 for 8; 32 of the other device 0.52 after 0.36 for 16."""
    program = FakeProgram(clock, lambda size: 0.039 + 0.02 * size, pads=False)
    assert list(qualify({"openvino": program}).curve.latencies_s) == [1, 2, 4, 8]
    assert max(program.compiled) == 16
    program = FakeProgram(clock, lambda size: 0.2 + 0.01 * size, pads=False)
    assert list(qualify({"openvino": program}).curve.latencies_s) == [1, 2, 4, 8, 16]
    assert max(program.compiled) == 32


def test_a_machine_that_becomes_slower_meanwhile_changes_no_size(clock: Clock) -> None:
    """Eight would seem to bring nothing over two that were measured before."""
    slower = 1.0

    def seconds(size: int) -> float:
        nonlocal slower
        slower = 2.0 if size == 8 else slower
        return slower * (0.002 + 0.0005 * size)

    found = qualify({"openvino": FakeProgram(clock, seconds, pads=False)})
    sizes = (1, 2, 4, 8, 16, 32, 64)
    assert found.curve.latencies_s == pytest.approx({n: 0.004 + 0.001 * n for n in sizes})


def test_of_repetitions_the_least_disturbed_counts(clock: Clock) -> None:
    disturbed_s = chain([0.0, 0.05, 0.0, 0.07, 0.09, 0.04], repeat(0.0))  # the first call warms
    program = FakeProgram(clock, lambda _: 0.01 + next(disturbed_s))
    assert qualify({"xla": program}, sizes=(1,)).curve.latencies_s[1] == pytest.approx(0.01)


def test_no_size_beyond_the_largest_is_tried(clock: Clock) -> None:
    program = FakeProgram(clock, lambda _: 1.0)
    qualify({"xla": program}, largest=20)
    assert max(program.compiled) == 16


def test_without_padding_every_measured_size_is_kept(clock: Clock) -> None:
    program = FakeProgram(clock, lambda _: 1.0, pads=False)
    assert list(qualify({"openvino": program}, largest=8).curve.latencies_s) == [1, 2, 4, 8]


@pytest.mark.parametrize(("other_s", "chosen"), [(0.74, "xla"), (0.76, "openvino")])
def test_the_likeliest_runtime_serves_unless_another_is_clearly_faster(
    other_s: float, chosen: Runtime, clock: Clock
) -> None:
    programs: dict[Runtime, FakeProgram | Exception] = {
        "openvino": FakeProgram(clock, lambda _: 1.0),
        "xla": FakeProgram(clock, lambda _: other_s),
    }
    assert qualify(programs, sizes=(1,)).runtime == chosen


def test_the_fastest_runtime_serves(clock: Clock) -> None:
    slow, fast = FakeProgram(clock, lambda n: 3.0 * n), FakeProgram(clock, lambda n: 2.0 * n)
    found = qualify({"openvino": slow, "xla": fast}, sizes=(1, 4))
    assert (found.runtime, found.program) == ("xla", fast)
    assert found.plan == Plan(
        runtime="xla",
        pads=True,
        latencies_s={1: 2.0, 4: 8.0},
        golden_deviation=found.golden_deviation,
    )


def test_a_fast_runtime_that_computes_wrongly_does_not(clock: Clock) -> None:
    wrong = FakeProgram(clock, lambda _: 1.0, error=0.5)
    right = FakeProgram(clock, lambda _: 5.0)
    assert qualify({"openvino": wrong, "xla": right}, sizes=(1,)).program is right


def test_a_runtime_that_fails_to_load_is_passed_over(clock: Clock) -> None:
    right = FakeProgram(clock, lambda _: 5.0)
    programs: dict[Runtime, FakeProgram | Exception] = {
        "openvino": ImportError("not for this processor"),
        "xla": right,
    }
    assert qualify(programs, sizes=(1,)).program is right


def test_the_only_runtime_fails_with_its_own_error() -> None:
    with pytest.raises(ImportError, match="not installed"):
        qualify({"openvino": ImportError("not installed")})


def test_a_wrong_network_serves_nowhere(clock: Clock) -> None:
    with pytest.raises(GoldenMismatch, match=r"one@1 does not reproduce .* allowed is 0.01"):
        qualify({"xla": FakeProgram(clock, lambda _: 1.0, error=0.5)}, sizes=(1,))


def test_a_mistake_in_one_batch_size_alone_is_found(clock: Clock) -> None:
    class WrongInPairs(FakeProgram):
        def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            logits, embedding = super().__call__(images_BxHxWx3)
            return logits + (len(logits) == 2), embedding

    with pytest.raises(GoldenMismatch):
        qualify({"xla": WrongInPairs(clock, lambda _: 1.0)}, sizes=(1, 2, 3))


def test_a_plan_spares_the_measuring_and_not_the_check(clock: Clock) -> None:
    plan = Plan(
        runtime="xla", pads=True, latencies_s={2: 2.0, 4: 3.0, 8: 5.0}, golden_deviation=0.0
    )
    program = FakeProgram(clock, lambda _: 1.0)
    found = qualify({"xla": program}, plan=plan)
    assert found.curve.latencies_s == plan.latencies_s
    assert program.compiled == [2, 4, 8]
    assert program.ran == [2], "one golden image, in the smallest batch"
    with pytest.raises(GoldenMismatch):
        qualify({"xla": FakeProgram(clock, lambda _: 1.0, error=0.5)}, plan=plan)


@pytest.mark.parametrize(("before", "reported"), [(0.004, 0.004), (0.0, 0.001)])
def test_the_largest_deviation_of_all_starts_is_reported(
    before: float, reported: float, clock: Clock
) -> None:
    plan = Plan(runtime="xla", pads=True, latencies_s={1: 2.0}, golden_deviation=before)
    found = qualify({"xla": FakeProgram(clock, lambda _: 1.0, error=0.01)}, plan=plan)
    assert found.golden_deviation == pytest.approx(reported, rel=1e-4)
    assert found.plan.golden_deviation == found.golden_deviation


def test_measuring_ends_soon_where_batches_are_slow(clock: Clock) -> None:
    program = FakeProgram(clock, lambda _: qualification.ENOUGH_S * 2)
    qualify({"xla": program}, sizes=(3,))
    assert program.ran == [3, 3, 3], "one to warm up, one measured, one of golden images"
