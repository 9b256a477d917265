"""Limits: bytes while they stream in, pixels from the header, images in a request."""

import json
import struct

import httpx
import pytest

from tests.contract import wire
from tests.contract.asking import assert_problem, embedding, multipart
from tests.contract.conftest import MAX_BODY_BYTES, MAX_IMAGES, MAX_PIXELS
from tests.contract.pictures import base64_of, base64url_of, bmp, claiming, encoded, picture
from tests.service.live import LiveServer

ENDPOINTS = [("POST", "/classify"), ("POST", "/embed"), ("GET", "/embed")]
IMAGE = encoded(picture(), "PNG")


@pytest.fixture
def client(tight: LiveServer) -> httpx.Client:
    return tight.client


def padded(length: int) -> bytes:
    """Return an image file of exactly this length: what follows a BMP's pixels is no matter."""
    return bmp(picture()).ljust(length, b"\0")


OVERSIZED = {
    "raw": {"content": padded(MAX_BODY_BYTES + 1)},
    "raw, ten times": {"content": padded(10 * MAX_BODY_BYTES)},
    "multipart": {"files": multipart(padded(MAX_BODY_BYTES))},
    "JSON": {"json": {"image": base64_of(padded(MAX_BODY_BYTES))}},
    "JSON of blanks": {
        "content": b" " * (MAX_BODY_BYTES + 1),
        "headers": {"Content-Type": "application/json"},
    },
    "chunked": {"content": iter([padded(MAX_BODY_BYTES), b"\0"])},
}


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize("case", [case for case in OVERSIZED if case != "chunked"])
def test_a_body_beyond_the_limit_is_too_large(
    client: httpx.Client, method: str, path: str, case: str
) -> None:
    answer = client.request(method, path, **OVERSIZED[case])  # type: ignore[arg-type]
    assert_problem(answer, 413, "body_too_large")


def test_a_body_of_exactly_the_limit_is_taken(client: httpx.Client) -> None:
    answer = client.post("/embed", content=padded(MAX_BODY_BYTES))
    assert answer.json() == client.post("/embed", content=bmp(picture())).json()


@pytest.mark.parametrize("extra", [0, 1])
def test_a_chunked_body_is_counted_as_it_comes(client: httpx.Client, extra: int) -> None:
    whole = padded(MAX_BODY_BYTES + extra)
    pieces = (whole[at : at + 999] for at in range(0, len(whole), 999))
    answer = client.post("/classify", content=pieces)
    if extra:
        assert_problem(answer, 413, "body_too_large")
    else:
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "content_type", ["image/png", "application/json", "multipart/form-data; boundary=XX"]
)
def test_a_body_without_end_is_refused_before_its_end(
    client: httpx.Client, content_type: str
) -> None:
    """The refusal comes although the body never ends: it is not read into memory first."""
    start = {"multipart/form-data; boundary=XX": wire_part(), "application/json": b'{"image": "'}
    body = start.get(content_type, b"") + b"a" * (MAX_BODY_BYTES + 1)
    with wire.connect(client) as connection:
        connection.send(
            b"POST /classify HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: %b\r\n\r\n%x\r\n%b\r\n" % (content_type.encode(), len(body), body)
        )
        reply = connection.reply()
    assert reply is not None
    assert reply.status == 413
    assert json.loads(reply.body)["code"] == "body_too_large"


def wire_part() -> bytes:
    return b'--XX\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


def test_a_declared_length_beyond_the_limit_is_refused_unread(client: httpx.Client) -> None:
    with wire.connect(client) as connection:
        connection.send(
            b"POST /classify HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n"
            b"Expect: 100-continue\r\n\r\n" % (10 * MAX_BODY_BYTES)
        )
        reply = connection.reply()
    assert reply is not None
    assert reply.status == 413
    assert json.loads(reply.body)["code"] == "body_too_large"


def test_expect_continue_is_answered_and_the_body_taken(client: httpx.Client) -> None:
    with wire.connect(client) as connection:
        connection.send(
            b"POST /classify HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n"
            b"Expect: 100-continue\r\n\r\n" % len(IMAGE)
        )
        reply = connection.reply()
        assert reply is not None
        assert reply.status == 100
        connection.send(IMAGE)
        reply = connection.reply()
    assert reply is not None
    assert reply.status == 200


REFUSED_EARLY = {
    "too large": ("/classify", padded(4 * MAX_BODY_BYTES), 413),
    "unknown path": ("/nowhere", padded(MAX_BODY_BYTES), 404),
    "unknown method": ("/models", padded(MAX_BODY_BYTES), 405),
    "unknown parameter": ("/classify?x=1", padded(MAX_BODY_BYTES), 422),
    "unknown model": ("/classify?model=x", padded(MAX_BODY_BYTES), 404),
    "no image": ("/classify", b"x" * MAX_BODY_BYTES, 415),
}


