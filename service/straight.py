"""The short way of an inference request: from the server to its endpoint.

The endpoints read their requests by themselves. FastAPI documents them and, where there are API
keys, asks for one; else all that its layers would do is to pass on: a tenth and more of the event
loop's time for an image.
"""

from collections.abc import Awaitable, Callable, Iterable

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ServiceError

OnError = Callable[[Request, ServiceError], Awaitable[Response]]
Around = Callable[[ASGIApp], ASGIApp]


class Straight:
    """ASGI middleware that calls the endpoints of these routes, and passes on what they are not.

    Their paths have no parameters, and they raise `ServiceError`. What else they raise is for those
    `around` them, who stand on this way alone: what is passed on has its own.
    """

    def __init__(
        self, app: ASGIApp, routes: Iterable[BaseRoute], on_error: OnError, around: Around
    ) -> None:
        self._app, self._on_error = app, on_error
        self._straight = around(self._answer)
        self._routes = {
            (method, route.path): route
            for route in routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        route = None
        if scope["type"] == "http":
            route = self._routes.get((scope["method"], scope["path"]))
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route  # by which the observer names the endpoint
        await self._straight(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response: Response = await scope["route"].endpoint(request)
        except ServiceError as error:
            response = await self._on_error(request, error)
        await response(scope, receive, send)
