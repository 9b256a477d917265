"""The models that this process serves, and which of them answers to which reference."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from model_store.manifest import Manifest
from model_store.names import VersionRef
from model_store.variants import variant_name
from service.batch import Alone
from service.batcher import MicroBatcher
from service.directory import Directory, Submit
from service.inbox import Inbox
from service.metrics import Metrics
from service.runner import Device, Row, Runner
from service.schemas import Bucket, ModelVersion
from service.settings import Settings
from service.stores import Stored

log = logging.getLogger("mixer.models")


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

    @cached_property
    def labels(self) -> dict[str, str]:
        """The labels of this model's metrics."""
        return {"model": self.version.model, "version": str(self.version.version)}

    @property
    def inbox(self) -> Inbox:
        """Where prepared images may wait while the device is busy."""
        return self.batcher.inbox

    def alone(self) -> AbstractContextManager[Alone[np.ndarray, Row]] | None:
        """Return how an image passes the batcher by: see `MicroBatcher.alone`."""
        return self.batcher.alone()

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

    def check(self, images: int, deadline: float, *, preparation_s: float) -> bool:
        """Raise what `admit` would raise now; return True, since it is known here."""
        self.batcher.check(images, deadline, preparation_s=preparation_s)
        return True

    def admit(self, images: int, deadline: float, *, preparation_s: float) -> "_Places":
        """Hold places in the batcher: see `MicroBatcher.admit`."""
        places = self.batcher.admit(images, deadline, preparation_s=preparation_s)
        return _Places(places, self.batcher.submit)

    def summary(self) -> ModelVersion:
        """Return what `GET /models` says of it."""
        architecture, program = self.manifest.architecture, self.runner.program
        return ModelVersion(
            version=str(self.version.version),
            aliases=list(self.aliases),
            variant=variant_name(architecture),
            parameters=architecture.parameter_count,
            input_size=architecture.image_size,
            classes=architecture.num_classes,
            embedding_dim=architecture.width,
            dtype=self.manifest.dtype,
            precision=program.precision,
            runtime=program.runtime,
            device=program.device,
            buckets=[
                Bucket(images=bucket, latency_ms=round(seconds * 1e3, 3))
                for bucket, seconds in self.runner.curve.latencies_s.items()
            ],
            golden_deviation=self.golden_deviation,
            state="ready",
        )

    async def retire(self) -> None:
        """Return when every lease has ended and the device is done with all that was accepted.

        It must not be found any more.
        """
        if self._leases:
            await self._unused.wait()
        await self.batcher.drain()


class _Places(AbstractAsyncContextManager[Submit]):
    """Places in this process's batcher, for which nobody has to wait."""

    def __init__(self, places: AbstractContextManager[None], submit: Submit) -> None:
        self._places, self._submit = places, submit

    async def __aenter__(self) -> Submit:
        self._places.__enter__()
        return self._submit

    async def __aexit__(self, *raised: Any) -> None:
        self._places.__exit__(*raised)


class Catalog(Directory[ServedModel]):
    """Each configured reference with the model that answers for it, or the reason why none does.

    Of every change it tells `on_change`.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, on_change: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(settings.default_model or settings.models[0])
        self._references, self._metrics, self._on_change = settings.models, metrics, on_change
        self.device = Device()
        self.answering: dict[str, ServedModel] = {}  # by configured reference
        self.missing = dict.fromkeys(settings.models, "loading")
        self.retiring: dict[ServedModel, asyncio.Task[None]] = {}
        metrics.stale_references.set_function(lambda: len(self.stale))

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
        self._on_change()

    def name(self, model: ServedModel, aliases: Iterable[str]) -> None:
        """Let the model answer to these aliases, and to no others."""
        model.aliases = tuple(sorted(aliases))
        self._on_change()

    def explain(self, reference: str, reason: str | None) -> bool:
        """Note why the version that the store has is not served, None if it is; say if it is news.

        The reason is shown to clients.
        """
        known = self.missing.pop(reference, None) or self.stale.pop(reference, None)
        if reason is not None:
            reasons = self.stale if reference in self.answering else self.missing
            reasons[reference] = reason
        self._on_change()
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
