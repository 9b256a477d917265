"""The admin port: what has moved there, the look at the store, and that it closes last."""

import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from model_store.store import ModelStore
from service.runtimes.xla import XlaProgram
from tests.contract.asking import Json, assert_problem
from tests.contract.conftest import PATIENT
from tests.contract.holding import TIMEOUT_S, eventually, gate
from tests.contract.pictures import encoded, picture
from tests.service.live import LiveServer, live_server, server_process
from tests.service.watching import misremembered, version

IMAGE = encoded(picture(), "PNG")
PROBES = ["/livez", "/readyz", "/startupz", "/healthz"]
SETTINGS: dict[str, Any] = {"runtime": "xla", "buckets": (1,), "store_poll_ms": 0, "admin_port": 0}


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(str(tmp_path / "store"))
    store.publish("one", version(1))
    return store


@pytest.fixture
def live(store: ModelStore, tmp_path: Path) -> Iterator[LiveServer]:
    keys = tmp_path / "keys"
    keys.write_text("the-key")
    settings = {"store": store.root, "models": ("one",), "api_keys_file": keys}
    with live_server(**settings, **SETTINGS, **PATIENT) as server:
        server.client.headers["X-API-Key"] = "the-key"
        yield server


@pytest.fixture
def admin(live: LiveServer) -> Iterator[httpx.Client]:
    with live.admin_client() as client:
        yield client


def test_each_endpoint_is_where_it_belongs(live: LiveServer, admin: httpx.Client) -> None:
    for path in [*PROBES, "/docs", "/openapi.json"]:
        assert [client.get(path).status_code for client in (live.client, admin)] == [200, 200]
    assert_problem(live.client.get("/metrics"), 404, "not_found")
    assert_problem(live.client.post("/admin/reload"), 404, "not_found")
    for path in ("/classify", "/embed", "/models"):
        assert_problem(admin.post(path, content=IMAGE), 404, "not_found")
    assert live.client.post("/classify", content=IMAGE).status_code == 200
    text = admin.get("/metrics").text
    assert 'mixer_requests_total{code="200",endpoint="/classify"} 1.0' in text
    assert 'mixer_requests_total{code="200",endpoint="/readyz"} 2.0' in text  # on both ports
    refused = admin.get("/admin/reload")
    assert_problem(refused, 405, "method_not_allowed")
    assert refused.headers["Allow"] == "POST"
    assert "Date" in refused.headers


def test_the_documentation_of_each_port_is_its_own(live: LiveServer, admin: httpx.Client) -> None:
    public, private = (c.get("/openapi.json").json()["paths"].keys() for c in (live.client, admin))
    assert public & {"/metrics", "/admin/reload"} == set()
    assert private == {*PROBES, "/metrics", "/admin/reload"}


def test_a_reload_tells_what_has_moved(
    store: ModelStore, live: LiveServer, admin: httpx.Client
) -> None:
    nothing: Json = {"moved": {}, "missing": {}, "stale": {}}
    assert admin.post("/admin/reload").json() == nothing
    store.publish("one", version(2))
    moved = {"one": {"before": "one@1", "after": "one@2"}}
    assert admin.post("/admin/reload").json() == nothing | {"moved": moved}
    assert live.client.post("/classify", content=IMAGE).json()["version"] == "2"
    store.publish("one", misremembered(3))
    answer = admin.post("/admin/reload").json()
    assert answer["moved"] == {}
    assert "one@3" in answer["stale"]["one"]
    assert live.client.post("/classify", content=IMAGE).json()["version"] == "2"


def test_a_bug_in_a_reload_is_internal(
    live: LiveServer, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def poll() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(live.engine.watcher, "poll", poll)
    assert_problem(admin.post("/admin/reload"), 500, "internal")


def test_a_reload_ends_with_the_server_and_the_public_port_serves_meanwhile(
    store: ModelStore, live: LiveServer, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def compile_later(program: XlaProgram, bucket: int) -> None:
        begun.set()
        assert go_on.wait(TIMEOUT_S)

    monkeypatch.setattr(XlaProgram, "compile", compile_later)
    store.publish("one", version(2))
    with ThreadPoolExecutor(2) as pool:
        try:
            asked = [pool.submit(admin.post, "/admin/reload") for _ in range(2)]
            assert begun.wait(TIMEOUT_S)
            assert live.client.post("/classify", content=IMAGE).json()["version"] == "1"
            live.engine.health.draining = True
            assert_problem(admin.post("/admin/reload"), 503, "draining")
            live.server.should_exit = True
            for each in asked:
                assert_problem(each.result(TIMEOUT_S), 503, "draining")
        finally:
            go_on.set()


def test_the_admin_port_answers_until_the_last_request_is_answered(
    live: LiveServer, admin: httpx.Client
) -> None:
    address = live.server.address  # which it has no more once it is closed
    with ThreadPoolExecutor(1) as pool, gate(live) as held:
        waiting = pool.submit(live.client.post, "/classify", content=IMAGE)
        held.wait_entered()
        live.engine.health.draining = True
        live.server.should_exit = True
        eventually(lambda: is_closed(address))
        answer = admin.get("/readyz")
        assert (answer.status_code, answer.json()["reasons"]) == (503, {"server": "draining"})
        assert "\nmixer_ready 0.0\n" in admin.get("/metrics").text
        held.open()
        assert waiting.result().status_code == 200
    eventually(lambda: is_closed(str(admin.base_url)))


def is_closed(address: str) -> bool:
    try:
        httpx.get(address)
    except httpx.TransportError:
        return True
    return False


def test_sigterm_ends_both_ports_and_the_process_with_0(store: ModelStore, tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = {"store": store.root, "models": "one", "buckets": "1", "drain_delay_ms": 2000}
    with server_process(log, **settings, admin_port=0, runtime="xla") as (process, url):
        found = re.search(r"metrics and admin: (http://[^/]+)/docs", log.read_text())
        assert found is not None
        with httpx.Client(base_url=found.group(1), timeout=60) as admin:
            assert admin.get("/readyz").status_code == 200
            process.send_signal(signal.SIGTERM)
            while (unready := admin.get("/readyz")).status_code == 200:
                pass
            assert unready.json()["reasons"] == {"server": "draining"}
            assert httpx.post(f"{url}/classify", content=IMAGE).status_code == 200
            assert process.wait(60) == 0
    assert "Traceback" not in log.read_text()
