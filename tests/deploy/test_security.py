"""The restricted Pod Security profile, and what else an intruder must not find."""

from typing import Any

import pytest

from tests.deploy.rendered import (
    OVERLAYS,
    RENDERS,
    containers,
    environment,
    objects,
    one,
    pods,
    server,
)

PODS = [
    pytest.param(pod, id=f"{render}-{name}") for render in RENDERS for name, pod in pods(render)
]
# The volumes that the Pod Security Standards leave to the restricted profile.
VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SERVING = [*OVERLAYS, "kserve"]
PRIVATE = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"}


@pytest.mark.parametrize("pod", PODS)
def test_every_container_is_restricted(pod: dict[str, Any]) -> None:
    whole = pod.get("securityContext", {})
    for container in containers(pod):
        context = {**whole, **container["securityContext"]}
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert not any("hostPort" in port for port in container.get("ports", ()))


@pytest.mark.parametrize("pod", PODS)
def test_no_pod_shares_with_its_node(pod: dict[str, Any]) -> None:
    assert not any(name.startswith("host") for name in pod)
    kinds = {key for volume in pod.get("volumes", ()) for key in volume if key != "name"}
    assert kinds <= VOLUMES


@pytest.mark.parametrize("render", RENDERS)
def test_no_pod_has_a_token_of_the_cluster(render: str) -> None:
    made = [pod for name, pod in pods(render) if not name.startswith("ClusterServingRuntime")]
    if render == "kserve":
        made.append(one(render, "InferenceService")["spec"]["predictor"])
    assert made
    assert all(pod["automountServiceAccountToken"] is False for pod in made)


def test_the_namespace_enforces_the_profile() -> None:
    labels = one("cpu", "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("render", RENDERS)
def test_traffic_is_denied_but_for_what_is_listed(render: str) -> None:
    policy = one(render, "NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["podSelector"]["matchLabels"]
    for rule in policy["egress"]:
        assert rule["to"], "egress to anywhere"
        for peer in rule["to"]:
            if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                assert rule["ports"] == [{"port": 443, "protocol": "TCP"}]
                assert set(peer["ipBlock"]["except"]) >= PRIVATE


@pytest.mark.parametrize("render", SERVING)
def test_the_admin_port_is_open_to_prometheus_alone(render: str) -> None:
    """It takes no keys; the kubelet's probes come from the node, which no policy keeps away."""
    rules = one(render, "NetworkPolicy")["spec"]["ingress"]
    container = server(pods(render)[0][1])
    admin = int(environment(container)["MIXER_ADMIN_PORT"])
    numbers = {each["name"]: each["containerPort"] for each in container["ports"]}
    opened = [[numbers.get(each["port"], each["port"]) for each in rule["ports"]] for rule in rules]
    assert sorted(opened) == sorted([[each] for each in numbers.values()])
    (guarded,) = (rule for rule, ports in zip(rules, opened, strict=True) if admin in ports)
    (peer,) = guarded["from"]
    assert peer == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
    }


@pytest.mark.parametrize("render", ["cpu", "gpu", "tpu"])
def test_the_policy_covers_every_pod(render: str) -> None:
    selected = one(render, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items()
    templates = [
        each["spec"]["template"]
        for each in objects(render)
        if each["kind"] in {"Deployment", "Job"}
    ]
    assert all(selected <= each["metadata"]["labels"].items() for each in templates)


def test_the_trainers_policy_covers_its_pods() -> None:
    """The controller puts this label on every pod of the set."""
    selected = one("trainer", "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    name = one("trainer", "JobSet")["metadata"]["name"]
    assert selected == {"jobset.sigs.k8s.io/jobset-name": name}
