"""Every way in which an image arrives, at every endpoint that takes one."""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from tests.contract.asking import (
    assert_no_leak,
    assert_problem,
    embedding,
    multipart,
    scores_in,
)
from tests.contract.pictures import base64_of, base64url_of, bmp, encoded, picture

ENDPOINTS = [("POST", "/classify"), ("POST", "/embed"), ("GET", "/embed")]
IMAGE = encoded(picture(), "PNG")
# What begins as an image of an accepted format does, and is none.
JUNK = b"\x89PNG\r\n\x1a\n" + b"x" * 40
FORM_TYPE = "multipart/form-data; boundary=XX"


def typed(content_type: str) -> Callable[[bytes], dict[str, Any]]:
    return lambda data: {"content": data, "headers": {"Content-Type": content_type}}


def as_json(document: object) -> dict[str, Any]:
    return typed("application/json")(json.dumps(document).encode())


FORMS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "raw without a type": lambda data: {"content": data},
    **{
        f"raw as {declared}": typed(declared)
        for declared in (
            "image/png",
            "image/jpeg",
            "image/webp",
            "image/gif",
            "image/bmp",
            "IMAGE/PNG",
            "image/png; charset=binary",
            "application/octet-stream",
            # What `curl --data-binary @cat.jpg` declares when it is told nothing else.
            "application/x-www-form-urlencoded",
        )
    },
    "multipart": lambda data: {"files": multipart(data)},
    "multipart with a declared type": lambda data: {"files": {"image": ("a.jpg", data)}},
    "JSON image": lambda data: {"json": {"image": base64_of(data)}},
    "JSON data URI": lambda data: {"json": {"image": f"data:image/png;base64,{base64_of(data)}"}},
    "JSON data URI of another type": lambda data: {
        "json": {"image": f"data:image/gif;base64,{base64_of(data)}"}
    },
    "JSON with a charset": lambda data: {
        "content": json.dumps({"image": base64_of(data)}),
        "headers": {"Content-Type": "application/json; charset=utf-8"},
    },
}


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_answer_of_the_raw_file(
    client: httpx.Client, method: str, path: str, form: str
) -> None:
    plain = client.post(path, content=bmp(picture()))
    answer = client.request(method, path, **FORMS[form](IMAGE))
    assert answer.status_code == 200, answer.text
    assert answer.json() == plain.json()
    other = client.request(method, path, **FORMS[form](encoded(picture(seed=1), "PNG")))
    assert other.json() != plain.json()


@pytest.mark.parametrize("padded", [True, False])
def test_base64url_in_the_query_is_an_image(client: httpx.Client, padded: bool) -> None:
    # Sizes that leave each remainder of the division by three, and both special characters.
    files = [encoded(picture(seed), "PNG") for seed in range(12)]
    assert {len(file) % 3 for file in files} == {0, 1, 2}
    text = "".join(base64url_of(file) for file in files)
    assert "-" in text
    assert "_" in text
    for file in files:
        answer = client.get("/embed", params={"image": base64url_of(file, padded=padded)})
        assert answer.status_code == 200, answer.text
        assert answer.json() == client.post("/embed", content=file).json()


def test_get_with_a_body_is_the_documented_convenience(client: httpx.Client) -> None:
    answer = client.request("GET", "/embed", content=IMAGE)
    assert answer.json() == client.post("/embed", content=IMAGE).json()


MANY_FORMS: dict[str, Callable[[list[bytes]], dict[str, Any]]] = {
    "multipart": lambda files: {"files": multipart(*files)},
    "JSON": lambda files: {"json": {"images": [base64_of(data) for data in files]}},
    "JSON data URIs": lambda files: {
        "json": {"images": [f"data:image/png;base64,{base64_of(data)}" for data in files]}
    },
}


@pytest.mark.parametrize("form", MANY_FORMS)
@pytest.mark.parametrize("count", [2, 5, 9])
def test_several_images_are_answered_in_order(client: httpx.Client, form: str, count: int) -> None:
    files = [encoded(picture(seed), "PNG") for seed in range(count)]
    answer = client.post("/embed", **MANY_FORMS[form](files))
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"model", "version", "results"}
    results = answer.json()["results"]
    assert [set(result) for result in results] == [{"embedding"}] * count
    alone = [embedding(client, file) for file in files]
    np.testing.assert_allclose([r["embedding"] for r in results], alone, rtol=0, atol=1e-5)
    assert np.ptp(alone, axis=0).max() > 1e-2


