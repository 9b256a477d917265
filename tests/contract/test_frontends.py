"""Behind several front ends every answer is the one that a single process gives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.contract.asking import NPY, RAW, multipart
from tests.contract.conftest import ODD, PATIENT
from tests.contract.holding import eventually
from tests.contract.metering import families
from tests.contract.pictures import base64_of, base64url_of, encoded, picture
from tests.service.live import server_process

ONE, OTHER = encoded(picture(1, (40, 31)), "JPEG"), encoded(picture(2, (23, 50)), "PNG")


@pytest.fixture(scope="module")
def behind(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Two front ends before the models of `live`."""
    given = {
        "store": store,
        "models": f"alpha,alpha@1,many,{ODD}",
        "runtime": "xla",
        "buckets": "1,4",
        "frontends": 2,
    }
    log = tmp_path_factory.mktemp("frontends") / "log"
    with (
        server_process(log, **given, **PATIENT) as (_, url),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/classify", {"content": ONE}),
    ("POST", "/classify?model=many&top_k=7", {"content": OTHER}),
    ("POST", "/classify?model=alpha@1", {"files": multipart(ONE, OTHER, b"broken", ONE)}),
    ("POST", "/classify", {"json": {"images": [base64_of(ONE), base64_of(OTHER)]}}),
    ("POST", "/embed", {"content": ONE}),
    ("POST", "/embed?normalize=true&model=many@blue", {"files": multipart(ONE, OTHER)}),
    ("GET", f"/embed?image={base64url_of(ONE)}", {}),
    ("POST", "/classify", {"content": b""}),
    ("POST", "/classify", {"content": b"II*\0 a TIFF"}),
    ("POST", "/classify?model=none", {"content": ONE}),
    ("POST", "/classify?top_k=99", {"content": ONE}),
    ("POST", "/classify?top_k=a", {"content": ONE}),
    ("POST", "/classify", {"content": ONE, "headers": {"X-Request-Timeout-Ms": "0"}}),
    ("GET", "/classify", {}),
    ("GET", "/nowhere", {}),
    ("GET", "/models/many", {}),
    ("GET", "/healthz", {}),
    ("GET", "/readyz", {}),
    ("GET", "/openapi.json", {}),
]


@pytest.mark.parametrize(("method", "path", "sent"), ASKED)
def test_the_answer_is_the_same(
    method: str, path: str, sent: dict[str, Any], client: httpx.Client, behind: httpx.Client
) -> None:
    alone, shared = (each.request(method, path, **sent) for each in (client, behind))
    assert shared.status_code == alone.status_code
    assert shared.headers.keys() == alone.headers.keys()
    assert_alike(shared.json(), alone.json())


def assert_alike(shared: object, alone: object) -> None:
    """Compare documents: numbers nearly, what was measured or drawn at random not at all."""
    assert type(shared) is type(alone)
    if isinstance(shared, dict) and isinstance(alone, dict):
        assert shared.keys() == alone.keys()
        for key in shared.keys() - {"request_id", "latency_ms"}:
            assert_alike(shared[key], alone[key])
    elif isinstance(shared, list) and isinstance(alone, list):
        assert len(shared) == len(alone)
        for ours, theirs in zip(shared, alone, strict=True):
            assert_alike(ours, theirs)
    elif isinstance(shared, float):
        assert shared == pytest.approx(alone, abs=1e-5)
    else:
        assert shared == alone


@pytest.mark.parametrize("headers", [RAW, NPY])
def test_binary_embeddings_are_the_same(
    headers: dict[str, str], client: httpx.Client, behind: httpx.Client
) -> None:
    alone, shared = (c.post("/embed", content=ONE, headers=headers) for c in (client, behind))
    assert shared.headers["ETag"] == alone.headers["ETag"]
    assert len(shared.content) == len(alone.content)
    ours, theirs = (np.frombuffer(answer.content[-32:], "<f4") for answer in (shared, alone))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_same_metrics_are_shown(client: httpx.Client, behind: httpx.Client) -> None:
    for each in (client, behind):
        assert each.post("/classify", content=ONE).status_code == 200
    alone, shared = (
        # When a series was made is shown once there is one, of refusals only after the first.
        {name: f.type for name, f in families(each).items() if not name.endswith("_created")}
        for each in (client, behind)
    )
    assert shared == alone


def test_the_stages_of_an_answer_are_told(behind: httpx.Client) -> None:
    timing = behind.post("/classify", content=ONE).headers["Server-Timing"]
    for stage in ("decode", "queue", "device", "total", "batch"):
        assert f"{stage};d" in timing


def test_whichever_front_end_answers_all_is_counted(behind: httpx.Client) -> None:
    """Each over a connection of its own, so that both take some.

    With an answer that no other test asks for: a front end tells of one after it has given it, so
    that the count of the newest may come behind a question to the other one.
    """

    def counted() -> float:
        for sample in families(behind)["mixer_requests"].samples:
            if sample.labels == {"endpoint": "/embed", "code": "304"}:
                return sample.value
        return 0.0

    known = {"If-None-Match": behind.post("/embed", content=OTHER).headers["ETag"]}
    assert counted() == 0
    for _ in range(30):
        answer = httpx.post(behind.base_url.join("/embed"), content=OTHER, headers=known)
        assert answer.status_code == 304
    eventually(lambda: counted() >= 30)
    assert counted() == 30
