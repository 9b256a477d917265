"""uvicorn's protocol, with what a request is worth being told, or refused, before it is a task."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.corked import Corked
from service.departure import Departure
from service.parts import Parts
from service.shedding import refusal


class Protocol(HttpToolsProtocol):
    """Makes no task of what is refused for load, and tells a request when its caller leaves.

    The requests of a connection are answered one after the other, and have one `Departure`.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self._corked = Corked(transport)
        self._departure = Departure()
        self._running: RequestResponseCycle | None = None
        super().connection_made(cast("Any", self._corked))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, and not only the last one that was sent."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
        super().connection_lost(exc)
        self._departure.come()

    def on_body(self, body: bytes) -> None:
        """Take a body that comes in one piece as it is, instead of a copy of a copy."""
        cycle: Any = self.cycle
        if cycle.response_complete:
            return
        if not cycle.body:
            cycle.body, body = body, b""
        elif isinstance(cycle.body, bytes):
            cycle.body = bytearray(cycle.body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Go on reading behind a request, however large: else nobody would see its caller leave.

        Not behind one that waits for those before it: so many are taken as come at once.
        """
        super().on_message_complete()
        if not self.pipeline:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Send the answer."""
        self._corked.send_held()
        super().on_response_complete()

    # uvicorn's own name of the step between a parsed head and a running application, since 0.46.
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        scope, refused = cast("Scope", cycle.scope), None
        scope["state"]["departure"], self._running = self._departure, cycle
        # Left to a task: requests in a queue on their connection, which would be begun from within
        # each other, and those of a client who does not read his answers and must be waited for.
        if cycle is self.cycle and not self.transport.get_write_buffer_size():
            parts: Parts = cast("Any", self.config.app).state.parts
            refused = refusal(parts, scope)
        if refused is None:
            super()._start_asgi_task(cycle, app)
        else:
            _run_at_once(cycle.run_asgi(cast("Any", refused)))


def _run_at_once(answering: Coroutine[Any, Any, None]) -> None:
    """Run what waits for nothing."""
    try:
        answering.send(None)
    except StopIteration:
        return
    raise RuntimeError("a refusal has to wait")
