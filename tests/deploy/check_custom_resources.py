"""The operators' kinds are of their published types (`make deploy-test`).

ServiceMonitor and the like, and ScaledObject: TypeScript's compiler refuses what the types of
@kubernetes-models do not know, and their validators what the CRDs' rules forbid. KServe's and
JobSet's: the models of `kserve` and `kubeflow-trainer-api`, generated from the CRDs. The pods in
them are checked as pods, strictly.
"""

import ast
import copy
import functools
import importlib.util
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet

from tests.deploy.rendered import RENDERS, Object, objects, one
from tests.deploy.test_schemas import CUSTOM, MINORS

NODE = Path(os.environ["DEPLOY_TOOLS"]) / "node"
MODULES = {
    "PodMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
    "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1",
    "ServiceMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
}
TYPESCRIPT = [
    pytest.param(each, id=f"{overlay}-{each['kind']}")
    for overlay in RENDERS
    for each in objects(overlay)
    if each["kind"] in MODULES
]


def test_every_custom_kind_is_checked_here() -> None:
    assert {*MODULES, "ClusterServingRuntime", "InferenceService", "JobSet"} == CUSTOM


def typescript_errors(manifest: Object, folder: Path) -> str:
    """Return what compiler and validator say of the object; nothing if all is well."""
    kind = manifest["kind"]
    module = f"{MODULES[kind]}/{kind}"
    source = folder / "check.mts"
    source.write_text(
        f'import {{ {kind}, I{kind} }} from "{module}";\n'
        f"const manifest: I{kind} = {json.dumps(manifest)};\n"
        f"new {kind}(manifest).validate();\n"
    )
    (folder / "node_modules").symlink_to(NODE / "node_modules")
    compiler = NODE / "node_modules" / ".bin" / "tsc"
    compiled = subprocess.run(
        [compiler, "--strict", "--skipLibCheck", "--module", "nodenext", source],
        capture_output=True,
        text=True,
        check=False,
    )
    if compiled.returncode:
        return compiled.stdout
    command = ["node", str(source.with_suffix(".mjs"))]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("manifest", TYPESCRIPT)
def test_it_is_of_the_published_type(manifest: Object, tmp_path: Path) -> None:
    assert typescript_errors(manifest, tmp_path) == ""


def test_unknown_fields_and_forbidden_values_are_found(tmp_path: Path) -> None:
    unknown, forbidden = one("gpu", "ScaledObject"), one("gpu", "ScaledObject")
    unknown["spec"]["minReplicas"] = 2
    forbidden["spec"]["fallback"]["behavior"] = "grow"
    for name, broken, word in (("u", unknown, "minReplicas"), ("f", forbidden, "grow")):
        (tmp_path / name).mkdir()
        assert word in typescript_errors(broken, tmp_path / name)


def unknown_of_jobset(manifest: Object) -> bool:
    """Say whether the object has a field that the published model does not know."""
    return bool(JobsetV1alpha2JobSet.from_dict(copy.deepcopy(manifest)).to_dict() != manifest)


@pytest.mark.parametrize("minor", MINORS)
def test_the_jobset_is_of_the_published_type(minor: str) -> None:
    jobset = one("trainer", "JobSet")
    for job in jobset["spec"]["replicatedJobs"]:
        inside = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["name"]}}
        inside["spec"] = job["template"].pop("spec")
        kubernetes_validate.validate(inside, minor, strict=True)
        job["template"]["spec"] = {"template": {"spec": {"containers": []}}}
    assert not unknown_of_jobset(jobset)
    jobset["spec"]["network"]["enableDnsHostnames"] = True
    assert unknown_of_jobset(jobset)


class KServeModel:
    """One class of `kserve.models`, read without its import, which needs the whole SDK."""

    def __init__(self, name: str) -> None:
        spec = importlib.util.find_spec("kserve")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        folder = Path(spec.submodule_search_locations[0]) / "models"
        words = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
        tree = ast.parse((folder / f"{words}.py").read_text())
        tables = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Dict)
        }
        keys = tables["attribute_map"]
        self.types = {keys[name]: kind for name, kind in tables["openapi_types"].items()}


@functools.cache
def kserve_model(name: str) -> KServeModel:
    return KServeModel(name)


def unknown_fields(part: Any, kind: str, path: str = "") -> list[str]:
    """Return the paths of the fields that KServe's published types do not know."""
    if listed := re.fullmatch(r"list\[(.*)\]", kind):
        return [
            p for i, each in enumerate(part) for p in unknown_fields(each, listed[1], f"{path}/{i}")
        ]
    if not re.match(r"V1(alpha|beta)\d", kind) or kind == "V1beta1MetricQuantity":
        return []  # a plain value, or Kubernetes' own, which is checked as a pod
    types = kserve_model(kind).types
    return [
        found
        for name, value in part.items()
        for found in (
            unknown_fields(value, types[name], f"{path}/{name}")
            if name in types
            else [f"{path}/{name}"]
        )
    ]


@pytest.mark.parametrize("kind", ["ClusterServingRuntime", "InferenceService"])
def test_kserves_kinds_are_of_the_published_type(kind: str) -> None:
    manifest = one("kserve", kind)
    model = "V1alpha1ClusterServingRuntime" if kind.startswith("C") else "V1beta1InferenceService"
    assert unknown_fields(manifest, model) == []
    manifest["spec"]["unknown"] = 1
    assert unknown_fields(manifest, model) == ["/spec/unknown"]


@pytest.mark.parametrize("minor", MINORS)
def test_kserves_pods_are_pods(minor: str) -> None:
    runtime = one("kserve", "ClusterServingRuntime")["spec"]
    predictor = one("kserve", "InferenceService")["spec"]["predictor"]
    (container,) = runtime["containers"]
    container["env"] += predictor.pop("model")["env"]
    own = {"minReplicas", "maxReplicas", "autoScaling", "deploymentStrategy"}
    fields = {name: value for name, value in predictor.items() if name not in own}
    pod = {"containers": runtime["containers"], "volumes": runtime["volumes"], **fields}
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod},
        minor,
        strict=True,
    )
