"""Every object is of the published schema of its kind; other kinds: check_custom_resources.py."""

import itertools
import json
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.rendered import DEPLOY, RENDERS, objects, one

MINORS = ("1.30", "1.36")  # the oldest with all that is used, and a current one
CUSTOM = {
    "ClusterServingRuntime",
    "InferenceService",
    "JobSet",
    "PodMonitor",
    "PrometheusRule",
    "ScaledObject",
    "ServiceMonitor",
}
MANIFESTS = {
    **{render: objects(render) for render in RENDERS},
    "loadtest": list(yaml.safe_load_all((DEPLOY / "loadtest/locust.yaml").read_text())),
}
# Renders have objects in common: each is looked at once.
DIFFERENT = {
    json.dumps(each, sort_keys=True): (f"{name}-{each['kind']}", each)
    for name, manifests in MANIFESTS.items()
    for each in manifests
    if each["kind"] not in CUSTOM
}
CASES = [
    pytest.param(each, minor, id=f"{name}-{minor}")
    for (name, each), minor in itertools.product(DIFFERENT.values(), MINORS)
]


@pytest.mark.parametrize(("manifest", "minor"), CASES)
def test_it_is_strictly_valid(manifest: dict[str, Any], minor: str) -> None:
    kubernetes_validate.validate(manifest, minor, strict=True)


@pytest.mark.parametrize("minor", MINORS)
def test_an_unknown_field_is_found(minor: str) -> None:
    service = one("cpu", "Service", "mixer")
    service["spec"]["ports"][0]["targetport"] = 8000
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, minor, strict=True)


@pytest.mark.parametrize("render", RENDERS)
def test_no_object_is_there_twice(render: str) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in objects(render)]
    assert len(set(names)) == len(names)
