"""Callers, near and distant, against a real server."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.caller import Caller, DistantCaller

PICTURE = bytes(range(256)) * 400


class Handler(BaseHTTPRequestHandler):
    """Answers 200 to the first two whole pictures of a connection, and then 503 for good."""

    protocol_version = "HTTP/1.1"
    answered = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        last = self.answered == 2
        self.send_response(200 if body == PICTURE and not last else 503)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
        self.answered += 1
        self.close_connection = last

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as there
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/classify"
        server.shutdown()


@pytest.mark.parametrize(("make", "error"), [(Caller, ConnectionError), (DistantCaller, EOFError)])
def test_one_connection_is_asked_again_and_again(
    url: str, make: Callable[[str, bytes], Caller | DistantCaller], error: type[Exception]
) -> None:
    with make(url, PICTURE) as caller:
        probes = [caller.ask() for _ in range(3)]
        for _ in range(2):
            with pytest.raises(error):
                caller.ask()
    assert [probe.status for probe in probes] == [200, 200, 503]
    assert all(probe.latency_s > 0 for probe in probes)
    assert sorted(probe.done_s for probe in probes) == [probe.done_s for probe in probes]
