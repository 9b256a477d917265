"""The golden renders of `deploy/`: what `kubectl kustomize` makes of each overlay."""

import copy
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = ("cpu", "gpu", "tpu")  # of the base; the chart renders them too
RENDERS = (*OVERLAYS, "kserve", "trainer")
DEVICES = {"gpu": "nvidia.com/gpu", "tpu": "google.com/tpu"}

Object = dict[str, Any]
Pod = tuple[str, Object]


def objects(render: str) -> list[Object]:
    """Return every object of a golden render."""
    return copy.deepcopy(_parsed(render))


def one(render: str, kind: str, name: str | None = None) -> Object:
    """Return the only object of a kind, or of a kind and a name."""
    (found,) = (
        each
        for each in objects(render)
        if each["kind"] == kind and name in {None, each["metadata"]["name"]}
    )
    return found


def pods(render: str) -> list[Pod]:
    """Return the name and the pod spec of everything that makes pods itself."""
    return [pod for each in objects(render) for pod in _pods_of(each)]


def containers(pod: Mapping[str, Any]) -> list[Object]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def server(pod: Mapping[str, Any]) -> Object:
    """Return the container that serves."""
    (found,) = (each for each in containers(pod) if each["command"] == ["mixer", "serve"])
    return found


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that are given by value."""
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


@functools.cache
def _parsed(render: str) -> list[Object]:
    text = (DEPLOY / "rendered" / f"{render}.yaml").read_text()
    return list(yaml.load_all(text, yaml.CSafeLoader))


def _pods_of(each: Object) -> Iterator[Pod]:
    name = f"{each['kind']}/{each['metadata']['name']}"
    match each["kind"]:
        case "Deployment" | "Job":
            yield name, each["spec"]["template"]["spec"]
        case "ClusterServingRuntime":
            yield name, each["spec"]
        case "JobSet":
            for job in each["spec"]["replicatedJobs"]:
                yield name, job["template"]["spec"]["template"]["spec"]
