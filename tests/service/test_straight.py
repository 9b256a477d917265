"""The short way to the endpoints: what takes it, and what is passed on."""

import asyncio

import httpx
import pytest
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import NotReady, ServiceError
from service.straight import Straight

router = APIRouter()
seen: list[str] = []


@router.get("/here")
@router.post("/here")
async def here(request: Request) -> Response:
    """Answer, or refuse, as the caller likes."""
    if "refuse" in request.query_params:
        raise NotReady("Not yet.")
    return PlainTextResponse(f"straight {request.method}")


async def layers(scope: Scope, receive: Receive, send: Send) -> None:
    """What the short way goes past."""
    seen.append(scope["type"])
    if scope["type"] == "http":
        await PlainTextResponse("passed on")(scope, receive, send)


async def on_error(request: Request, error: ServiceError) -> Response:
    return PlainTextResponse(f"{error.code} at {request.url.path}", status_code=int(error.status))


def around(app: ASGIApp) -> ASGIApp:
    """Note what comes this way."""

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(f"around {scope['path']}")
        await app(scope, receive, send)

    return noted


def asked(method: str, url: str) -> tuple[int, str]:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Straight(layers, router.routes, on_error, around))
        async with httpx.AsyncClient(transport=transport, base_url="http://mixer") as client:
            return await client.request(method, url)

    response = asyncio.run(ask())
    return response.status_code, response.text


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_endpoint_is_called_straight(method: str) -> None:
    seen.clear()
    assert asked(method, "/here?a=b") == (200, f"straight {method}")
    assert seen == ["around /here"]


def test_what_it_refuses_is_told_as_elsewhere() -> None:
    assert asked("POST", "/here?refuse=1") == (503, "not_ready at /here")


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/here"), ("GET", "/here/"), ("GET", "/"), ("GET", "/HERE")]
)
def test_everything_else_is_passed_on(method: str, path: str) -> None:
    seen.clear()
    assert asked(method, path) == (200, "passed on")
    assert seen == ["http"], "what it has around it is its own"


def test_the_lifespan_is_passed_on() -> None:
    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(_: object) -> None:
        pytest.fail("nobody answers here")

    seen.clear()
    asyncio.run(
        Straight(layers, router.routes, on_error, around)({"type": "lifespan"}, receive, send)
    )
    assert seen == ["lifespan"]
