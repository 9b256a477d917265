"""The models that this process serves, and which of them answers to which reference."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from model_store.manifest import Manifest
from model_store.store import ModelStore, VersionRef
from service.batcher import MicroBatcher
from service.errors import ModelNotFound, NotReady
from service.metrics import Metrics
from service.runner import Device, Row, Runner
from service.settings import Settings

log = logging.getLogger("mixer.models")


class Stored(NamedTuple):
    """A version, and the store that it lies in."""

    store: ModelStore
    version: VersionRef


@dataclass(eq=False)
class ServedModel:
    """One version that passed every check, with the batcher that feeds it."""

    stored: Stored
    manifest: Manifest
    runner: Runner
    batcher: MicroBatcher[np.ndarray, Row]
    golden_deviation: float
    aliases: tuple[str, ...] = ()
    _leases: int = 0
    _unused: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def version(self) -> VersionRef:
        """Name and number."""
        return self.stored.version

    @property
    def labels(self) -> dict[str, str]:
        """The labels of this model's metrics."""
        return {"model": self.version.model, "version": str(self.version.version)}

    @contextmanager
    def lease(self) -> Iterator["ServedModel"]:
        """Keep the model for one request, from finding it until its answer is written."""
        self._leases += 1
        self._unused.clear()
        try:
            yield self
        finally:
            self._leases -= 1
            if not self._leases:
                self._unused.set()

    async def retire(self) -> None:
        """Return when every lease has ended and the device is done with all that was accepted.

        It must not be found any more.
        """
        if self._leases:
            await self._unused.wait()
        await self.batcher.drain()


class Catalog:
    """Each configured reference with the model that answers for it, or the reason why none does."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._references, self._metrics = settings.models, metrics
        self.device = Device()
        self.default = settings.default_model or settings.models[0]
        self.answering: dict[str, ServedModel] = {}  # by configured reference
        self.served: list[ServedModel] = []  # each once, in the configured order
        self.missing = dict.fromkeys(settings.models, "loading")
        # References that could not be followed to where the store has them: another version serves.
        self.stale: dict[str, str] = {}
        self.retiring: dict[ServedModel, asyncio.Task[None]] = {}
        metrics.stale_references.set_function(lambda: len(self.stale))

    def find(self, reference: str | None) -> ServedModel:
        """Return the model that a request names: `name`, `name@version` or `name@alias`.

        A bare name is its version that was configured first; None is the default model.

        Raises:
            ModelNotFound: nothing configured answers to it.
            NotReady: it is configured, and still loading or refused.
        """
        reference = self.default if reference is None else reference
        name, at, selector = reference.partition("@")
        for model in self.served:
            selectors = (str(model.version.version), *model.aliases)
            if model.version.model == name and (not at or selector in selectors):
                return model
        if any(configured.partition("@")[0] == name for configured in self.missing):
            raise NotReady(f"The model {name!r} is not ready; /readyz says why.")
        served = ", ".join(str(model.version) for model in self.served) or "none yet"
        raise ModelNotFound(f"No model {reference!r:.80} is served; served are: {served}.")

    def serve(self, reference: str, model: ServedModel) -> None:
        """Let the model answer for the reference from now on; who answers for none retires."""
        self.answering[reference] = model
        self.explain(reference, None)
        before = self.served
        answering = [self.answering[each] for each in self._references if each in self.answering]
        self.served = list(dict.fromkeys(answering))
        if model not in before:
            self._enter(model)
        for left in set(before).difference(self.served):
            self.retiring[left] = asyncio.create_task(self._leave(left))

    def explain(self, reference: str, reason: str | None) -> bool:
        """Note why the version that the store has is not served, None if it is; say if it is news.

        The reason is shown to clients.
        """
        known = self.missing.pop(reference, None) or self.stale.pop(reference, None)
        if reason is not None:
            reasons = self.stale if reference in self.answering else self.missing
            reasons[reference] = reason
        return reason != known

    def backlog_beside_s(self, runner: Runner) -> float:
        """Return the device seconds queued for all other models than this runner's."""
        models = (*self.served, *self.retiring)
        return sum(model.batcher.backlog_s for model in models if model.runner is not runner)

    async def drain(self) -> None:
        """Answer all that was admitted; admit nothing more."""
        draining = [model.batcher.drain() for model in self.served]
        await asyncio.gather(*draining, *self.retiring.values())

    def _enter(self, model: ServedModel) -> None:
        metrics, labels, runner = self._metrics, model.labels, model.runner
        metrics.batch_images.labels(**labels)
        metrics.batch_padding_images.labels(**labels)
        metrics.queue_images.labels(**labels).set_function(lambda: model.batcher.queued_images)
        metrics.backlog_s.labels(**labels).set_function(lambda: model.batcher.backlog_s)
        metrics.capacity_images_per_s.labels(**labels).set(runner.curve.capacity_images_per_s)
        metrics.model_info.labels(
            **labels,
            dtype=model.manifest.dtype,
            runtime=runner.program.runtime,
            device=runner.program.device,
        ).set(1)
        log.info(
            "%s is ready on %s: %.0f images/s, golden deviation %.1e",
            model.version,
            runner.program.device,
            runner.curve.capacity_images_per_s,
            model.golden_deviation,
        )

    async def _leave(self, model: ServedModel) -> None:
        await model.retire()
        del self.retiring[model]
        # It may be back already, loaded anew.
        if model.version not in [served.version for served in self.served]:
            self._metrics.forget(model.labels)
        log.info("%s has left: its last request is answered", model.version)
