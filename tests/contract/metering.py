"""Reading `/metrics` as Prometheus does."""

from collections.abc import Iterable

import httpx
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Sample = tuple[str, frozenset[tuple[str, str]]]


def families(client: httpx.Client) -> dict[str, Metric]:
    """Return every family of the plain text, by name."""
    answer = client.get("/metrics", headers={"Accept": "text/plain"})
    assert answer.status_code == 200, answer.text
    parsed: Iterable[Metric] = text_string_to_metric_families(answer.text)
    return {family.name: family for family in parsed}


def open_families(client: httpx.Client) -> dict[str, Metric]:
    """Return every family of the OpenMetrics text, by name; its parser is strict."""
    answer = client.get("/metrics", headers={"Accept": OPENMETRICS})
    assert answer.status_code == 200, answer.text
    parsed = openmetrics.text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    return {family.name: family for family in parsed}


def samples(client: httpx.Client) -> dict[Sample, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families(client).values()
        for sample in family.samples
    }


class Meter:
    """What has moved since it was made."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.before = samples(client)

    def moved(self, name: str, **labels: str) -> float:
        """Return the sum of the increases of every sample with these labels."""
        wanted = set(labels.items())
        return sum(
            value - self.before.get((found, carried), 0)
            for (found, carried), value in samples(self.client).items()
            if found == name and wanted <= carried
        )
