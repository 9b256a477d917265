"""`X-Request-ID`, `X-Request-Timeout-Ms` and `Server-Timing`."""

import logging
import re
from typing import Any

import httpx
import pytest

from tests.contract.asking import assert_problem, multipart
from tests.contract.pictures import base64url_of, encoded, picture

IMAGE = encoded(picture(), "PNG")

# RFC 8941 apart, what every browser reads: name;dur=number, name;desc="text".
METRIC = re.compile(r'([a-z]+);(?:dur=([0-9]+(?:\.[0-9]+)?)|desc="([^"]*)")')

REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "an answer": ("POST", "/classify", {"content": IMAGE}),
    "an embedding": ("GET", f"/embed?image={base64url_of(IMAGE)}", {}),
    "an array": ("POST", "/embed", {"content": IMAGE, "headers": {"Accept": "application/x-npy"}}),
    "several": ("POST", "/classify", {"files": multipart(IMAGE, IMAGE)}),
    "a bad image": ("POST", "/classify", {"content": b"text"}),
    "a bad parameter": ("POST", "/classify?top_k=0", {"content": IMAGE}),
    "an unknown model": ("POST", "/classify?model=unknown", {"content": IMAGE}),
    "an unknown path": ("GET", "/nowhere", {}),
    "a wrong method": ("GET", "/classify", {}),
    "models": ("GET", "/models", {}),
    "liveness": ("GET", "/livez", {}),
    "health": ("GET", "/healthz", {}),
    "metrics": ("GET", "/metrics", {}),
    "the description": ("GET", "/openapi.json", {}),
    "the root": ("GET", "/", {}),
}


def ask(client: httpx.Client, case: str, **headers: str) -> httpx.Response:
    method, path, kwargs = REQUESTS[case]
    sent = {**kwargs.get("headers", {}), **headers}
    return client.request(method, path, **{**kwargs, "headers": sent})


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_id_is_echoed(client: httpx.Client, case: str) -> None:
    answer = ask(client, case, **{"X-Request-ID": "abc-123_x.7"})
    assert answer.headers.get_list("X-Request-ID") == ["abc-123_x.7"]
    if answer.status_code >= 400:
        assert answer.json()["request_id"] == "abc-123_x.7"


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_id_is_made(client: httpx.Client, case: str) -> None:
    made = [ask(client, case).headers["X-Request-ID"] for _ in range(3)]
    assert len(set(made)) == 3
    assert all(re.fullmatch(r"[\x21-\x7e]{8,128}", each) for each in made)


@pytest.mark.parametrize(
    "sent", [b"x" * 5000, b"", b"a\tb", "gr\u00fc\u00dfe".encode(), b'{"a": "b c"}']
)
def test_a_request_id_unfit_for_a_log_line_is_replaced(client: httpx.Client, sent: bytes) -> None:
    answer = client.post("/classify", content=b"text", headers=[(b"X-Request-ID", sent)])
    given = answer.headers["X-Request-ID"]
    assert re.fullmatch(r"[\x21-\x7e]{1,200}", given)
    assert_problem(answer, 415, "unsupported_image")


def test_the_log_line_of_a_request_has_its_id(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for case in REQUESTS:
            ask(client, case, **{"X-Request-ID": f"log-{case.replace(' ', '-')}"})
        # The line is written after the answer is sent: another answer has it written.
        client.get("/livez")
    for case in REQUESTS:
        assert caplog.text.count(f"log-{case.replace(' ', '-')}\n") == 1, case


def timings(answer: httpx.Response) -> tuple[dict[str, float], dict[str, str]]:
    """Return durations and descriptions; every part must be well formed and appear once."""
    durations: dict[str, float] = {}
    descriptions: dict[str, str] = {}
    for part in answer.headers["Server-Timing"].split(", "):
        match = METRIC.fullmatch(part)
        assert match, part
        name, duration, description = match.groups()
        assert name not in durations.keys() | descriptions.keys()
        if duration is not None:
            durations[name] = float(duration)
        else:
            descriptions[name] = description
    return durations, descriptions


@pytest.mark.parametrize("case", ["an answer", "an embedding", "an array", "several"])
def test_server_timing_names_each_stage(client: httpx.Client, case: str) -> None:
    durations, descriptions = timings(ask(client, case))
    assert set(durations) == {"decode", "queue", "device", "total"}
    assert set(descriptions) == {"batch"}
    assert durations["device"] > 0
    assert durations["decode"] > 0
    assert durations["total"] >= durations["device"]
    assert durations["total"] >= durations["queue"]


def test_server_timing_says_how_full_the_batch_was(client: httpx.Client) -> None:
    _, descriptions = timings(ask(client, "an answer"))
    assert descriptions["batch"] == "1/1"
    _, descriptions = timings(client.post("/embed", files=multipart(*[IMAGE] * 9)))
    images, bucket = descriptions["batch"].split("/")
    assert int(bucket) in (1, 2, 4)
    assert 1 <= int(images) <= int(bucket)


@pytest.mark.parametrize(
    "value",
    ["0", "-5", "1.5", "soon", "", "1e3", "0x10", "\u0661\u0662", "1,2", "nan", "9" * 4000],
)
@pytest.mark.parametrize("path", ["/classify", "/embed"])
def test_senseless_deadlines_are_invalid(client: httpx.Client, path: str, value: str) -> None:
    headers = {b"X-Request-Timeout-Ms": value.encode()}
    answer = client.post(path, content=IMAGE, headers=headers)
    problem = assert_problem(answer, 422, "invalid_parameter")
    assert "x-request-timeout-ms" in problem["detail"].lower()


@pytest.mark.parametrize("value", ["20000", "600000"])
def test_a_generous_deadline_is_met(client: httpx.Client, value: str) -> None:
    answer = client.post("/classify", content=IMAGE, headers={"X-Request-Timeout-Ms": value})
    assert answer.status_code == 200


def test_a_deadline_of_one_millisecond_is_refused_or_missed(client: httpx.Client) -> None:
    """A picture of twelve million pixels takes far longer to decode."""
    large = encoded(picture(size=(4000, 3000)), "PNG", compress_level=1)
    answer = client.post("/classify", content=large, headers={"X-Request-Timeout-Ms": "1"})
    if answer.status_code == 503:
        assert_problem(answer, 503, "deadline_unreachable")
    else:
        assert_problem(answer, 504, "deadline_exceeded")
