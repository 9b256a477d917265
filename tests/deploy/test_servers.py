"""How the manifests use the service: its settings, probes, shutdown, devices and volumes."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jaxlib import xla_client

from model_store import cli
from service.routes import common
from service.settings import Settings, environment_name, load_settings
from tests.deploy.rendered import (
    DEPLOY,
    DEVICES,
    OVERLAYS,
    containers,
    environment,
    objects,
    one,
    pods,
    server,
)

SERVERS = [
    pytest.param(pod, server(pod), id=f"{render}-{name}")
    for render in (*OVERLAYS, "kserve")
    for name, pod in pods(render)
]
SERVICES = {"mixer": "http", "mixer-metrics": "admin"}  # and the port of each
DEPLOYED = [*OVERLAYS, "kserve"]
PROBES = {getattr(route, "path", None) for route in common.routes}


def pod_of(render: str) -> dict[str, Any]:
    """Return the pod that serves; of KServe's, the predictor's own fields win."""
    if render == "kserve":
        return {**pods(render)[0][1], **one(render, "InferenceService")["spec"]["predictor"]}
    pod: dict[str, Any] = one(render, "Deployment")["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(("pod", "container"), SERVERS)
def test_the_settings_are_the_services(
    pod: dict[str, Any], container: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {environment_name(field) for field in Settings.model_fields}
    given = {each["name"] for each in container["env"]}
    assert {name for name in given if name.startswith("MIXER_")} <= known
    for name, value in environment(container).items():
        monkeypatch.setenv(name, value)
    settings = load_settings({})
    assert settings.host == settings.admin_host == "0.0.0.0"
    client_port, admin_port = container["ports"]
    assert settings.port == client_port["containerPort"]
    assert settings.admin_port == admin_port["containerPort"]
    assert admin_port["name"] == "admin"


@pytest.mark.parametrize(("pod", "container"), SERVERS)
def test_the_probes_ask_what_the_service_answers(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    """On the admin port, which opens first and closes last."""
    admin = int(environment(container)["MIXER_ADMIN_PORT"])
    probes = [container[key] for key in container if key.endswith("Probe")]
    assert probes
    for probe in probes:
        assert probe["httpGet"]["path"] in PROBES
        assert probe["httpGet"]["port"] in {"admin", admin}


@pytest.mark.parametrize("render", DEPLOYED)
def test_each_probe_has_its_own_question(render: str) -> None:
    container = server(pods(render)[0][1])
    asked = {key: container[key]["httpGet"]["path"] for key in container if key.endswith("Probe")}
    assert asked == {
        "startupProbe": "/startupz",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600


@pytest.mark.parametrize("render", DEPLOYED)
def test_the_grace_period_holds_the_longest_shutdown(render: str) -> None:
    """The server waits for connections, then for the batcher: each at most the drain timeout."""
    pod, container = pod_of(render), server(pods(render)[0][1])
    given = environment(container)
    before_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    delay_s, drain_s = (
        int(given[name]) / 1e3 for name in ("MIXER_DRAIN_DELAY_MS", "MIXER_DRAIN_TIMEOUT_MS")
    )
    assert before_s > 0
    assert delay_s > 0
    assert pod["terminationGracePeriodSeconds"] >= before_s + delay_s + 2 * drain_s
    assert drain_s * 1e3 >= Settings.model_fields["default_timeout_ms"].default


@pytest.mark.parametrize("render", DEPLOYED)
def test_a_rollout_takes_no_pod_before_its_successor_is_ready(render: str) -> None:
    if render == "kserve":
        rollout = one(render, "InferenceService")["spec"]["predictor"]["deploymentStrategy"]
    else:
        rollout = one(render, "Deployment")["spec"]["strategy"]
    assert rollout["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


@pytest.mark.parametrize("render", OVERLAYS)
def test_a_rollout_is_given_up_only_after_the_start_up_budget(render: str) -> None:
    deployment = one(render, "Deployment")["spec"]
    startup = server(deployment["template"]["spec"])["startupProbe"]
    budget_s = startup["periodSeconds"] * startup["failureThreshold"]
    assert deployment["progressDeadlineSeconds"] > budget_s


@pytest.mark.parametrize("render", DEPLOYED)
def test_no_service_link_becomes_a_setting(render: str) -> None:
    """A Service named mixer would set MIXER_PORT=tcp://... in every pod of its namespace."""
    assert pod_of(render)["enableServiceLinks"] is False


@pytest.mark.parametrize("render", OVERLAYS)
def test_the_autoscaler_alone_counts_the_replicas(render: str) -> None:
    assert "replicas" not in one(render, "Deployment")["spec"]


