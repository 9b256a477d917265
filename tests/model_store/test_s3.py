"""What only a remote store has: its server's refusals."""

import socket

import pytest

from model_store.bucket import Bucket
from model_store.errors import NotFound, StoreError
from model_store.store import ModelStore


def test_a_bucket_that_is_not_there_is_refused(s3_root: str) -> None:
    bucket = Bucket("s3://no-such-bucket/models")
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/models/: .*404[^\n]*$"):
        bucket.paths()
    with pytest.raises(NotFound):
        bucket.get("m/1/claim")
    with pytest.raises(StoreError):
        bucket.create("m/1/claim", b"")


def test_a_server_that_does_not_answer_is_refused(
    s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr("model_store.bucket._MAX_RETRIES", 1)
        with pytest.raises(StoreError, match=r"^s3://[^\n]+$") as refusal:
            ModelStore(s3_root).list()
    assert not isinstance(refusal.value, NotFound)


def test_a_plain_http_endpoint_must_be_allowed(
    s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(StoreError):
        Bucket(s3_root).paths()
