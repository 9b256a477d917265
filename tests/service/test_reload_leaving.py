"""How a version leaves: after its last request, and without a trace."""

import asyncio
import gc
import weakref
from pathlib import Path

import jax
import pytest

from model_store.store import ModelStore, VersionRef
from service.errors import Draining
from service.metrics import Metrics
from tests.service.watching import misremembered, pixels, run, version, watching


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """`one` in a version that is `production` and `staging`."""
    store = ModelStore(str(tmp_path / "store"))
    store.set_alias("staging", store.publish("one", version(1), alias="production"))
    return store


def test_a_request_is_answered_by_the_version_that_took_it(store: ModelStore) -> None:
    async def test() -> None:
        async with watching(store, "one") as watched:
            older = watched.catalog.find(None)
            expected = await older.batcher.submit(pixels(0))
            store.publish("one", version(2), alias="production")
            with older.lease() as leased:
                await watched.watcher.poll()
                assert watched.version() == "one@2"
                with leased.batcher.admit(1, deadline=None):
                    answer = await leased.batcher.submit(pixels(0))
            assert (answer.result.logits_N == expected.result.logits_N).all()
            await watched.poll()
            with pytest.raises(Draining), older.batcher.admit(1, deadline=None):
                pass

    run(test())


def test_shutting_down_waits_for_a_version_that_is_leaving(store: ModelStore) -> None:
    async def test() -> None:
        async with watching(store, "one") as watched:
            store.publish("one", version(2), alias="production")
            with watched.catalog.find(None).lease():
                await watched.watcher.poll()
                draining = asyncio.create_task(watched.catalog.drain())
                answered = watched.catalog.find(None).batcher.drain()
                await answered
                assert not draining.done()
            await draining

    run(test())


def test_backlog_counts_the_versions_that_are_leaving(store: ModelStore) -> None:
    async def test() -> None:
        async with watching(store, "one") as watched:
            older = watched.catalog.find(None)
            store.publish("one", version(2), alias="production")
            with older.lease(), older.batcher.admit(1, deadline=None):
                await watched.watcher.poll()
                newer = watched.catalog.find(None)
                assert watched.catalog.backlog_beside_s(newer.runner) == older.batcher.backlog_s > 0
            await watched.poll()
            assert watched.catalog.backlog_beside_s(newer.runner) == 0

    run(test())


def test_a_version_that_comes_back_keeps_its_metrics(store: ModelStore) -> None:
    async def test() -> None:
        async with watching(store, "one") as watched:
            store.publish("one", version(2), alias="production")
            with watched.catalog.find("one").lease():
                await watched.watcher.poll()
                store.set_alias("production", VersionRef("one", 1))
                await watched.watcher.poll()
            await watched.poll()
            assert watched.version() == "one@1"
            assert versions_in(watched.metrics) == {"1"}

    run(test())


def versions_in(metrics: Metrics) -> set[str]:
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return {sample.labels["version"] for sample in samples if "model" in sample.labels}


def test_cycles_of_reloads_and_refusals_leave_nothing_behind(store: ModelStore) -> None:
    """Neither parameters nor executables nor series; and at once, without the garbage collector."""
    client = jax.local_devices()[0].client

    def held(metrics: Metrics) -> tuple[int, int, int]:
        series = sum(len(family.samples) for family in metrics.registry.collect())
        arrays = jax.live_arrays()  # type: ignore[no-untyped-call]
        # Not the outputs of a batch of 1, which the device thread lets go in its own time.
        parameters = [array for array in arrays if array.shape[:1] != (1,)]
        return len(parameters), len(client.live_executables()), series

    async def test() -> None:
        async with watching(store, "one") as watched:
            good, bad = version(1), misremembered(2)
            gc.collect()
            gc.disable()
            seen = set()
            for number in (2, 4, 6):
                program = weakref.ref(watched.catalog.find(None).runner.program)
                await watched.catalog.find(None).batcher.submit(pixels(0))
                store.publish("one", bad, alias="production")
                await watched.poll()
                store.publish("one", good, alias="production")
                await watched.poll()
                assert watched.version() == f"one@{number + 1}"
                assert program() is None
                seen.add(held(watched.metrics))
            assert len(seen) == 1, seen

    try:
        run(test())
    finally:
        gc.enable()
