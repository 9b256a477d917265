"""Many clients at once, more than there is room for, and clients that leave."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from tests.contract import wire
from tests.contract.asking import embedding, multipart, scores
from tests.contract.conftest import MAX_QUEUE_IMAGES
from tests.contract.holding import eventually, gate
from tests.contract.metering import Meter, samples
from tests.contract.pictures import base64_of, base64url_of, bmp, encoded, picture
from tests.service.live import LiveServer

CLIENTS = 64
SIZES = [(12, 12), (19, 14), (64, 48), (7, 90), (200, 150)]
FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP"]
MODELS = ["alpha@1", "alpha@2", "many"]


def file_of(client: int) -> bytes:
    return encoded(picture(client, SIZES[client % 5]), FORMATS[client % 4])


def ask(client: httpx.Client, number: int) -> list[float]:
    """Send this client's image in this client's form; return what the model says of it."""
    file, model = file_of(number), MODELS[number % 3]
    forms: list[Callable[[], httpx.Response]] = [
        lambda: client.post("/embed", params={"model": model}, content=file),
        lambda: client.post("/embed", params={"model": model}, files=multipart(file)),
        lambda: client.post("/embed", params={"model": model}, json={"image": base64_of(file)}),
        lambda: client.request("GET", "/embed", params={"model": model}, content=file),
        lambda: client.get("/embed", params={"model": model, "image": base64url_of(bmp(small))}),
    ]
    small = picture(number, SIZES[0])
    answer = forms[number % 5]()
    assert answer.status_code == 200, answer.text
    values: list[float] = answer.json()["embedding"]
    return values


def test_each_of_many_clients_gets_the_answer_it_would_get_alone(client: httpx.Client) -> None:
    alone = [ask(client, number) for number in range(CLIENTS)]
    meter = Meter(client)
    with ThreadPoolExecutor(CLIENTS) as pool:
        together = list(pool.map(lambda number: ask(client, number), range(CLIENTS)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)
    assert len({tuple(np.round(each, 3)) for each in alone}) == CLIENTS
    assert meter.moved("mixer_requests_total", code="200", endpoint="/embed") == CLIENTS


def test_bad_requests_among_good_ones_disturb_none(client: httpx.Client) -> None:
    def send(number: int) -> httpx.Response:
        if number % 2:
            return client.post("/classify", content=[b"text", file_of(4)[:80]][number % 4 // 2])
        return client.post("/classify", params={"model": "many", "top_k": 9}, content=file_of(4))

    right = scores(send(0))
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(send, range(32)))
    for number, answer in enumerate(answers):
        if number % 2:
            assert answer.status_code in (400, 415)
        else:
            assert scores(answer) == pytest.approx(right, abs=1e-5)


def test_a_burst_beyond_the_queue_is_refused_and_the_rest_is_right(tight: LiveServer) -> None:
    client = tight.client
    files = [encoded(picture(seed), "PNG") for seed in range(12)]
    right = [embedding(client, file) for file in files]

    def send(file: bytes) -> httpx.Response:
        return client.post("/embed", content=file)

    with ThreadPoolExecutor(len(files)) as pool, gate(tight) as held:
        waiting = [pool.submit(send, file) for file in files]
        refused = len(files) - MAX_QUEUE_IMAGES
        eventually(
            lambda: (
                client.get("/livez").status_code == 200
                and sum(each.done() for each in waiting) == refused
            )
        )
        held.open()
        answers = [each.result() for each in waiting]
    accepted = [answer.status_code == 200 for answer in answers]
    assert sum(accepted) == MAX_QUEUE_IMAGES
    for answer, values in zip(answers, right, strict=True):
        if answer.status_code == 200:
            np.testing.assert_allclose(answer.json()["embedding"], values, rtol=0, atol=1e-5)
            continue
        assert answer.status_code == 429
        assert answer.json()["code"] == "overloaded"
        assert answer.headers["Retry-After"].isascii()
        assert answer.headers["Retry-After"].isdigit()
        assert int(answer.headers["Retry-After"]) >= 1


def test_after_the_burst_there_is_room_again(tight: LiveServer) -> None:
    file = file_of(0)
    with ThreadPoolExecutor(12) as pool, gate(tight) as held:
        waiting = [pool.submit(tight.client.post, "/embed", content=file) for _ in range(12)]
        held.wait_entered()
        held.open()
        assert {each.result().status_code for each in waiting} <= {200, 429}
    for _ in range(2):
        assert tight.client.post("/embed", files=multipart(file, file, file)).status_code == 200


def test_work_that_missed_its_deadline_is_not_computed(tight: LiveServer) -> None:
    client, meter = tight.client, Meter(tight.client)
    hurried = {"X-Request-Timeout-Ms": "300"}
    with ThreadPoolExecutor(4) as pool, gate(tight) as held:
        first = pool.submit(client.post, "/embed", content=file_of(0))
        held.wait_entered()
        late = client.post("/embed", content=file_of(1), headers=hurried)
        assert late.status_code == 504
        held.open()
        assert first.result().status_code == 200
    assert client.post("/embed", content=file_of(0)).status_code == 200
    assert meter.moved("mixer_batch_images_sum") == 2


def waiting_images(client: httpx.Client) -> float:
    labels = frozenset({("model", "alpha"), ("version", "2")})
    return samples(client)["mixer_queue_images", labels]


def test_a_client_that_leaves_is_dropped_and_disturbs_none(tight: LiveServer) -> None:
    client, meter = tight.client, Meter(tight.client)
    right = embedding(client, file_of(0))
    with ThreadPoolExecutor(4) as pool, gate(tight) as held:
        first = pool.submit(embedding, client, file_of(0))
        held.wait_entered()
        with wire.connect(client) as leaving:
            leaving.send(wire.request("POST", "/embed", file_of(1)))
            eventually(lambda: waiting_images(client) == 1)
        eventually(lambda: waiting_images(client) == 0)
        held.open()
        np.testing.assert_allclose(first.result(), right, rtol=0, atol=1e-5)
    np.testing.assert_allclose(embedding(client, file_of(0)), right, rtol=0, atol=1e-5)
    assert meter.moved("mixer_batch_images_sum") == 3


@pytest.mark.parametrize("cut", [10, 60, -20])
def test_a_client_that_leaves_within_its_request_disturbs_none(tight: LiveServer, cut: int) -> None:
    client = tight.client
    right = embedding(client, file_of(0))
    whole = wire.request("POST", "/embed", file_of(1))
    for _ in range(2 * MAX_QUEUE_IMAGES):
        with wire.connect(client) as leaving:
            leaving.send(whole[:cut])
    np.testing.assert_array_equal(embedding(client, file_of(0)), right)
    three = client.post("/embed", files=multipart(*[file_of(0)] * 3))
    assert three.status_code == 200, "places were lost to clients that left"
