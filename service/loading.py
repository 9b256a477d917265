"""How a reference becomes a model that may serve: find, read, compile, warm up, and check.

All of it runs beside what is served already: files and compilation on a thread of their own, and
on the device thread one call at a time, as if each were a batch. Meanwhile two more threads compare
the digests and import the runtime.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
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
from model_store.names import VersionRef, parse_reference
from model_store.parameters import read_parameters
from model_store.preprocess import to_input
from model_store.store import ModelStore
from service.batcher import MicroBatcher
from service.compile_cache import CompileCache, Plan, key_of
from service.images import decode
from service.metrics import Metrics
from service.models import Catalog, ServedModel, Stored
from service.qualification import Golden, GoldenMismatch, Qualified, Qualifier, Sizes
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
from service.settings import Settings

log = logging.getLogger("mixer.models")

BUILTIN_ROOT = Path(__file__).parent.parent / "model_store" / "builtin"

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
        on_compilation: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_compilation` is called, in the compiling thread, for every program compiled."""
        self._settings, self._metrics, self._catalog = settings, metrics, catalog
        self._cache = CompileCache(settings.compile_cache_dir)
        self._compiling = Compiling(on_compilation, self._cache.folder)
        self._thread_id: int | None = None
        self._thread = ThreadPoolExecutor(1, "load", initializer=self._remember_thread)
        self._beside = ThreadPoolExecutor(2, "beside")
        self._embedded = ModelStore(str(BUILTIN_ROOT))

    @cached_property
    def importing(self) -> Future[None]:
        """The import of the modules that all models wait for; the first look at it begins it."""
        return self._beside.submit(import_likeliest, self._settings.runtime, self._compiling)

    async def locate(self, reference: str, served: Stored | None) -> Stored:
        """Return the version that the reference means now.

        Looked up in the configured store, else among the embedded versions. What is `served` for
        it stays when it cannot move, or the store does not know the reference any more.

        Raises:
            StoreError: there is no such version, or the store could not be read.
        """
        return await self._call(partial(self._locate, reference, served))

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
        opening = asyncio.get_running_loop().run_in_executor(
            self._beside, partial(stored.store.open, stored.version)
        )
        try:
            model = await self._load(stored, opening)
        except Exception:
            await opening  # a damaged file explains it better
            raise
        await opening  # until every byte is as published nothing serves
        return model

    async def _load(self, stored: Stored, opening: Awaitable[Path]) -> ServedModel:
        importing = self.importing  # begins beside the reading
        folder = stored.store.folder(stored.version) or await opening
        read = await self._call(partial(self._read, stored, folder))
        # Whatever it raises will be raised again where the runtime is used.
        await asyncio.gather(asyncio.wrap_future(importing), return_exceptions=True)
        qualified = await self._qualify(stored.version, read, opening)
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
        for threads in (self._thread, self._beside):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _remember_thread(self) -> None:
        self._thread_id = threading.get_ident()

    @cached_property
    def _store(self) -> ModelStore | None:
        root, cache_dir = self._settings.store, self._settings.cache_dir
        return None if root is None else ModelStore(root, cache_dir=cache_dir.expanduser())

    def _locate(self, reference: str, served: Stored | None) -> Stored:
        _, selector = parse_reference(reference)
        if served is not None and isinstance(selector, int):
            return served
        if self._store is not None:
            try:
                return Stored(self._store, self._store.resolve(reference))
            except NotFound:
                if served is None:
                    log.info("%s is not in the store; looking among the embedded", reference)
        return served or Stored(self._embedded, self._embedded.resolve(reference))

    def _batch_observer(self, version: VersionRef) -> Callable[[int, int], None]:
        metrics, labels = self._metrics, {"model": version.model, "version": str(version.version)}

        def observe(count: int, bucket: int) -> None:
            metrics.batch_images.labels(**labels).observe(count)
            metrics.batch_padding_images.labels(**labels).inc(bucket - count)

        return observe

    async def _qualify(
        self, version: VersionRef, read: "_Read", opening: Awaitable[Path]
    ) -> Qualified:
        """Qualify by the plan that an earlier start left, else anew, and then leave a plan."""
        if read.plan is not None:
            try:
                return await read.qualifier.by_plan(read.plan)
            except Exception:
                await opening
                log.exception("%s: the plan of an earlier start fails: measuring anew", version)
        await opening  # what a damaged file gives is not worth the measuring
        precision = self._settings.precision_of(version.model)
        allowed = await self._call(partial(runtimes, self._settings.runtime, precision))
        qualified = await read.qualifier.best_of(allowed)
        await self._call(partial(self._cache.remember, read.plan_key, qualified.plan))
        return qualified

    def _read(self, stored: Stored, folder: Path) -> "_Read":
        manifest = stored.store.manifest(stored.version)
        network = self._network(stored, folder, manifest)
        qualifier = Qualifier(
            partial(make_program, network=network, compiling=self._compiling),
            manifest.architecture.image_size,
            self._golden(stored.version, folder, manifest),
            Sizes(self._settings.buckets, self._settings.max_batch_images),
            self._catalog.device,
            self._call,
        )
        key = self._plan_key(manifest, network)
        return _Read(manifest, qualifier, key, self._cache.recall(key))

    def _network(self, stored: Stored, folder: Path, manifest: Manifest) -> Network:
        return Network(
            manifest.architecture,
            manifest.preprocessing,
            read_parameters(folder / PARAMETERS_FILE),
            self._settings.precision_of(stored.version.model),
        )

    def _golden(self, version: VersionRef, folder: Path, manifest: Manifest) -> Golden:
        """Return the golden images as the service's own decoder makes them of the files."""
        files = [(folder / golden.file).read_bytes() for golden in manifest.golden]
        pixels = [to_input(decode(f, max_pixels=2**24), manifest.preprocessing) for f in files]
        tolerance = self._settings.tolerance(self._settings.precision_of(version.model))
        return Golden(version, pixels, manifest.golden, tolerance)

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
