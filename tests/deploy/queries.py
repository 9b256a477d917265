"""Every PromQL expression of `deploy/`, with where it stands."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from tests.deploy.rendered import DEPLOY, OVERLAYS, one

MONITORING = DEPLOY / "chart" / "monitoring"


def rules() -> list[dict[str, Any]]:
    """Return every recording and alerting rule."""
    groups = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> set[str]:
    """Return the names of the series that the rules record."""
    return {rule["record"] for rule in rules() if "record" in rule}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dashboard()["panels"]
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
    return found


def queries() -> Iterator[tuple[str, str]]:
    """Give each place's name, and its expression."""
    for rule in rules():
        yield rule.get("record", rule.get("alert", "")), rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield f"panel {panel['title']} {target['refId']}", target["expr"]
    yield from scaling_queries()


def scaling_queries() -> Iterator[tuple[str, str]]:
    """Give what the autoscalers ask, each form of it once."""
    for render in OVERLAYS[1:]:
        for trigger in one(render, "ScaledObject")["spec"]["triggers"]:
            yield f"{render} KEDA {trigger['name']}", trigger["metadata"]["query"]
    for metric in one("kserve", "InferenceService")["spec"]["predictor"]["autoScaling"]["metrics"]:
        yield "kserve KEDA", metric["external"]["metric"]["query"]
    for rule in adapter_rules():
        yield f"adapter {rule['name']['as']}", adapted(rule)


def adapter_rules() -> list[dict[str, Any]]:
    path = DEPLOY / "components" / "hpa" / "adapter.yaml"
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["rules"]["custom"]
    return found


def adapted(rule: dict[str, Any]) -> str:
    """Fill a rule's template in as the adapter does for the pods of a namespace."""
    query: str = rule["metricsQuery"]
    for part, text in {
        "<<.Series>>": rule["seriesQuery"].partition("{")[0],
        "<<.LabelMatchers>>": 'namespace="mixer",pod=~"mixer-1|mixer-2"',
        "<<.GroupBy>>": "pod",
    }.items():
        query = query.replace(part, text)
    return query
