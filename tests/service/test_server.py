"""The process: it says where to look, drains on SIGTERM, and refuses wrong settings."""

import io
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from model_store.store import ModelStore
from model_store.variants import MixerConfig
from service.app import create_app
from service.engine import Engine
from service.server import Server
from service.settings import Settings
from tests.models import random_checkpoint
from tests.service.live import server_process

# Enough arithmetic that requests are in flight when the signal comes.
SLOW = MixerConfig(
    image_size=96,
    patch_size=4,
    width=48,
    depth=6,
    token_mlp_width=96,
    channel_mlp_width=160,
    num_classes=6,
)
REQUESTS, IMAGES = 6, 40


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("frontends", [1, 2])
def test_sigterm_answers_what_was_accepted_and_exits_0(frontends: int, tmp_path: Path) -> None:
    """The delay lets every request reach the server; the queue is still full when it ends."""
    store = ModelStore(str(tmp_path / "store"))
    store.publish("slow", random_checkpoint(SLOW))
    log, images = tmp_path / "log", [("image", png(seed)) for seed in range(IMAGES)]
    settings = {"store": store.root, "models": "slow", "buckets": "1", "drain_delay_ms": 3000}
    with (
        server_process(log, frontends=frontends, **settings) as (process, url),
        httpx.Client(base_url=url, timeout=120) as client,
        ThreadPoolExecutor(REQUESTS) as pool,
    ):
        expected = classes(client.post("/classify", files=images))
        answers = [pool.submit(client.post, "/classify", files=images) for _ in range(REQUESTS)]
        process.send_signal(signal.SIGTERM)
        assert [classes(answer.result()) for answer in answers] == [expected] * REQUESTS
        assert process.wait(60) == 0
    assert "Traceback" not in log.read_text()


def classes(response: httpx.Response) -> list[list[int]]:
    """Return each image's classes in their order; scores vary by rounding."""
    assert response.status_code == 200, response.text
    return [[p["class_id"] for p in r["predictions"]] for r in response.json()["results"]]


@pytest.mark.parametrize("frontends", [1, 2])
def test_readiness_goes_off_before_the_socket_closes(frontends: int, tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path / "store"))
    store.publish("tiny", random_checkpoint())
    settings = {"store": store.root, "models": "tiny", "buckets": "1", "drain_delay_ms": 60_000}
    with (
        server_process(tmp_path / "log", frontends=frontends, **settings) as (process, url),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        assert "Connection" not in client.get("/readyz").headers
        process.send_signal(signal.SIGTERM)
        while (unready := client.get("/readyz")).status_code == 200:
            pass
        assert unready.json()["reasons"] == {"server": "draining"}
        for _ in range(2):  # each is asked to come back by another connection, and is answered
            answer = client.post("/classify", content=png(1))
            assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        process.send_signal(signal.SIGTERM)  # the second one ends the wait
        process.wait(60)


@pytest.mark.parametrize(("keep_alive_ms", "kept_s"), [(1, 1), (60_001, 61)])
def test_idle_connections_are_kept_as_long_as_is_set(keep_alive_ms: int, kept_s: int) -> None:
    settings = Settings(keep_alive_ms=keep_alive_ms)
    server = Server(create_app(settings, Engine(settings)), settings)
    assert server.config.timeout_keep_alive == kept_s


def test_idle_connections_are_kept_longer_than_proxies_keep_them() -> None:
    """60 s is what nginx and the load balancers of AWS do unless told otherwise."""
    assert Settings().keep_alive_ms > 60_000


def test_a_wrong_setting_stops_the_start_with_one_line() -> None:
    command = [sys.executable, "-m", "service", "serve", "--port", "seventy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "MIXER_PORT='seventy'" in done.stderr


def test_an_unreadable_file_of_keys_stops_the_start_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    command = [sys.executable, "-m", "service", "serve", "--api-keys-file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"MIXER_API_KEYS_FILE='{file}': the file cannot be read" in done.stderr


def test_a_taken_admin_port_stops_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "service", "serve", "--port", "0", "--admin-port", port]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_setting_with_its_environment_variable() -> None:
    command = [sys.executable, "-m", "service", "serve", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "MIXER_MAX_BODY_BYTES" in done.stdout
    assert "--golden-tolerance" in done.stdout
