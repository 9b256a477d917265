"""One process that does everything: its models load while the web framework is imported."""

import asyncio
import gc
from concurrent.futures import Future, wait

from service.engine import Engine
from service.settings import Settings
from service.stores import Stores


async def serve(settings: Settings, stores: Stores) -> None:
    """Serve until a signal."""
    engine = Engine(settings, stores)
    async with engine.running():
        await asyncio.to_thread(_import_web, engine.loader.importing)
        from service.app import create_app  # noqa: PLC0415
        from service.server import AdminServer, Server, run  # noqa: PLC0415

        # All of this lasts: a search for garbage there only takes time.
        gc.freeze()
        gc.enable()
        app = create_app(settings, engine)
        await run(Server(app, settings, AdminServer.of(engine, settings)))


def _import_web(runtime: Future[None]) -> None:
    wait([runtime])  # modules are imported one at a time, and the models wait for these
    import service.server  # noqa: F401, PLC0415
