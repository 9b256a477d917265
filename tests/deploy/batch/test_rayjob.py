"""The RayJob: fields that KubeRay knows, pods that Kubernetes takes, options that the job has."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.batch.__main__ import parser
from model_store.bucket import Bucket
from service.settings import Settings, environment_name
from tests.deploy.test_dockerfile import hadolint
from tests.deploy.test_schemas import MINORS

REPOSITORY = Path(__file__).parents[3]
FOLDER = REPOSITORY / "deploy" / "batch"
JOB, POLICY = yaml.safe_load_all((FOLDER / "rayjob.yaml").read_text())
CLUSTER = JOB["spec"]["rayClusterSpec"]
HEAD, (WORKERS,) = CLUSTER["headGroupSpec"], CLUSTER["workerGroupSpecs"]
GROUPS = [pytest.param(HEAD, id="head"), pytest.param(WORKERS, id="workers")]

# Of KubeRay's API reference of ray.io/v1 (docs/reference/api.md in ray-project/kuberay).
FIELDS = {
    "RayJobSpec": {
        *("activeDeadlineSeconds", "backoffLimit", "clusterSelector", "entrypoint"),
        *("rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes", "submissionMode"),
        *("submitterConfig", "submitterPodTemplate", "suspend", "ttlSecondsAfterFinished"),
    },
    "RayClusterSpec": {
        *("autoscalerOptions", "enableInTreeAutoscaling", "headGroupSpec", "rayVersion"),
        *("suspend", "workerGroupSpecs"),
    },
    "HeadGroupSpec": {"rayStartParams", "serviceType", "template"},
    "WorkerGroupSpec": {
        *("groupName", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams", "replicas"),
        "template",
    },
}


def container(group: dict[str, Any]) -> dict[str, Any]:
    (found,) = group["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (JOB["spec"], "RayJobSpec"),
        (CLUSTER, "RayClusterSpec"),
        (HEAD, "HeadGroupSpec"),
        (WORKERS, "WorkerGroupSpec"),
    ],
)
def test_kuberay_knows_every_field(part: dict[str, Any], kind: str) -> None:
    assert JOB["apiVersion"] == "ray.io/v1"
    assert part.keys() <= FIELDS[kind]


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("group", GROUPS)
def test_pods_are_strictly_valid(group: dict[str, Any], minor: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, **group["template"]}
    kubernetes_validate.validate({**pod, "metadata": {"name": "p"}}, minor, strict=True)
    kubernetes_validate.validate(POLICY, minor, strict=True)
    assert all(isinstance(value, str) for value in group["rayStartParams"].values())


@pytest.mark.parametrize("group", GROUPS)
def test_pods_are_restricted(group: dict[str, Any]) -> None:
    pod = group["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(group)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(volume.keys() <= {"name", "emptyDir"} for volume in pod["volumes"])


@pytest.mark.parametrize("group", GROUPS)
def test_pods_run_as_the_images_user_with_known_settings(group: dict[str, Any]) -> None:
    (user,) = re.findall(r"^USER (\d+):\1$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert group["template"]["spec"]["securityContext"]["runAsUser"] == int(user)
    names = {each["name"] for each in container(group)["env"]}
    assert names <= {environment_name(field) for field in Settings.model_fields}
    mounted = {mount["mountPath"] for mount in container(group)["volumeMounts"]}
    assert mounted == {"/tmp", "/dev/shm"}


def test_the_job_takes_the_options() -> None:
    python, m, module, *arguments = shlex.split(JOB["spec"]["entrypoint"])
    assert (python, m, module) == ("python", "-m", "deploy.batch")
    options = parser().parse_args(arguments)
    for root in (options.input, options.output, options.store):
        assert Bucket(root).folder is None, "no pod shares a folder with another"
    assert options.workers == WORKERS["replicas"]
    assert options.worker_cpus == float(container(WORKERS)["resources"]["requests"]["cpu"])


def test_hadolint_finds_nothing() -> None:
    assert hadolint((FOLDER / "Dockerfile").read_text()) == []


def test_versions_agree() -> None:
    (locked,) = re.findall(
        r"^ray==(\S+)", (REPOSITORY / "locks/batch.txt").read_text(), re.MULTILINE
    )
    assert CLUSTER["rayVersion"] == locked
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for group in (HEAD, WORKERS):
        assert container(group)["image"] == f"mixer-batch:{project['version']}"


def test_the_policy_covers_the_pods_and_names_a_port_of_the_head() -> None:
    selected = POLICY["spec"]["podSelector"]["matchLabels"]
    for group in (HEAD, WORKERS):
        assert group["template"]["metadata"]["labels"] == selected
    ports = {port["name"] for port in container(HEAD)["ports"]}
    (opened,) = (rule for rule in POLICY["spec"]["ingress"] if "ports" in rule)
    assert {port["port"] for port in opened["ports"]} <= ports


def test_the_image_has_what_the_job_imports() -> None:
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    copied = {line.split()[1] for line in lines if line.startswith("COPY")}
    assert copied == {
        *("locks/batch.txt", "model_store", "service", "deploy/__init__.py", "deploy/batch"),
    }
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all(any(Path(path).is_relative_to(each) for each in kept) for path in copied)
