"""Front ends and the engine: no answer is lost or crossed, whoever comes, leaves or ends."""

import asyncio
import random
import threading
from pathlib import Path

import numpy as np
import pytest

from model_store.store import ModelStore
from service.errors import DeadlineExceeded, NotReady, Overloaded
from service.frontends.client import EngineClient, RemoteModel
from service.frontends.desk import Desk
from service.frontends.link import Link
from service.frontends.messages import LetGo, Message, Observe
from tests.service.frontends.linked import Linked, ask, deadline, linked, run, same, until
from tests.service.watching import pixels, version


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(str(tmp_path / "store"))
    store.publish("small", version(1))
    return store


class Held:
    """The engine's program, which waits for the test before it computes."""

    def __init__(self, link: Linked) -> None:
        runner = link.engine.catalog.served[0].runner
        self._program, runner.program = runner.program, self  # type: ignore[assignment]
        self._open, self.entered = threading.Event(), threading.Event()
        self.runtime, self.precision = self._program.runtime, self._program.precision
        self.device, self.pads = self._program.device, self._program.pads

    def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.entered.set()
        assert self._open.wait(60)
        return self._program(images_BxHxWx3)

    def open(self) -> None:
        self._open.set()


def link_of(client: EngineClient) -> Link:
    assert client._link is not None
    return client._link


def free_slots(client: EngineClient) -> int:
    return sum(map(len, link_of(client)._arena._free.values()))


def test_each_front_end_gets_the_answers_to_its_own_images(store: ModelStore) -> None:
    """Under cancellations, which free memory for others' images while the engine still works."""

    async def play() -> None:
        async with linked(store, "small", frontends=3) as all_:
            rng, expected = random.Random(5), {seed: all_.expected(seed) for seed in range(24)}

            async def client(number: int) -> int:
                model, answered = all_.clients[number].directory.find(None), 0
                for _ in range(30):
                    seeds = [rng.randrange(24) for _ in range(rng.randint(1, 6))]
                    asking = asyncio.create_task(ask(model, *seeds))
                    if rng.random() < 0.4:
                        for _ in range(rng.randrange(12)):
                            await asyncio.sleep(0)
                        asking.cancel()
                    try:
                        answers = await asking
                    except asyncio.CancelledError:
                        continue
                    pairs = zip(answers, seeds, strict=True)
                    assert all(same(answer, expected[seed]) for answer, seed in pairs)
                    answered += 1
                return answered

            answered = await asyncio.gather(*map(client, (0, 1, 2, 0, 1, 2)))
            assert sum(answered) > 50
            batcher = all_.engine.catalog.served[0].batcher
            await until(lambda: batcher._places == 0 and not batcher._in_runner)
            for each in all_.clients:
                await until(lambda each=each: not link_of(each)._calls)  # type: ignore[misc]
                assert free_slots(each) * 4096 == link_of(each)._arena._end

    run(play())


def test_refusals_are_the_engines_own(store: ModelStore) -> None:
    async def play() -> None:
        async with linked(store, "small", max_queue_images=64) as all_:
            model = all_.clients[0].directory.find("small")
            with pytest.raises(Overloaded) as refusal:
                await ask(model, *range(65))
            assert refusal.value.retry_after_s >= 1
            held = Held(all_)
            late = asyncio.create_task(ask(model, 1, until=deadline(0.05)))
            with pytest.raises(DeadlineExceeded):
                await late
            held.open()
            (answer,) = await ask(model, 2)
            assert same(answer, all_.expected(2))

    run(play())


