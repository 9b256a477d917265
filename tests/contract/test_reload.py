"""A version that is published while the server runs, as its clients see it."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from model_store.checkpoint import Checkpoint
from model_store.store import ModelStore
from tests.contract.asking import Json, assert_no_leak
from tests.contract.conftest import PATIENT
from tests.contract.holding import eventually
from tests.contract.metering import Meter, samples
from tests.service.live import live_server, server_process
from tests.service.watching import misremembered, version

CLIENTS, ANSWERS_AFTER = 6, 10
TIMEOUT_S = 300
QUICK = {"buckets": (1, 2), "store_poll_ms": 20}


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(str(tmp_path / "store"))
    store.publish("one", version(1))
    return store


def golden_embeddings(checkpoint: Checkpoint) -> dict[bytes, tuple[float, ...]]:
    """Return each golden file with the embedding that the version's maker computed."""
    golden = checkpoint.manifest.golden
    return {checkpoint.files[each.file]: each.embedding for each in golden}


EXPECTED = {str(number): golden_embeddings(version(number)) for number in (1, 2)}
FILES = list(EXPECTED["1"])


def test_a_version_published_under_load_takes_over(store: ModelStore, tmp_path: Path) -> None:
    """Every answer is one version's, to the request's own image; the new one's are the last."""
    begun = threading.Barrier(CLIENTS + 1)

    def answers(client: httpx.Client, number: int) -> Iterator[str]:
        """Yield the version of each answer, which is checked."""
        file = FILES[number % len(FILES)]
        while True:
            answer = client.post("/embed", content=file)
            assert answer.status_code == 200, answer.text
            said: Json = answer.json()
            expected = EXPECTED[said["version"]][file]
            np.testing.assert_allclose(said["embedding"], expected, rtol=0, atol=1e-4)
            yield said["version"]

    def ask(client: httpx.Client, number: int) -> list[str]:
        give_up = time.monotonic() + TIMEOUT_S
        seen: list[str] = []
        for answered in answers(client, number):
            if not seen:
                begun.wait(TIMEOUT_S)
            seen.append(answered)
            if seen.count("2") == ANSWERS_AFTER:
                break
            assert time.monotonic() < give_up, "the new version did not come"
        return seen

    settings = {"store": store.root, "models": "one", "buckets": "1,2", "store_poll_ms": 20}
    with (
        server_process(tmp_path / "log", **settings) as (_, url),
        httpx.Client(base_url=url, timeout=TIMEOUT_S) as client,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        meter = Meter(client)
        asking = [pool.submit(ask, client, number) for number in range(CLIENTS)]
        begun.wait(TIMEOUT_S)
        store.publish("one", version(2))
        for each in asking:
            seen = each.result()
            assert seen == sorted(seen)
            assert seen[0] == "1"
        assert meter.moved("mixer_compilations_total") == 0
        assert meter.moved("mixer_reload_compilations_total") >= 2
        eventually(lambda: served_in_metrics(client) == {"2"})
    assert "Traceback" not in (tmp_path / "log").read_text()


def served_in_metrics(client: httpx.Client) -> set[str]:
    return {dict(labels)["version"] for _, labels in samples(client) if "model" in dict(labels)}


def test_a_version_that_fails_its_check_never_serves(store: ModelStore) -> None:
    with live_server(store=store.root, models=("one",), **QUICK, **PATIENT) as server:
        client = server.client
        store.publish("one", misremembered(2))
        eventually(lambda: client.get("/models").json()["stale"] != {})
        listed = client.get("/models")
        assert "one@2" in listed.json()["stale"]["one"]
        assert_no_leak(listed.text)
        assert [each["version"] for each in listed.json()["models"][0]["versions"]] == ["1"]
        assert client.get("/readyz").status_code == 200
        for model in ("one", "one@latest"):
            answer = client.post("/embed", params={"model": model}, content=FILES[0])
            assert answer.json()["version"] == "1"
        refused = client.post("/embed", params={"model": "one@2"}, content=FILES[0])
        assert refused.json()["code"] == "model_not_found"
        assert served_in_metrics(client) == {"1"}


def test_a_model_published_after_the_start_makes_the_server_ready(store: ModelStore) -> None:
    with live_server(store=store.root, models=("one", "two"), **QUICK, **PATIENT) as server:
        assert server.client.get("/readyz").status_code == 503
        store.publish("two", version(2))
        eventually(lambda: server.client.get("/readyz").status_code == 200)
        answer = server.client.post("/embed", params={"model": "two"}, content=FILES[0])
        assert answer.json()["model"] == "two"
