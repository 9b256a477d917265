"""The application: the endpoints over an engine."""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from service import answers
from service.decoders import Decoders
from service.documentation import ANY_PROBLEM
from service.draining import CloseWhileDraining
from service.engine import EngineView
from service.errors import (
    BadRequest,
    MethodNotAllowed,
    NoSuchPage,
    ServiceError,
)
from service.keys import read_keys
from service.observe import ObserveMiddleware
from service.parts import Parts
from service.pipeline import Pipeline
from service.routes import common, images, listing, monitoring, require_key
from service.schemas import Problem
from service.settings import Settings
from service.straight import Straight

if TYPE_CHECKING:
    from service.fetch import UrlFetcher


class Application(FastAPI):
    """FastAPI with a way past its layers, for requests that need none of them.

    Its OpenAPI page knows the problem document, which no route returns by type.
    """

    def __init__(self, **options: Any) -> None:
        """Take FastAPI's options."""
        super().__init__(**options)
        self.entrance: ASGIApp = super().__call__

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope["app"] = self
        await self.entrance(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return document


class HeadAsGet:
    """ASGI middleware that runs HEAD as GET; the server leaves the content out (RFC 9110 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # A copy, since the server reads the method again when it leaves the content out.
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send)
        finally:
            scope["route"] = as_get.get("route")  # by which the observer names the endpoint


def create_app(settings: Settings, engine: EngineView) -> FastAPI:
    """Build the application over an engine, which runs as long as it, and longer.

    Raises:
        InvalidSetting: the file of the API keys is not right.
    """
    app = Application(
        title="Mixer",
        summary="Image classification and embedding with MLP-Mixer models",
        version=importlib.metadata.version("mixer-serve"),
        lifespan=_lifespan,
        responses=ANY_PROBLEM,
        redirect_slashes=False,  # the address would be made from the client's Host header
        # Nothing here exports them, and to look for an exporter takes time.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    parts = app.state.parts = _make_parts(settings, engine)
    for each in (images, listing):
        app.include_router(each, dependencies=[Depends(require_key)] if parts.keys else [])
    if not parts.keys:
        around = partial(_observed, engine)
        app.entrance = Straight(app.entrance, images.routes, _on_service_error, around)
    furnish(app, engine, common, *([monitoring] if settings.admin_port is None else []))
    return app


def furnish(app: FastAPI, engine: EngineView, *routers: APIRouter) -> None:
    """Give an application its engine, these endpoints, and what is around each request."""
    app.state.engine = engine
    for each in routers:
        app.include_router(each)
    app.add_middleware(HeadAsGet)
    app.add_middleware(partial(_observed, engine))  # the last added is the outermost
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(HTTPException, _on_http_error)


def _observed(engine: EngineView, app: ASGIApp) -> ASGIApp:
    """Put around an application what every request has around it."""
    return ObserveMiddleware(CloseWhileDraining(app, engine.health), engine.metrics)


def _make_parts(settings: Settings, engine: EngineView) -> Parts:
    return Parts(
        settings=settings,
        engine=engine,
        pipeline=Pipeline(
            Decoders(settings.decode_threads),
            engine.metrics,
            settings.max_image_pixels,
            settings.decode_scaling,
        ),
        fetcher=_make_fetcher(settings) if settings.url_allow else None,
        keys=read_keys(settings),
    )


def _make_fetcher(settings: Settings) -> "UrlFetcher":
    from service.fetch import UrlFetcher  # noqa: PLC0415  (a start without it is sooner ready)

    return UrlFetcher(
        settings.url_allow,
        max_bytes=settings.max_body_bytes,
        timeout_s=settings.url_timeout_ms / 1e3,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    watching = [asyncio.create_task(parts.keys.watch())] if parts.keys else []
    try:
        yield
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        if parts.fetcher is not None:
            await parts.fetcher.close()
        parts.pipeline.decoders.close()


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    if error.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        request.app.state.engine.metrics.rejected.labels(reason=error.code).inc()
    return answers.problem(error, request.state.trace.request_id)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known: dict[int, ServiceError] = {
        404: NoSuchPage(f"There is nothing at {request.url.path:.80}; /docs lists the endpoints."),
        405: MethodNotAllowed(f"{request.method} is not allowed here; see the Allow header."),
    }
    refusal = known.get(error.status_code, BadRequest("The request is malformed."))
    response = await _on_service_error(request, refusal)
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = _allowed_methods(request, response.headers["Allow"])
    return response


def _allowed_methods(request: Request, first: str) -> str:
    """Return what `Allow` lists: the framework names only the `first` route of several."""
    methods = set(first.split(", ")).union(
        *(
            route.methods or ()
            for route in images.routes
            if isinstance(route, APIRoute) and route.matches(request.scope)[0] is not Match.NONE
        )
    )
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
