"""What an accelerator changes: without it nothing serves, and the Job compiles for its servers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.store import ModelStore
from tests.deploy.rendered import environment, one, server
from tests.service.watching import version

LOAD = """
import sys
from model_store.store import ModelStore
from service.settings import load_settings
from tests.service.watching import loaded

catalog = loaded(ModelStore(sys.argv[1]), "one", runtime=load_settings({}).runtime)
print(len(catalog.served), *catalog.missing)
"""


@pytest.mark.parametrize("render", ["gpu", "tpu"])
def test_nothing_is_served_without_the_accelerator(render: str, tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path / "store"))
    store.publish("one", version(1))
    given = environment(server(one(render, "Deployment")["spec"]["template"]["spec"]))
    told = {name: given[name] for name in ("JAX_PLATFORMS", "MIXER_RUNTIME")}
    command = [sys.executable, "-c", LOAD, store.root]
    done = subprocess.run(
        command, env={**os.environ, **told}, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "0 one", done.stderr
    assert "jax" in done.stderr


@pytest.mark.parametrize("render", ["gpu", "tpu"])
def test_the_job_compiles_on_what_the_servers_have(render: str) -> None:
    """The cache is for a processor and a number of cores, which a container's limit is, too."""
    job, deployment = (
        server(one(render, kind)["spec"]["template"]["spec"]) for kind in ("Job", "Deployment")
    )
    assert job["resources"] == deployment["resources"]
