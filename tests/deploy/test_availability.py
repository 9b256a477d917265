"""What keeps a service up while nodes go: a budget, and servers on different nodes."""

from typing import Any

import pytest

from tests.deploy.rendered import OVERLAYS, one

# KServe puts this label on the predictor's pods.
KSERVE = {"serving.kserve.io/inferenceservice": "mixer"}
DEPLOYED = [*OVERLAYS, "kserve"]


def serving(render: str) -> tuple[dict[str, str], dict[str, Any], int]:
    """Return the labels of the pods that serve, their spec, and how few there may be."""
    if render == "kserve":
        service = one(render, "InferenceService")
        assert service["metadata"]["name"] == KSERVE["serving.kserve.io/inferenceservice"]
        predictor = service["spec"]["predictor"]
        return KSERVE, predictor, predictor["minReplicas"]
    template = one(render, "Deployment")["spec"]["template"]
    return template["metadata"]["labels"], template["spec"], least(render)


def least(render: str) -> int:
    """Return the fewest replicas that the autoscaler leaves."""
    if render == "cpu":
        return int(one(render, "HorizontalPodAutoscaler")["spec"]["minReplicas"])
    return int(one(render, "ScaledObject")["spec"]["minReplicaCount"])


@pytest.mark.parametrize("render", DEPLOYED)
def test_a_drained_node_takes_one_server_and_leaves_one(render: str) -> None:
    budget = one(render, "PodDisruptionBudget")["spec"]
    labels, _, fewest = serving(render)
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    assert 1 <= budget["maxUnavailable"] < fewest
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("render", DEPLOYED)
def test_servers_are_spread_over_nodes_and_zones(render: str) -> None:
    labels, pod, _ = serving(render)
    spread = {each["topologyKey"]: each for each in pod["topologySpreadConstraints"]}
    assert spread.keys() == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    for each in spread.values():
        assert each["labelSelector"]["matchLabels"].items() <= labels.items()
        assert each["maxSkew"] == 1
        # Servers of the rollout's other generation would leave no balance behind.
        assert each["matchLabelKeys"] == ["pod-template-hash"]
