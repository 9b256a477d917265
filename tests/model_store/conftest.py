"""Roots of stores: a temporary folder, and a bucket in a real S3 server on loopback."""

import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from model_store.store import ModelStore

START_LIMIT_S = 60
CONNECT_INTERVAL_S = 0.1


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of moto's S3 server, a process of its own on a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            _await_listener(server, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _await_listener(server: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(round(START_LIMIT_S / CONNECT_INTERVAL_S)):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            # Waiting for the process's end is the pause between two attempts.
            with pytest.raises(subprocess.TimeoutExpired):
                server.wait(CONNECT_INTERVAL_S)
        else:
            return
    pytest.fail(f"moto_server did not listen within {START_LIMIT_S} s")


@pytest.fixture
def s3_root(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder in a new bucket, and the environment in which obstore finds it."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid.uuid4()}"
    # The server's first answer comes late: it imports its S3 only then.
    httpx.put(f"{s3_endpoint}/{bucket}", timeout=START_LIMIT_S).raise_for_status()
    return f"s3://{bucket}/models"


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The root of an empty store, of either kind."""
    if request.param == "local":
        return str(tmp_path / "models")
    s3: str = request.getfixturevalue("s3_root")
    return s3


@pytest.fixture
def store(root: str, tmp_path: Path) -> ModelStore:
    """An empty store, of either kind."""
    return ModelStore(root, cache_dir=tmp_path / "cache")
