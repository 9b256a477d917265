"""One worker: a model that passed every check of the service, and the parts it computes.

path → bytes → the service's pipeline (decode, resize, batch, device) → row → part, put whole

A worker is a plain class, which Ray makes an actor of.
"""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any, NamedTuple

from deploy.batch.job import Asked, JobRefused, manifest_sha256
from deploy.batch.parts import Part, part_name
from deploy.batch.rows import ImageMissing, errors_in, row_of
from deploy.batch.table import schema, to_parquet
from model_store.bucket import Bucket
from model_store.errors import NotFound, StoreError
from model_store.names import VersionRef
from model_store.store import ModelStore
from service.decoders import Decoders
from service.errors import BodyTooLarge
from service.loading import Loader
from service.metrics import Metrics
from service.models import Catalog, ServedModel
from service.pipeline import Pipeline
from service.settings import Settings
from service.stores import Stored

# Reading an object is waiting: more at once than there are cores to decode.
READ_THREADS = 16


class Done(NamedTuple):
    """What a worker says of a part; `images` is 0 where another worker had written it already."""

    number: int
    images: int
    errors: int
    seconds: float


class Worker:
    """Loads the model once, and computes any number of parts."""

    def __init__(self, asked: Asked, settings: Settings, *, store: str, output: str) -> None:
        """Load, compile and check the model.

        Raises:
            JobRefused: the store's version is not the one that the job was begun with.
            GoldenMismatch: no runtime reproduces the golden outputs here.
            StoreError: the store does not answer, or a file is not as it was published.
        """
        self._asked = asked
        self._input, self._output = Bucket(asked.input), Bucket(output)
        self._window = asyncio.Semaphore(settings.max_queue_images)
        with ExitStack() as opened:
            self._loop = opened.enter_context(asyncio.Runner())
            self._readers = opened.enter_context(ThreadPoolExecutor(READ_THREADS, "read"))
            decoders = Decoders(settings.decode_threads)
            opened.callback(decoders.close)
            metrics = Metrics()
            self._pipeline = Pipeline(
                decoders, metrics, settings.max_image_pixels, settings.decode_scaling
            )
            catalog = Catalog(settings, metrics)
            opened.callback(catalog.device.close)
            self._model = self._loop.run(self._load(settings, metrics, catalog, store))
            self.close = opened.pop_all().close

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Compute one part, given as its `number` and `paths`, one a line; return a `Done`.

        Raises:
            StoreError: a storage does not answer.
            ServiceError: the device failed.
        """
        part = Part(int(row["number"]), str(row["paths"]).split("\n"))
        return self.compute(part)._asdict()

    def compute(self, part: Part) -> Done:
        """Write the part, unless it is there; raises as `__call__`."""
        began_s = time.monotonic()
        name = part_name(part.number)
        if self._output.exists(name):
            return Done(part.number, 0, 0, 0.0)
        rows = self._loop.run(self._rows(part))
        self._refuse_if_input_left(rows)
        manifest, asked = self._model.manifest, self._asked
        facts = {
            "manifest_sha256": asked.manifest_sha256,
            "runtime": self._model.runner.program.runtime,
            "precision": asked.precision,
        }
        columns = schema(asked.task, manifest.architecture.width)
        # A second one that was computed meanwhile holds the same: the first stays.
        self._output.create(name, to_parquet(rows, columns, facts))
        return Done(part.number, len(rows), errors_in(rows), time.monotonic() - began_s)

    def _refuse_if_input_left(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Tell images that have left from an input that this machine does not see.

        Raises:
            StoreError: no image of the part is there, nor any other.
        """
        if all(row["error_code"] == ImageMissing.code for row in rows) and not self._input.paths():
            raise StoreError(f"there is nothing beneath {self._input.root} any more")

    async def _load(
        self, settings: Settings, metrics: Metrics, catalog: Catalog, store: str
    ) -> ServedModel:
        stored = Stored(
            ModelStore(store, cache_dir=settings.cache_dir.expanduser()),
            VersionRef(self._asked.model, self._asked.version),
        )
        found = manifest_sha256(*stored)
        if found != self._asked.manifest_sha256:
            raise JobRefused(
                f"{stored.version} in {store} has a manifest of SHA-256 {found}; the job was begun "
                f"with {self._asked.manifest_sha256}"
            )
        with closing(Loader(settings, metrics, catalog)) as loader:
            return await loader.load(stored)

    async def _rows(self, part: Part) -> list[dict[str, Any]]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._row(path)) for path in part.paths]
        except ExceptionGroup as failed:  # of a storage that is down every image fails alike
            raise failed.exceptions[0] from failed
        return [task.result() for task in tasks]

    async def _row(self, path: str) -> dict[str, Any]:
        async with self._window:
            image = await asyncio.get_running_loop().run_in_executor(
                self._readers, self._read, path
            )
            (outcome,) = await self._pipeline.run(self._model, [image], math.inf)
        return row_of(path, outcome, self._asked, self._model.manifest)

    def _read(self, path: str) -> bytes | BodyTooLarge | ImageMissing:
        max_bytes = self._asked.max_image_bytes
        try:
            data = self._input.get_up_to(path, max_bytes)
        except NotFound:
            return ImageMissing("The image was listed, and is not there any more.")
        if data is None:
            return BodyTooLarge(f"The image is larger than {max_bytes} bytes.")
        return data