@pytest.mark.parametrize("form", MANY_FORMS)
@pytest.mark.parametrize("bad_at", [0, 1, 3])
def test_one_bad_image_spoils_no_neighbour(client: httpx.Client, form: str, bad_at: int) -> None:
    files = [encoded(picture(seed), "PNG") for seed in range(4)]
    files[bad_at] = b"no image, but some bytes"
    answer = client.post("/classify", **MANY_FORMS[form](files))
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"model", "version", "results"}
    for at, (file, result) in enumerate(zip(files, answer.json()["results"], strict=True)):
        if at == bad_at:
            assert set(result) == {"error"}
            assert result["error"]["code"] == "unsupported_image"
            assert result["error"]["status"] == 415
            assert_no_leak(json.dumps(result))
            continue
        assert set(result) == {"predictions"}
        alone = scores_in(client.post("/classify", content=file).json())
        assert scores_in(result) == pytest.approx(alone, abs=1e-5)


def test_each_bad_image_says_what_is_wrong_with_it(client: httpx.Client) -> None:
    good = encoded(picture(), "PNG")
    files = [good, good[:-40], JUNK, encoded(picture(), "TIFF")]
    answer = client.post("/embed", files=multipart(*files))
    assert answer.status_code == 200, answer.text
    first, *rest = answer.json()["results"]
    assert set(first) == {"embedding"}
    codes = [result["error"]["code"] for result in rest]
    assert codes == ["image_truncated", "image_undecodable", "unsupported_image"]


def test_base64_that_is_none_is_an_error_of_its_image_alone(client: httpx.Client) -> None:
    images = [base64_of(IMAGE), "*** no base64 ***", 7, None, base64_of(IMAGE)]
    answer = client.post("/embed", json={"images": images})
    assert answer.status_code == 200, answer.text
    first, *bad, last = answer.json()["results"]
    np.testing.assert_allclose(first["embedding"], last["embedding"], rtol=0, atol=1e-5)
    assert [result["error"]["code"] for result in bad] == ["bad_request"] * 3


def test_images_that_are_all_bad_are_each_an_error(client: httpx.Client) -> None:
    answer = client.post("/classify", files=multipart(JUNK, JUNK))
    assert answer.status_code == 200, answer.text
    codes = [result["error"]["code"] for result in answer.json()["results"]]
    assert codes == ["image_undecodable"] * 2


NO_IMAGE: dict[str, dict[str, Any]] = {
    "no body": {},
    "empty body": {"content": b""},
    "empty body as image": typed("image/png")(b""),
    "empty image in JSON": as_json({"image": ""}),
    "empty file in a form": {"files": multipart(b"")},
}


@pytest.mark.parametrize("case", NO_IMAGE)
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_no_image_at_all_is_unsupported(
    client: httpx.Client, method: str, path: str, case: str
) -> None:
    answer = client.request(method, path, **NO_IMAGE[case])
    assert_problem(answer, 415, "unsupported_image")


MALFORMED: dict[str, dict[str, Any]] = {
    "JSON cut short": typed("application/json")(b'{"image": "'),
    "JSON in no unicode": typed("application/json")(b'{"image": "\xff\xfe"}'),
    "JSON with half a surrogate": typed("application/json")(b'{"image": "\\ud800"}'),
    "JSON nested deep": typed("application/json")(b"[" * 100_000),
    "empty JSON": typed("application/json")(b""),
    "JSON list": as_json([base64_of(IMAGE)]),
    "JSON text": as_json(base64_of(IMAGE)),
    "JSON null": as_json(None),
    "image is a number": as_json({"image": 7}),
    "image is null": as_json({"image": None}),
    "image is a list": as_json({"image": [base64_of(IMAGE)]}),
    "images is text": as_json({"images": base64_of(IMAGE)}),
    "neither image nor images": as_json({}),
    "images is empty": as_json({"images": []}),
    "another key": as_json({"image": base64_of(IMAGE), "picture": ""}),
    "image and images": as_json({"image": base64_of(IMAGE), "images": [base64_of(IMAGE)]}),
    "base64 of other characters": as_json({"image": "!!!!"}),
    "base64 cut short": as_json({"image": base64_of(IMAGE)[:-7] + "x"}),
    "base64 of no ASCII": as_json({"image": "gr\u00fc\u00dfe"}),
    "data URI without a comma": as_json({"image": "data:image/png;base64"}),
    "multipart without a boundary": typed("multipart/form-data")(b"--XX\r\n"),
    "multipart that never ends": typed(FORM_TYPE)(
        b'--XX\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc'
    ),
    "multipart of another field": {"files": multipart(IMAGE, name="picture")},
    "multipart of nothing": typed(FORM_TYPE)(b"--XX--\r\n"),
    "multipart without a part": typed(FORM_TYPE)(b"no boundary here"),
}


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_malformed_bodies_are_bad_requests(
    client: httpx.Client, method: str, path: str, case: str
) -> None:
    answer = client.request(method, path, **MALFORMED[case])
    assert_problem(answer, 400, "bad_request")


