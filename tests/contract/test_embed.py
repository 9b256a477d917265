"""`GET` and `POST /embed`: three representations of one feature, and its entity tag."""

import io
import re

import httpx
import numpy as np
import pytest

from tests.contract.asking import (
    NPY,
    RAW,
    assert_problem,
    embedding,
    embeddings,
    multipart,
)
from tests.contract.conftest import ODD
from tests.contract.metering import Meter
from tests.contract.pictures import base64url_of, encoded, picture
from tests.model_store.reference_forward import forward
from tests.model_store.tiny import random_arrays
from tests.models import TINY

IMAGE = encoded(picture(), "PNG")
FILES = [encoded(picture(seed), "PNG") for seed in range(3)]
JSON = {"Accept": "application/json"}


def loaded(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    array = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert isinstance(array, np.ndarray)
    return array


def test_an_answer_has_exactly_the_fields_of_the_contract(client: httpx.Client) -> None:
    answer = client.post("/embed", content=IMAGE)
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    assert set(document) == {"model", "version", "dim", "embedding"}
    assert (document["model"], document["version"]) == ("alpha", "2")
    assert document["dim"] == TINY.width == len(document["embedding"])
    assert all(type(value) is float for value in document["embedding"])


def test_the_feature_is_what_the_network_of_the_paper_computes(client: httpx.Client) -> None:
    image = picture(4, size=(12, 12))
    inputs = np.asarray(image)[None] / 127.5 - 1
    _, exact = forward(inputs, random_arrays(TINY, 2), gelu="tanh")
    np.testing.assert_allclose(embedding(client, encoded(image, "PNG")), exact[0], atol=1e-4)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("model", ["alpha", "alpha@1", "many", ODD])
@pytest.mark.parametrize("normalize", ["false", "true"])
def test_representations_are_equal_bit_for_bit(
    client: httpx.Client, method: str, model: str, normalize: str
) -> None:
    params = {"model": model, "normalize": normalize}
    as_json, as_npy, as_raw = (
        client.request(method, "/embed", params=params, headers=accept, content=IMAGE)
        for accept in (JSON, NPY, RAW)
    )
    assert as_npy.headers["Content-Type"] == "application/x-npy"
    assert as_raw.headers["Content-Type"] == "application/octet-stream"
    array = loaded(as_npy)
    dim = as_json.json()["dim"]
    assert array.dtype == np.dtype("<f4")
    assert array.shape == (1, dim)
    assert not np.isfortran(array)
    assert as_raw.content == array.tobytes()
    np.testing.assert_array_equal(np.array(as_json.json()["embedding"], np.float32), array[0])


def test_several_images_are_the_rows_of_one_array(client: httpx.Client) -> None:
    files = multipart(*FILES)
    array = loaded(client.post("/embed", files=files, headers=NPY))
    assert array.shape == (3, TINY.width)
    raw = client.post("/embed", files=files, headers=RAW).content
    results = client.post("/embed", files=files).json()["results"]
    # Requests of several images may be cut into other batches each time, which moves the last bit.
    near(np.frombuffer(raw, "<f4").reshape(3, -1), array)
    near([result["embedding"] for result in results], array)
    near(array, [embedding(client, file) for file in FILES])


def near(rows: object, others: object) -> None:
    np.testing.assert_allclose(np.array(rows), np.array(others), rtol=0, atol=1e-5)


@pytest.mark.parametrize("accept", [NPY, RAW], ids=["npy", "raw"])
@pytest.mark.parametrize("bad_at", [0, 2])
def test_a_bad_image_never_shifts_the_rows_of_an_array(
    client: httpx.Client, accept: dict[str, str], bad_at: int
) -> None:
    """An array has no place for an error: the answer is the error, or a row that is no number."""
    files = [*FILES]
    files[bad_at] = FILES[0][:60]
    answer = client.post("/embed", files=multipart(*files), headers=accept)
    if answer.status_code != 200:
        assert_problem(answer, 400, "image_truncated")
        return
    start = len(answer.content) - 3 * TINY.width * 4
    array = np.frombuffer(answer.content[start:], "<f4").reshape(3, -1)
    assert np.isnan(array[bad_at]).all()
    good = [at for at in range(3) if at != bad_at]
    alone = [embedding(client, FILES[at]) for at in good]
    np.testing.assert_allclose(array[good], alone, rtol=0, atol=1e-5)


def test_normalize_gives_unit_length_and_keeps_the_direction(client: httpx.Client) -> None:
    plain = embedding(client, IMAGE)
    unit = embedding(client, IMAGE, normalize="true")
    assert np.linalg.norm(unit) == pytest.approx(1, abs=1e-6)
    assert abs(np.linalg.norm(plain) - 1) > 1e-3
    np.testing.assert_allclose(unit * np.linalg.norm(plain), plain, rtol=1e-5)
    rows = embeddings(client, {"normalize": "true"}, files=multipart(*FILES)).reshape(3, -1)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1], abs=1e-6)


