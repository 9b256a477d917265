"""What is refused before the application hears of it, and what is left to the application."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from model_store.store import ModelStore
from service.intake import LONG_BYTES
from service.pipeline import Pipeline
from tests.contract import wire
from tests.contract.asking import assert_problem
from tests.contract.holding import eventually, gate, slowed
from tests.contract.metering import Meter
from tests.contract.pictures import encoded, picture
from tests.models import random_checkpoint
from tests.service.live import LiveServer, live_server

SHORT = encoded(picture(), "PNG")
IMAGE = SHORT + bytes(LONG_BYTES)  # what follows the picture is not looked at
PATIENT_MS = "60000"  # which a slowed device outlasts
LIMITS = {"max_queue_images": 2, "max_images": 2}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = ModelStore(str(tmp_path_factory.mktemp("store")))
    store.publish("tiny", random_checkpoint())
    return store.root


@pytest.fixture(scope="module")
def live(store: str) -> Iterator[LiveServer]:
    with live_server(store=store, models=("tiny",), buckets=(1,), **LIMITS) as server:
        yield server


@pytest.fixture
def passed_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Method and path of each request that is left to the application."""
    passed_on: list[str] = []
    start = HttpToolsProtocol._start_asgi_task

    def record(self: HttpToolsProtocol, cycle: RequestResponseCycle, app: Any) -> None:
        passed_on.append(f"{cycle.scope['method']} {cycle.scope['path']}")
        start(self, cycle, app)

    monkeypatch.setattr(HttpToolsProtocol, "_start_asgi_task", record)
    return passed_on


