"""Every error code, in its exact shape, and nothing of the inside in it."""

import logging

import httpx
import numpy as np
import pytest

from tests.contract.asking import assert_problem, multipart
from tests.contract.holding import Gate, gate, slowed
from tests.contract.pictures import claiming, encoded, picture
from tests.contract.wire import connect
from tests.service.live import LiveServer

IMAGE = encoded(picture(), "PNG")
PATHS = {
    "/classify": {"POST"},
    "/embed": {"GET", "HEAD", "POST"},
    "/models": {"GET", "HEAD"},
    "/models/alpha": {"GET", "HEAD"},
    "/livez": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
    "/startupz": {"GET", "HEAD"},
    "/healthz": {"GET", "HEAD"},
    "/metrics": {"GET", "HEAD"},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_are_not_allowed_and_the_allowed_ones_named(
    client: httpx.Client, path: str, method: str
) -> None:
    if method in PATHS[path]:
        assert client.request(method, path).status_code in (200, 415)
        return
    answer = client.request(method, path, content=IMAGE)
    assert_problem(answer, 405, "method_not_allowed")
    assert {each.strip() for each in answer.headers["Allow"].split(",")} == PATHS[path]


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/classify/",
        "/classify/x",
        "/Classify",
        "//classify",
        "/models/",
        "/models/alpha/x",
        "/%2e%2e/etc/passwd",
        "/favicon.ico",
        "/.env",
        "/%00",
        "/%ff",
        "/" + "a" * 5000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_paths_are_not_found(client: httpx.Client, method: str, path: str) -> None:
    url = client.base_url.copy_with(raw_path=path.encode())
    answer = client.request(method, url, content=IMAGE)
    problem = assert_problem(answer, 404, "not_found")
    assert len(problem["detail"]) < 1000


def test_problems_of_one_code_share_their_type_and_title(client: httpx.Client) -> None:
    """RFC 9457: `type` names the kind of problem, `title` does not change with the occurrence."""
    kinds: dict[str, set[tuple[str, str]]] = {}
    for answer in (
        client.post("/classify?top_k=0", content=IMAGE),
        client.post("/classify?nonsense=0", content=IMAGE),
        client.post("/embed?normalize=no%20idea", content=IMAGE),
        client.post("/classify?model=a", content=IMAGE),
        client.get("/models/b"),
        client.get("/nowhere"),
        client.post("/classify", content=IMAGE[:50]),
        client.post("/classify", content=b"text"),
        client.post("/classify"),
    ):
        problem = answer.json()
        kinds.setdefault(problem["code"], set()).add((problem["type"], problem["title"]))
    assert all(len(kind) == 1 for kind in kinds.values()), kinds
    assert len(set().union(*kinds.values())) == len(kinds)


def test_a_bug_is_internal_and_logged_with_its_traceback(
    tight: LiveServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(reference: str | None) -> None:
        raise RuntimeError("the secret of /srv/main")

    monkeypatch.setattr(tight.engine.catalog, "find", explode)
    with caplog.at_level(logging.ERROR):
        answer = tight.client.post(
            "/classify", content=IMAGE, headers={"X-Request-ID": "the-bug-1"}
        )
    assert_problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert answer.headers["X-Request-ID"] == "the-bug-1"
    assert any("the-bug-1" in record.message and record.exc_info for record in caplog.records)
    assert "Traceback" in caplog.text
    assert "the secret of /srv/main" in caplog.text
    monkeypatch.undo()
    assert tight.client.post("/classify", content=IMAGE).status_code == 200


def test_a_failing_device_is_internal(tight: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Gate):
        def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            raise RuntimeError("XLA: the secret at 0xdeadbeef")

    runner = tight.engine.catalog.served[0].runner
    with monkeypatch.context() as patch:
        patch.setattr(runner, "program", Failing(runner.program))
        assert_problem(tight.client.post("/classify", content=IMAGE), 500, "internal")
        answer = tight.client.post("/classify", files=multipart(IMAGE, b"text", IMAGE))
        if answer.status_code == 200:
            codes = [result["error"]["code"] for result in answer.json()["results"]]
            assert codes == ["internal", "unsupported_image", "internal"]
        else:
            assert_problem(answer, 500, "internal")
    assert tight.client.post("/classify", content=IMAGE).status_code == 200


def test_a_deadline_beyond_the_backlog_is_unreachable(
    tight: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = tight.engine.catalog.served[0].runner
    monkeypatch.setattr(runner, "curve", slowed(runner.curve))
    answer = tight.client.post(
        "/classify", content=IMAGE, headers={"X-Request-Timeout-Ms": "60000"}
    )
    assert_problem(answer, 503, "deadline_unreachable")


@pytest.mark.parametrize(
    "framing", [{"Content-Length": "100000"}, {"Transfer-Encoding": "chunked"}]
)
def test_overload_refuses_before_a_long_body_has_come(
    live: LiveServer, framing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a body that is announced and never sent."""
    runner = live.engine.catalog.served[0].runner
    monkeypatch.setattr(runner, "curve", slowed(runner.curve))
    head = {"Host": "x", "X-Request-Timeout-Ms": "60000", **framing}
    lines = ["POST /classify HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    with connect(live.client) as wire:
        wire.send("\r\n".join([*lines, "", ""]).encode())
        reply = wire.reply()
    assert reply is not None
    assert reply.status == 503


@pytest.mark.parametrize("path", ["/classify", "/embed"])
def test_a_deadline_that_passes_is_exceeded(tight: LiveServer, path: str) -> None:
    with gate(tight):
        answer = tight.client.post(path, content=IMAGE, headers={"X-Request-Timeout-Ms": "300"})
        assert_problem(answer, 504, "deadline_exceeded")


def test_a_request_that_is_wrong_in_two_ways_gets_one_problem(tight: LiveServer) -> None:
    answer = tight.client.post("/classify?top_k=0&model=unknown", content=b"text")
    assert answer.json()["code"] in ("invalid_parameter", "model_not_found")
    assert_problem(answer, answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_no_format_leaks_what_its_decoder_says(client: httpx.Client, format_: str) -> None:
    """Cut and bent files of each format meet every message that a decoder has."""
    whole = encoded(picture(size=(40, 30)), format_)
    generator = np.random.default_rng(7)
    broken = [whole[:length] for length in range(1, len(whole), max(1, len(whole) // 12))]
    for _ in range(12):
        bent = bytearray(whole)
        for at in generator.integers(8, len(whole), 4):
            bent[at] ^= 0x5A
        broken.append(bytes(bent))
    for file in [*broken, claiming(format_, 0, 0), claiming(format_, 1, 9999)]:
        answer = client.post("/classify", content=file)
        if answer.status_code != 200:
            assert answer.status_code in (400, 413, 415)
            assert_problem(answer, answer.status_code, answer.json()["code"])
