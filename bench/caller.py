"""A lone caller: one request at a time on one connection."""

import multiprocessing
import socket
import time
from multiprocessing.connection import Connection
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import httptools


class Probe(NamedTuple):
    """One request and its answer; `done_s` is on the clock of `time.time`, as files' times are."""

    done_s: float
    latency_s: float
    status: int


class Caller:
    """Sends the same picture again and again, when asked to.

    By a socket and httptools' parser: http.client takes a third of a millisecond by itself.
    """

    def __init__(self, url: str, picture: bytes) -> None:
        parts = urlsplit(url)
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        self._request = f"{head}Content-Length: {len(picture)}\r\n\r\n".encode() + picture
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self) -> Probe:
        """Send the picture and wait for the whole answer.

        Raises:
            ConnectionError: the server closed the connection before it.
        """
        began_s = time.perf_counter()
        self._answered = False
        parser = httptools.HttpResponseParser(self)
        self._socket.sendall(self._request)
        while not self._answered:
            if not (data := self._socket.recv(2**16)):
                raise ConnectionError("the server closed the connection before its answer's end")
            parser.feed_data(data)
        return Probe(time.time(), time.perf_counter() - began_s, parser.get_status_code())

    def on_message_complete(self) -> None:
        """Hear of the answer's end from the parser."""
        self._answered = True


class DistantCaller:
    """A `Caller` in a process of its own, for servers in this one.

    As a thread beside them it would wait for Python's lock with them, which no client does.
    """

    def __init__(self, url: str, picture: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self._asking, answering = context.Pipe()
        self._process = context.Process(target=_obey, args=(answering, url, picture), daemon=True)
        self._process.start()
        answering.close()  # the other process has it, and ends it as it ends

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._asking.close()
        self._process.join()

    def ask(self) -> Probe:
        """Let it send the picture and wait for the whole answer.

        Raises:
            EOFError: its process has ended, for a reason that it has printed.
        """
        try:
            self._asking.send(True)
            probe: Probe = self._asking.recv()
        except ConnectionError as error:  # it ended before this
            raise EOFError from error
        return probe


def _obey(asked: Connection, url: str, picture: bytes) -> None:
    with Caller(url, picture) as caller:
        while True:
            try:
                asked.recv()
            except EOFError:
                return
            asked.send(caller.ask())
