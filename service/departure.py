"""How a request hears that its caller has left."""

import asyncio


class Departure:
    """The end of a connection, for the request that is being answered on it.

    ASGI tells of it to whoever waits for the next message; that takes a task beside each request.
    """

    def __init__(self) -> None:
        self._has_left = False
        self._patience: asyncio.Timeout | None = None

    def ends(self, patience: asyncio.Timeout | None) -> None:
        """Let `patience` be over when the caller leaves, or now if he has; None forgets it."""
        self._patience = patience
        if self._has_left:
            self.come()

    def come(self) -> None:
        """Tell that the caller has left."""
        self._has_left = True
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())
