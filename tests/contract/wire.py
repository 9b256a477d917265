"""HTTP spoken by hand, for what a well-behaved client does not do."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

TIMEOUT_S = 30


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._input = connection.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send, unless the server has hung up, as it may after a refusal."""
        try:
            self.connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def reply(self) -> Reply | None:
        """Return the next reply, or None where the server has closed the connection."""
        try:
            line = self._input.readline()
        except ConnectionResetError:
            return None
        if not line:
            return None
        headers = {}
        while (header := self._input.readline().strip()) != b"":
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = self._input.read(int(headers.get("content-length", 0)))
        return Reply(int(line.split()[1]), headers, body)

    def close(self) -> None:
        self._input.close()
        self.connection.close()


@contextmanager
def connect(client: httpx.Client) -> Iterator[Wire]:
    """Open a connection of our own to the client's server."""
    url = client.base_url
    assert url.port is not None
    wire = Wire(socket.create_connection((url.host, url.port), timeout=TIMEOUT_S))
    try:
        yield wire
    finally:
        wire.close()


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    """Return the bytes of a request; underscores in header names are hyphens."""
    fields = {"Host": "test", "Content-Length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode() + body
