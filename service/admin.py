"""The admin port's application: metrics, probes, and what only an operator may ask for.

It takes no keys: who may reach it is the network's to say.
"""

import asyncio

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from service import documentation
from service.answers import json_response
from service.app import Application, furnish
from service.documentation import ANY_PROBLEM
from service.engine import Engine
from service.errors import Draining
from service.models import Catalog
from service.routes import common, monitoring
from service.schemas import Move, Reload

router = APIRouter()


def create_admin_app(engine: Engine) -> FastAPI:
    """Build the application of the admin port."""
    app = Application(
        title="Mixer administration",
        summary="Metrics, probes and admin actions of one server",
        responses=ANY_PROBLEM,
        redirect_slashes=False,
    )
    furnish(app, engine, router, common, monitoring)
    return app


@router.post(
    "/admin/reload",
    summary="Look at the store now",
    responses={200: {"model": Reload}, **documentation.RELOAD},
)
async def reload(request: Request) -> Response:
    """Return once every reference that has moved in the store is followed, or was refused.

    What is loaded for it may take minutes; requests are answered meanwhile.
    """
    engine: Engine = request.app.state.engine
    catalog = engine.catalog
    before = _answering(catalog)
    looking = None if engine.health.draining else engine.watcher.ask()
    if looking is not None:
        await asyncio.wait({looking})
    if looking is None or looking.cancelled():
        raise Draining("The server is shutting down; it follows the store no more.")
    looking.result()  # raises what only a bug would
    moved = {
        reference: Move(before=before.get(reference), after=version)
        for reference, version in _answering(catalog).items()
        if version != before.get(reference)
    }
    content = Reload(moved=moved, missing=catalog.missing, stale=catalog.stale)
    return json_response(content.model_dump())


def _answering(catalog: Catalog) -> dict[str, str]:
    """Return which version answers, by configured reference."""
    return {reference: str(model.version) for reference, model in catalog.answering.items()}