def test_the_deadline_holds_even_if_the_engine_says_nothing(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        async with linked(store, "small") as all_:
            link = link_of(all_.clients[0])
            monkeypatch.setattr(link._wire, "send", lambda _: None)
            with pytest.raises(DeadlineExceeded):
                async with link.admit(0, 1, deadline(0.01), 0.0):
                    pass

    run(play())


def test_who_waits_when_the_engine_ends_is_told_and_its_successor_serves(
    store: ModelStore,
) -> None:
    async def play() -> None:
        async with linked(store, "small") as all_:
            client = all_.clients[0]
            before, held = client.directory.find(None), Held(all_)
            waiting = [asyncio.create_task(ask(before, seed)) for seed in range(5)]
            await asyncio.get_running_loop().run_in_executor(None, held.entered.wait)
            await all_.lose()
            for task in waiting:
                with pytest.raises(NotReady, match="being replaced"):
                    await task
            await until(lambda: not client.directory.served)
            assert client.health.ready().reasons == {"small": "the engine is restarting"}
            assert client.health.live().ok
            with pytest.raises(NotReady):
                client.directory.find(None)
            with pytest.raises(NotReady):
                await ask(before, 7)
            with pytest.raises(NotReady):
                await client.exposition("")
            held.open()
            all_.host()
            await until(lambda: bool(client.directory.served))
            assert client.health.ready().ok
            (answer,) = await ask(client.directory.find(None), 7)
            assert same(answer, all_.expected(7))

    run(play())


def test_what_a_lost_front_end_left_behind_is_dropped(store: ModelStore) -> None:
    async def play() -> None:
        async with linked(store, "small", frontends=2) as all_:
            stays, goes = all_.clients
            expected = {seed: all_.expected(seed) for seed in (3, 4)}
            held, served = Held(all_), all_.engine.catalog.served[0]
            left = [asyncio.create_task(ask(goes.directory.find(None), s)) for s in range(3)]
            kept = [asyncio.create_task(ask(stays.directory.find(None), s)) for s in (3, 4)]
            await until(lambda: served.batcher._submitted == 5)
            link_of(goes)._wire.close()
            await until(lambda: served.batcher._places == 2)
            assert served._leases == 1
            held.open()
            for seed, task in zip((3, 4), kept, strict=True):
                assert same((await task)[0], expected[seed])
            for task in left:
                with pytest.raises(NotReady):
                    await task

    run(play())


def test_a_version_leaves_when_no_front_end_uses_it(store: ModelStore) -> None:
    async def play() -> None:
        async with linked(store, "small", frontends=2) as all_:
            old = all_.engine.catalog.served[0]
            theirs = [client.directory.find(None) for client in all_.clients]
            with theirs[0].lease():
                store.publish("small", version(2))
                await all_.engine.watcher.poll()
                for client in all_.clients:
                    await until(lambda c=client: c.directory.find(None).version.version == 2)  # type: ignore[misc]
                await until(lambda: old._leases == 1)  # the other has let go
                assert old in all_.engine.catalog.retiring
                due = deadline()
                async with theirs[0].admit(1, due, preparation_s=0.0) as submit:
                    await submit(pixels(1), due)
            await until(lambda: old not in all_.engine.catalog.retiring)
            (answer,) = await ask(all_.clients[0].directory.find(None), 3)
            assert same(answer, all_.expected(3))

    run(play())


def test_what_the_engine_knows_of_a_model_is_what_front_ends_say(store: ModelStore) -> None:
    async def play() -> None:
        async with linked(store, "small") as all_:
            (ours,), theirs = all_.engine.catalog.served, all_.clients[0].directory.served[0]
            assert theirs.summary() == ours.summary()
            assert (theirs.version, theirs.labels) == (ours.version, ours.labels)
            assert theirs.manifest == ours.manifest
            store.set_alias("blue", ours.version)
            await all_.engine.watcher.poll()
            await until(lambda: "blue" in theirs.aliases)
            assert all_.clients[0].directory.find("small@blue") is theirs

    run(play())


def test_the_engine_counts_for_all(store: ModelStore) -> None:
    async def play() -> None:
        async with linked(store, "small", frontends=2) as all_:
            for client, code in zip(all_.clients, ("200", "503"), strict=True):
                client.metrics.requests.labels(endpoint="/x", code=code).inc()
                client.metrics.request_duration_s.labels(endpoint="/x").observe(0.5)
            shown = ""
            for client in all_.clients:  # each after what it has itself counted
                shown = (await client.exposition("text/plain")).text.decode()
            assert 'mixer_requests_total{code="200",endpoint="/x"} 1.0' in shown
            assert 'mixer_requests_total{code="503",endpoint="/x"} 1.0' in shown
            assert 'mixer_request_duration_seconds_sum{endpoint="/x"} 1.0' in shown

    run(play())


def test_what_is_counted_without_an_engine_is_told_to_its_successor(store: ModelStore) -> None:
    async def play() -> None:
        async with linked(store, "small") as all_:
            (client,) = all_.clients
            await all_.lose()
            await until(lambda: client._link is None or client._link.lost.is_set())
            await until(lambda: not client.directory.served)
            client.metrics.rejected.labels(reason="not_ready").inc()
            all_.host()
            await until(lambda: bool(client.directory.served))
            shown = (await client.exposition("text/plain")).text.decode()
            assert 'mixer_rejected_total{reason="not_ready"} 1.0' in shown

    run(play())


def test_the_server_drains_when_all_its_front_ends_do(store: ModelStore) -> None:
    async def play() -> None:
        async with linked(store, "small", frontends=2) as all_:
            one, other = all_.clients
            health = all_.engine.health
            assert health.ready().ok
            one.health.draining = True
            assert one.health.ready().reasons == {"server": "draining"}
            await one.exposition("")  # is answered after what was said before
            assert not health.draining
            other.health.draining = True
            await other.exposition("")
            assert health.ready().reasons == {"server": "draining"}

    run(play())


def test_without_front_ends_the_engine_is_not_ready(store: ModelStore) -> None:
    async def play() -> None:
        async with linked(store, "small", frontends=0) as all_:
            health = all_.engine.health
            assert health.ready().reasons == {"frontends": "none is connected"}
            async with all_.client():
                assert health.ready().ok
            await until(lambda: not health.ready().ok)

    run(play())


def test_an_engine_that_says_nothing_is_not_live(store: ModelStore) -> None:
    async def play() -> None:
        async with linked(store, "small", canary_interval_ms=100, canary_timeout_ms=200) as all_:
            (client,) = all_.clients
            link = link_of(client)
            link.heard_s = asyncio.get_running_loop().time()
            assert client.health.live().ok
            link.heard_s -= 0.4
            assert "engine" in client.health.live().reasons

    run(play())


def test_a_front_end_that_can_follow_no_more_ends(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its supervisor replaces it; else it would say for good that the engine restarts."""

    async def play() -> None:
        async with linked(store, "small", frontends=0) as all_:
            monkeypatch.setattr("os.memfd_create", lambda _: fail())
            with pytest.raises(ExceptionGroup) as ended:
                async with all_.client():
                    pass
            assert ended.group_contains(OSError, match="no memory")

    def fail() -> int:
        raise OSError("no memory")

    run(play())


def test_a_model_is_let_go_after_all_that_its_last_request_observes(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the engine would count for a version whose metrics it has forgotten."""
    seen: list[Message] = []
    take = Desk._on_message

    def see(self: Desk, message: Message) -> None:
        seen.append(message)
        take(self, message)

    monkeypatch.setattr(Desk, "_on_message", see)

    async def play() -> None:
        async with linked(store, "small") as all_:
            client = all_.clients[0]
            model = client.directory.find(None)
            assert isinstance(model, RemoteModel)
            stage = client.metrics.stage_duration_s.labels(**model.labels, stage="encode")
            with model.lease():
                model.leave()
                asyncio.get_running_loop().call_soon(stage.observe, 0.5)  # as the pipeline does
            await until(lambda: any(isinstance(message, LetGo) for message in seen))
            told = [type(message) for message in seen]
            assert told.index(Observe) < told.index(LetGo)

    run(play())
