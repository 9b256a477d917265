"""The application: lifespan is store -> runner -> batcher -> ready -> drain."""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service import answers
from service.errors import BadRequest, InvalidParameter, ServiceError
from service.fetch import UrlFetcher
from service.health import HealthChecks
from service.metrics import Metrics
from service.models import Catalog
from service.observe import ObserveMiddleware
from service.parts import Parts
from service.pipeline import Pipeline
from service.routes import router
from service.runtimes.xla import on_compilation
from service.schemas import Problem
from service.settings import Settings

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "The request is refused; `code` says why."},
    "5XX": {"model": Problem, "description": "The server cannot answer; `code` says why."},
}


class NoSuchPage(ServiceError):
    """No endpoint at this path."""

    status, code, title = HTTPStatus.NOT_FOUND, "not_found", "Not found"


class MethodNotAllowed(ServiceError):
    """The endpoint does not take this method."""

    status, code, title = HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed"


def create_app(settings: Settings) -> FastAPI:
    """Build the application; its models load in the background once it starts."""
    app = FastAPI(
        title="Mixer",
        summary="Image classification and embedding with MLP-Mixer models",
        version=importlib.metadata.version("mixer-serve"),
        lifespan=_lifespan,
        responses=PROBLEMS,
    )
    metrics = Metrics()
    catalog = Catalog(settings, metrics)
    app.state.parts = Parts(
        settings=settings,
        metrics=metrics,
        catalog=catalog,
        health=HealthChecks(catalog, settings, metrics),
        pipeline=Pipeline(
            ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode"),
            metrics,
            settings.max_image_pixels,
        ),
        fetcher=UrlFetcher(
            settings.url_allow,
            max_bytes=settings.max_body_bytes,
            timeout_s=settings.url_timeout_ms / 1e3,
        ),
    )
    app.include_router(router)
    app.add_middleware(ObserveMiddleware, metrics=metrics)
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameter)
    app.add_exception_handler(HTTPException, _on_http_error)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    on_compilation(parts.metrics.compilations.inc)
    parts.metrics.build_info.info(
        {name: importlib.metadata.version(name) for name in ("mixer-serve", "jax", "flax")}
    )
    # In the background, so that the probes are answered while models load.
    background = [
        asyncio.create_task(_start(parts)),
        asyncio.create_task(parts.health.watch_device()),
    ]
    try:
        yield
    finally:
        parts.health.draining = True
        # Bounded, since a dead device would hold the shutdown for ever.
        with suppress(TimeoutError):
            async with asyncio.timeout(parts.settings.drain_timeout_ms / 1e3):
                await parts.catalog.drain()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await parts.fetcher.close()
        parts.pipeline.decoders.shutdown(wait=False, cancel_futures=True)
        parts.catalog.device.close()


async def _start(parts: Parts) -> None:
    await parts.catalog.load()
    parts.health.started.set()


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    if error.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        request.app.state.parts.metrics.rejected.labels(reason=error.code).inc()
    return answers.problem(error, request.state.trace.request_id)


async def _on_invalid_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = first["loc"][-1]
    return await _on_service_error(request, InvalidParameter(f"{name}: {first['msg']}"))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known: dict[int, ServiceError] = {
        404: NoSuchPage(f"There is nothing at {request.url.path}; /docs lists the endpoints."),
        405: MethodNotAllowed(f"{request.method} is not allowed here; see the Allow header."),
    }
    refusal = known.get(error.status_code, BadRequest("The request is malformed."))
    response = await _on_service_error(request, refusal)
    response.headers.update(error.headers or {})
    return response
