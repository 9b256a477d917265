"""Servers that the tests share, so that each network is compiled once."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from model_store.store import ModelStore, VersionRef
from tests.models import TINY, random_checkpoint
from tests.service.live import LiveServer, live_server

MANY = TINY.model_copy(update={"width": 8, "depth": 1, "num_classes": 9})
FEW = TINY.model_copy(update={"width": 6, "depth": 1, "num_classes": 3})
ODD = "0.odd_name-v1..2"

MAX_BODY_BYTES = 50_000
MAX_PIXELS = 6_000
MAX_IMAGES = 3
MAX_QUEUE_IMAGES = 4

# On a machine busy with other work a device may well be silent for seconds; and no canary meets a
# program that a test has replaced.
PATIENT = {"canary_interval_ms": 3_600_000, "default_timeout_ms": 120_000}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`alpha` in three versions, of which two are served, and models of other sizes."""
    root = tmp_path_factory.mktemp("store")
    store = ModelStore(str(root))
    store.publish("alpha", random_checkpoint(seed=1), alias="staging")
    store.publish("alpha", random_checkpoint(seed=2), alias="production")
    store.publish("alpha", random_checkpoint(seed=3))
    store.publish("many", random_checkpoint(MANY, seed=4, labels=tuple("abcdefghi")))
    store.publish(ODD, random_checkpoint(FEW, seed=5, labels=("x", "y", "z")))
    store.publish("stored", random_checkpoint(FEW, seed=6, labels=("x", "y", "z")))
    store.set_alias("blue", VersionRef("many", 1))
    return root


@pytest.fixture(scope="session")
def live(store: Path) -> Iterator[LiveServer]:
    """A server with room for everything: four networks, the default one is alpha@2.

    On XLA, which pads; the other server lets the runtimes race.
    """
    with live_server(
        store=str(store),
        models=("alpha", "alpha@1", "many", ODD),
        runtime="xla",
        buckets=(1, 4),
        **PATIENT,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def client(live: LiveServer) -> httpx.Client:
    return live.client


@pytest.fixture(scope="session")
def tight(store: Path) -> Iterator[LiveServer]:
    """A server with low limits."""
    with live_server(
        store=str(store),
        models=("alpha",),
        buckets=(1, 2),
        max_body_bytes=MAX_BODY_BYTES,
        max_image_pixels=MAX_PIXELS,
        max_images=MAX_IMAGES,
        max_queue_images=MAX_QUEUE_IMAGES,
        url_allow=("localhost", "127.0.0.1"),
        **PATIENT,
    ) as server:
        yield server
