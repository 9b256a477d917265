"""The service in this process, with HTTP and without: the most that its own parts could serve."""

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import uvloop

from bench.plain_loop import PlainLoop, Rate
from bench.repetition import seconds_of
from bench.serving import Running
from loadtest.result import steady_rate
from model_store.preprocess import Preprocessing, reduction, to_input
from service.app import create_app
from service.engine import Engine
from service.errors import ServiceError
from service.images import decode_reduced
from service.pipeline import Pipeline
from service.server import Server, run
from service.settings import Precision, load_settings

DEADLINE_S = 60.0


def pixels_of(data: bytes, preprocessing: Preprocessing) -> np.ndarray:
    """Decode and resize as the service does with its default settings; uint8 [H, W, 3]."""
    allowed = partial(reduction, preprocessing=preprocessing)
    picture = decode_reduced(data, max_pixels=50_000_000, reduction=allowed)
    return to_input(picture.image, preprocessing, box=picture.box)


class InProcess:
    """The service in a thread of this process, and ways past its HTTP to the same model.

    Of two processes of one program, one may be five per cent faster than the other for as long as
    they run. What is compared closely therefore has one process, and the same memory, in common.
    """

    def __init__(
        self, *, store: Path, model: str, cache: Path, precision: Precision = "float32"
    ) -> None:
        """Load the model, measured and checked as in any service.

        Raises:
            RuntimeError: it cannot be served; the message says why.
        """
        began_s = time.perf_counter()
        settings = load_settings(
            {
                "port": 0,
                "store": str(store / "versions"),
                "models": model,
                "compile_cache_dir": str(cache),
                "precision": precision,
                "log_level": "warning",
                # A program runs one batch at a time, and ours go past the thread that sees to it.
                "canary_interval_ms": 24 * 3600 * 1000,
            }
        )
        self._engine = Engine(settings)
        app = create_app(settings, self._engine)
        self._server = Server(app, settings)
        self._pipeline: Pipeline = app.state.parts.pipeline
        self.decode_threads = settings.decode_threads
        started = Future[asyncio.AbstractEventLoop]()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        self._loop = started.result()
        self.running = Running(
            f"{self._server.address}/classify", os.getpid(), time.perf_counter() - began_s
        )
        if not self._engine.catalog.served:
            self._end()
            raise RuntimeError(f"{model} is not served: {self._engine.catalog.missing[model]}")
        self.model = self._engine.catalog.served[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _run(self, started: "Future[asyncio.AbstractEventLoop]") -> None:
        try:
            uvloop.run(self._serve(started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)
        if not started.done():
            started.set_exception(RuntimeError("the server ended before it was ready"))

    async def _serve(self, started: "Future[asyncio.AbstractEventLoop]") -> None:
        async def tell() -> None:
            await self._engine.health.started.wait()
            await self._server.opened.wait()
            started.set_result(asyncio.get_running_loop())

        async with self._engine.running():
            telling = asyncio.create_task(tell())
            await run(self._server, announces=False)
            telling.cancel()

    @property
    def preprocessing(self) -> Preprocessing:
        """The model's."""
        return self.model.manifest.preprocessing

    def decode_s(self, data: bytes) -> float:
        """Return the wall seconds of decoding and resizing one picture, nothing beside it.

        On a thread of the service's, as the batches are: what they take differs from thread to
        thread of one process, by the memory that each has.
        """
        decoders = self._pipeline.decoders.workers
        return self._seconds_on(decoders.run, lambda: pixels_of(data, self.preprocessing))

    def device_s(self, images: int) -> float:
        """Return the wall seconds of one batch of blank images, padded as the runner would."""
        size, batch = (
            self.model.manifest.architecture.image_size,
            self.model.runner.curve.bucket(images),
        )
        blank = np.zeros((batch, size, size, 3), np.uint8)
        device = self._engine.catalog.device
        return self._seconds_on(device.call, lambda: self.model.runner.program(blank))

    def _seconds_on(
        self,
        call: Callable[[Callable[[], float]], Coroutine[None, None, float]],
        work: Callable[[], object],
    ) -> float:
        calling = call(partial(seconds_of, work))
        return asyncio.run_coroutine_threadsafe(calling, self._loop).result()

    def through_batcher(self, files: Sequence[bytes], in_flight: int, duration_s: float) -> Rate:
        """Put images through the service's decoders and batcher, so many always under way."""
        began_cpu_s = time.process_time()
        answering = self._closed_loop(files, in_flight, duration_s)
        done_s = asyncio.run_coroutine_threadsafe(answering, self._loop).result()
        cpu_s = time.process_time() - began_cpu_s
        return Rate(steady_rate(done_s, duration_s), cpu_s * 1e3 / len(done_s))

    def by_hand(self, files: Sequence[bytes], in_flight: int, duration_s: float) -> Rate:
        """Put images through a plain loop: full batches of the best measured throughput."""
        curve = self.model.runner.curve
        loop = PlainLoop(
            decode=partial(pixels_of, preprocessing=self.preprocessing),
            compute=self.model.runner.program,
            batch=max(curve.latencies_s, key=lambda n: n / curve.latencies_s[n]),
            threads=self.decode_threads,
        )
        return loop.run(files, in_flight, duration_s)

    async def _closed_loop(
        self, files: Sequence[bytes], in_flight: int, duration_s: float
    ) -> list[float]:
        """Return when each answer came, in seconds since the start."""
        loop, following, done_s = asyncio.get_running_loop(), itertools.cycle(files), list[float]()
        began_s = loop.time()

        async def ask() -> None:
            while loop.time() - began_s < duration_s:
                deadline = loop.time() + DEADLINE_S
                (outcome,) = await self._pipeline.run(self.model, [next(following)], deadline)
                if isinstance(outcome, ServiceError):
                    raise outcome
                done_s.append(loop.time() - began_s)

        await asyncio.gather(*(ask() for _ in range(in_flight)))
        return done_s
