"""The probes, against a device that can fall silent."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.health import HealthChecks
from service.metrics import Metrics
from service.settings import load_settings
from tests.service.virtual_time import run as run_virtual

INTERVAL_S, TIMEOUT_S = 5.0, 10.0


class FakeDevice:
    """Answers canaries as it is told; its clock is the loop's."""

    def __init__(self) -> None:
        self.last_answer_s = float("-inf")
        self.canaries = 0
        self.answers: Callable[[], Awaitable[None]] = self.at_once

    async def canary(self) -> None:
        self.canaries += 1
        await self.answers()

    async def at_once(self) -> None: ...

    async def never(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def after_a_minute(self) -> None:
        await asyncio.sleep(60)

    async def with_an_error(self) -> None:
        raise RuntimeError("the device is on fire")


class FakeCatalog:
    """One served model on a fake device."""

    def __init__(self) -> None:
        self.device = FakeDevice()
        self.missing: dict[str, str] = {}
        self.served = [self]
        self.runner = self.device


def checks(catalog: FakeCatalog, metrics: Metrics | None = None) -> HealthChecks:
    settings = load_settings(
        {"canary_interval_ms": INTERVAL_S * 1e3, "canary_timeout_ms": TIMEOUT_S * 1e3}
    )
    return HealthChecks(catalog, settings, metrics or Metrics())  # type: ignore[arg-type]


def watched(catalog: FakeCatalog, seconds: float) -> bool:
    """Return whether the process counts as live after so many seconds of watching."""

    async def watch() -> bool:
        metrics = Metrics()
        health = checks(catalog, metrics)
        watching = asyncio.create_task(health.watch_device())
        await asyncio.sleep(seconds)
        watching.cancel()
        assert metrics.registry.get_sample_value("mixer_device_alive") == health.live().ok
        return health.live().ok

    return run_virtual(watch())


def test_an_idle_device_gets_canaries_and_stays_live() -> None:
    catalog = FakeCatalog()
    assert watched(catalog, 10 * INTERVAL_S + 1)
    assert catalog.device.canaries == 10


def test_a_busy_device_needs_no_canary() -> None:
    catalog = FakeCatalog()
    catalog.device.last_answer_s = float("inf")
    assert watched(catalog, 10 * INTERVAL_S)
    assert catalog.device.canaries == 0


@pytest.mark.parametrize(("seconds", "live"), [(14.9, True), (15.1, False)])
def test_a_silent_device_is_dead_after_the_timeout(seconds: float, live: bool) -> None:
    catalog = FakeCatalog()
    catalog.device.answers = catalog.device.never
    assert watched(catalog, seconds) is live


@pytest.mark.parametrize(("seconds", "live"), [(30, False), (70, True)])
def test_a_device_that_answers_again_is_live_again(seconds: float, live: bool) -> None:
    catalog = FakeCatalog()
    catalog.device.answers = catalog.device.after_a_minute
    assert watched(catalog, seconds) is live


def test_a_device_that_fails_is_dead_until_it_answers() -> None:
    catalog = FakeCatalog()
    catalog.device.answers = catalog.device.with_an_error
    assert not watched(catalog, INTERVAL_S + 1)


def test_readiness_names_what_is_missing_and_the_metric_follows() -> None:
    catalog, metrics = FakeCatalog(), Metrics()
    catalog.missing = {"b16": "loading"}

    async def look() -> HealthChecks:
        return checks(catalog, metrics)

    health = run_virtual(look())
    assert health.ready().reasons == {"b16": "loading"}
    assert metrics.registry.get_sample_value("mixer_ready") == 0
    catalog.missing = {}
    assert health.ready().ok
    assert metrics.registry.get_sample_value("mixer_ready") == 1
    health.draining = True
    assert health.ready().reasons == {"server": "draining"}


def test_startup_ends_with_loading() -> None:
    async def look() -> tuple[bool, bool]:
        health = checks(FakeCatalog())
        before = health.startup().ok
        health.started.set()
        return before, health.startup().ok

    assert run_virtual(look()) == (False, True)
