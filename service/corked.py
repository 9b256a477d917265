"""A transport that sends what is written piece by piece as one.

uvicorn writes the head of an answer and then its body, each of which uvloop sends at once: two
calls of the kernel, two packets, and a client who is woken twice.
"""

import asyncio
from typing import Any


class Corked:
    """What uvicorn needs of a transport; all but writing and its end is the transport's own.

    What is written is held until `send_held`, or the next turn of the event loop: so long nobody is
    asked to pause, however much it is.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it with what else is written."""
        if not self._held:
            asyncio.get_running_loop().call_soon(self.send_held)
        self._held.append(data)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the client has not taken."""
        return sum(map(len, self._held)) + self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Send what was written, and end."""
        self.send_held()
        self._transport.close()

    def send_held(self) -> None:
        """Send what was written, unless the connection has gone meanwhile."""
        if not self._held:
            return
        held, self._held = self._held, []
        if not self._transport.is_closing():  # then it would raise
            self._transport.write(b"".join(held))