@pytest.fixture
def slow(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the device be so slow that nobody can be answered in time."""
    runner = live.engine.catalog.served[0].runner
    monkeypatch.setattr(runner, "curve", slowed(runner.curve))


def ask(live: LiveServer, path: str = "/classify", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    patience = {"X-Request-Timeout-Ms": PATIENT_MS}
    return live.client.post(path, content=IMAGE, headers=patience | named)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    "path", ["/classify", "/embed", "/classify?model=tiny@1&top_k=2", "/embed?normalize=true"]
)
def test_a_request_that_comes_too_late_anyway_never_reaches_the_application(
    live: LiveServer, passed_on: list[str], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    meter, endpoint = Meter(live.client), path.partition("?")[0]
    passed_on.clear()
    with caplog.at_level(logging.INFO, "mixer.request"):
        answer = ask(live, path, X_Request_ID="mine-7")
    assert passed_on == []
    assert_problem(answer, 503, "deadline_unreachable")
    assert answer.headers["X-Request-ID"] == "mine-7"
    assert answer.headers["Server-Timing"].startswith("total;dur=")
    assert answer.headers["Date"]
    assert f"POST {endpoint} 503" in caplog.text
    assert "id=mine-7" in caplog.text
    assert meter.moved("mixer_rejected_total", reason="deadline_unreachable") == 1
    assert meter.moved("mixer_requests_total", endpoint=endpoint, code="503") == 1
    assert meter.moved("mixer_request_duration_seconds_count", endpoint=endpoint) == 1


def test_a_full_queue_says_when_to_ask_again(live: LiveServer, passed_on: list[str]) -> None:
    batcher = live.engine.catalog.served[0].batcher
    with batcher.admit(LIMITS["max_queue_images"], None):
        refused = ask(live)
    assert passed_on == []
    assert_problem(refused, 429, "overloaded")
    assert int(refused.headers["Retry-After"]) >= 1


def test_whom_there_is_room_for_the_application_answers(
    live: LiveServer, passed_on: list[str]
) -> None:
    assert ask(live).status_code == 200
    assert passed_on == ["POST /classify"]


def test_who_is_let_in_is_not_judged_again_before_the_body(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def judge(*_: Any) -> None:
        raise AssertionError("judged twice")

    monkeypatch.setattr(Pipeline, "refuse_early", judge)
    assert ask(live).status_code == 200


LEFT_TO_THE_APPLICATION = {
    "short": ("POST", "/classify", SHORT, 503),
    "another method": ("GET", "/embed", IMAGE, 503),
    "another endpoint": ("POST", "/models", IMAGE, 405),
    "wrong parameter": ("POST", "/classify?top_k=none", IMAGE, 422),
    "parameter of another endpoint": ("POST", "/classify?normalize=true", IMAGE, 422),
    "unknown model": ("POST", "/embed?model=large", IMAGE, 404),
}


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("case", LEFT_TO_THE_APPLICATION)
def test_what_load_alone_does_not_refuse_is_left_to_the_application(
    live: LiveServer, passed_on: list[str], case: str
) -> None:
    method, path, body, status = LEFT_TO_THE_APPLICATION[case]
    headers = {"X-Request-Timeout-Ms": PATIENT_MS}
    answer = live.client.request(method, path, content=body, headers=headers)
    assert answer.status_code == status
    assert passed_on == [f"{method} {path.partition('?')[0]}"]


@pytest.mark.usefixtures("slow")
def test_a_senseless_deadline_is_told(live: LiveServer) -> None:
    assert_problem(ask(live, X_Request_Timeout_Ms="soon"), 422, "invalid_parameter")


@pytest.mark.usefixtures("slow")
def test_a_server_that_drains_asks_its_clients_to_leave(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live.engine.health, "draining", True)
    refused = ask(live)
    assert refused.status_code == 503
    assert refused.headers["Connection"] == "close"


def test_a_key_is_asked_for_before_anything_is_said_of_the_load(store: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("ann: s3cret\n")
    settings = {"models": ("tiny",), "buckets": (1,), "api_keys_file": keys}
    with live_server(store=store, **settings) as server, pytest.MonkeyPatch.context() as patch:
        runner = server.engine.catalog.served[0].runner
        patch.setattr(runner, "curve", slowed(runner.curve))
        assert_problem(ask(server), 401, "unauthenticated")
        assert_problem(ask(server, X_API_Key="s3cret"), 503, "deadline_unreachable")


def long_request(**headers: str) -> bytes:
    return wire.request("POST", "/classify", IMAGE, X_Request_Timeout_Ms=PATIENT_MS, **headers)


@pytest.mark.usefixtures("slow")
def test_the_rest_of_a_refused_body_is_no_request(live: LiveServer) -> None:
    """The answer comes before the body; what comes then is passed over, up to the next request."""
    smuggled = wire.request("GET", "/models/smuggled")
    request = long_request().removesuffix(bytes(len(smuggled))) + smuggled
    head, body = request[: -len(IMAGE)], request[-len(IMAGE) :]
    with wire.connect(live.client) as connection:
        for _ in range(2):
            connection.send(head)
            refused = connection.reply()
            assert refused is not None
            assert refused.status == 503
            connection.send(body)
        connection.send(wire.request("GET", "/models/tiny"))
        following = connection.reply()
    assert following is not None
    assert following.status == 200
    assert json.loads(following.body)["name"] == "tiny"


@pytest.mark.usefixtures("slow")
def test_a_client_that_wants_no_more_is_let_go(live: LiveServer) -> None:
    with wire.connect(live.client) as connection:
        connection.send(long_request(Connection="close"))
        refused = connection.reply()
        assert refused is not None
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert connection.reply() is None


def chunked_requests(count: int) -> bytes:
    """Return requests that are short to send and may have long bodies."""
    fields = f"Transfer-Encoding: chunked\r\nX-Request-Timeout-Ms: {PATIENT_MS}\r\n"
    return b"".join(
        f"POST /classify HTTP/1.1\r\nHost: test\r\nX-Request-ID: {number}\r\n{fields}\r\n"
        "0\r\n\r\n".encode()
        for number in range(count)
    )


def assert_refused_in_turn(connection: wire.Wire, count: int) -> None:
    replies = [connection.reply() for _ in range(count)]
    told = [(each.status, each.headers["x-request-id"]) for each in replies if each is not None]
    assert told == [(503, str(number)) for number in range(count)]


def test_refusals_wait_for_the_answer_before_them(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = live.engine.catalog.served[0].runner
    with wire.connect(live.client) as connection, gate(live) as held:
        connection.send(wire.request("POST", "/classify", SHORT))
        held.wait_entered()
        monkeypatch.setattr(runner, "curve", slowed(runner.curve))
        connection.send(chunked_requests(300))
        held.open()
        first = connection.reply()
        assert first is not None
        assert first.status == 200
        assert_refused_in_turn(connection, 300)


@pytest.mark.usefixtures("slow")
def test_a_client_that_does_not_read_its_refusals_is_waited_for(
    live: LiveServer, passed_on: list[str]
) -> None:
    many = 20_000  # more than the system keeps for it
    with wire.connect(live.client) as connection, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(connection.send, chunked_requests(many))
        eventually(
            lambda: (
                live.client.get("/livez").is_success
                and ("POST /classify" in passed_on or sending.done())
            )
        )
        assert_refused_in_turn(connection, many)
        sending.result()