@pytest.mark.parametrize("case", REFUSED_EARLY)
def test_after_an_early_refusal_the_connection_is_in_step_or_closed(
    client: httpx.Client, case: str
) -> None:
    """What is left of a refused body is never read as a request, nor as another's body."""
    path, body, status = REFUSED_EARLY[case]
    smuggled = wire.request("GET", "/models/smuggled")
    body = (body[: len(body) - len(smuggled)] + smuggled) if b"smug" not in body else body
    with wire.connect(client) as connection:
        connection.send(wire.request("POST", path, body))
        refusal = connection.reply()
        connection.send(wire.request("POST", "/embed", IMAGE))
        following = connection.reply()
        after = connection.reply() if following is None else None
    assert refusal is not None
    assert refusal.status == status
    assert after is None
    if following is not None:
        assert following.status == 200
        right = client.post("/embed", content=IMAGE).json()
        assert json.loads(following.body) == right


@pytest.mark.parametrize("case", REFUSED_EARLY)
def test_a_client_that_reuses_connections_meets_no_trouble(client: httpx.Client, case: str) -> None:
    path, body, status = REFUSED_EARLY[case]
    right = client.post("/embed", content=IMAGE).json()
    limits = httpx.Limits(max_connections=1)
    with httpx.Client(base_url=client.base_url, limits=limits, timeout=60) as single:
        for _ in range(3):
            assert single.post(path, content=body).status_code == status
            assert single.post("/embed", content=IMAGE).json() == right


def test_pipelined_requests_are_answered_in_order(client: httpx.Client) -> None:
    files = [encoded(picture(seed), "PNG") for seed in range(3)]
    with wire.connect(client) as connection:
        connection.send(b"".join(wire.request("POST", "/embed", file) for file in files))
        replies = [connection.reply() for _ in files]
    for file, reply in zip(files, replies, strict=True):
        assert reply is not None
        assert json.loads(reply.body) == client.post("/embed", content=file).json()


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
@pytest.mark.parametrize(("width", "height"), [(16_000, 16_000), (16_383, 1), (61, 100)])
def test_pixels_are_counted_from_the_header(
    client: httpx.Client, format_: str, width: int, height: int
) -> None:
    """The pixels are not there: only a server that believes the header says too large."""
    answer = client.post("/classify", content=claiming(format_, width, height))
    assert_problem(answer, 413, "image_too_large")


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
@pytest.mark.parametrize(("width", "height", "status"), [(60, 100, 200), (61, 100, 413)])
def test_the_bound_of_pixels_is_exact(
    client: httpx.Client, format_: str, width: int, height: int, status: int
) -> None:
    assert MAX_PIXELS == 60 * 100
    file = encoded(picture(size=(width, height)), format_)
    answer = client.post("/classify", content=file)
    assert answer.status_code == status, answer.text


def test_an_oversized_image_spoils_no_neighbour(client: httpx.Client) -> None:
    files = multipart(IMAGE, encoded(picture(size=(100, 100)), "PNG"))
    good, bad = client.post("/classify", files=files).json()["results"]
    assert set(good) == {"predictions"}
    assert bad["error"]["code"] == "image_too_large"
    assert bad["error"]["status"] == 413


def test_a_bomb_of_zeros_is_refused(client: httpx.Client) -> None:
    bomb = claiming("PNG", 2**31 - 1, 2**31 - 1)
    assert_problem(client.post("/classify", content=bomb), 413, "image_too_large")
    assert struct.unpack(">I", bomb[16:20]) == (2**31 - 1,)


@pytest.mark.parametrize("path", ["/classify", "/embed"])
@pytest.mark.parametrize("form", ["multipart", "JSON"])
@pytest.mark.parametrize("count", [MAX_IMAGES, MAX_IMAGES + 1, 40])
def test_images_are_counted(client: httpx.Client, path: str, form: str, count: int) -> None:
    answer = (
        client.post(path, files=multipart(*[IMAGE] * count))
        if form == "multipart"
        else client.post(path, json={"images": [base64_of(IMAGE)] * count})
    )
    if count <= MAX_IMAGES:
        assert answer.status_code == 200
        assert len(answer.json()["results"]) == count
    else:
        assert_problem(answer, 413, "too_many_images")


def test_bad_images_count_as_images(client: httpx.Client) -> None:
    answer = client.post("/classify", files=multipart(*[b"text"] * (MAX_IMAGES + 1)))
    assert_problem(answer, 413, "too_many_images")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "user@localhost",
        "[::1]",
        "127.1",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "localhost.example.com",
        "example.com",
        "localhost@example.com",
    ],
)
def test_urls_of_internal_and_unlisted_hosts_are_refused(client: httpx.Client, host: str) -> None:
    """The two names on the list lead to a loopback address: the list is no way inside."""
    port = client.base_url.port
    for scheme in ("http", "https"):
        answer = client.get("/embed", params={"url": f"{scheme}://{host}:{port}/livez"})
        assert_problem(answer, 403, "url_not_allowed")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://localhost/x", "gopher://localhost/"])
def test_urls_of_other_schemes_are_refused(client: httpx.Client, url: str) -> None:
    answer = client.post("/classify", params={"url": url})
    assert_problem(answer, 403, "url_not_allowed")


def test_a_small_image_in_the_query_is_within_the_limits(client: httpx.Client) -> None:
    answer = client.get("/embed", params={"image": base64url_of(IMAGE)})
    assert answer.json()["embedding"] == pytest.approx(list(embedding(client, IMAGE)))
