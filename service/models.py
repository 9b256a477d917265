"""The models that this process serves: loaded, verified, warmed up, and found by reference."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from model_store.checkpoint import read_parameters
from model_store.errors import (
    Corrupt,
    InvalidManifest,
    NotFound,
    ParameterMismatch,
    StoreError,
)
from model_store.golden import deviation
from model_store.manifest import PARAMETERS_FILE, Manifest
from model_store.preprocess import to_input
from model_store.store import ModelStore, VersionRef
from service.batcher import MicroBatcher
from service.errors import ModelNotFound, NotReady
from service.images import decode
from service.metrics import Metrics
from service.runner import Device, Row, Runner
from service.runtimes.xla import XlaProgram
from service.settings import Settings

log = logging.getLogger("mixer.models")

BUILTIN_ROOT = Path(__file__).parent.parent / "model_store" / "builtin"


class GoldenMismatch(Exception):
    """Our hardware and code do not reproduce what the version's maker computed."""


@dataclass(frozen=True)
class ServedModel:
    """One version that passed every check, with the batcher that feeds it."""

    version: VersionRef
    aliases: tuple[str, ...]
    manifest: Manifest
    runner: Runner
    batcher: MicroBatcher[np.ndarray, Row]
    golden_deviation: float

    @property
    def labels(self) -> dict[str, str]:
        """The labels of this model's metrics."""
        return _labels(self.version)


class Catalog:
    """The configured models, each loading, ready, or refused with a reason."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self.device = Device()
        self.served: list[ServedModel] = []
        self.missing = dict.fromkeys(settings.models, "loading")
        self.default = settings.default_model or settings.models[0]

    async def load(self) -> None:
        """Load every configured model; one that fails is named in `missing`, the others serve."""
        for reference in self._settings.models:
            try:
                model = await self.device.call(partial(self._load, reference))
            except Exception as error:  # whatever it is, the other models must be served
                log.exception("%s is not served", reference)
                self.missing[reference] = _public_reason(error)
            else:
                self._add(model)
                del self.missing[reference]

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

    @property
    def backlog_s(self) -> float:
        """Device seconds queued over all models."""
        return sum(model.batcher.backlog_s for model in self.served)

    async def drain(self) -> None:
        """Answer all that was admitted; admit nothing more."""
        await asyncio.gather(*(model.batcher.drain() for model in self.served))

    def _load(self, reference: str) -> ServedModel:
        """Read, compile, warm up and check one version (blocking; on the device thread)."""
        store, version = self._resolve(reference)
        folder, manifest = store.open(version), store.manifest(version)
        runner = Runner(
            XlaProgram(
                manifest.architecture,
                manifest.preprocessing,
                read_parameters(folder / PARAMETERS_FILE),
            ),
            self.device,
            self._settings.buckets,
            manifest.architecture.image_size,
            on_batch=self._batch_observer(version),
        )
        runner.warm_up()
        return ServedModel(
            version=version,
            aliases=_aliases(store, version),
            manifest=manifest,
            runner=runner,
            batcher=self._batcher(runner),
            golden_deviation=self._check_golden(version, runner, manifest, folder),
        )

    def _resolve(self, reference: str) -> tuple[ModelStore, VersionRef]:
        """Find the version in the configured store, else among the embedded ones."""
        if self._settings.store is not None:
            store = ModelStore(
                self._settings.store, cache_dir=self._settings.cache_dir.expanduser()
            )
            try:
                return store, store.resolve(reference)
            except NotFound:
                log.info("%s is not in the store; looking among the embedded models", reference)
        embedded = ModelStore(str(BUILTIN_ROOT))
        return embedded, embedded.resolve(reference)

    def _batcher(self, runner: Runner) -> MicroBatcher[np.ndarray, Row]:
        batcher: MicroBatcher[np.ndarray, Row] = MicroBatcher(
            runner,
            max_queue_images=self._settings.max_queue_images,
            other_backlog_s=lambda: self.backlog_s - batcher.backlog_s,
        )
        return batcher

    def _check_golden(
        self, version: VersionRef, runner: Runner, manifest: Manifest, folder: Path
    ) -> float:
        worst = golden_deviation(runner, manifest, folder)
        if worst > self._settings.golden_tolerance:
            msg = (
                f"{version} does not reproduce its golden outputs on this hardware: they deviate "
                f"by {worst:.2g}, allowed is {self._settings.golden_tolerance:.2g}"
            )
            raise GoldenMismatch(msg)
        return worst

    def _batch_observer(self, version: VersionRef) -> Callable[[int, int], None]:
        images = self._metrics.batch_images.labels(**_labels(version))
        padding = self._metrics.batch_padding_images.labels(**_labels(version))

        def observe(count: int, bucket: int) -> None:
            images.observe(count)
            padding.inc(bucket - count)

        return observe

    def _add(self, model: ServedModel) -> None:
        self.served.append(model)
        metrics, labels, runner = self._metrics, model.labels, model.runner
        metrics.queue_images.labels(**labels).set_function(lambda: model.batcher.queued_images)
        metrics.backlog_s.labels(**labels).set_function(lambda: model.batcher.backlog_s)
        metrics.capacity_images_per_s.labels(**labels).set(runner.capacity_images_per_s)
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
            runner.capacity_images_per_s,
            model.golden_deviation,
        )


def golden_deviation(runner: Runner, manifest: Manifest, folder: Path) -> float:
    """Return how far the golden outputs are missed, at worst over logits, embeddings and buckets.

    The images go the way of a request: decoded by the service, in batches of every bucket
    (blocking; on the device thread). The measure is `model_store.golden.deviation`.
    """
    pixels = [
        to_input(
            decode((folder / golden.file).read_bytes(), max_pixels=2**24), manifest.preprocessing
        )
        for golden in manifest.golden
    ]
    worst = 0.0
    for bucket in runner.buckets:
        for start in range(0, len(pixels), bucket):
            expected = manifest.golden[start : start + bucket]
            rows = runner.compute(pixels[start : start + bucket], bucket)
            for golden, row in zip(expected, rows, strict=True):
                worst = max(
                    worst,
                    deviation(np.asarray(golden.logits, np.float32), row.logits_N),
                    deviation(np.asarray(golden.embedding, np.float32), row.embedding_C),
                )
    return worst


def _aliases(store: ModelStore, version: VersionRef) -> tuple[str, ...]:
    aliases = store.aliases(version.model)
    return tuple(sorted(name for name, number in aliases.items() if number == version.version))


def _labels(version: VersionRef) -> dict[str, str]:
    return {"model": version.model, "version": str(version.version)}


def _public_reason(error: Exception) -> str:
    """Return a reason for /readyz: the log has the whole error, with paths that stay inside."""
    reasons: dict[type[Exception], str] = {
        NotFound: "there is no such model or version in the store",
        Corrupt: "a file's size or digest is not as it was published",
        InvalidManifest: "its manifest is not one that this server understands",
        ParameterMismatch: "its parameters do not fit its architecture",
        StoreError: "the store could not be read",
    }
    if isinstance(error, GoldenMismatch):
        return str(error)
    known = (reason for kind, reason in reasons.items() if isinstance(error, kind))
    return next(known, "it could not be loaded; the log says why")
