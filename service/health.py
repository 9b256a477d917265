"""Is the device alive, are the models ready, may new work come: what the probes ask."""

import asyncio
import logging

from service.metrics import Metrics
from service.models import Catalog
from service.schemas import Health
from service.settings import Settings

log = logging.getLogger("mixer.health")


class HealthChecks:
    """The state behind /livez, /readyz and /startupz."""

    def __init__(self, catalog: Catalog, settings: Settings, metrics: Metrics) -> None:
        self._catalog = catalog
        self._interval_s = settings.canary_interval_ms / 1e3
        self._timeout_s = settings.canary_timeout_ms / 1e3
        self.draining = False
        self.started = asyncio.Event()
        self._device_silent = False
        metrics.ready.set_function(lambda: self.ready().ok)
        metrics.device_alive.set_function(lambda: self.live().ok)

    def live(self) -> Health:
        """Fail when the device leaves a canary unanswered."""
        reasons = {}
        if self._device_silent:
            reasons["device"] = f"no answer to a canary within {self._timeout_s:g} s"
        return _health(reasons)

    def ready(self) -> Health:
        """Fail while any configured model is missing, and while draining; never for overload."""
        reasons = dict(self._catalog.missing)
        if self.draining:
            reasons["server"] = "draining"
        return _health(reasons)

    def startup(self) -> Health:
        """Fail until loading has ended, well or not."""
        return _health({} if self.started.is_set() else {"server": "loading models"})

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
            self._device_silent = True
            log.error("the device has been silent for %g s", self._timeout_s)
            await asyncio.wait([canary])
        self._device_silent = canary.exception() is not None
        if self._device_silent:
            log.error("the device failed on a canary", exc_info=canary.exception())


def _health(reasons: dict[str, str]) -> Health:
    return Health(ok=not reasons, reasons=reasons)
