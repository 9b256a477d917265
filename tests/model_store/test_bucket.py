import os
from pathlib import Path

import pytest

from model_store.bucket import Bucket
from model_store.errors import NotFound, StoreError


@pytest.fixture
def bucket(root: str) -> Bucket:
    bucket = Bucket(root)
    bucket.put("there", b"is a store")
    return bucket


def test_put_replaces_and_get_returns_what_was_put(bucket: Bucket) -> None:
    bucket.put("m/1/a", b"first")
    bucket.put("m/1/a", b"second")
    assert bucket.get("m/1/a") == b"second"


def test_create_writes_only_where_nothing_is(bucket: Bucket) -> None:
    assert bucket.create("m/1/claim", b"mine")
    assert not bucket.create("m/1/claim", b"theirs")
    assert bucket.get("m/1/claim") == b"mine"


def test_a_large_object_is_read_in_several_requests(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 4 * 2**20
    monkeypatch.setattr("model_store.bucket.CHUNK_BYTES", size)
    data = os.urandom(2 * size + 1)  # large enough for obstore to write it in parts, too
    bucket.put("large", data)
    chunks = list(bucket.chunks("large"))
    assert [len(chunk) for chunk in chunks] == [size, size, 1]
    assert b"".join(chunks) == data


@pytest.mark.parametrize("data", [b"", b"x"])
def test_a_small_object_is_read_whole(bucket: Bucket, data: bytes) -> None:
    bucket.put("small", data)
    assert bucket.get("small") == b"".join(bucket.chunks("small")) == data


def test_paths_lists_what_lies_beneath_a_folder_and_not_beside_it(bucket: Bucket) -> None:
    for path in ("m/1/b", "m/1/a", "m/1/golden/0", "m/10/a", "mm/1/a"):
        bucket.put(path, b"")
    assert bucket.paths("m/1") == ["m/1/a", "m/1/b", "m/1/golden/0"]
    assert bucket.paths("nothing") == []
    assert bucket.paths() == ["m/1/a", "m/1/b", "m/1/golden/0", "m/10/a", "mm/1/a", "there"]


def test_exists_and_delete(bucket: Bucket) -> None:
    bucket.put("m/1/a", b"")
    assert bucket.exists("m/1/a")
    assert not bucket.exists("m/1")
    bucket.delete("m/1/a")
    bucket.delete("m/1/a")
    assert not bucket.exists("m/1/a")


def test_what_is_missing_is_named(bucket: Bucket) -> None:
    with pytest.raises(NotFound, match=rf"^there is no m/1/a in {bucket.root}$"):
        bucket.get("m/1/a")


def test_an_unfinished_file_is_not_listed_and_not_left_behind(tmp_path: Path) -> None:
    bucket = Bucket(str(tmp_path))
    bucket.put("m/1/a", b"")
    (tmp_path / "m/1/.b#123").write_bytes(b"half of")
    assert bucket.paths() == ["m/1/a"]
    assert not bucket.create("m/1/a", b"")
    assert {path.name for path in (tmp_path / "m/1").iterdir()} == {"a", ".b#123"}


def test_file_and_folders_are_flushed_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.add(os.fstat(descriptor).st_ino))
    Bucket(str(tmp_path / "root")).put("m/1/a", b"data")
    written = [tmp_path / path for path in ("root", "root/m", "root/m/1", "root/m/1/a")]
    assert flushed == {path.stat().st_ino for path in written}


def test_a_path_that_cannot_be_is_refused_in_one_line(bucket: Bucket) -> None:
    with pytest.raises(StoreError, match=r"^[^\n]+$"):
        bucket.put("m/../a\0", b"")


def test_a_name_too_long_for_the_disk_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^[^\n]+$"):
        Bucket(str(tmp_path)).put("m/" + 300 * "a", b"")


@pytest.mark.parametrize("root", ["", "http://host/models", "file:///models", "s3://", "gs:///x"])
def test_a_root_of_no_known_kind_is_refused(root: str) -> None:
    with pytest.raises(StoreError, match=r"^[^\n]+$"):
        Bucket(root)


def test_google_cloud_storage_is_a_root() -> None:
    assert Bucket("gs://bucket/models/").root == "gs://bucket/models"


def test_the_local_root_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Bucket("models").root == str(tmp_path / "models")


def test_a_local_root_that_is_not_there_is_said(tmp_path: Path) -> None:
    bucket = Bucket(str(tmp_path / "models"))
    for read in (bucket.get, bucket.exists, bucket.paths, bucket.delete):
        with pytest.raises(NotFound, match=r"^there is no store at .*/models$"):
            read("m")


def test_a_file_in_the_place_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        Bucket(str(tmp_path / "file")).put("m/1/a", b"")


def test_an_object_is_read_up_to_a_size(bucket: Bucket) -> None:
    bucket.put("m/1/a", b"seven b")
    assert bucket.get_up_to("m/1/a", 7) == b"seven b"
    assert bucket.get_up_to("m/1/a", 6) is None
    with pytest.raises(NotFound):
        bucket.get_up_to("m/1/b", 7)
