"""Messages over one connected socket, in their order."""

import asyncio
from collections.abc import Callable
from typing import cast

from service.frontends.messages import Message, decode, encode


class Wire(asyncio.Protocol):
    """One end: `on_message` is called for each message, `on_lost` once at the end."""

    def __init__(self, on_message: Callable[[Message], None], on_lost: Callable[[], None]) -> None:
        self._on_message, self._on_lost = on_message, on_lost
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._incomplete = b""  # the beginning of a line

    def send(self, message: Message) -> None:
        """Send a message, with all others of this turn of the event loop; none once it is lost."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(encode(message))

    def close(self) -> None:
        """Send what is left, and end."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio calls it)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take the lines out of what has come (asyncio calls it)."""
        *lines, self._incomplete = (self._incomplete + data).split(b"\n")
        for line in lines:
            self._on_message(decode(line))

    def connection_lost(self, _: Exception | None) -> None:
        """End (asyncio calls it)."""
        self._transport = None
        self._on_lost()

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()
