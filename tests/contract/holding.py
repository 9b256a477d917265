"""A device that computes when the test says so, to make what is rare happen each time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from service.curve import LatencyCurve
from service.runtimes.program import Program
from tests.service.live import LiveServer

TIMEOUT_S = 60


class Gate:
    """A program that waits before it computes."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._open = threading.Event()
        self.entered = threading.Event()
        self.runtime, self.precision = program.runtime, program.precision
        self.pads = program.pads

    @property
    def device(self) -> str:
        return self._program.device

    def compile(self, bucket: int) -> None:
        self._program.compile(bucket)

    def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.entered.set()
        assert self._open.wait(TIMEOUT_S)
        return self._program(images_BxHxWx3)

    def wait_entered(self) -> None:
        assert self.entered.wait(TIMEOUT_S)

    def open(self) -> None:
        self._open.set()


@contextmanager
def gate(live: LiveServer) -> Iterator[Gate]:
    """Hold the first model's computations until the gate is opened, or the block ends."""
    runner = live.engine.catalog.served[0].runner
    program = runner.program
    held = Gate(program)
    runner.program = held
    try:
        yield held
    finally:
        held.open()
        runner.program = program


def eventually(condition: Callable[[], bool]) -> None:
    """Ask again and again, of a server: each asking is a round trip, so nothing spins."""
    give_up = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"


def slowed(curve: LatencyCurve) -> LatencyCurve:
    """Return the same batch sizes, as if each took a quarter of an hour."""
    return LatencyCurve(dict.fromkeys(curve.latencies_s, 1000.0), pads=curve.pads)
