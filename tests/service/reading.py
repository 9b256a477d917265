"""Requests as httpx sends them, read by `service.intake` in an ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import httpx
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from service.errors import ServiceError
from service.intake import Intake, read_images
from service.workers import Workers

CAT, DOG = b"\xff\xd8\xffcat\r\n--", b"\x89PNG dog\0\r\n"
LIMITS = {"max_body_bytes": 10_000, "max_images": 3}
THREADS = Workers(1, "read")


class Reader:
    """An ASGI application that reads its requests' images and keeps what came of it."""

    def __init__(self, **limits: int) -> None:
        self.limits = LIMITS | limits
        self.result: Intake | ServiceError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.result = await read_images(Request(scope, receive), **self.limits, threads=THREADS)
        except ServiceError as error:
            self.result = error
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def outcome(limits: Mapping[str, int] = LIMITS, **request: Any) -> Intake | ServiceError:
    """Return what reading a request made by httpx comes to."""

    async def run() -> Intake | ServiceError:
        reader = Reader(**limits)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(reader)) as client:
            await client.post("http://mixer/", **request)
        assert reader.result is not None
        return reader.result

    return asyncio.run(run())


def images(intake: Intake | ServiceError) -> list[bytes | ServiceError]:
    assert isinstance(intake, Intake), intake
    return intake.images


def refused(kind: type[ServiceError], match: str, **request: Any) -> None:
    error = outcome(**request)
    assert isinstance(error, kind)
    assert match in error.detail


async def slowly(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk
