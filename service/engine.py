"""What owns the device and everything of which there is one: models, metrics, health.

A request sees it through `EngineView`. It is in the same process, or, where several front-end
processes share it, in one of its own (`service.frontends`).
"""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import NamedTuple, Protocol

from prometheus_client.exposition import choose_encoder

from service.directory import Directory, Model
from service.health import HealthChecks, Probes
from service.loading import Loader
from service.metrics import Metrics, RequestMetrics
from service.models import Catalog
from service.reload import Watcher
from service.settings import Settings
from service.stores import Stores


class Exposition(NamedTuple):
    """The metrics as text, and of which content type."""

    text: bytes
    content_type: str


class EngineView(Protocol):
    """The engine as the process that answers HTTP sees it."""

    @property
    def metrics(self) -> RequestMetrics:
        """Where requests are counted."""

    @property
    def directory(self) -> Directory[Model]:
        """Which model answers."""

    @property
    def health(self) -> Probes:
        """What the probes ask."""

    async def exposition(self, accept: str) -> Exposition:
        """Return all metrics, in the format that the Accept header asks for."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Work from here to the end of the block, and answer first what was admitted."""


class Engine:
    """Models in the background: loaded, followed in the store, and watched over."""

    def __init__(self, settings: Settings, stores: Stores | None = None) -> None:
        self._settings = settings
        self._on_change: Callable[[], None] | None = None
        self.metrics = Metrics()
        self.catalog = Catalog(settings, self.metrics, self._changed)
        self.loader = Loader(settings, self.metrics, self.catalog, stores, self._count_compilation)
        self.health = HealthChecks(self.catalog, settings, self.metrics, self._changed)
        self.watcher = Watcher(settings, self.catalog, self.loader)

    @property
    def directory(self) -> Directory[Model]:
        """The catalog."""
        return self.catalog

    def on_change(self, tell: Callable[[], None]) -> None:
        """Have `tell` called after every change of models or health."""
        self._on_change = tell

    async def exposition(self, accept: str) -> Exposition:
        """Return all metrics, in the format that the Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        return Exposition(encode(self.metrics.registry), content_type)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load and serve from here to the end of the block, and answer first what was admitted."""
        packages = ("mixer-serve", "jax", "flax")
        self.metrics.build_info.info({name: importlib.metadata.version(name) for name in packages})
        # In the background, so that the probes are answered while models load.
        background = [
            asyncio.create_task(self.watcher.run(self.health.started)),
            asyncio.create_task(self._tell_of_start()),
            asyncio.create_task(self.health.watch_device()),
        ]
        try:
            yield
        finally:
            self.health.draining = True
            # Bounded, since a dead device would hold the shutdown for ever.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.drain_timeout_ms / 1e3):
                    await self.catalog.drain()
            background += self.watcher.asked
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            self.loader.close()
            self.catalog.device.close()

    async def _tell_of_start(self) -> None:
        await self.health.started.wait()
        self._changed()

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def _count_compilation(self) -> None:
        """Count a program, in the thread that compiled it; what is loading serves no one yet."""
        reloading = self.health.started.is_set() and self.loader.is_this_thread()
        metrics = self.metrics
        (metrics.reload_compilations if reloading else metrics.compilations).inc()
