"""A lone caller: one request at a time on one connection."""

import http.client
import time
from typing import NamedTuple, Self
from urllib.parse import urlsplit


class Probe(NamedTuple):
    """One request and its answer; `done_s` is on the clock of `time.time`, as files' times are."""

    done_s: float
    latency_s: float
    status: int


class Caller:
    """Sends the same picture again and again, when asked to."""

    def __init__(self, url: str, picture: bytes) -> None:
        parts = urlsplit(url)
        self._path, self._picture = parts.path, picture
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self) -> Probe:
        """Send the picture and wait for the whole answer."""
        began_s = time.perf_counter()
        self._connection.request("POST", self._path, self._picture)
        answer = self._connection.getresponse()
        answer.read()
        return Probe(time.time(), time.perf_counter() - began_s, answer.status)