def test_an_image_given_twice_is_a_bad_request(client: httpx.Client) -> None:
    """Which of the two was meant cannot be known."""
    query = {"image": base64url_of(IMAGE)}
    answer = client.request("GET", "/embed", params=query, content=IMAGE)
    assert_problem(answer, 400, "bad_request")


@pytest.mark.parametrize("text", ["!!!!", "a", "%00", "gr\u00fc\u00dfe"])
def test_malformed_base64url_is_a_bad_request(client: httpx.Client, text: str) -> None:
    answer = client.get("/embed", params={"image": text})
    assert_problem(answer, 400, "bad_request")


def test_base64url_of_no_image_is_undecodable(client: httpx.Client) -> None:
    answer = client.get("/embed", params={"image": base64url_of(JUNK)})
    assert_problem(answer, 400, "image_undecodable")


def test_an_empty_image_in_the_query_is_no_image(client: httpx.Client) -> None:
    assert_problem(client.get("/embed", params={"image": ""}), 415, "unsupported_image")


@pytest.mark.parametrize("file", [JUNK, b"\xff\xd8\xff\xe0" + bytes(range(256))])
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_bytes_that_only_begin_as_an_image_are_undecodable(
    client: httpx.Client, method: str, path: str, file: bytes
) -> None:
    answer = client.request(method, path, **typed("image/png")(file))
    assert answer.json()["code"] in ("image_undecodable", "image_truncated")
    assert_problem(answer, 400, answer.json()["code"])


@pytest.mark.parametrize("file", [b"hello, world", b"\0", bytes(range(256))])
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_bytes_of_no_image_format_are_no_image_at_all(
    client: httpx.Client, method: str, path: str, file: bytes
) -> None:
    answer = client.request(method, path, **typed("image/png")(file))
    assert_problem(answer, 415, "unsupported_image")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_images_cut_short_are_truncated(client: httpx.Client, format_: str) -> None:
    file = encoded(picture(size=(64, 48)), format_)
    answer = client.post("/classify", content=file[: len(file) // 2])
    assert_problem(answer, 400, "image_truncated")


@pytest.mark.parametrize(
    "file",
    [
        encoded(picture(), "TIFF"),
        encoded(picture(), "PPM"),
        encoded(picture(), "ICO"),
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"%PDF-1.4\n1 0 obj\n",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64,
        b"\0\0\0\x1cftypavif\0\0\0\0mif1avif" + b"\0" * 64,
    ],
    ids=["TIFF", "PPM", "ICO", "SVG", "PDF", "HEIC", "AVIF"],
)
def test_formats_that_are_known_and_refused_are_unsupported(
    client: httpx.Client, file: bytes
) -> None:
    answer = client.post("/classify", content=file, headers={"Content-Type": "image/jpeg"})
    assert_problem(answer, 415, "unsupported_image")


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize(
    "url", ["https://example.com/cat.jpg", "http://127.0.0.1/", "file:///etc/passwd", "nonsense"]
)
def test_urls_are_off_by_default(client: httpx.Client, method: str, path: str, url: str) -> None:
    answer = client.request(method, path, params={"url": url})
    assert_problem(answer, 403, "url_not_allowed")


def test_base64_of_the_standard_alphabet_is_not_silently_another_image(
    client: httpx.Client,
) -> None:
    """`+` in a query is a space: the answer is an error or the right one, never a wrong one."""
    file = next(
        data
        for seed in range(50)
        if "+" in base64.b64encode(data := encoded(picture(seed), "PNG")).decode()
    )
    answer = client.get(f"/embed?image={base64_of(file)}")
    if answer.status_code == 200:
        assert answer.json() == client.post("/embed", content=file).json()
    else:
        assert_problem(answer, 400, "bad_request")
