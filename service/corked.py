"""A transport that writes once in a turn of the event loop, whatever is written in it.

uvicorn writes the head of an answer and then its body, each of which uvloop sends at once: two
calls of the kernel, two packets, and a client who is woken twice.
"""

import asyncio
from typing import Any


class Corked:
    """What uvicorn needs of a transport; all but writing and its end is the transport's own."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it with what else is written in this turn."""
        if not self._held:
            asyncio.get_running_loop().call_soon(self._send)
        self._held.append(data)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the client has not taken."""
        return sum(map(len, self._held)) + self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Send what was written, and end."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._held:
            held, self._held = self._held, []
            self._transport.write(b"".join(held))
