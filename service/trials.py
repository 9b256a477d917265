"""Trials of a program before it serves: which batch sizes are worth having, and what each takes."""

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, takewhile
from typing import Any, Protocol, TypeVar

import numpy as np

from service.curve import WORTHWHILE, LatencyCurve, worthwhile
from service.runner import Device
from service.runtimes.program import Program

T = TypeVar("T")
Key = TypeVar("Key")

REPEATS, LEAST_REPEATS = 5, 2
ENOUGH_S = 0.5  # a call that took so long in its turns is measured well enough
ALWAYS_IMAGES = 8  # up to here larger batches are taken, whatever the smaller ones promise
# A batch that lasts longer keeps callers waiting: image for image it must be faster than half of it
# by this share for each second that it lasts; by the last of these shares at most.
LONG_S, GAIN_PER_S, ENOUGH_GAIN = 0.2, 0.6, 0.4

# Where nothing is padded, the largest size in use is the smallest that comes so near to the
# fastest, image for image: a larger one is later full, and only full batches are prepared while
# their predecessors run.
NEARLY = 0.1

Call = Callable[[], Any]
Turn = Mapping[Key, float]  # the seconds of calls that were made right after each other


class RunAside(Protocol):
    """Runs a function on a thread that is not the device's."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """Return what the function returns."""


@dataclass(frozen=True)
class Sizes:
    """Which batch sizes are measured: exactly these, or if there are none 1, 2, 4 ... `largest`."""

    fixed: tuple[int, ...]
    largest: int


@dataclass(frozen=True)
class Trials:
    """Compiles aside, and calls the device as any batch does: one call at a time."""

    image_size: int
    device: Device
    run_aside: RunAside

    async def curve(self, program: Program, sizes: Sizes) -> LatencyCurve:
        """Compile the sizes, and return what they take."""
        if sizes.fixed:
            return await self._given(program, sizes.fixed)
        return await self._explored(program, sizes.largest)

    async def _given(self, program: Program, fixed: Sequence[int]) -> LatencyCurve:
        calls = {size: await self.warm(program, size) for size in fixed}
        return LatencyCurve(at_one_speed(await self.in_turn(calls)), pads=program.pads)

    async def _explored(self, program: Program, largest: int) -> LatencyCurve:
        """Measure 1, 2, 4, ... images, until two doublings bring no more images a second.

        One alone may be the noise of a busy machine.
        """
        calls: dict[int, Call] = {}
        turns_s: list[Turn[int]] = []
        for size in takewhile(lambda size: size <= largest, (2**i for i in range(32))):
            calls[size] = await self.warm(program, size)
            compared = {n: calls[n] for n in (size // 4, size // 2, size) if n in calls}
            turns_s += await self.in_turn(compared)
            latencies_s = at_one_speed(turns_s)
            if size > 1 and _is_too_long(latencies_s[size], half_s=latencies_s[size // 2]):
                del latencies_s[size]
                break
            if size >= ALWAYS_IMAGES and _gains_little(latencies_s, size):
                break
        # The last two were compared with each other in one round alone, the others in two.
        turns_s += await self.in_turn({size: calls[size] for size in list(latencies_s)[-2:]})
        latencies_s = {n: s for n, s in at_one_speed(turns_s).items() if n in latencies_s}
        if program.pads:
            kept = worthwhile(latencies_s)
        else:  # sizes cost nothing, and make the curve more exact
            last = max(ALWAYS_IMAGES, _smallest_fast(latencies_s))
            kept = tuple(size for size in latencies_s if size <= last)
        return LatencyCurve({size: latencies_s[size] for size in kept}, pads=program.pads)

    async def in_turn(self, calls: Mapping[Key, Call]) -> list[Turn[Key]]:
        """Call each, again and again, those that take long less often.

        In turn, so that what else the machine does slows one as much as the other. One call at a
        time, so that batches of other models run between.
        """
        turns_s: list[Turn[Key]] = []
        spent_s = dict.fromkeys(calls, 0.0)
        for number in range(REPEATS):
            turn_s = {
                key: await self.device.call(partial(_seconds, call))
                for key, call in calls.items()
                if number < LEAST_REPEATS or spent_s[key] < ENOUGH_S
            }
            turns_s.append(turn_s)
            spent_s = {key: spent_s[key] + turn_s.get(key, 0.0) for key in calls}
        return turns_s

    async def warm(self, program: Program, images: int) -> Call:
        """Compile, and return a batch of blank images, called once already."""
        await self.compile(program, images)
        shape = (images, self.image_size, self.image_size, 3)
        call = partial(program, np.zeros(shape, np.uint8))
        await self.device.call(call)
        return call

    async def compile(self, program: Program, size: int) -> None:
        """Prepare for batches of this size."""
        # A program that does not pad compiles by running, and so on the device thread.
        if program.pads:
            await self.run_aside(partial(program.compile, size))
        else:
            await self.device.call(partial(program.compile, size))


def at_one_speed(turns_s: Sequence[Turn[Key]]) -> dict[Key, float]:
    """Return one duration of each call, from turns in which each was called beside its neighbour.

    What a call takes of its neighbour's time is the median of the turns that both were in: the
    shortest of each may be of moments in which a shared machine had different speeds. All are told
    as for the speed of the shortest ones, since what else the machine does can only slow it.
    """
    fewest_s: dict[Key, float] = {}
    for turn_s in turns_s:
        fewest_s |= {key: min(s, fewest_s.get(key, s)) for key, s in turn_s.items()}
    shape = dict.fromkeys(list(fewest_s)[:1], 1.0)
    for before, key in pairwise(fewest_s):
        ratios = [turn[key] / turn[before] for turn in turns_s if {key, before} <= turn.keys()]
        shape[key] = shape[before] * statistics.median(ratios)
    scale_s = statistics.median(fewest_s[key] / shape[key] for key in shape)
    return {key: share * scale_s for key, share in shape.items()}


def _seconds(call: Call) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


def _gains_little(latencies_s: Mapping[int, float], size: int) -> bool:
    """Say whether a size is no faster, image for image, than a quarter of it."""
    return latencies_s[size] > 4 * latencies_s[size // 4] * (1 - WORTHWHILE)


def _smallest_fast(latencies_s: Mapping[int, float]) -> int:
    """Return the smallest size that is nearly as fast, image for image, as the fastest one."""
    best_per_s = LatencyCurve(latencies_s, pads=False).capacity_images_per_s
    enough_per_s = best_per_s * (1 - NEARLY)
    return min(size for size, seconds in latencies_s.items() if size / seconds >= enough_per_s)


def _is_too_long(took_s: float, *, half_s: float) -> bool:
    """Say whether a batch lasts long and gains too little for it on two of half its size."""
    gain = min(GAIN_PER_S * took_s, ENOUGH_GAIN)
    return took_s > LONG_S and took_s > 2 * half_s * (1 - gain)
