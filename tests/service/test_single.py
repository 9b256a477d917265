"""A start on its own: the web framework is imported while models load."""

import asyncio
import logging
import subprocess
import sys

import pytest
import uvloop

from service.app import create_app
from service.engine import Engine
from service.server import Server, run
from service.settings import load_settings


def test_models_load_before_the_web_framework_is_there() -> None:
    """Else they would wait for it: a third of a second of every start."""
    code = "import service.cli, service.single, sys; print('fastapi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_first_modules_are_imported_without_a_collector_and_threads() -> None:
    code = (
        "import service.__main__, gc, os, sys\n"
        "print('numpy' in sys.modules, gc.isenabled(), len(os.listdir('/proc/self/task')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False 1\n"


def test_without_hosts_to_fetch_from_no_http_client_is_loaded() -> None:
    code = (
        "import sys; from service.app import create_app; from service.engine import Engine\n"
        "from service.settings import load_settings; settings = load_settings({})\n"
        "create_app(settings, Engine(settings)); print('httpx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_model_that_is_ready_before_the_port_is_open_is_announced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        settings = load_settings({"port": 0})
        engine = Engine(settings)
        engine.health.started.set()
        server = Server(create_app(settings, engine), settings)
        serving = asyncio.create_task(run(server))
        await server.opened.wait()
        while not any("/readyz" in message for message in told()):  # noqa: ASYNC110 - by its task
            await asyncio.sleep(0)
        server.should_exit = True
        await serving

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "mixer.server"]

    with caplog.at_level(logging.INFO):
        uvloop.run(asyncio.wait_for(main(), 60))
