"""Every query asks for series, labels and values that a real service exports."""

import re
from collections.abc import Iterator

import pytest
from prometheus_client import Metric

from model_store.store import ModelStore
from service.errors import ServiceError
from service.routes import images, listing
from tests.contract.metering import families
from tests.contract.pictures import encoded, picture
from tests.deploy.promql import Selector, read
from tests.deploy.queries import (
    adapter_rules,
    dashboard,
    panels,
    queries,
    recorded,
    rules,
    scaling_queries,
)
from tests.deploy.rendered import OVERLAYS, environment, objects, one
from tests.models import random_checkpoint
from tests.service.live import live_server

# Prometheus adds these to every series, from the ServiceMonitor's targets.
TARGET = {"namespace", "pod", "service", "job", "instance", "container"}
LABELS_OF_RECORDS = {"namespace", "pod"}
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}

Exported = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The labels of every series of a service that has answered, padded and refused."""
    store = ModelStore(str(tmp_path_factory.mktemp("store")))
    store.publish("tiny", random_checkpoint())
    with live_server(store=store.root, models=("tiny", "absent"), buckets=(2,)) as server:
        image = encoded(picture(), "PNG")
        assert server.client.post("/classify", content=image).status_code == 200
        refused = server.client.post("/classify", content=image, params={"model": "absent"})
        assert refused.status_code == 503
        return {
            name: labels
            for family in families(server.client).values()
            for name, labels in _series(family)
        }


def _series(family: Metric) -> Iterator[tuple[str, list[dict[str, str]]]]:
    for suffix in SUFFIXES[family.type]:
        name = f"{family.name}{suffix}"
        yield name, [sample.labels for sample in family.samples if sample.name == name]


QUERIES = [pytest.param(expression, id=place) for place, expression in queries()]


@pytest.mark.parametrize("expression", QUERIES)
def test_it_reads_what_is_exported_or_recorded(exported: Exported, expression: str) -> None:
    expression = expression.replace("$namespace", "mixer")
    reading = read(expression)
    assert reading.selectors
    carried: set[str] = set()
    for selector in reading.selectors:
        labels = _labels_of(selector, exported)
        carried |= labels
        assert {label for label, _, _ in selector.matchers} <= labels, selector
    assert reading.grouping <= carried


def _labels_of(selector: Selector, exported: Exported) -> set[str]:
    if selector.name in recorded():
        return LABELS_OF_RECORDS
    assert selector.name in exported, f"nothing exports {selector.name}"
    samples = exported[selector.name]
    assert samples, f"the service of this test has no {selector.name}"
    return TARGET.union(*(sample.keys() for sample in samples))


@pytest.mark.parametrize("expression", QUERIES)
def test_its_matchers_name_values_that_exist(exported: Exported, expression: str) -> None:
    routes = {getattr(route, "path", "") for route in (*images.routes, *listing.routes)}
    codes = {error.code for error in ServiceError.__subclasses__()}
    bounds = {sample["le"] for sample in exported["mixer_request_duration_seconds_bucket"]}
    allowed = {"endpoint": routes, "reason": codes, "le": bounds}
    for selector in read(expression).selectors:
        for label, operator, value in selector.matchers:
            assert operator in {"=", "=~"}
            if label in allowed:
                assert set(value.split("|")) <= allowed[label]
            if label == "code":
                assert re.fullmatch(r"[2-5](\.\.|\d\d)", value)


@pytest.mark.parametrize(
    ("render", "kind", "field"),
    [("cpu", "ServiceMonitor", "endpoints"), ("kserve", "PodMonitor", "podMetricsEndpoints")],
)
def test_the_operators_label_endpoint_is_dropped(render: str, kind: str, field: str) -> None:
    """It would rename the service's own label of that name to exported_endpoint."""
    (endpoint,) = one(render, kind)["spec"][field]
    assert {"action": "labeldrop", "regex": "endpoint"} in endpoint["relabelings"]
    assert endpoint["path"] == "/metrics"


def test_kserves_pods_are_found_once() -> None:
    """A ServiceMonitor would find them, too: KServe's Service has every port of the container."""
    assert not any(each["kind"] == "ServiceMonitor" for each in objects("kserve"))
    monitor = one("kserve", "PodMonitor")["spec"]
    policy = one("kserve", "NetworkPolicy")["spec"]
    assert monitor["selector"] == policy["podSelector"]
    (container,) = one("kserve", "ClusterServingRuntime")["spec"]["containers"]
    admin = environment(container)["MIXER_ADMIN_PORT"]
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    assert ports[monitor["podMetricsEndpoints"][0]["port"]] == admin


@pytest.mark.parametrize("render", OVERLAYS)
def test_the_monitor_finds_the_service(render: str) -> None:
    """The one for scraping alone: the selector fits both, the port's name does not."""
    monitor = one(render, "ServiceMonitor")["spec"]
    selected, port = monitor["selector"]["matchLabels"].items(), monitor["endpoints"][0]["port"]
    services = [each for each in objects(render) if each["kind"] == "Service"]
    found = [
        each["metadata"]["name"]
        for each in services
        if selected <= each["metadata"]["labels"].items()
        and port in {own["name"] for own in each["spec"]["ports"]}
    ]
    assert found == ["mixer-metrics"]


def test_autoscaling_reads_gauges_or_rates_alone() -> None:
    """A counter only rises: scaled by it, a service never shrinks."""
    for place, expression in scaling_queries():
        for selector in read(expression).selectors:
            assert selector.name in {"mixer:backlog_seconds:avg1m", "mixer:utilisation:rate2m"}, (
                place
            )
    scaling = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    assert not re.search(r"_(total|sum|count)\b(?![^\n]*\[)", scaling["mixer:utilisation:rate2m"])
    assert "_total" not in scaling["mixer:backlog_seconds:avg1m"]


def test_the_autoscaler_finds_its_metrics_in_the_adapter() -> None:
    asked = {metric["pods"]["metric"]["name"] for metric in _hpa()["spec"]["metrics"]}
    assert asked == {rule["name"]["as"] for rule in adapter_rules()}


def test_both_autoscalers_aim_at_the_same() -> None:
    hpa = [metric["pods"]["target"]["averageValue"] for metric in _hpa()["spec"]["metrics"]]
    keda = [
        each["metadata"]["threshold"] for each in one("gpu", "ScaledObject")["spec"]["triggers"]
    ]
    assert [float(value.removesuffix("m")) / 1e3 for value in hpa] == [float(v) for v in keda]


def _hpa() -> dict[str, dict[str, list[dict[str, dict[str, dict[str, str]]]]]]:
    return one("cpu", "HorizontalPodAutoscaler")


@pytest.mark.parametrize("render", ["gpu", "tpu"])
def test_keda_asks_of_its_own_namespace(render: str) -> None:
    scaled = one(render, "ScaledObject")
    for trigger in scaled["spec"]["triggers"]:
        (selector,) = read(trigger["metadata"]["query"]).selectors
        assert selector.matchers == (("namespace", "=", scaled["metadata"]["namespace"]),)


def test_every_panel_has_a_title_a_unit_and_the_chosen_source() -> None:
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= (
                read(target["expr"]).grouping | LABELS_OF_RECORDS
            )


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in panels()
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_dashboards_variables_are_the_ones_used() -> None:
    used = set(re.findall(r"\$\{?(\w+)", " ".join(expr for _, expr in queries())))
    builtin = {"__rate_interval", "labels", "value"}
    declared = {variable["name"] for variable in dashboard()["templating"]["list"]}
    assert used - builtin == declared - {"datasource"}
