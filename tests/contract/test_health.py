"""`/livez`, `/readyz`, `/startupz` and `/healthz`."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.models import ServedModel
from tests.contract.asking import assert_no_leak, assert_problem
from tests.contract.conftest import PATIENT
from tests.contract.holding import eventually, gate
from tests.contract.pictures import encoded, picture
from tests.service.live import LiveServer, live_server

IMAGE = encoded(picture(), "PNG")
PROBES = ["/livez", "/readyz", "/startupz"]


@pytest.fixture(scope="module")
def broken(store: Path) -> Iterator[LiveServer]:
    """A server whose first model cannot be loaded, and whose device is watched closely."""
    with live_server(
        store=str(store),
        models=("absent", "stored"),
        buckets=(1,),
        canary_interval_ms=20,
        canary_timeout_ms=1_000,
        default_timeout_ms=PATIENT["default_timeout_ms"],
    ) as server:
        yield server


@pytest.mark.parametrize("path", PROBES)
def test_probes_answer_200_when_all_is_well(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", [*PROBES, "/healthz", "/metrics"])
def test_probes_are_never_cached(client: httpx.Client, path: str) -> None:
    """A cache that answers for a dead server hides its death."""
    assert client.get(path).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", [*PROBES, "/healthz", "/models", "/models/alpha", "/metrics", "/openapi.json", "/docs"]
)
def test_head_is_get_without_the_content(client: httpx.Client, path: str) -> None:
    """RFC 9110 9.1: a general-purpose server must support GET and HEAD; balancers probe with it."""
    answer = client.head(path)
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["Content-Type"] == client.get(path).headers["Content-Type"]


@pytest.mark.parametrize("path", [*PROBES, "/healthz"])
def test_probes_take_no_unknown_method(client: httpx.Client, path: str) -> None:
    answer = client.post(path)
    assert_problem(answer, 405, "method_not_allowed")
    assert {"GET", "HEAD"} <= set(answer.headers["Allow"].replace(" ", "").split(","))


def test_the_summary_holds_all_three(client: httpx.Client) -> None:
    summary = client.get("/healthz").json()
    assert {part: summary[part]["ok"] for part in ("live", "ready", "startup")} == {
        "live": True,
        "ready": True,
        "startup": True,
    }


def test_a_missing_model_is_named_and_the_process_lives(broken: LiveServer) -> None:
    answer = broken.client.get("/readyz")
    assert answer.status_code == 503
    assert "absent" in answer.text
    assert "stored" not in answer.text
    assert_no_leak(answer.text)
    assert broken.client.get("/startupz").status_code == 200
    summary = broken.client.get("/healthz")
    assert summary.status_code == 200
    assert summary.json()["ready"]["ok"] is False
    assert summary.json()["startup"]["ok"] is True


def test_a_missing_model_is_not_ready_and_the_others_serve(broken: LiveServer) -> None:
    def classify(**params: str) -> httpx.Response:
        return broken.client.post("/classify", content=IMAGE, params=params)

    assert_problem(classify(model="absent"), 503, "not_ready")
    assert_problem(classify(), 503, "not_ready")  # it is the default
    assert_problem(classify(model="other"), 404, "model_not_found")
    assert classify(model="stored").status_code == 200
    assert "absent" in broken.client.get("/models").text


def test_a_missing_model_shows_in_the_metrics(broken: LiveServer) -> None:
    assert "\nmixer_ready 0.0\n" in broken.client.get("/metrics").text


def test_a_silent_device_fails_liveness_until_it_answers(broken: LiveServer) -> None:
    with gate(broken):
        eventually(lambda: broken.client.get("/livez").status_code == 503)
        answer = broken.client.get("/livez")
        assert_no_leak(answer.text)
        assert broken.client.get("/healthz").json()["live"]["ok"] is False
        assert "\nmixer_device_alive 0.0\n" in broken.client.get("/metrics").text
    eventually(lambda: broken.client.get("/livez").status_code == 200)
    assert "\nmixer_device_alive 1.0\n" in broken.client.get("/metrics").text


def test_a_draining_server_refuses_new_work(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"models": ("stored",), "buckets": (1,), **PATIENT}
    with live_server(store=str(store), **settings) as server:
        catalog = server.engine.catalog
        find, draining = catalog.find, []

        def find_and_drain(reference: str | None) -> ServedModel:
            draining.append(asyncio.ensure_future(catalog.drain()))
            return find(reference)

        monkeypatch.setattr(catalog, "find", find_and_drain)
        server.client.post("/classify", content=IMAGE)  # with it the drain begins
        answer = server.client.post("/classify", content=IMAGE)
        assert_problem(answer, 503, "draining")


def test_draining_fails_readiness_alone(tight: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tight.engine.health, "draining", True)
    answer = tight.client.get("/readyz")
    assert answer.status_code == 503
    assert "draining" in answer.text
    assert tight.client.get("/livez").status_code == 200
    assert tight.client.get("/startupz").status_code == 200
    assert "\nmixer_ready 0.0\n" in tight.client.get("/metrics").text


def test_overload_fails_no_probe(tight: LiveServer) -> None:
    def classify() -> httpx.Response:
        return tight.client.post("/classify", content=IMAGE)

    with ThreadPoolExecutor(8) as pool, gate(tight) as held:
        waiting = [pool.submit(classify) for _ in range(8)]
        eventually(lambda: sum(each.done() for each in waiting) == 4 and bool(probe(tight)))
        assert [tight.client.get(path).status_code for path in PROBES] == [200, 200, 200]
        held.open()
    assert sorted(each.result().status_code for each in waiting) == [200] * 4 + [429] * 4


def probe(live: LiveServer) -> httpx.Response:
    return live.client.get("/livez")


def test_while_models_load_the_probes_tell_apart(
    tight: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before start-up has ended: live, not started, not ready, and requests are told so."""
    client, engine = tight.client, tight.engine
    monkeypatch.setattr(engine.catalog, "served", [])
    monkeypatch.setattr(engine.catalog, "missing", {"alpha": "loading"})
    engine.health.started.clear()
    try:
        assert [client.get(path).status_code for path in PROBES] == [200, 503, 503]
        assert "alpha" in client.get("/readyz").text
        assert_problem(client.post("/classify", content=IMAGE), 503, "not_ready")
        assert client.get("/models").status_code == 200
    finally:
        engine.health.started.set()
