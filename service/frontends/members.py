"""The two kinds of processes that the supervisor starts, from their first line to their last."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass

import uvloop

from service.app import create_app
from service.engine import Engine
from service.frontends.client import EngineClient
from service.frontends.host import Host
from service.server import AdminServer, Server, run
from service.settings import Settings


@dataclass(frozen=True)
class Shared:
    """What all processes have from the supervisor."""

    settings: Settings
    public: socket.socket  # bound: every front end accepts from it
    channel: socket.socket  # listening: the engine accepts front ends from it
    supervisor_pipe: int  # at its end once the supervisor has gone


def run_engine(shared: Shared) -> None:
    """Own the device until SIGTERM."""
    uvloop.run(_host(shared))


def run_frontend(shared: Shared, *, announces: bool) -> None:
    """Answer HTTP until SIGTERM, and then what was accepted; one says when the start has ended."""
    uvloop.run(_answer(shared, announces=announces))


async def _host(shared: Shared) -> None:
    settings, engine = shared.settings, Engine(shared.settings)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    _end_with_supervisor(shared.supervisor_pipe)
    admin = AdminServer.of(engine, settings)
    if admin is not None:
        await admin.open()
    async with engine.running():
        host = Host(engine, shared.channel, settings.canary_interval_ms / 1e3)
        hosting = asyncio.create_task(host.run())
        ending = asyncio.create_task(ended.wait())
        await asyncio.wait({hosting, ending}, return_when=asyncio.FIRST_COMPLETED)
        hosting.cancel()
        with suppress(asyncio.CancelledError):
            await hosting
    if admin is not None:
        await admin.close()


async def _answer(shared: Shared, *, announces: bool) -> None:
    settings = shared.settings
    client = EngineClient(settings, shared.channel.getsockname())
    _end_with_supervisor(shared.supervisor_pipe)
    async with client.running():
        server = Server(create_app(settings, client), settings)
        await run(server, [shared.public], announces=announces)


def _end_with_supervisor(pipe: int) -> None:
    """Begin to shut down when the supervisor has gone, since nobody else would ask for it."""
    asyncio.get_running_loop().add_reader(pipe, _terminate, pipe)


def _terminate(pipe: int) -> None:
    asyncio.get_running_loop().remove_reader(pipe)
    os.kill(os.getpid(), signal.SIGTERM)
