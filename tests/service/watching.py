"""A catalog that follows a real store, without the HTTP around it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from model_store.checkpoint import Checkpoint
from model_store.store import ModelStore
from service.loading import Loader
from service.metrics import Metrics
from service.models import Catalog
from service.reload import Watcher
from service.settings import load_settings
from tests.models import TINY, random_checkpoint

TIMEOUT_S = 600  # only ends what hangs
SMALL = TINY.model_copy(update={"depth": 1})  # compiled in half the time


@dataclass(frozen=True)
class Watched:
    """What follows the store when `watcher.poll` is called."""

    catalog: Catalog
    watcher: Watcher
    loader: Loader
    metrics: Metrics

    async def poll(self) -> None:
        """Follow the store, and wait until those who left are gone."""
        await self.watcher.poll()
        while self.catalog.retiring:
            await next(iter(self.catalog.retiring.values()))

    def version(self, reference: str | None = None) -> str:
        return str(self.catalog.find(reference).version)


@asynccontextmanager
async def watching(
    store: ModelStore, *references: str, **settings: object
) -> AsyncIterator[Watched]:
    """Load these references of the store."""
    given = {
        "store": store.root,
        "models": references,
        "runtime": "xla",
        "buckets": (1,),
        "compile_cache_dir": None,
    }
    configured, metrics = load_settings(given | settings), Metrics()
    catalog = Catalog(configured, metrics)
    loader = Loader(configured, metrics, catalog)
    watched = Watched(catalog, Watcher(configured, catalog, loader), loader, metrics)
    await watched.poll()
    try:
        yield watched
    finally:
        loader.close()
        catalog.device.close()


def loaded(store: ModelStore, *references: str, **settings: object) -> Catalog:
    """Return what is found by these references, and can compute no more."""

    async def load() -> Catalog:
        async with watching(store, *references, **settings) as watched:
            return watched.catalog

    return asyncio.run(load())


def pixels(seed: int) -> np.ndarray:
    """Return the pixels of an image of SMALL's size."""
    size = SMALL.image_size
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@cache
def version(seed: int) -> Checkpoint:
    """Return a version to publish, made once for all tests."""
    return random_checkpoint(SMALL, seed=seed)


def misremembered(seed: int) -> Checkpoint:
    """Return a version whose maker states another logit than it computes."""
    whole = version(seed)
    first, *rest = whole.manifest.golden
    wrong = first.model_copy(update={"logits": (first.logits[0] + 0.5, *first.logits[1:])})
    manifest = whole.manifest.model_copy(update={"golden": (wrong, *rest)})
    return Checkpoint(manifest, whole.files)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, TIMEOUT_S))
