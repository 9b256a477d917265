"""What uvicorn's protocol is given beside its own, as clients see it."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from model_store.store import ModelStore
from tests.contract import wire
from tests.contract.asking import embedding
from tests.contract.holding import eventually, gate
from tests.contract.metering import samples
from tests.contract.pictures import encoded, picture
from tests.models import random_checkpoint
from tests.service.live import LiveServer, live_server

SHORT = encoded(picture(), "PNG")
PATIENT = {"default_timeout_ms": 120_000}  # longer than a test waits for what shall come sooner
LONG = SHORT + bytes(2**18)  # uvicorn stops reading at a quarter of it


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    store = ModelStore(str(tmp_path_factory.mktemp("store")))
    store.publish("tiny", random_checkpoint())
    with live_server(store=store.root, models=("tiny",), buckets=(2,), **PATIENT) as server:
        yield server


def waiting_images(live: LiveServer) -> float:
    return samples(live.client)[
        "mixer_queue_images", frozenset({("model", "tiny"), ("version", "1")})
    ]


@pytest.mark.parametrize("body", [SHORT, LONG], ids=["short", "long"])
def test_who_leaves_while_his_image_waits_is_dropped(live: LiveServer, body: bytes) -> None:
    """However long his body was: where reading had stopped, nobody would see him leave."""
    with ThreadPoolExecutor(1) as pool, gate(live) as held:
        first = pool.submit(embedding, live.client, SHORT)
        held.wait_entered()
        with wire.connect(live.client) as leaving:
            leaving.send(wire.request("POST", "/embed", body))
            eventually(lambda: waiting_images(live) == 1)
        eventually(lambda: waiting_images(live) == 0)
        held.open()
        first.result()


@pytest.mark.parametrize("body", [SHORT, LONG], ids=["short", "long"])
def test_who_leaves_before_his_next_request_is_answered_is_dropped(
    live: LiveServer, body: bytes
) -> None:
    """On a connection that has had answers before."""
    with ThreadPoolExecutor(1) as pool, wire.connect(live.client) as leaving:
        leaving.send(wire.request("POST", "/embed", body))
        assert leaving.reply() is not None
        with gate(live) as held:
            first = pool.submit(embedding, live.client, SHORT)
            held.wait_entered()
            leaving.send(wire.request("POST", "/embed", body))
            eventually(lambda: waiting_images(live) == 1)
            leaving.close()
            eventually(lambda: waiting_images(live) == 0)
            held.open()
            first.result()


def test_who_leaves_behind_a_request_in_the_queue_is_dropped(
    live: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPoolExecutor(1) as pool, gate(live) as held:
        first = pool.submit(embedding, live.client, SHORT)
        held.wait_entered()
        with wire.connect(live.client) as leaving:
            leaving.send(wire.request("POST", "/embed", SHORT) + wire.request("GET", "/livez"))
            eventually(lambda: waiting_images(live) == 1)
        eventually(lambda: waiting_images(live) == 0)
        held.open()
        first.result()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_no_more_is_taken_than_comes_at_once_while_a_request_is_answered(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who sends without reading fills the memory."""
    many, begun = 40_000, list[None]()
    begin = HttpToolsProtocol.on_message_begin

    def count(self: HttpToolsProtocol) -> None:
        begun.append(None)
        begin(self)

    monkeypatch.setattr(HttpToolsProtocol, "on_message_begin", count)  # before it is connected
    with ThreadPoolExecutor(2) as pool, gate(live) as held, wire.connect(live.client) as greedy:
        greedy.send(wire.request("POST", "/embed", SHORT))
        held.wait_entered()
        sending = pool.submit(greedy.send, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * many)
        eventually(lambda: live.client.get("/livez").is_success and len(begun) > 1000)
        for _ in range(100):  # turns of the event loop, in each of which it could read more
            assert live.client.get("/livez").is_success
        assert len(begun) < many / 2
        held.open()
        taken = pool.submit(lambda: [greedy.reply() for _ in range(1 + many)])
        sending.result()
        assert None not in taken.result()


@pytest.mark.parametrize("target", ["/livez", "/nothing", "/metrics"])
def test_who_sends_no_more_is_answered(live: LiveServer, target: str) -> None:
    """What waits for nothing, at least: uvicorn leaves with its client."""
    for _ in range(5):
        with wire.connect(live.client) as connection:
            connection.send(wire.request("GET", target))
            connection.connection.shutdown(socket.SHUT_WR)
            assert connection.reply() is not None


def chunked(body: bytes, piece: int) -> bytes:
    """Return a request whose body comes in so long pieces."""
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces)
    head = b"POST /embed HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + chunks + b"0\r\n\r\n"


@pytest.mark.parametrize("piece", [1, 7, 10**9])
def test_a_body_is_the_same_in_whatever_pieces_it_comes(live: LiveServer, piece: int) -> None:
    whole, in_pieces = wire.request("POST", "/embed", SHORT), chunked(SHORT, piece)
    with wire.connect(live.client) as connection:
        for sent in (whole, in_pieces, whole):
            connection.send(sent)
        replies = [connection.reply() for _ in range(3)]
    assert [reply.status for reply in replies if reply is not None] == [200, 200, 200]
    assert len({reply.body for reply in replies if reply is not None}) == 1


def test_a_body_in_two_halves_is_one(live: LiveServer) -> None:
    sent = wire.request("POST", "/embed", LONG)
    with wire.connect(live.client) as connection:
        connection.send(sent[:-1000])
        assert live.client.get("/livez").is_success  # by when the first half has been read
        connection.send(sent[-1000:])
        reply = connection.reply()
    assert reply is not None
    assert reply.status == 200
