"""While the server drains, every answer asks its client to leave.

A kept connection is bound to this process whatever load balancers know by now; closed while its
client sends the next request, it would fail that request.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.health import Probes


class CloseWhileDraining:
    """ASGI middleware that adds `Connection: close` to answers once readiness is off for good."""

    def __init__(self, app: ASGIApp, health: Probes) -> None:
        self._app, self._health = app, health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._health.draining:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, closing)
