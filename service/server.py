"""The HTTP server: uvicorn, with a shutdown that fails no accepted request."""

import asyncio
import logging
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.parts import Parts
from service.settings import Settings

log = logging.getLogger("mixer.server")


class Server(uvicorn.Server):
    """uvicorn that turns readiness off first, and exits 0 after an orderly SIGTERM.

    SIGTERM: /readyz says 503; for `drain_delay_ms` requests are still accepted, while load
    balancers notice; then the sockets close, accepted requests are answered, and the process ends.
    A second signal ends it at once.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http="httptools",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_whole_seconds(settings.keep_alive_ms),
                timeout_graceful_shutdown=_whole_seconds(settings.drain_timeout_ms),
            )
        )
        self._parts: Parts = app.state.parts
        self._delay_s = settings.drain_delay_ms / 1e3

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown (called from the signal handler)."""
        if self._parts.health.draining:
            super().handle_exit(sig, frame)
            return
        log.info("signal %d: draining", sig)
        self._parts.health.draining = True
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
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104


def _whole_seconds(duration_ms: int) -> int:
    """Return the seconds that uvicorn wants, rounded up."""
    return -(-duration_ms // 1000)


async def serve(app: FastAPI, settings: Settings) -> None:
    """Serve until a signal; say on the last line of the start where to look."""
    server = Server(app, settings)
    announcing = asyncio.create_task(_announce(server, app.state.parts))
    await server.serve()
    announcing.cancel()


async def _announce(server: Server, parts: Parts) -> None:
    await parts.health.started.wait()
    health = parts.health.ready()
    if health.ok:
        log.info("ready: open %s/docs", server.address)
    else:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in health.reasons.items())
        log.error("not ready (%s): see %s/readyz", reasons, server.address)
