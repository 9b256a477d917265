"""The HTTP server: uvicorn, with a shutdown that fails no accepted request."""

import asyncio
import gc
import logging
import socket
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.admin import create_admin_app
from service.engine import Engine
from service.health import Probes
from service.protocol import Protocol
from service.settings import Settings

log = logging.getLogger("mixer.server")


class Server(uvicorn.Server):
    """uvicorn that turns readiness off first, and exits 0 after an orderly SIGTERM.

    SIGTERM: /readyz says 503; for `drain_delay_ms` requests are still accepted, while load
    balancers notice; then the sockets close, accepted requests are answered, the admin port closes,
    and the process ends.
    A second signal ends it at once.
    """

    def __init__(
        self, app: FastAPI, settings: Settings, admin: "AdminServer | None" = None
    ) -> None:
        super().__init__(
            _config(
                app,
                settings.host,
                settings.port,
                http=Protocol,
                timeout_graceful_shutdown=_whole_seconds(settings.drain_timeout_ms),
                timeout_keep_alive=_whole_seconds(settings.keep_alive_ms),
            )
        )
        self.health: Probes = app.state.engine.health
        self._delay_s = settings.drain_delay_ms / 1e3
        self.admin = admin
        self.opened = asyncio.Event()  # when the public port is open

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the admin port and then the public one."""
        if self.admin is not None:
            await self.admin.open()
            log.info("metrics and admin: %s/docs", self.admin.address)
        await super().startup(sockets)
        self.opened.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what was accepted; the admin port tells of it to the end."""
        await super().shutdown(sockets)
        if self.admin is not None:
            await self.admin.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown (called from the signal handler)."""
        if self.health.draining:
            super().handle_exit(sig, frame)
            return
        log.info("signal %d: draining", sig)
        self.health.draining = True
        loop = asyncio.get_running_loop()
        # A signal may interrupt the loop anywhere, so it is asked as another thread would ask.
        loop.call_soon_threadsafe(loop.call_later, self._delay_s, self._stop_accepting)

    def _stop_accepting(self) -> None:
        # Not through uvicorn's handler: it would raise the signal again after the shutdown, and
        # the process would end as killed instead of with 0.
        self.should_exit = True

    @property
    def address(self) -> str:
        """The URL to reach the listening socket at."""
        return _address(self)


class AdminServer(uvicorn.Server):
    """The admin port, which the public server opens and closes: no signal comes here."""

    def __init__(self, engine: Engine, host: str, port: int) -> None:
        # A scrape takes milliseconds, and what takes longer the public server's end has ended.
        app, self._watcher = create_admin_app(engine), engine.watcher
        super().__init__(_config(app, host, port, lifespan="off", timeout_graceful_shutdown=1))

    @classmethod
    def of(cls, engine: Engine, settings: Settings) -> "AdminServer | None":
        """Return the server of the admin port, where one is set."""
        port = settings.admin_port
        return None if port is None else cls(engine, settings.admin_host, port)

    async def open(self) -> None:
        """Begin to answer."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup()
        self._ticking = asyncio.create_task(self.main_loop())

    async def close(self) -> None:
        """Answer what was asked, a look at the store with the news that it ends, and end."""
        for look in self._watcher.asked:
            look.cancel()
        self.should_exit = True
        await self._ticking
        await self.shutdown()

    @property
    def address(self) -> str:
        """The URL to reach the listening socket at."""
        return _address(self)


def _config(app: FastAPI, host: str, port: int, **options: Any) -> uvicorn.Config:
    """Return what both ports have in common, and `options` of one, by uvicorn's names."""
    common: dict[str, Any] = {
        "http": "httptools",
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # nobody here asks for the client's address
    }
    return uvicorn.Config(app, host=host, port=port, **(common | options))


def _address(server: uvicorn.Server) -> str:
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104


def _whole_seconds(duration_ms: int) -> int:
    """Return the seconds that uvicorn wants, rounded up."""
    return -(-duration_ms // 1000)


async def run(
    server: Server, sockets: list[socket.socket] | None = None, *, announces: bool = True
) -> None:
    """Run the server until a signal; the one that announces says when the start has ended."""
    async with asyncio.TaskGroup() as tasks:  # so that no fault of the other task is passed over
        settling = tasks.create_task(_settle(server, announces=announces))
        await server.serve(sockets)
        settling.cancel()


def bind(settings: Settings) -> socket.socket:
    """Return the public socket, bound for several processes; exits where that cannot be."""
    return uvicorn.Config("", settings.host, settings.port, log_config=None).bind_socket()


def settle_heap() -> None:
    """Take all objects of the start out of the garbage collector's sight, for good.

    It would visit every module and route again and again, on the event loop, for 10 ms and more.
    """
    gc.collect()
    gc.freeze()


async def _settle(server: Server, *, announces: bool) -> None:
    await server.opened.wait()  # which small models do not wait for
    await server.health.started.wait()
    settle_heap()
    health = server.health.ready()
    if not announces:
        return
    if health.ok:
        log.info("ready: open %s/docs", server.address)
    else:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in health.reasons.items())
        log.error("not ready (%s): see %s/readyz", reasons, server.address)
