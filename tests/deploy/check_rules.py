"""Rules and queries, read by Prometheus itself (`make deploy-test`)."""

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from model_store.store import ModelStore
from tests.contract.holding import eventually
from tests.contract.pictures import encoded, picture
from tests.deploy.queries import MONITORING, queries, scaling_queries
from tests.models import random_checkpoint
from tests.service.live import live_server

TESTS = Path(__file__).with_name("rules.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules as a file of Prometheus' own, and their tests beside it."""
    folder = tmp_path_factory.mktemp("rules")
    spec = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text())["spec"]
    (folder / "prometheusrule.yaml").write_text(yaml.safe_dump(spec))
    (folder / TESTS.name).write_text(TESTS.read_text())
    return folder


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_well_formed(folder: Path) -> None:
    run("promtool", "check", "rules", "--lint-fatal", str(folder / "prometheusrule.yaml"))


def test_the_rules_do_what_their_tests_say(folder: Path) -> None:
    run("promtool", "test", "rules", str(folder / TESTS.name))


def test_every_alert_is_made_to_fire_by_a_test() -> None:
    rules = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text())["spec"]["groups"]
    alerts = {rule["alert"] for group in rules for rule in group["rules"] if "alert" in rule}
    fired = {
        case["alertname"]
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert fired == alerts


@pytest.mark.parametrize("case", ["idle", "starts anew"])
def test_what_autoscalers_ask_is_tested_word_for_word(case: str) -> None:
    (found,) = (
        [expectation["expr"] for expectation in test["promql_expr_test"]]
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        if test["name"].startswith("autoscalers' own queries") and case in test["name"]
    )
    for place, query_asked in scaling_queries():
        assert any(expression.startswith(query_asked) for expression in found), place


@pytest.fixture(scope="module")
def prometheus(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Prometheus with our rules, which scrapes a real service that has answered and refused."""
    store = ModelStore(str(tmp_path_factory.mktemp("store")))
    store.publish("tiny", random_checkpoint())
    models = ("tiny", "absent")
    with (
        live_server(store=store.root, models=models, buckets=(2,), admin_port=0) as server,
        server.admin_client() as admin,
    ):
        ask(server.client)
        target = admin.base_url.netloc.decode()
        port = free_port()
        with (
            process(folder, target, port),
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as it,
        ):
            eventually(lambda: scrapes(it, server.client) >= 4)
            yield it


def ask(client: httpx.Client) -> None:
    """Have one image answered, with padding, and one request refused."""
    image = encoded(picture(), "PNG")
    assert client.post("/classify", content=image).status_code == 200
    assert client.post("/classify", content=image, params={"model": "absent"}).status_code == 503


def scrapes(prometheus: httpx.Client, service: httpx.Client) -> float:
    """Go on asking the service, so that its rates are not zero; return the scrapes so far."""
    ask(service)
    if not is_ready(prometheus):
        return 0
    found = query(prometheus, "count_over_time(up[5m])")
    return max((float(each["value"][1]) for each in found), default=0)


def is_ready(prometheus: httpx.Client) -> bool:
    try:
        return prometheus.get("/-/ready").is_success
    except httpx.ConnectError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def process(folder: Path, target: str, port: int) -> "subprocess.Popen[bytes]":
    """Start Prometheus with the labels that the operator gives a target, less the dropped one."""
    labels = {"namespace": "mixer", "pod": "mixer-1", "service": "mixer", "container": "server"}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "often.yaml")],
        "scrape_configs": [
            {"job_name": "mixer", "static_configs": [{"targets": [target], "labels": labels}]}
        ],
    }
    (folder / "prometheus.yaml").write_text(json.dumps(config))
    groups = yaml.safe_load((folder / "prometheusrule.yaml").read_text())["groups"]
    often = [{key: group[key] for key in ("name", "rules")} for group in groups]
    (folder / "often.yaml").write_text(yaml.safe_dump({"groups": often}))
    options = {
        "config.file": folder / "prometheus.yaml",
        "storage.tsdb.path": folder / "data",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    command = ["prometheus", *(f"--{name}={value}" for name, value in options.items())]
    return Process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Process(subprocess.Popen[bytes]):
    """A process that ends with its block."""

    def __exit__(self, *error: Any) -> None:
        self.terminate()
        super().__exit__(*error)


def query(prometheus: httpx.Client, expression: str) -> list[dict[str, Any]]:
    answer = prometheus.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


@pytest.mark.parametrize(
    "expression", [pytest.param(expression, id=place) for place, expression in queries()]
)
def test_prometheus_understands_it(prometheus: httpx.Client, expression: str) -> None:
    query(prometheus, filled_in(expression))


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param(expression, id=place)
        for place, expression in queries()
        if place.startswith(("panel", "gpu KEDA", "kserve KEDA", "adapter"))
    ],
)
def test_panels_and_autoscalers_get_an_answer(prometheus: httpx.Client, expression: str) -> None:
    eventually(lambda: bool(query(prometheus, filled_in(expression))))


def filled_in(expression: str) -> str:
    """Do as Grafana does, and name the only pod there is."""
    filled = expression.replace("$namespace", "mixer").replace("$__rate_interval", "1m")
    return filled.replace("mixer-1|mixer-2", "mixer-1")
