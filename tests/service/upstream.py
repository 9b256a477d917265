"""A real HTTP server on loopback that answers what a test wants, and fetches from it."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

from service.fetch import Address, UrlFetcher

CAT = b"\xff\xd8\xffcat"
Answer = Callable[[BaseHTTPRequestHandler], None]


class Upstream:
    """A real HTTP server on loopback; `answers` maps paths, `seen` lists (Host, path)."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {"/cat": answer(CAT)}
        self.seen: list[tuple[str | None, str]] = []
        self.headers: list[dict[str, str]] = []
        self.release = threading.Event()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # offers to keep connections

            def do_GET(self) -> None:
                upstream.seen.append((self.headers["Host"], self.path))
                upstream.headers.append(dict(self.headers))
                upstream.answers[self.path](self)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *args: Any) -> None:
                pass  # clients that leave are part of these tests

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port

    def __enter__(self) -> "Upstream":
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.release.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def answer(body: bytes, status: int = 200, **headers: str) -> Answer:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return write


def raw(data: bytes) -> Answer:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(data)

    return write


LOOPBACK = ip_address("127.0.0.1")
INTERNAL = ip_address("127.0.0.2")


class Names:
    """A name server of this test: every host is on loopback, unless `table` says otherwise."""

    def __init__(self, **table: Sequence[Address]) -> None:
        self.table = {name.replace("_", "."): found for name, found in table.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        return self.table.get(host, [LOOPBACK])


def fetch(url: str, allow: Sequence[str] = ("a.test", "b.test"), **options: Any) -> bytes:
    """Fetch with everything injected that loopback needs."""
    options = {"max_bytes": 1000, "timeout_s": 20.0, "resolve": Names(), **options}
    options.setdefault("is_public", lambda address: address == LOOPBACK)

    async def run() -> bytes:
        fetcher = UrlFetcher(allow, **options)
        try:
            return await fetcher.fetch(url)
        finally:
            await fetcher.close()

    return asyncio.run(run())
