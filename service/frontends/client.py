"""The engine as a front-end process sees it, over a link that is renewed when it is lost."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from model_store.manifest import Manifest
from model_store.names import VersionRef
from service.directory import Directory, Model, Submit
from service.engine import Exposition
from service.errors import NotReady
from service.frontends.link import GONE, Link
from service.frontends.messages import Draining, LetGo, State
from service.health import health_of
from service.inbox import Inbox
from service.metrics import Instrument
from service.schemas import Health, ModelVersion
from service.settings import Settings

log = logging.getLogger("mixer.frontends")

MAX_UNSENT = 10_000

Observe = Callable[[str, dict[str, str], float], None]


class RemoteModel:
    """A model that another process computes: implements `directory.Model`."""

    def __init__(self, link: Link, key: int, name: str, manifest: Manifest) -> None:
        self.manifest = manifest
        self._link, self._key, self._name = link, key, name
        self.inbox = Inbox()  # without room: this process does not know when the device is busy
        self._leases = 0
        self._served = True
        self._summary: ModelVersion

    def update(self, summary: dict[str, Any]) -> None:
        """Take what the engine says of it now."""
        self._summary = ModelVersion.model_validate(summary)

    @property
    def version(self) -> VersionRef:
        """Name and number."""
        return VersionRef(self._name, int(self._summary.version))

    @property
    def labels(self) -> dict[str, str]:
        """The labels of this model's metrics."""
        return {"model": self._name, "version": self._summary.version}

    @property
    def aliases(self) -> list[str]:
        """The aliases that name this version."""
        return self._summary.aliases

    def summary(self) -> ModelVersion:
        """Return what `GET /models` says of it."""
        return self._summary

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Have the engine keep the model until the block ends."""
        self._leases += 1
        try:
            yield
        finally:
            self._leases -= 1
            self._let_go()

    def leave(self) -> None:
        """Let the engine have it back, as soon as no request uses it."""
        self._served = False
        self._let_go()

    def check(self, images: int, deadline: float, *, preparation_s: float) -> bool:  # noqa: ARG002
        """Return False: the engine alone knows, and must be asked."""
        return False

    @asynccontextmanager
    async def admit(
        self, images: int, deadline: float, *, preparation_s: float
    ) -> AsyncIterator[Submit]:
        """Hold places in the engine's batcher: see `MicroBatcher.admit`."""
        shape, link = self.manifest.architecture, self._link
        async with link.admit(self._key, images, deadline, preparation_s) as permit:
            yield partial(link.submit, permit, classes=shape.num_classes, width=shape.width)

    def alone(self) -> None:
        """Return None: the engine alone knows who else has been admitted."""

    def _let_go(self) -> None:
        if not self._served and not self._leases:
            # Behind what its last request observes on the loop's next turn.
            asyncio.get_running_loop().call_soon(self._link.send, LetGo(self._key))


