"""A rolling restart, with the processes and signals of one but no cluster: no request fails.

A proxy stands for the Service: it joins each new connection to the pod that is listed then, and
leaves the ones that there are alone, as the kernel's connection tracking does.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from model_store.store import ModelStore
from tests.contract.metering import Meter
from tests.contract.pictures import encoded, picture
from tests.models import random_checkpoint
from tests.service.live import live_server, server_process

CLIENTS = 4
IMAGE = encoded(picture(), "PNG")


class Proxy:
    """Joins connections to `target`, an address that may change."""

    def __init__(self, target: httpx.URL) -> None:
        self.target = target
        self.address = ""
        self.listening = threading.Event()
        self._loop = asyncio.new_event_loop()

    def run(self) -> None:
        """Listen until `stop`."""
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self.listening.set()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self.target.host, self.target.port)
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@contextmanager
def proxy_to(target: httpx.URL) -> Iterator[Proxy]:
    proxy = Proxy(target)
    thread = threading.Thread(target=proxy.run)
    thread.start()
    try:
        assert proxy.listening.wait(60)
        yield proxy
    finally:
        proxy.stop()
        thread.join(60)


def ask_until(address: str, enough: threading.Event, begun: threading.Barrier) -> list[int]:
    """Ask again and again on kept connections; return every status."""
    with httpx.Client(base_url=address, timeout=60) as client:
        statuses = [client.post("/classify", content=IMAGE).status_code]
        begun.wait()
        while not enough.is_set():
            statuses.append(client.post("/classify", content=IMAGE).status_code)
    return statuses


def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    """SIGTERM comes with the change of the list, and so before every client has heard of it."""
    store = ModelStore(str(tmp_path / "store"))
    store.publish("tiny", random_checkpoint())
    settings = {"store": store.root, "models": "tiny", "buckets": "4"}
    with (
        server_process(tmp_path / "log", **settings, drain_delay_ms=1000) as (old, old_address),
        live_server(store=store.root, models=("tiny",), buckets=(4,), admin_port=0) as new,
        new.admin_client() as scraping,
        proxy_to(httpx.URL(old_address)) as proxy,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        answered = Meter(scraping)
        enough, begun = threading.Event(), threading.Barrier(CLIENTS + 1)
        asking = [pool.submit(ask_until, proxy.address, enough, begun) for _ in range(CLIENTS)]
        try:
            begun.wait(60)
            proxy.target = new.client.base_url
            old.send_signal(signal.SIGTERM)
            assert old.wait(60) == 0
        finally:
            enough.set()
        for statuses in (each.result(60) for each in asking):
            assert set(statuses) == {200}
        assert answered.moved("mixer_requests_total", endpoint="/classify", code="200") >= CLIENTS
    assert "Traceback" not in (tmp_path / "log").read_text()
