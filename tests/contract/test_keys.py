"""API keys as clients meet them: who is asked for one, and what no key and a wrong one get."""

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.asking import Json, assert_problem
from tests.contract.conftest import PATIENT
from tests.contract.holding import eventually
from tests.contract.metering import Meter
from tests.contract.pictures import encoded, picture
from tests.contract.wire import connect, request
from tests.service.live import LiveServer, live_server

IMAGE = encoded(picture(), "PNG")
KEY, SPARE = "s3cret-of-ann", "qpLm/9+_spare=="
OPEN = ["/", "/docs", "/openapi.json", "/livez", "/readyz", "/startupz", "/healthz", "/metrics"]
GUARDED = [
    ("POST", "/classify"),
    ("POST", "/embed"),
    ("GET", "/embed"),
    ("GET", "/models"),
    ("HEAD", "/models"),
    ("GET", "/models/stored"),
    ("GET", "/models/unknown"),
]


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secret") / "keys"
    file.write_text(f"ann: {KEY}\n{SPARE}\n")
    return file


@pytest.fixture(scope="module")
def guarded(store: Path, keys_file: Path) -> Iterator[LiveServer]:
    settings = {"models": ("stored",), "buckets": (1,), "api_keys_file": keys_file}
    with live_server(store=str(store), **settings, **PATIENT) as server:
        yield server


def ask(server: LiveServer, method: str, path: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.client.request(method, path, content=IMAGE, headers=named)


@pytest.mark.parametrize("path", OPEN)
def test_probes_metrics_and_documentation_need_no_key(guarded: LiveServer, path: str) -> None:
    assert guarded.client.get(path).status_code in (200, 307)


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"X_API_Key": ""},
        {"Cookie": f"X-API-Key={KEY}"},
    ],
)
def test_without_a_key_the_scheme_is_told(
    guarded: LiveServer, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = ask(guarded, method, path, **headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    if method != "HEAD":
        assert KEY not in str(assert_problem(answer, 401, "unauthenticated"))


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY} {SPARE}"},
        {"Authorization": "Bearer ann"},
        {"Authorization": f"Bearer ann: {KEY}"},
        {"X_API_Key": "wrong"},
        {"X_API_Key": f"Bearer {KEY}"},
    ],
)
def test_a_wrong_key_is_forbidden(
    guarded: LiveServer, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = ask(guarded, method, path, **headers)
    assert answer.status_code == 403
    if method != "HEAD":
        assert KEY[:-1] not in str(assert_problem(answer, 403, "forbidden"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer {SPARE}"},
        {"X_API_Key": KEY},
        {"X_API_Key": SPARE, "Authorization": "Basic abc"},
    ],
)
def test_a_right_key_opens_every_endpoint(guarded: LiveServer, headers: dict[str, str]) -> None:
    statuses = [ask(guarded, *each, **headers).status_code for each in GUARDED]
    assert statuses == [200, 200, 200, 200, 200, 200, 404]


@pytest.mark.parametrize("query", ["?top_k=0", "?model=unknown", "?nonsense=1"])
def test_without_a_key_nothing_else_of_a_request_is_judged(guarded: LiveServer, query: str) -> None:
    assert ask(guarded, "POST", f"/classify{query}").status_code == 401
    assert ask(guarded, "POST", f"/classify{query}", X_API_Key="wrong").status_code == 403


def test_what_does_not_exist_needs_no_key(guarded: LiveServer) -> None:
    assert_problem(ask(guarded, "GET", "/nowhere"), 404, "not_found")
    assert_problem(ask(guarded, "DELETE", "/classify"), 405, "method_not_allowed")


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("wrong", 403)])
def test_the_refusal_does_not_wait_for_the_body(
    guarded: LiveServer, key: str | None, status: int
) -> None:
    """Of a body that is announced and never sent."""
    headers = {"Content-Length": "1000000"} | ({"X-API-Key": key} if key else {})
    with connect(guarded.client) as wire:
        wire.send(request("POST", "/classify", b"", **headers))
        reply = wire.reply()
    assert reply is not None
    assert reply.status == status


def test_refusals_are_counted_by_endpoint_and_no_key_is_logged(
    guarded: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    meter = Meter(guarded.client)
    with caplog.at_level(logging.DEBUG):
        ask(guarded, "POST", "/classify")
        ask(guarded, "POST", "/classify", X_API_Key="wrong-one")
        ask(guarded, "POST", "/classify", Authorization=f"Bearer {KEY}")
        ask(guarded, "GET", "/models", X_API_Key=SPARE)
        guarded.client.get("/livez")  # when it is answered, all before it on the connection is told
    told = [record.getMessage() for record in caplog.records if record.name == "mixer.request"][:4]
    assert [line.partition(" key=")[2] for line in told] == ["", "", "ann", "unnamed"]
    assert not any(key in caplog.text for key in (KEY, SPARE, "wrong-one"))
    for code in ("401", "403", "200"):
        assert meter.moved("mixer_requests_total", endpoint="/classify", code=code) == 1
    assert meter.moved("mixer_rejected_total") == 0


def test_the_documentation_says_where_a_key_is_needed(guarded: LiveServer) -> None:
    """A new endpoint is guarded, or listed above as open."""
    document: Json = guarded.client.get("/openapi.json").json()
    schemes: Json = document["components"]["securitySchemes"]
    forms = [(each["type"], each.get("scheme"), each.get("name")) for each in schemes.values()]
    assert forms == [("http", "bearer", None), ("apiKey", None, "X-API-Key")]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            needed = [name for each in operation.get("security", []) for name in each]
            assert needed == ([] if path in OPEN else list(schemes)), path
            assert {"401", "403"} <= operation["responses"].keys() or path in OPEN, path


def test_a_server_without_keys_documents_none(client: httpx.Client) -> None:
    document: Json = client.get("/openapi.json").json()
    assert "securitySchemes" not in document["components"]
    assert client.get("/models", headers={"X-API-Key": "any"}).status_code == 200


def test_keys_are_changed_without_a_restart(guarded: LiveServer, keys_file: Path) -> None:
    def status(key: str) -> int:
        return ask(guarded, "GET", "/models", Authorization=f"Bearer {key}").status_code

    before = keys_file.read_text()
    assert [status(KEY), status("new")] == [200, 403]
    try:
        swap(keys_file, "new\n")
        eventually(lambda: status("new") == 200)
        assert status(KEY) == 403
    finally:
        swap(keys_file, before)
    eventually(lambda: status(KEY) == 200)
    assert status("new") == 403


def swap(file: Path, text: str) -> None:
    new = file.with_name("new")
    new.write_text(text)
    new.rename(file)
