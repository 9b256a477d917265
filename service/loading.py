"""How a reference becomes a model that may serve: find, read, compile, warm up, and check.

All of it runs beside what is served already: files and compilation on a thread of their own, and
on the device thread one call at a time, as if each were a batch. Meanwhile two more threads compare
the digests (`service.stores`) and import the runtime.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from typing import NamedTuple, TypeVar

from model_store.errors import (
    Corrupt,
    InvalidManifest,
    InvalidName,
    NotFound,
    ParameterMismatch,
    StoreError,
)
from model_store.manifest import PARAMETERS_FILE, Manifest
from model_store.names import VersionRef
from model_store.preprocess import to_input
from model_store.version_files import VersionFiles
from service.batcher import MicroBatcher
from service.compile_cache import CompileCache, Plan, key_of
from service.images import decode
from service.metrics import Metrics
from service.models import Catalog, ServedModel
from service.qualification import Golden, GoldenMismatch, Qualified, Qualifier
from service.runner import Runner
from service.runtimes.selection import (
    Compiling,
    Network,
    Unsupported,
    accelerator,
    import_likeliest,
    make_program,
    runtimes,
)
from service.settings import Precision, Settings
from service.stores import Stored, Stores
from service.trials import Sizes

log = logging.getLogger("mixer.models")

T = TypeVar("T")


class _Read(NamedTuple):
    """What is known of a version once its files are read."""

    manifest: Manifest
    qualifier: Qualifier
    plan_key: str
    plan: Plan | None


class Loader:
    """Finds versions and loads them, on one thread of its own."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        catalog: Catalog,
        stores: Stores | None = None,
        on_compilation: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_compilation` is called, in the compiling thread, for every program compiled."""
        self._settings, self._metrics, self._catalog = settings, metrics, catalog
        self._stores = stores or Stores(settings)
        self._cache = CompileCache(settings.compile_cache_dir)
        self._compiling = Compiling(on_compilation, self._cache.folder)
        self._thread_id: int | None = None
        self._thread = ThreadPoolExecutor(1, "load", initializer=self._remember_thread)
        self._importer = ThreadPoolExecutor(1, "import")

    @cached_property
    def importing(self) -> Future[None]:
        """The import of the modules that all models wait for; the first look at it begins it."""
        return self._importer.submit(import_likeliest, self._settings.runtime, self._compiling)

    async def locate(self, reference: str, served: Stored | None) -> Stored:
        """Return the version that the reference means now: see `Stores.locate`."""
        return await self._call(partial(self._stores.locate, reference, served))

    async def aliases(self, stored: Stored) -> Mapping[str, int]:
        """Return the version number of each alias of the version's model.

        Raises:
            StoreError: the model is gone, or the store could not be read.
        """
        return await self._call(partial(stored.store.aliases, stored.version.model))

    async def load(self, stored: Stored) -> ServedModel:
        """Read, compile, measure and check one version; it knows no aliases yet.

        Raises:
            StoreError: a file is not as it was published, or the store could not be read.
            GoldenMismatch: no runtime reproduces the golden outputs.
        """
        opening = self._stores.open(stored)
        checked = asyncio.wrap_future(opening.checked)
        try:
            model = await self._load(stored, asyncio.wrap_future(opening.files), checked)
        except Exception:
            await checked  # a damaged file explains it better
            raise
        await checked  # until every byte is as published nothing serves
        return model

    async def _load(
        self, stored: Stored, reading: Awaitable[VersionFiles], checked: Awaitable[None]
    ) -> ServedModel:
        importing = self.importing  # begins beside the reading
        read = await self._call(partial(self._prepare, stored.version, await reading))
        # Whatever it raises will be raised again where the runtime is used.
        await asyncio.gather(asyncio.wrap_future(importing), return_exceptions=True)
        qualified = await self._qualify(stored.version, read, checked)
        runner = Runner(
            qualified.program,
            self._catalog.device,
            qualified.curve,
            read.manifest.architecture.image_size,
            on_batch=self._batch_observer(stored.version),
        )
        batcher = MicroBatcher(
            runner,
            max_queue_images=self._settings.max_queue_images,
            other_backlog_s=partial(self._catalog.backlog_beside_s, runner),
        )
        return ServedModel(stored, read.manifest, runner, batcher, qualified.golden_deviation)

    def is_this_thread(self) -> bool:
        """Say whether the caller runs on the loading thread."""
        return threading.get_ident() == self._thread_id

    def close(self) -> None:
        """End the threads without waiting for what they are doing."""
        self._stores.close()
        for threads in (self._thread, self._importer):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _remember_thread(self) -> None:
        self._thread_id = threading.get_ident()

    def _batch_observer(self, version: VersionRef) -> Callable[[int, int], None]:
        metrics, labels = self._metrics, {"model": version.model, "version": str(version.version)}

        def observe(count: int, bucket: int) -> None:
            metrics.batch_images.labels(**labels).observe(count)
            metrics.batch_padding_images.labels(**labels).inc(bucket - count)

        return observe

    async def _qualify(
        self, version: VersionRef, read: _Read, checked: Awaitable[None]
    ) -> Qualified:
        """Qualify by the plan that an earlier start left, else anew, and then leave a plan."""
        if read.plan is not None:
            try:
                return await read.qualifier.by_plan(read.plan)
            except Exception:
                await checked
                log.exception("%s: the plan of an earlier start fails: measuring anew", version)
        await checked  # what a damaged file gives is not worth the measuring
        precision = self._settings.precision_of(version.model)
        allowed = await self._call(partial(runtimes, self._settings.runtime, precision))
        qualified = await read.qualifier.best_of(allowed)
        await self._call(partial(self._cache.remember, read.plan_key, qualified.plan))
        return qualified

    def _prepare(self, version: VersionRef, files: VersionFiles) -> _Read:
        manifest = files.manifest
        precision = self._settings.precision_of(version.model)
        network = Network(
            manifest.architecture, manifest.preprocessing, files.parameters(), precision
        )
        qualifier = Qualifier(
            partial(make_program, network=network, compiling=self._compiling),
            manifest.architecture.image_size,
            self._golden(version, files, precision),
            Sizes(self._settings.buckets, self._settings.max_batch_images),
            self._catalog.device,
            self._call,
        )
        key = self._plan_key(manifest, network)
        return _Read(manifest, qualifier, key, self._cache.recall(key))

    def _golden(self, version: VersionRef, files: VersionFiles, precision: Precision) -> Golden:
        """Return the golden images as the service's own decoder makes them of the files."""
        preprocessing, golden = files.manifest.preprocessing, files.manifest.golden
        images = [decode(bytes(files[each.file]), max_pixels=2**24) for each in golden]
        pixels = [to_input(image, preprocessing) for image in images]
        return Golden(version, pixels, golden, self._settings.tolerance(precision))

    def _plan_key(self, manifest: Manifest, network: Network) -> str:
        runtime = self._settings.runtime
        return key_of(
            accelerator="" if runtime == "openvino" else accelerator(),
            parameters=manifest.files[PARAMETERS_FILE].sha256,
            architecture=manifest.architecture.model_dump(mode="json"),
            precision=network.precision,
            runtime=runtime,
            buckets=self._settings.buckets,
            max_batch_images=self._settings.max_batch_images,
        )


def is_transient(error: Exception) -> bool:
    """Say whether the same version may load when tried again: the store could not be read."""
    return type(error) in (StoreError, NotFound)


def public_reason(error: Exception) -> str:
    """Return a reason for clients: the log has the whole error, with paths that stay inside."""
    reasons: dict[type[Exception], str] = {
        NotFound: "there is no such model or version in the store",
        Corrupt: "a file's size or digest is not as it was published",
        InvalidManifest: "its manifest is not one that this server understands",
        InvalidName: "it is not of the form name, name@version or name@alias",
        ParameterMismatch: "its parameters do not fit its architecture",
        StoreError: "the store could not be read",
    }
    if isinstance(error, (GoldenMismatch, Unsupported)):
        return str(error)
    known = (reason for kind, reason in reasons.items() if isinstance(error, kind))
    return next(known, "it could not be loaded; the log says why")