class RemoteHealth:
    """What this process knows of the engine's health: implements `health.Probes`."""

    def __init__(self, client: "EngineClient", silence_s: float) -> None:
        self.started = asyncio.Event()
        self.illness: dict[str, str] = {}
        self._client, self._silence_s = client, silence_s
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether this process takes no new connections any more."""
        return self._draining

    @draining.setter
    def draining(self, value: bool) -> None:
        self._draining = value
        if value:
            self._client.tell_draining()

    def live(self) -> Health:
        """Fail when the device is silent, or the engine for as long as a device may be."""
        silent_s = self._client.silent_s
        silence = {"engine": f"no sign of life for {silent_s:.0f} s"}
        return health_of(self.illness | (silence if silent_s > self._silence_s else {}))

    def ready(self) -> Health:
        """Fail while any configured model is missing, and while draining; never for overload."""
        draining = {"server": "draining"} if self._draining else {}
        return health_of(self._client.directory.missing | draining)

    def startup(self) -> Health:
        """Fail until loading has ended, well or not."""
        return health_of({} if self.started.is_set() else {"server": "loading models"})


class RemoteMetrics:
    """The metrics of requests, which the engine counts: implements `metrics.RequestMetrics`."""

    def __init__(self, observe: Observe) -> None:
        self.requests: Instrument = _Relay("requests", observe)
        self.request_duration_s: Instrument = _Relay("request_duration_s", observe)
        self.stage_duration_s: Instrument = _Relay("stage_duration_s", observe)
        self.rejected: Instrument = _Relay("rejected", observe)


class _Relay:
    def __init__(self, name: str, observe: Observe) -> None:
        self._name, self._observe = name, observe

    def labels(self, **labels: str) -> "_Relayed":
        return _Relayed(partial(self._observe, self._name, labels))


class _Relayed:
    def __init__(self, observe: Callable[[float], None]) -> None:
        self.observe = observe

    def inc(self, amount: float = 1.0) -> None:
        self.observe(amount)


class EngineClient:
    """Follows the engine and its successors: implements `engine.EngineView`."""

    def __init__(self, settings: Settings, address: str) -> None:
        """Take the address of the engine's Unix socket."""
        self._address, self._configured = address, settings.models
        # The engine gives a sign of life in every interval, and its device has this much more.
        silence_ms = settings.canary_interval_ms + settings.canary_timeout_ms
        self.metrics = RemoteMetrics(self._observe)
        self.health = RemoteHealth(self, silence_ms / 1e3)
        self._directory = Directory[RemoteModel](settings.default_model or settings.models[0])
        self._directory.missing = dict.fromkeys(settings.models, "loading")
        self._models: dict[int, RemoteModel] = {}
        self._link: Link | None = None
        self._heard_s = asyncio.get_running_loop().time()
        # What is counted while no engine is there; of a flood, the newest.
        self._unsent: deque[tuple[str, dict[str, str], float]] = deque(maxlen=MAX_UNSENT)

    @property
    def directory(self) -> Directory[Model]:
        """What the engine serves now."""
        return self._directory

    @property
    def silent_s(self) -> float:
        """Seconds since the engine has said anything."""
        heard_s = self._heard_s if self._link is None else self._link.heard_s
        return asyncio.get_running_loop().time() - heard_s

    async def exposition(self, accept: str) -> Exposition:
        """Return the metrics of all processes."""
        if self._link is None:
            raise NotReady(GONE)
        exposed = await self._link.expose(accept)
        return Exposition(exposed.text.encode(), exposed.content_type)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be connected from here to the end of the block, by when every request is answered.

        A fault of the following ends the block: a process that can follow no more must be replaced.
        """
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._follow())
            try:
                yield
            finally:
                following.cancel()

    def tell_draining(self) -> None:
        """Tell the engine that this process takes no new connections."""
        if self._link is not None:
            self._link.send(Draining())

    async def _follow(self) -> None:
        while True:
            # It waits in the socket's backlog while no engine is there to accept it.
            link = await Link.connect(self._address, self._on_state)
            try:
                await link.lost.wait()
            finally:
                link.close()
            log.error("the engine has gone")
            self._link, self._heard_s = None, link.heard_s
            self._directory.served, self._models = [], {}
            self._directory.missing = dict.fromkeys(self._configured, "the engine is restarting")

    def _meet(self, link: Link) -> None:
        """Begin to use a link, whose engine has said what it serves."""
        self._link = link
        while self._unsent:
            link.observe(*self._unsent.popleft())
        if self.health.draining:
            self.tell_draining()

    def _on_state(self, link: Link, state: State) -> None:
        if link is not self._link:
            self._meet(link)
        known, self._models = self._models, {}
        for told in state.served:
            key, name = told["key"], told["name"]
            model = known.pop(key, None)
            if model is None:
                model = RemoteModel(link, key, name, Manifest.model_validate(told["manifest"]))
            model.update(told["summary"])
            self._models[key] = model
        for model in known.values():
            model.leave()
        self._directory.served = list(self._models.values())
        self._directory.missing, self._directory.stale = state.missing, state.stale
        self.health.illness = state.illness
        if state.started:
            self.health.started.set()

    def _observe(self, metric: str, labels: dict[str, str], value: float) -> None:
        if self._link is None:
            self._unsent.append((metric, labels, value))
        else:
            self._link.observe(metric, labels, value)
