"""What a model goes through before it may serve: a runtime is chosen, measured and checked.

programs of the runtimes -> the fastest first -> compile and measure batch sizes -> the curve ->
golden images in every size -> Qualified, and a plan that spares the next start the measuring
"""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any, Protocol, TypeVar

import numpy as np

from model_store.golden import deviation
from model_store.manifest import GoldenImage
from model_store.names import VersionRef
from service.compile_cache import Plan
from service.curve import WORTHWHILE, LatencyCurve, worthwhile
from service.runner import Device, Runner
from service.runtimes.program import Program
from service.settings import Runtime

log = logging.getLogger("mixer.models")

T = TypeVar("T")
Key = TypeVar("Key")

REPEATS = 5
ENOUGH_S = 0.5  # calls that took so long each, in all their turns, are measured well enough
RACE_IMAGES = 4
# By this share a less likely runtime must be faster than the likeliest. The choice is kept for the
# next starts, and on a busy machine OpenVINO's threads, which wait for each other more often than
# XLA's, lose more than they will later.
LEAD = 0.25
ALWAYS_IMAGES = 8  # up to here larger batches are taken, whatever the smaller ones promise
# A batch that lasts longer makes deadlines hard to meet: image for image it must be faster than
# half of it by this share for each second that it lasts, though not by more than that.
LONG_S, GAIN_PER_S, ENOUGH_GAIN = 0.125, 0.6, 0.4

Call = Callable[[], Any]


class GoldenMismatch(Exception):
    """Our hardware and code do not reproduce what the version's maker computed."""


class RunAside(Protocol):
    """Runs a function on a thread that is not the device's."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """Return what the function returns."""


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
class Sizes:
    """Which batch sizes are measured: exactly these, or if there are none 1, 2, 4 ... `largest`."""

    fixed: tuple[int, ...]
    largest: int


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
                await self._compile(program, size)
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
                calls[runtime] = await self._warm(program, RACE_IMAGES)
                entrants[runtime] = program
            except Exception:
                if runtime == runtimes[-1] and not entrants:
                    raise
                log.exception("%s does not run here", runtime)
        best_s = await self._in_turn(calls) if len(calls) > 1 else dict.fromkeys(calls, 0.0)
        best_s = {r: took_s / (1 if r == runtimes[0] else 1 - LEAD) for r, took_s in best_s.items()}
        return sorted(entrants.items(), key=lambda entrant: best_s[entrant[0]])

    async def _measured(self, runtime: Runtime, program: Program) -> Qualified:
        curve = await (self._given(program) if self.sizes.fixed else self._explored(program))
        worst = await self._check(program, curve, list(curve.latencies_s), self.golden)
        return Qualified(runtime, program, curve, worst)

    async def _given(self, program: Program) -> LatencyCurve:
        calls = {size: await self._warm(program, size) for size in self.sizes.fixed}
        return LatencyCurve(await self._in_turn(calls), pads=program.pads)

    async def _explored(self, program: Program) -> LatencyCurve:
        """Measure 1, 2, 4, ... images, until two doublings bring no more images a second.

        One alone may be the noise of a busy machine. Small batches that measure as well as larger
        ones serve worse: each costs the event loop and the threads around the device the same.

        A size runs in turn with those that it is compared with, and at last all do, since a shared
        machine may have changed its speed since the smaller ones were measured.
        """
        calls: dict[int, Call] = {}
        for size in takewhile(lambda size: size <= self.sizes.largest, (2**i for i in range(32))):
            calls[size] = await self._warm(program, size)
            compared = {n: calls[n] for n in (size // 4, size // 2, size) if n in calls}
            took_s = await self._in_turn(compared)
            if size > 1 and _is_too_long(took_s[size], half_s=took_s[size // 2]):
                del calls[size]
                break
            if size >= ALWAYS_IMAGES and _gains_little(took_s, size):
                break
        latencies_s = await self._in_turn(calls)
        kept = worthwhile(latencies_s)
        if not program.pads:  # sizes in between cost nothing, and make the curve more exact
            largest = max(ALWAYS_IMAGES, kept[-1])
            kept = [size for size in latencies_s if size <= largest]
        return LatencyCurve({size: latencies_s[size] for size in kept}, pads=program.pads)

    async def _in_turn(self, calls: Mapping[Key, Call]) -> dict[Key, float]:
        """Return the fewest seconds of each call: what else the machine does can only slow it.

        In turn, so that it slows one as much as the other. One call at a time, so that batches of
        other models run between.
        """
        best_s, spent_s = dict.fromkeys(calls, math.inf), 0.0
        for _ in range(REPEATS):
            for key, call in calls.items():
                took_s = await self.device.call(partial(_seconds, call))
                best_s[key] = min(best_s[key], took_s)
                spent_s += took_s
            if spent_s >= ENOUGH_S * len(calls):
                break
        return best_s

    async def _warm(self, program: Program, images: int) -> Call:
        """Compile, and return a batch of blank images, called once already."""
        await self._compile(program, images)
        shape = (images, self.image_size, self.image_size, 3)
        call = partial(program, np.zeros(shape, np.uint8))
        await self.device.call(call)
        return call

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

    async def _compile(self, program: Program, size: int) -> None:
        # A program that does not pad compiles by running, and so on the device thread.
        if program.pads:
            await self.run_aside(partial(program.compile, size))
        else:
            await self.device.call(partial(program.compile, size))


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


def _seconds(call: Call) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


def _gains_little(latencies_s: Mapping[int, float], size: int) -> bool:
    """Say whether a size is no faster, image for image, than a quarter of it."""
    return latencies_s[size] > 4 * latencies_s[size // 4] * (1 - WORTHWHILE)


def _is_too_long(took_s: float, *, half_s: float) -> bool:
    """Say whether a batch lasts long and gains too little for it on two of half its size."""
    gain = min(GAIN_PER_S * took_s, ENOUGH_GAIN)
    return took_s > LONG_S and took_s > 2 * half_s * (1 - gain)