@pytest.mark.parametrize("render", OVERLAYS)
def test_services_and_budget_select_the_servers_alone(render: str) -> None:
    labels = {
        each["kind"]: each["spec"]["template"]["metadata"]["labels"].items()
        for each in objects(render)
        if each["kind"] in {"Deployment", "Job"}
    }
    selectors = (
        *(one(render, "Service", name)["spec"]["selector"] for name in SERVICES),
        one(render, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(render, "Deployment")["spec"]["selector"]["matchLabels"],
    )
    for selector in selectors:
        selected = [kind for kind, carried in labels.items() if selector.items() <= carried]
        assert selected == ["Deployment"]


@pytest.mark.parametrize("render", OVERLAYS)
def test_the_clients_service_has_no_admin_port(render: str) -> None:
    names = {port["name"] for port in server(pods(render)[0][1])["ports"]}
    for name, target in SERVICES.items():
        (port,) = one(render, "Service", name)["spec"]["ports"]
        assert port["name"] == port["targetPort"] == target
        assert target in names
    scraped = one(render, "Service", "mixer-metrics")["spec"]
    assert scraped["clusterIP"] == "None"  # scrapes are of pods, not of one of them


def test_the_keys_are_followed_where_the_component_mounts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Secret mounted by subPath is never renewed; a folder is."""
    patch = yaml.safe_load((DEPLOY / "components/api-keys/deployment.yaml").read_text())
    pod = patch["spec"]["template"]["spec"]
    (container,), (volume,) = pod["containers"], pod["volumes"]
    (mount,) = container["volumeMounts"]
    assert "subPath" not in mount
    assert mount["readOnly"] is True
    assert mount["name"] == volume["name"]
    for name, value in environment(container).items():
        monkeypatch.setenv(name, value)
    (item,) = volume["secret"]["items"]
    assert load_settings({}).api_keys_file == Path(mount["mountPath"], item["path"])


@pytest.mark.parametrize("render", OVERLAYS)
def test_one_process_has_one_accelerator(render: str) -> None:
    for name, pod in pods(render):
        devices = {
            container["name"]: {
                k: v for k, v in container["resources"]["limits"].items() if "/" in k
            }
            for container in containers(pod)
        }
        expected = {DEVICES[render]: "1"} if render in DEVICES else {}
        assert devices["server"] == expected, name
        assert not any(found for owner, found in devices.items() if owner != "server")


def test_the_memory_fraction_is_set_where_there_is_a_gpu() -> None:
    for render in OVERLAYS:
        for _, pod in pods(render):
            assert ("XLA_CLIENT_MEM_FRACTION" in environment(server(pod))) == (render == "gpu")


def test_jax_takes_the_memory_fraction_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment(server(pod_of("gpu")))["XLA_CLIENT_MEM_FRACTION"]
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", given)
    assert xla_client.generate_pjrt_gpu_plugin_options()["memory_fraction"] == float(given)


@pytest.mark.parametrize("render", OVERLAYS)
def test_whole_cores_are_asked_for_and_had(render: str) -> None:
    for _, pod in pods(render):
        resources = server(pod)["resources"]
        assert int(resources["limits"]["cpu"]) >= 1
        assert resources["requests"].items() <= resources["limits"].items()


@pytest.mark.parametrize("render", OVERLAYS)
def test_the_init_container_is_a_command_of_the_store(
    render: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every option is understood: the store refuses, not the usage (exit code 2)."""
    for _, pod in pods(render):
        fetch, serve = containers(pod)[0], server(pod)
        assert fetch["command"] == ["mixer", "store", "fetch"]
        *references, root, folder = fetch["args"]
        assert ",".join(references) == environment(serve)["MIXER_MODELS"]
        assert folder == f"--to={environment(serve)['MIXER_STORE']}"
        assert root.startswith("--root=s3://")
        assert cli.main(["fetch", *references, "--root=ftp://none", folder]) == 1
        assert "neither a path nor" in capsys.readouterr().err


@pytest.mark.parametrize("render", OVERLAYS)
def test_the_servers_only_read_what_others_wrote(render: str) -> None:
    for name, pod in pods(render):
        mounts = {each["name"]: each for each in server(pod)["volumeMounts"]}
        assert mounts["models"]["readOnly"] is True
        cache = mounts.get("compile-cache", {})
        assert cache.get("readOnly", False) == (bool(cache) and name.startswith("Deployment"))
        assert set(mounts) <= {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("render", ["gpu", "tpu"])
def test_what_is_compiled_for_is_what_serves(render: str) -> None:
    """Other variables, images or nodes would give programs under other names."""
    (_, deployed), (_, compiling) = sorted(pods(render))
    drain = {"MIXER_DRAIN_DELAY_MS", "MIXER_DRAIN_TIMEOUT_MS"}
    served, compiled = environment(server(deployed)), environment(server(compiling))
    assert served.keys() - drain == compiled.keys()
    assert all(compiled[name] == served[name] for name in compiled)
    for field in ("nodeSelector", "tolerations", "securityContext"):
        assert deployed.get(field) == compiling.get(field)
    for field in ("image", "resources"):
        assert server(deployed)[field] == server(compiling)[field]
    assert containers(deployed)[0] == containers(compiling)[0]
