"""The manifest keeps the Pod Security Standard "restricted", and its numbers agree."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.shapes import SHAPES

MANIFEST = Path(__file__).parents[2] / "deploy" / "loadtest" / "locust.yaml"
ITEMS: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFEST.read_text()))
MASTER, WORKER = (item for item in ITEMS if item["kind"] == "Job")
SERVICE = next(item for item in ITEMS if item["kind"] == "Service")


@pytest.mark.parametrize("job", [MASTER, WORKER], ids=lambda job: job["metadata"]["name"])
def test_pods_are_restricted(job: dict[str, Any]) -> None:
    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_master_waits_for_all_workers() -> None:
    (script,) = MASTER["spec"]["template"]["spec"]["containers"][0]["args"]
    workers = WORKER["spec"]["parallelism"]
    assert WORKER["spec"]["completions"] == workers
    assert f"--expect-workers {workers} " in script
    assert script.split("--shape ")[1].split()[0] in SHAPES


def test_workers_find_the_master() -> None:
    args = WORKER["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"--master-host={SERVICE['metadata']['name']}" in args
    labels = MASTER["spec"]["template"]["metadata"]["labels"]
    assert SERVICE["spec"]["selector"] == labels
    assert WORKER["spec"]["template"]["metadata"]["labels"] != labels
