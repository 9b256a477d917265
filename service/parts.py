"""The parts of one process that answers HTTP, made in `app` and handed to the routes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from service.engine import EngineView
from service.keys import ApiKeys
from service.pipeline import Pipeline
from service.settings import Settings

if TYPE_CHECKING:  # it brings an HTTP client, which most servers do not need
    from service.fetch import UrlFetcher


@dataclass(frozen=True)
class Parts:
    """What a request may need."""

    settings: Settings
    engine: EngineView
    pipeline: Pipeline
    fetcher: "UrlFetcher | None"
    keys: ApiKeys | None


def parts_of(request: Request) -> Parts:
    """Return the parts of the application that got this request."""
    parts: Parts = request.app.state.parts
    return parts


def engine_of(request: Request) -> EngineView:
    """Return the engine behind the application that got this request."""
    engine: EngineView = request.app.state.engine
    return engine
