from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection

import pytest

from loadtest.hostile import Attack, attacks, leave, send, upload_slowly
from loadtest.pictures import draw_pictures
from model_store.store import ModelStore
from tests.models import random_checkpoint
from tests.service.live import LiveServer, live_server

ATTACKS = attacks(seed=3)
PICTURE = draw_pictures(1, seed=3)[0].data


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    root = str(tmp_path_factory.mktemp("store"))
    ModelStore(root).publish("tiny", random_checkpoint(seed=1))
    with live_server(store=root, models=("tiny",), buckets=(1,)) as server:
        yield server


@pytest.fixture
def connection(live: LiveServer) -> Iterator[HTTPConnection]:
    url = live.client.base_url
    connection = HTTPConnection(url.host, url.port, timeout=60)
    yield connection
    connection.close()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_service_answers_as_documented(connection: HTTPConnection, attack: Attack) -> None:
    assert send(connection, attack) is None


def test_another_status_is_a_fault(connection: HTTPConnection) -> None:
    attack = replace(ATTACKS[0], status=200)
    assert send(connection, attack) == f"status {ATTACKS[0].status} instead of 200"


def test_a_slow_upload_is_answered(connection: HTTPConnection) -> None:
    assert upload_slowly(connection, PICTURE, pieces=3, pause_s=0) is None


def test_leaving_harms_nobody(connection: HTTPConnection, live: LiveServer) -> None:
    leave(connection, PICTURE)
    assert live.client.post("/classify", content=PICTURE).status_code == 200


def test_names_are_unique_and_the_seed_decides() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert attacks(seed=3) == ATTACKS


def test_the_documented_limits_are_what_is_broken(live: LiveServer) -> None:
    settings = live.parts.settings
    oversized = next(a for a in ATTACKS if a.name == "oversized")
    assert (oversized.announced_bytes or 0) > settings.max_body_bytes
    many = next(a for a in ATTACKS if a.name == "too many images")
    assert many.body.count(b'"AAAA"') > settings.max_images