def test_normalize_is_off_by_default(client: httpx.Client) -> None:
    np.testing.assert_array_equal(
        embedding(client, IMAGE), embedding(client, IMAGE, normalize="false")
    )


@pytest.mark.parametrize("value", ["maybe", "", "2", "l2"])
def test_other_values_of_normalize_are_invalid(client: httpx.Client, value: str) -> None:
    answer = client.post("/embed", content=IMAGE, params={"normalize": value})
    problem = assert_problem(answer, 422, "invalid_parameter")
    assert "normalize" in problem["detail"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", ["top_k", "normalise", "format"])
def test_unknown_parameters_are_invalid(client: httpx.Client, method: str, name: str) -> None:
    answer = client.request(method, "/embed", content=IMAGE, params={name: "1"})
    problem = assert_problem(answer, 422, "invalid_parameter")
    assert name in problem["detail"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_models_are_not_found(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/embed", content=IMAGE, params={"model": "unknown"})
    assert_problem(answer, 404, "model_not_found")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json, application/x-npy", "application/json"),
        ("application/x-npy, application/json;q=0.5", "application/x-npy"),
        ("application/x-npy;q=0.5, application/json", "application/json"),
        ("application/octet-stream;q=0.3,application/x-npy;q=0.2", "application/octet-stream"),
        ("APPLICATION/X-NPY", "application/x-npy"),
        ("text/html, application/x-npy", "application/x-npy"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("application/x-npy, */*;q=0.1", "application/x-npy"),
        ("application/json;q=0, application/x-npy", "application/x-npy"),
        ("application/x-npy;q=0.1, */*;q=0.9", "application/json"),
        ("application/*;q=0.2, application/x-npy;q=0.3, */*", "application/x-npy"),
        ("application/x-npy ; q=0.5 , application/json ; q=0.4", "application/x-npy"),
        ("", "application/json"),
    ],
)
def test_accept_chooses_the_representation(client: httpx.Client, accept: str, chosen: str) -> None:
    answer = client.post("/embed", content=IMAGE, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == chosen
    assert "accept" in answer.headers["Vary"].lower()


def test_no_accept_header_means_json(client: httpx.Client) -> None:
    request = client.build_request("POST", "/embed", content=IMAGE)
    del request.headers["Accept"]
    assert client.send(request).headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("accept", ["image/png", "text/html", "application/json;q=0", "nonsense"])
def test_accept_of_nothing_on_offer_still_gets_an_answer_it_can_tell(
    client: httpx.Client, accept: str
) -> None:
    """RFC 9110 12.5.1: refuse, or disregard the field. The contract lists no 406: disregard."""
    answer = client.post("/embed", content=IMAGE, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"


def tag(client: httpx.Client, data: bytes = IMAGE, accept: str = "*/*", **params: str) -> str:
    answer = client.get(
        "/embed", params={"image": base64url_of(data), **params}, headers={"Accept": accept}
    )
    assert answer.status_code == 200, answer.text
    return answer.headers["ETag"]


def test_an_entity_tag_is_stable_and_well_formed(client: httpx.Client) -> None:
    assert re.fullmatch(r'(W/)?"[\x21\x23-\x7e]+"', tag(client))
    assert tag(client) == tag(client)
    posted = client.post("/embed", content=IMAGE)
    assert posted.headers["ETag"] == tag(client)


def test_entity_tags_tell_images_versions_and_representations_apart(
    client: httpx.Client,
) -> None:
    tags = [
        tag(client),
        tag(client, FILES[1]),
        tag(client, model="alpha@1"),
        tag(client, model="many"),
        tag(client, normalize="true"),
        tag(client, accept="application/x-npy"),
        tag(client, accept="application/octet-stream"),
    ]
    assert len(set(tags)) == len(tags)


def test_entity_tags_of_several_images_know_their_order(client: httpx.Client) -> None:
    def tag_of(*files: bytes) -> str:
        return client.post("/embed", files=multipart(*files)).headers["ETag"]

    assert tag_of(*FILES) == tag_of(*FILES)
    assert len({tag_of(*FILES), tag_of(*reversed(FILES)), tag_of(*FILES[:2])}) == 3


@pytest.mark.parametrize(
    "template", ["{}", "W/{}", '"other", {}', '{} , "other"', '"a","b",{}', "*"]
)
@pytest.mark.parametrize("how", ["query", "body"])
def test_a_known_tag_gets_304(client: httpx.Client, template: str, how: str) -> None:
    known = tag(client)
    headers = {"If-None-Match": template.format(known)}
    sent = {"params": {"image": base64url_of(IMAGE)}} if how == "query" else {"content": IMAGE}
    answer = client.request("GET", "/embed", headers=headers, **sent)
    assert answer.status_code == 304, answer.text
    assert answer.content == b""
    assert answer.headers["ETag"] == known
    assert "X-Request-ID" in answer.headers
    assert "accept" in answer.headers["Vary"].lower()


@pytest.mark.parametrize("value", ['"other"', 'W/"other"', "nonsense", ""])
def test_another_tag_gets_the_feature(client: httpx.Client, value: str) -> None:
    answer = client.get(
        "/embed", params={"image": base64url_of(IMAGE)}, headers={"If-None-Match": value}
    )
    assert answer.status_code == 200
    assert answer.json()["dim"] == TINY.width


def test_the_tag_of_one_representation_is_no_tag_of_another(client: httpx.Client) -> None:
    answer = client.get(
        "/embed",
        params={"image": base64url_of(IMAGE)},
        headers={**NPY, "If-None-Match": tag(client)},
    )
    assert answer.status_code == 200
    assert loaded(answer).shape == (1, TINY.width)


def test_a_known_tag_costs_no_computation(client: httpx.Client) -> None:
    known = tag(client)
    meter = Meter(client)
    answer = client.get(
        "/embed", params={"image": base64url_of(IMAGE)}, headers={"If-None-Match": known}
    )
    assert answer.status_code == 304
    assert meter.moved("mixer_batch_images_sum") == 0


def test_no_tag_vouches_for_a_bad_image(client: httpx.Client) -> None:
    bad = {"image": base64url_of(IMAGE[:60])}
    answer = client.get("/embed", params=bad)
    assert "ETag" not in answer.headers
    assert_problem(answer, 400, "image_truncated")


def test_head_is_get_without_the_content(client: httpx.Client) -> None:
    params = {"image": base64url_of(IMAGE)}
    got = client.get("/embed", params=params)
    answer = client.head("/embed", params=params)
    assert answer.status_code == 200
    assert answer.content == b""
    for name in ("Content-Type", "ETag", "Content-Length"):
        assert answer.headers[name] == got.headers[name]
