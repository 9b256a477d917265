"""What is told of a request: here of HEAD, which routes see as GET."""

import asyncio
import logging

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.engine import Engine
from service.settings import load_settings


def head(app: FastAPI, path: str) -> None:
    """Ask an application whose models never load."""

    async def ask() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://mixer") as client:
            await client.head(path)

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "logged", "counted"),
    [
        ("/livez", "HEAD /livez 200", {"endpoint": "/livez", "code": "200"}),
        ("/classify", "HEAD /classify 405", {"endpoint": "/classify", "code": "405"}),
        ("/nothing", "HEAD unmatched 404", {"endpoint": "unmatched", "code": "404"}),
    ],
)
def test_head_is_logged_as_head_under_its_endpoint(
    caplog: pytest.LogCaptureFixture, path: str, logged: str, counted: dict[str, str]
) -> None:
    settings = load_settings({})
    app = create_app(settings, Engine(settings))
    with caplog.at_level(logging.INFO, "mixer.request"):
        head(app, path)
    assert [record.message.startswith(logged) for record in caplog.records] == [True]
    registry = app.state.engine.metrics.registry
    assert registry.get_sample_value("mixer_requests_total", counted) == 1
