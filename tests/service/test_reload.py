"""What is served follows the store: moved, refused, unreadable and returning references."""

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from model_store.errors import StoreError
from model_store.store import ModelStore, VersionRef
from service.errors import ModelNotFound, NotReady
from service.loading import Loader
from service.metrics import Metrics
from service.models import Catalog
from service.reload import Watcher
from service.runtimes.xla import XlaProgram
from service.settings import load_settings
from tests.service.virtual_time import run as run_virtual
from tests.service.watching import TIMEOUT_S, misremembered, pixels, run, version, watching


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """`one` in a version that is `production` and `staging`."""
    store = ModelStore(str(tmp_path / "store"))
    store.set_alias("staging", store.publish("one", version(1), alias="production"))
    return store


class HeldCompilation:
    """Compilation that waits until it may go on, as if the network were large."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._begun, self._go_on = threading.Event(), threading.Event()
        compile_now = XlaProgram.compile

        def compile_later(program: XlaProgram, bucket: int) -> None:
            self._begun.set()
            assert self._go_on.wait(TIMEOUT_S)
            compile_now(program, bucket)

        monkeypatch.setattr(XlaProgram, "compile", compile_later)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, TIMEOUT_S)

    def go_on(self) -> None:
        self._go_on.set()


@pytest.mark.parametrize(
    ("reference", "after"),
    [
        ("one", "one@2"),
        ("one@production", "one@2"),
        ("one@latest", "one@2"),
        ("one@staging", "one@1"),
        ("one@1", "one@1"),
    ],
)
def test_a_reference_that_moves_is_followed(store: ModelStore, reference: str, after: str) -> None:
    async def test() -> None:
        async with watching(store, reference) as watched:
            assert watched.version() == "one@1"
            store.publish("one", version(2), alias="production")
            await watched.poll()
            assert [str(model.version) for model in watched.catalog.served] == [after]
            assert watched.version(reference) == after
            assert not watched.catalog.stale

    run(test())


def test_the_model_that_takes_over_computes_its_own_parameters(store: ModelStore) -> None:
    async def test() -> None:
        async with watching(store, "one") as watched:
            store.publish("one", version(2), alias="production")
            await watched.poll()
            taken_over = await watched.catalog.find(None).batcher.submit(pixels(0))
            async with watching(store, "one@2") as fresh:
                expected = await fresh.catalog.find(None).batcher.submit(pixels(0))
            assert (taken_over.result.logits_N == expected.result.logits_N).all()

    run(test())


def test_while_a_version_compiles_the_older_one_answers(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also under the alias that has moved; the new number is not promised before it serves."""

    async def test() -> None:
        async with watching(store, "one") as watched:
            store.publish("one", version(2), alias="production")
            held = HeldCompilation(monkeypatch)
            polling = asyncio.create_task(watched.poll())
            await held.begun()
            for reference in (None, "one", "one@production", "one@latest", "one@staging", "one@1"):
                assert watched.version(reference) == "one@1"
            with pytest.raises(ModelNotFound):
                watched.catalog.find("one@2")
            answer = await watched.catalog.find(None).batcher.submit(pixels(0))
            assert answer.batch_images == 1
            held.go_on()
            await polling
            assert watched.catalog.find(None).aliases == ("latest", "production")

    run(test())


