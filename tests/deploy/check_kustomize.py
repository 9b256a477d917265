"""`kubectl kustomize` makes of every overlay its golden render, byte by byte (`make deploy-test`).

After a wanted change: for o in cpu gpu tpu kserve; do kubectl kustomize deploy/overlays/$o >
deploy/rendered/$o.yaml; done; kubectl kustomize deploy/trainer > deploy/rendered/trainer.yaml
"""

import os
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.deploy.rendered import DEPLOY, OVERLAYS, RENDERS, server
from tests.deploy.test_schemas import MINORS


def with_keys(overlay: str, folder: Path) -> str:
    """Return what kubectl makes of an overlay with the component of API keys, made in a folder."""
    folder = folder.resolve()  # kustomize takes relative paths alone
    resource, component = (
        os.path.relpath(DEPLOY / part, folder)
        for part in (f"overlays/{overlay}", "components/api-keys")
    )
    kustomization = {"resources": [resource], "components": [component]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return render(folder)


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


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_component_gives_keys_to_the_servers_alone(overlay: str, tmp_path: Path) -> None:
    keyed = list(yaml.safe_load_all(with_keys(overlay, tmp_path)))
    plain = list(yaml.safe_load_all((DEPLOY / "rendered" / f"{overlay}.yaml").read_text()))
    (changed,) = (each for each in keyed if each not in plain)
    assert changed["kind"] == "Deployment"
    for minor in MINORS:
        kubernetes_validate.validate(changed, minor, strict=True)
    given = {each["name"] for each in server(changed["spec"]["template"]["spec"])["env"]}
    assert given >= {"MIXER_API_KEYS_FILE", "MIXER_ADMIN_PORT", "MIXER_MODELS"}
