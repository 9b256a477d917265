"""The service's own parts in this process, without HTTP: the most that they could serve."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import uvloop

from bench.repetition import seconds_of
from model_store.preprocess import Preprocessing, reduction, to_input
from service.decoders import Decoders
from service.errors import ServiceError
from service.images import decode_reduced
from service.loading import Loader
from service.metrics import Metrics
from service.models import Catalog, ServedModel
from service.pipeline import Pipeline
from service.settings import Precision, Settings, load_settings

DEADLINE_S = 60.0


def pixels_of(data: bytes, preprocessing: Preprocessing) -> np.ndarray:
    """Decode and resize as the service does with its default settings; uint8 [H, W, 3]."""
    allowed = partial(reduction, preprocessing=preprocessing)
    picture = decode_reduced(data, max_pixels=50_000_000, reduction=allowed)
    return to_input(picture.image, preprocessing, box=picture.box)


class InProcess:
    """A model loaded, measured and checked as in the service, with its decoders and batcher."""

    def __init__(
        self, *, store: Path, model: str, cache: Path, precision: Precision = "float32"
    ) -> None:
        settings = load_settings(
            {
                "store": str(store / "versions"),
                "models": model,
                "compile_cache_dir": str(cache),
                "precision": precision,
            }
        )
        # One loop for good, as in the service: the batcher belongs to it.
        self._loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        metrics = Metrics()
        self._catalog = Catalog(settings, metrics)
        self._loader = Loader(settings, metrics, self._catalog)
        self._decoders = Decoders(settings.decode_threads)
        self._pipeline = _pipeline(settings, metrics, self._decoders)
        self._decode_threads = settings.decode_threads
        self.model = self._loop.run(self._load(model))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loader.close()
        self._catalog.device.close()
        self._decoders.close()
        self._loop.close()

    @property
    def preprocessing(self) -> Preprocessing:
        """The model's."""
        return self.model.manifest.preprocessing

    def decode_s(self, data: bytes) -> float:
        """Return the wall seconds of decoding and resizing one picture, nothing beside it."""
        return seconds_of(lambda: pixels_of(data, self.preprocessing))

    def device_s(self, images: int) -> float:
        """Return the wall seconds of one batch of blank images, padded as the runner would."""
        size, batch = (
            self.model.manifest.architecture.image_size,
            self.model.runner.curve.bucket(images),
        )
        blank = np.zeros((batch, size, size, 3), np.uint8)
        return seconds_of(lambda: self.model.runner.program(blank))

    def through_batcher(self, files: Sequence[bytes], in_flight: int, duration_s: float) -> float:
        """Return images/s through the service's decoders and batcher, so many always under way."""
        return self._loop.run(self._closed_loop(files, in_flight, duration_s))

    def by_hand(self, files: Sequence[bytes], in_flight: int, duration_s: float) -> float:
        """Return images/s of a plain loop: threads decode ahead, full batches go to the device.

        The batch is the one with the best measured throughput.
        """
        curve, program = self.model.runner.curve, self.model.runner.program
        size = max(curve.latencies_s, key=lambda n: n / curve.latencies_s[n])
        following = itertools.cycle(files)
        with ThreadPoolExecutor(self._decode_threads) as decoders:
            decode = partial(decoders.submit, partial(pixels_of, preprocessing=self.preprocessing))
            ahead = deque(decode(next(following)) for _ in range(max(in_flight, 2 * size)))
            for picture in ahead:  # so that it begins with what it will leave behind
                picture.result()
            done, began_s = 0, time.perf_counter()
            while time.perf_counter() - began_s < duration_s:
                batch = [ahead.popleft().result() for _ in range(size)]
                ahead.extend(decode(next(following)) for _ in range(size))
                program(np.stack(batch))
                done += size
            rate = done / (time.perf_counter() - began_s)
            for left in ahead:
                left.cancel()
        return rate

    async def _load(self, reference: str) -> ServedModel:
        return await self._loader.load(await self._loader.locate(reference, None))

    async def _closed_loop(
        self, files: Sequence[bytes], in_flight: int, duration_s: float
    ) -> float:
        loop, following, done = asyncio.get_running_loop(), itertools.cycle(files), 0
        began_s = loop.time()

        async def ask() -> None:
            nonlocal done
            while loop.time() - began_s < duration_s:
                deadline = loop.time() + DEADLINE_S
                (outcome,) = await self._pipeline.run(self.model, [next(following)], deadline)
                if isinstance(outcome, ServiceError):
                    raise outcome
                done += 1

        await asyncio.gather(*(ask() for _ in range(in_flight)))
        return done / (loop.time() - began_s)


def _pipeline(settings: Settings, metrics: Metrics, decoders: Decoders) -> Pipeline:
    return Pipeline(decoders, metrics, settings.max_image_pixels, settings.decode_scaling)
