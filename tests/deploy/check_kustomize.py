"""`kubectl kustomize` makes of every overlay its golden render, byte by byte (`make deploy-test`).

After a wanted change: for o in cpu gpu tpu kserve; do kubectl kustomize deploy/overlays/$o >
deploy/rendered/$o.yaml; done; kubectl kustomize deploy/trainer > deploy/rendered/trainer.yaml
"""

import subprocess
from pathlib import Path

import pytest

from tests.deploy.rendered import DEPLOY, RENDERS


def render(folder: Path) -> str:
    """Return what kubectl makes of a folder."""
    command = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("name", RENDERS)
def test_the_render_is_the_golden_one(name: str) -> None:
    folder = DEPLOY / "trainer" if name == "trainer" else DEPLOY / "overlays" / name
    assert render(folder) == (DEPLOY / "rendered" / f"{name}.yaml").read_text()


def test_the_base_renders_by_itself() -> None:
    rendered = render(DEPLOY / "base")
    assert "replicas: 2" in rendered
    assert "initContainers" not in rendered
