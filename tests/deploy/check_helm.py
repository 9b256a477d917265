"""The chart, rendered by Helm's own library, is what kustomize renders (`make deploy-test`)."""

from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from tests.deploy.check_kustomize import with_keys
from tests.deploy.rendered import DEPLOY, OVERLAYS, Object, objects
from tests.deploy.test_schemas import CUSTOM, MINORS

CHART = DEPLOY / "chart"
NAMED = {"env", "volumes", "volumeMounts"}  # lists whose order means nothing

Key = tuple[str, str]


def render(values: Object, release: str = "mixer") -> dict[Key, Object]:
    """Return the chart's objects by kind and name."""
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        texts = chart.render(values, name=release, namespace="mixer", revision=1)
    found = [
        each
        for path, text in texts.items()
        if not path.endswith("NOTES.txt")
        for each in yaml.safe_load_all(text)
        if each
    ]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def values_of(overlay: str) -> Object:
    values: Object = yaml.safe_load((CHART / f"values-{overlay}.yaml").read_text())
    return values


def comparable(part: Any) -> Any:
    """Return the part with those lists sorted whose order means nothing."""
    if isinstance(part, list):
        return [comparable(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        key: sorted(value, key=lambda each: str(each["name"]))
        if key in NAMED
        else comparable(value)
        for key, value in part.items()
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_chart_and_overlay_are_the_same(overlay: str) -> None:
    assert_same(render(values_of(overlay)), objects(overlay))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_they_are_the_same_with_api_keys(overlay: str, tmp_path: Path) -> None:
    values = values_of(overlay) | {"apiKeys": {"secretName": "mixer-keys"}}
    assert_same(render(values), list(yaml.safe_load_all(with_keys(overlay, tmp_path))))


def assert_same(charted: dict[Key, Object], overlay: list[Object]) -> None:
    """But for the namespace, which Helm does not make, and the Job's number, the revision."""
    if job := charted.pop(("Job", "mixer-compile-1"), None):
        job["metadata"]["name"] = "mixer-compile"
        charted["Job", "mixer-compile"] = job
    overlaid = {
        (each["kind"], each["metadata"]["name"]): each
        for each in overlay
        if each["kind"] != "Namespace"
    }
    for each in overlaid.values():
        assert each["metadata"].pop("namespace") == "mixer"
    assert charted.keys() == overlaid.keys()
    for key, each in charted.items():
        assert comparable(each) == comparable(overlaid[key])


@pytest.mark.parametrize("values", [{}, *map(values_of, OVERLAYS)])
def test_helm_finds_nothing_to_criticise(values: Object) -> None:
    report = helm_python.lint(CHART, values, strict=True)
    assert not report["errors"]
    assert [m["error"] for m in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replica": 2}, "replica"),
        ({"cpu": 2}, "cpu"),
        ({"cpu": "500m"}, "cpu"),
        ({"models": []}, "models"),
        ({"models": ["Mixer"]}, "models"),
        ({"accelerator": {"kind": "gpus"}}, "kind"),
        ({"accelerator": {"tpuTopology": "2x2"}}, "tpuTopology"),
        ({"autoscaling": {"kind": "vpa"}}, "autoscaling"),
        ({"settings": {"MIXER_PORT": "1"}}, "MIXER_PORT"),
        ({"settings": {"MIXER_BUCKETS": 1}}, "MIXER_BUCKETS"),
        ({"settings": {"MIXER_ADMIN_PORT": "1"}}, "MIXER_ADMIN_PORT"),
        ({"settings": {"MIXER_API_KEYS_FILE": "/keys"}}, "MIXER_API_KEYS_FILE"),
        ({"apiKeys": {"secretName": "Mixer_Keys"}}, "secretName"),
        ({"apiKeys": {"secret": "mixer-keys"}}, "apiKeys"),
        ({"monitoring": {"namespace": ""}}, "namespace"),
        ({"store": {"root": "/models"}}, "root"),
        ({"compileCache": {"enabled": True}}, "root"),
    ],
)
def test_a_wrong_value_is_named(values: Object, named: str) -> None:
    with pytest.raises(helm_python.HelmValuesError, match=named):
        render(values)


def test_another_release_has_other_names_and_finds_itself() -> None:
    rendered = render(values_of("gpu"), release="other")
    assert all(name.startswith("other") for _, name in rendered)
    text = yaml.safe_dump_all(rendered.values())
    assert "instance: mixer" not in text
    labels = rendered["Deployment", "other"]["spec"]["template"]["metadata"]["labels"]
    for name in ("other", "other-metrics"):
        assert rendered["Service", name]["spec"]["selector"].items() <= labels.items()


@pytest.mark.parametrize("minor", MINORS)
def test_every_option_at_once_is_valid(minor: str) -> None:
    values = values_of("gpu") | {
        "settings": {"MIXER_BUCKETS": "1,2", "MIXER_LOG_LEVEL": "debug"},
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccount": {"annotations": {"example.com/role": "reader"}},
        "nodeSelector": {"disk": "ssd"},
        "apiKeys": {"secretName": "callers"},
        "monitoring": {"enabled": True, "namespace": "watchers"},
        "autoscaling": {"kind": "none"},
        "compileCache": {"enabled": True, "storageClassName": "shared"},
    }
    rendered = render(values)
    for (kind, _), each in rendered.items():
        if kind not in CUSTOM:
            kubernetes_validate.validate(each, minor, strict=True)
    deployment = rendered["Deployment", "mixer"]["spec"]
    assert deployment["replicas"] == 2
    (serving,) = deployment["template"]["spec"]["containers"]
    assert {"name": "MIXER_BUCKETS", "value": "1,2"} in serving["env"]
    assert deployment["template"]["spec"]["nodeSelector"] == {"disk": "ssd"}
    secrets = [each.get("secret", {}) for each in deployment["template"]["spec"]["volumes"]]
    assert "callers" in {each.get("secretName") for each in secrets}
    policy = yaml.safe_dump(rendered["NetworkPolicy", "mixer"])
    assert "kubernetes.io/metadata.name: watchers" in policy
    assert rendered["ServiceAccount", "mixer"]["metadata"]["annotations"]


@pytest.mark.parametrize("overlay", ["gpu", "tpu"])
def test_another_runtime_takes_the_place_of_the_accelerators(overlay: str) -> None:
    rendered = render(values_of(overlay) | {"settings": {"MIXER_RUNTIME": "auto"}})
    (serving,) = rendered["Deployment", "mixer"]["spec"]["template"]["spec"]["containers"]
    given = [each["value"] for each in serving["env"] if each["name"] == "MIXER_RUNTIME"]
    assert given == ["auto"]


def test_the_smallest_install_serves_the_embedded_model() -> None:
    rendered = render({})
    pod = rendered["Deployment", "mixer"]["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    given = {each["name"] for each in pod["containers"][0]["env"]}
    assert not given & {"MIXER_STORE", "MIXER_API_KEYS_FILE"}
    assert len(rendered["NetworkPolicy", "mixer"]["spec"]["egress"]) == 1
