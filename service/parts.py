"""The parts of one running application, made in `app.create_app` and handed to the routes."""

from dataclasses import dataclass

from starlette.requests import Request

from service.fetch import UrlFetcher
from service.health import HealthChecks
from service.keys import ApiKeys
from service.loading import Loader
from service.metrics import Metrics
from service.models import Catalog
from service.pipeline import Pipeline
from service.reload import Watcher
from service.settings import Settings


@dataclass(frozen=True)
class Parts:
    """What a request may need."""

    settings: Settings
    metrics: Metrics
    catalog: Catalog
    health: HealthChecks
    pipeline: Pipeline
    fetcher: UrlFetcher
    loader: Loader
    watcher: Watcher
    keys: ApiKeys | None


def parts_of(request: Request) -> Parts:
    """Return the parts of the application that got this request."""
    parts: Parts = request.app.state.parts
    return parts
