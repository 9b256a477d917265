"""Is the device alive, are the models ready, may new work come: what the probes ask."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from service.metrics import Metrics
from service.models import Catalog
from service.schemas import Health
from service.settings import Settings

log = logging.getLogger("mixer.health")


class Probes(Protocol):
    """What the probes ask, whichever process knows it."""

    draining: bool
    started: asyncio.Event

    def live(self) -> Health:
        """Fail when the process can serve no more."""

    def ready(self) -> Health:
        """Fail while new work should go elsewhere."""

    def startup(self) -> Health:
        """Fail until the start has ended."""


class HealthChecks:
    """The state behind /livez, /readyz and /startupz; tells `on_change` of a silent device."""

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        metrics: Metrics,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._catalog, self._on_change = catalog, on_change
        self._interval_s = settings.canary_interval_ms / 1e3
        self._timeout_s = settings.canary_timeout_ms / 1e3
        self.draining = False
        self.started = asyncio.Event()
        self.obstacles: dict[str, str] = {}  # why no work should come, beside what is seen here
        self._device_silent = False
        metrics.ready.set_function(lambda: self.ready().ok)
        metrics.device_alive.set_function(lambda: self.live().ok)

    def live(self) -> Health:
        """Fail when the device leaves a canary unanswered."""
        reasons = {}
        if self._device_silent:
            reasons["device"] = f"no answer to a canary within {self._timeout_s:g} s"
        return health_of(reasons)

    def ready(self) -> Health:
        """Fail while any configured model is missing, and while draining; never for overload."""
        reasons = self._catalog.missing | self.obstacles
        if self.draining:
            reasons["server"] = "draining"
        return health_of(reasons)

    def startup(self) -> Health:
        """Fail until loading has ended, well or not."""
        return health_of({} if self.started.is_set() else {"server": "loading models"})

    async def watch_device(self) -> None:
        """Send a canary whenever the device has been quiet; runs until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            now_s = asyncio.get_running_loop().time()
            quiet_s = now_s - self._catalog.device.last_answer_s
            if self._catalog.served and quiet_s >= self._interval_s:
                await self._send_canary()

    async def _send_canary(self) -> None:
        canary = asyncio.ensure_future(self._catalog.served[0].runner.canary())
        done, _ = await asyncio.wait([canary], timeout=self._timeout_s)
        if not done:
            self._set_silent(silent=True)
            log.error("the device has been silent for %g s", self._timeout_s)
            await asyncio.wait([canary])
        self._set_silent(silent=canary.exception() is not None)
        if self._device_silent:
            log.error("the device failed on a canary", exc_info=canary.exception())

    def _set_silent(self, *, silent: bool) -> None:
        if silent != self._device_silent:
            self._device_silent = silent
            self._on_change()


def health_of(reasons: dict[str, str]) -> Health:
    """Return a check that fails for these reasons."""
    return Health(ok=not reasons, reasons=reasons)
