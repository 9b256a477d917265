"""What a model goes through before it may serve: a runtime is chosen, measured and checked.

programs of the runtimes -> the fastest first -> compile and measure batch sizes -> the curve ->
golden images in every size -> Qualified, and a plan that spares the next start the measuring
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from model_store.golden import deviation
from model_store.manifest import GoldenImage
from model_store.names import VersionRef
from service.compile_cache import Plan
from service.curve import LatencyCurve
from service.runner import Device, Runner
from service.runtimes.program import Program
from service.settings import Runtime
from service.trials import Call, RunAside, Sizes, Trials, at_one_speed

log = logging.getLogger("mixer.models")

RACE_IMAGES = 4
# By this share a less likely runtime must be faster than the likeliest. The choice is kept for the
# next starts, and on a busy machine OpenVINO's threads, which wait for each other more often than
# XLA's, lose more than they will later.
LEAD = 0.25


class GoldenMismatch(Exception):
    """Our hardware and code do not reproduce what the version's maker computed."""


@dataclass(frozen=True)
class Golden:
    """What must be reproduced: pixels as uint8 [H, W, 3], the maker's outputs, how closely."""

    version: VersionRef
    pixels: Sequence[np.ndarray]
    outputs: Sequence[GoldenImage]
    tolerance: float

    @property
    def first(self) -> "Golden":
        """The first of the images alone."""
        return replace(self, pixels=self.pixels[:1], outputs=self.outputs[:1])


@dataclass(frozen=True)
class Qualified:
    """A program that may serve, its measured curve, and how far it was ever from its outputs."""

    runtime: Runtime
    program: Program
    curve: LatencyCurve
    golden_deviation: float

    @property
    def plan(self) -> Plan:
        """What the next start needs to know."""
        curve = self.curve
        return Plan(
            runtime=self.runtime,
            pads=curve.pads,
            latencies_s=curve.latencies_s,
            golden_deviation=self.golden_deviation,
        )


@dataclass(frozen=True)
class Qualifier:
    """Qualifies one model: compiles aside, and calls the device as any batch does."""

    make_program: Callable[[Runtime], Program]
    image_size: int
    golden: Golden
    sizes: Sizes
    device: Device
    run_aside: RunAside

    @property
    def trials(self) -> Trials:
        """How programs are compiled and timed."""
        return Trials(self.image_size, self.device, self.run_aside)

    async def best_of(self, runtimes: Sequence[Runtime]) -> Qualified:
        """Qualify the fastest of the runtimes that reproduces the golden outputs.

        Raises:
            GoldenMismatch: none does.
            Exception: the only runtime failed.
        """
        entrants = await self._race(runtimes)
        for runtime, program in entrants[:-1]:
            try:
                return await self._measured(runtime, program)
            except Exception:
                log.exception("%s is not used: trying the next runtime", runtime)
        return await self._measured(*entrants[-1])

    async def by_plan(self, plan: Plan) -> Qualified:
        """Qualify as an earlier start found best, without measuring.

        That start compared all golden images in all sizes, with the same parameters, packages and
        kind of machine. One image is compared again: all its logits and features depend on all
        that has been read and compiled, and the others would only make the start longer.

        Raises:
            GoldenMismatch: the golden outputs are not reproduced any more.
            Exception: the program fails.
        """
        program, curve = await self._make(plan.runtime), plan.curve
        for size in curve.latencies_s:
            if program.pads:  # others need no preparation: it would only cost time
                await self.trials.compile(program, size)
        found = await self._check(program, curve, [curve.bucket(1)], self.golden.first)
        return Qualified(plan.runtime, program, curve, max(found, plan.golden_deviation))

    async def _race(self, runtimes: Sequence[Runtime]) -> list[tuple[Runtime, Program]]:
        """Make a program of each runtime, and return them with the fastest first."""
        if len(runtimes) == 1:
            return [(runtimes[0], await self._make(runtimes[0]))]
        entrants: dict[Runtime, Program] = {}
        calls: dict[Runtime, Call] = {}
        for runtime in runtimes:
            try:
                program = await self._make(runtime)
                calls[runtime] = await self.trials.warm(program, RACE_IMAGES)
                entrants[runtime] = program
            except Exception:
                if runtime == runtimes[-1] and not entrants:
                    raise
                log.exception("%s does not run here", runtime)
        if len(entrants) == 1:
            return list(entrants.items())
        best_s = at_one_speed(await self.trials.in_turn(calls))
        best_s = {r: took_s / (1 if r == runtimes[0] else 1 - LEAD) for r, took_s in best_s.items()}
        return sorted(entrants.items(), key=lambda entrant: best_s[entrant[0]])

    async def _measured(self, runtime: Runtime, program: Program) -> Qualified:
        curve = await self.trials.curve(program, self.sizes)
        worst = await self._check(program, curve, list(curve.latencies_s), self.golden)
        return Qualified(runtime, program, curve, worst)

    async def _check(
        self, program: Program, curve: LatencyCurve, sizes: Sequence[int], golden: Golden
    ) -> float:
        runner = Runner(program, self.device, curve, self.image_size)
        worst = 0.0
        for size in sizes:
            worst = max(worst, await golden_deviation(runner, golden, size))
        if worst > golden.tolerance:
            msg = (
                f"{golden.version} does not reproduce its golden outputs on this hardware "
                f"({program.runtime}, {program.precision}): they deviate by {worst:.2g}, "
                f"allowed is {golden.tolerance:.2g}"
            )
            raise GoldenMismatch(msg)
        return worst

    async def _make(self, runtime: Runtime) -> Program:
        return await self.run_aside(partial(self.make_program, runtime))


async def golden_deviation(runner: Runner, golden: Golden, size: int) -> float:
    """Return how far the golden outputs are missed in batches of `size`, at worst.

    Over logits and embeddings; the measure is `model_store.golden.deviation`.
    """
    worst = 0.0
    for start in range(0, len(golden.pixels), size):
        expected = golden.outputs[start : start + size]
        items = golden.pixels[start : start + size]
        output = await runner.run_in(size, items)
        for image, row in zip(expected, output.rows, strict=True):
            worst = max(
                worst,
                deviation(np.asarray(image.logits, np.float32), row.logits_N),
                deviation(np.asarray(image.embedding, np.float32), row.embedding_C),
            )
    return worst
