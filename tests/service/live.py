"""A real server on a loopback socket: in a thread of the test, or as a process of its own."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvloop
from fastapi import FastAPI

from service.app import create_app
from service.engine import Engine
from service.parts import Parts
from service.server import AdminServer, Server
from service.settings import load_settings

START_TIMEOUT_S = 120


@dataclass(frozen=True)
class LiveServer:
    """A started server: a client for it, and the parts inside."""

    client: httpx.Client
    app: FastAPI
    server: Server

    @property
    def parts(self) -> Parts:
        parts: Parts = self.app.state.parts
        return parts

    @property
    def engine(self) -> Engine:
        engine: Engine = self.app.state.engine
        return engine

    def admin_client(self) -> httpx.Client:
        """Return a client for the admin port, to be closed."""
        assert self.server.admin is not None
        return httpx.Client(base_url=self.server.admin.address, timeout=60)


@contextmanager
def live_server(**settings: Any) -> Iterator[LiveServer]:
    """Serve over a real socket until the block ends; yields once loading has ended."""
    configured = load_settings(
        {"port": 0, "log_level": "warning", "compile_cache_dir": None, **settings}
    )
    engine = Engine(configured)
    app = create_app(configured, engine)
    server = Server(app, configured, AdminServer.of(engine, configured))
    loading = threading.Event()

    async def serve() -> None:
        async def watch() -> None:
            await engine.health.started.wait()
            loading.set()

        watching = asyncio.create_task(watch())
        async with engine.running():
            await server.serve()
        watching.cancel()

    thread = threading.Thread(target=uvloop.run, args=(serve(),))
    thread.start()
    try:
        assert loading.wait(START_TIMEOUT_S), "the models did not load"
        with httpx.Client(base_url=server.address, timeout=60) as client:
            yield LiveServer(client, app, server)
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        assert not thread.is_alive(), "the server did not stop"


@contextmanager
def server_process(log: Path, **settings: Any) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `mixer serve` as a process; yields it with its URL once it says that it is ready."""
    options = [
        part
        for name, value in {"port": 0, "compile_cache_dir": "", **settings}.items()
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve", *options],
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield process, _wait_ready(process, log)
    finally:
        process.kill()
        process.wait()


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    ready = re.compile(r"ready: open (http://[^/]+)/docs")
    for _ in range(START_TIMEOUT_S * 20):
        if found := ready.search(log.read_text()):
            return found.group(1)
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"the server did not become ready:\n{log.read_text()}")
