"""The engine's side by itself: what it leaves behind."""

import asyncio
import socket
from pathlib import Path
from typing import NoReturn

import pytest

from model_store.store import ModelStore
from service.frontends.host import Host
from tests.service.frontends.linked import linked, run
from tests.service.watching import version


def test_a_connection_that_has_not_greeted_is_closed_with_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(str(tmp_path / "store"))
    store.publish("small", version(1))
    accepted = asyncio.Event()

    async def welcome(_: Host, connection: socket.socket) -> NoReturn:
        assert connection.fileno() >= 0
        accepted.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Host, "_welcome", welcome)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with linked(store, "small", frontends=0) as link:
            with socket.socket(socket.AF_UNIX) as silent:
                silent.setblocking(False)
                await loop.sock_connect(silent, link.channel.getsockname())
                await accepted.wait()
                await link.lose()
                assert await loop.sock_recv(silent, 1) == b""

    run(main())