def test_a_refused_version_is_tried_once_and_the_older_one_serves(
    store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with watching(store, "one") as watched:
            store.publish("one", misremembered(2), alias="production")
            for _ in range(3):
                await watched.poll()
            assert watched.version("one@production") == "one@1"
            assert "one@2 does not reproduce its golden outputs" in watched.catalog.stale["one"]
            assert not watched.catalog.missing
            assert watched.metrics.registry.get_sample_value("mixer_stale_references") == 1
            assert caplog.text.count("one@2 does not reproduce") == 1
            store.publish("one", version(3), alias="production")
            await watched.poll()
            assert watched.version() == "one@3"
            assert not watched.catalog.stale

    run(test())


def publish_damaged(store: ModelStore) -> str:
    ref = store.publish("one", version(2), alias="production")
    (Path(store.root) / ref.folder / "params.safetensors").write_bytes(b"")
    return str(ref)


def test_each_refusal_is_told_though_the_reason_be_the_same(
    store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with watching(store, "one") as watched:
            for _ in range(2):
                damaged = publish_damaged(store)
                await watched.poll()
                assert caplog.text.count(f"cannot follow one: {damaged}") == 1

    run(test())


def test_a_refused_version_is_tried_again_when_the_reference_comes_back_to_it(
    store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with watching(store, "one") as watched:
            bad = store.publish("one", misremembered(2), alias="production")
            await watched.poll()
            store.set_alias("production", VersionRef("one", 1))
            await watched.poll()
            assert not watched.catalog.stale
            store.set_alias("production", bad)
            await watched.poll()
            assert caplog.text.count("one@2 does not reproduce") == 2

    run(test())


def test_a_store_that_cannot_be_read_changes_nothing_and_is_told_once(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("no route to the store")

    async def test() -> None:
        async with watching(store, "one") as watched:
            store.publish("one", version(2), alias="production")
            with monkeypatch.context() as patch:
                patch.setattr(ModelStore, "resolve", refuse)
                for _ in range(3):
                    await watched.poll()
            assert watched.version("one@production") == "one@1"
            assert watched.catalog.stale == {"one": "the store could not be read"}
            assert caplog.text.count("no route to the store") == 1
            await watched.poll()
            assert watched.version() == "one@2"
            assert not watched.catalog.stale

    run(test())


def test_a_version_that_could_not_be_read_is_tried_again(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("the connection was reset")

    async def test() -> None:
        async with watching(store, "one") as watched:
            store.publish("one", version(2), alias="production")
            with monkeypatch.context() as patch:
                patch.setattr(ModelStore, "read", refuse)
                await watched.poll()
            assert watched.catalog.stale == {"one": "the store could not be read"}
            await watched.poll()
            assert watched.version() == "one@2"

    run(test())


@pytest.mark.parametrize("reference", ["one", "one@staging", "one@1"])
def test_what_has_gone_from_the_store_is_served_on(
    store: ModelStore, tmp_path: Path, reference: str
) -> None:
    """A store whose disk is not mounted looks like one that holds nothing."""

    def move(origin: str, target: str) -> None:
        (tmp_path / origin).rename(tmp_path / target)

    async def test() -> None:
        async with watching(store, reference) as watched:
            move("store", "elsewhere")
            await watched.poll()
            assert watched.version(reference) == "one@1"
            assert list(watched.catalog.stale) == [reference]
            move("elsewhere", "store")
            await watched.poll()
            assert not watched.catalog.stale

    run(test())


def test_an_embedded_model_is_not_missed_in_the_store(store: ModelStore) -> None:
    async def test() -> None:
        async with watching(store, "cifar10-mixer") as watched:
            before = list(watched.catalog.served)
            await watched.poll()
            assert watched.catalog.served == before
            assert not watched.catalog.stale

    run(test())


@pytest.mark.parametrize("reference", ["two", "two@staging", "two@1"])
def test_a_model_that_comes_after_the_start_is_picked_up(store: ModelStore, reference: str) -> None:
    async def test() -> None:
        async with watching(store, "one", reference) as watched:
            with pytest.raises(NotReady):
                watched.catalog.find(reference)
            store.publish("two", version(3), alias="staging")
            await watched.poll()
            assert watched.version(reference) == "two@1"
            assert not watched.catalog.missing

    run(test())


def test_aliases_follow_the_store(store: ModelStore) -> None:
    """One that moves to a version that nothing leads to is claimed by none."""

    async def test() -> None:
        async with watching(store, "one@1", "one@2") as watched:
            store.publish("one", version(2))
            await watched.poll()
            older, newer = watched.catalog.served
            assert (older.aliases, newer.aliases) == (("production", "staging"), ("latest",))
            store.set_alias("production", VersionRef("one", 2))
            store.set_alias("staging", store.publish("one", version(3)))
            await watched.poll()
            assert (older.aliases, newer.aliases) == ((), ("production",))

    run(test())


def test_references_to_one_version_share_it_until_both_have_left(store: ModelStore) -> None:
    async def test() -> None:
        async with watching(store, "one", "one@staging") as watched:
            (shared,) = watched.catalog.served
            two = store.publish("one", version(2), alias="production")
            await watched.poll()
            newer, older = watched.catalog.served
            assert older is shared
            assert (older.aliases, newer.aliases) == (("staging",), ("latest", "production"))
            store.set_alias("staging", two)
            await watched.poll()
            assert watched.catalog.served == [newer]

    run(test())


def polls(**settings: object) -> list[float]:
    """Return when the watcher polls in its first hour, in seconds."""
    configured, metrics = load_settings(settings), Metrics()
    seen: list[float] = []

    class Timed(Watcher):
        async def poll(self) -> None:
            seen.append(asyncio.get_running_loop().time())

    async def watch() -> None:
        catalog = Catalog(configured, metrics)
        started = asyncio.Event()
        watcher = Timed(configured, catalog, Loader(configured, metrics, catalog))
        watching = asyncio.create_task(watcher.run(started))
        await started.wait()
        assert len(seen) == 1
        await asyncio.sleep(3600)
        watching.cancel()

    run_virtual(watch())
    return seen


def test_it_polls_at_the_configured_interval_after_the_start() -> None:
    assert polls(store="s", store_poll_ms=600_000)[:6] == [0, 600, 1200, 1800, 2400, 3000]


@pytest.mark.parametrize("settings", [{"store": "s", "store_poll_ms": 0}, {"store": None}])
def test_without_an_interval_or_a_store_it_only_starts(settings: dict[str, object]) -> None:
    assert polls(**settings) == [0]


def test_a_bug_while_loading_is_logged_with_its_traceback(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    async def test() -> None:
        async with watching(store, "one") as watched:
            store.publish("one", version(2), alias="production")
            monkeypatch.setattr(XlaProgram, "compile", fail)
            with caplog.at_level(logging.WARNING):
                await watched.poll()
            assert "Traceback" in caplog.text
            assert watched.version() == "one@1"
            assert "a bug" not in watched.catalog.stale["one"]

    run(test())
