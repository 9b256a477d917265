"""A program that takes as long as it says, in virtual time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from service.settings import Precision

T = TypeVar("T")

SIZE = 2  # of the images, in pixels


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


async def aside(function: Callable[[], T], /) -> T:
    return function()
