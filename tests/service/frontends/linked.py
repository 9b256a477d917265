"""An engine and its front ends' clients in one event loop, over a real socket and real memory."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvloop

from model_store.store import ModelStore
from service.batch import Answer
from service.directory import Model
from service.engine import Engine
from service.frontends.client import EngineClient
from service.frontends.host import Host
from service.runner import Row
from service.settings import Settings, load_settings
from tests.service.watching import pixels

TIMEOUT_S = 120  # only ends what hangs


@dataclass
class Linked:
    """What is connected; `host` is None while the engine plays dead."""

    settings: Settings
    engine: Engine
    channel: socket.socket
    clients: list[EngineClient] = field(default_factory=list)
    _hosting: asyncio.Task[None] | None = None

    def host(self) -> None:
        """Let front ends connect."""
        host = Host(self.engine, self.channel, heartbeat_s=3600.0)
        self._hosting = asyncio.create_task(host.run())

    async def lose(self) -> None:
        """Cut every connection, as the end of the engine's process does."""
        assert self._hosting is not None
        self._hosting.cancel()
        with suppress(asyncio.CancelledError):
            await self._hosting

    @asynccontextmanager
    async def client(self) -> AsyncIterator[EngineClient]:
        """Connect one more front end, until the block ends."""
        client = EngineClient(self.settings, self.channel.getsockname())
        async with client.running():
            await client.health.started.wait()
            yield client

    def expected(self, seed: int) -> Row:
        """Return what the network itself says of an image; not while the engine computes."""
        program = self.engine.catalog.served[0].runner.program
        logits_BxN, embedding_BxC = program(pixels(seed)[None])
        return Row(logits_BxN[0], embedding_BxC[0])


@asynccontextmanager
async def linked(
    store: ModelStore, *references: str, frontends: int = 1, **settings: object
) -> AsyncIterator[Linked]:
    """Serve these references of the store to so many front ends."""
    given = {
        "store": store.root,
        "models": references,
        "runtime": "openvino",
        "buckets": (1, 2, 4),
        "compile_cache_dir": None,
        "store_poll_ms": 0,
        "canary_interval_ms": 3_600_000,
    }
    configured = load_settings(given | settings)
    channel = socket.socket(socket.AF_UNIX)
    channel.bind(f"\0mixer-test-{secrets.token_hex(8)}")
    channel.listen()
    async with AsyncExitStack() as stack:
        stack.callback(channel.close)
        this = Linked(configured, Engine(configured), channel)
        await stack.enter_async_context(this.engine.running())
        await this.engine.health.started.wait()
        this.host()
        stack.push_async_callback(this.lose)
        for _ in range(frontends):
            this.clients.append(await stack.enter_async_context(this.client()))
        yield this


def deadline(seconds: float = TIMEOUT_S) -> float:
    return asyncio.get_running_loop().time() + seconds


async def ask(model: Model, *seeds: int, until: float | None = None) -> list[Answer[Row]]:
    """Return the answers to these images, asked for as one request."""
    due = deadline() if until is None else until
    with model.lease():
        async with model.admit(len(seeds), due, preparation_s=0.0) as submit:
            return await asyncio.gather(*(submit(pixels(seed), due) for seed in seeds))


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until it is so."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - other tasks and sockets bring it about
            await asyncio.sleep(0)


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await work

    uvloop.run(bounded())


def same(answer: Answer[Row], row: Row) -> bool:
    return np.allclose(answer.result.logits_N, row.logits_N, atol=1e-5) and np.allclose(
        answer.result.embedding_C, row.embedding_C, atol=1e-5
    )
