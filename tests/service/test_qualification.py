"""Qualification, with programs that take as long as they say, in virtual time."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from model_store.manifest import GoldenImage
from model_store.names import VersionRef
from service.compile_cache import Plan
from service.qualification import Golden, GoldenMismatch, Qualified, Qualifier
from service.runner import Device
from service.settings import Runtime
from service.trials import Sizes
from tests.service.fake_program import SIZE, Clock, FakeProgram, aside

PIXELS = [np.full((SIZE, SIZE, 3), value, np.uint8) for value in (10, 20, 30)]


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
    plan: Plan | None = None,
) -> Qualified:
    def make(runtime: Runtime) -> FakeProgram:
        program = programs[runtime]
        if isinstance(program, Exception):
            raise program
        return program

    async def run() -> Qualified:
        device = Device()
        qualifier = Qualifier(make, SIZE, golden(), Sizes(tuple(sizes), largest=64), device, aside)
        try:
            if plan is not None:
                return await qualifier.by_plan(plan)
            return await qualifier.best_of(list(programs))
        finally:
            device.close()

    return asyncio.run(run())


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
