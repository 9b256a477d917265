import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_store.bucket import Bucket
from model_store.errors import Corrupt, NotFound, StoreError
from model_store.manifest import PARAMETERS_FILE
from model_store.store import ModelStore, VersionRef
from tests.model_store.versions import GOLDEN_FILE, version

REF = VersionRef("m", 1)


@pytest.fixture
def store(s3_root: str, tmp_path: Path) -> ModelStore:
    store = ModelStore(s3_root, cache_dir=tmp_path)
    assert store.publish("m", version(b"weights")) == REF
    return store


@pytest.fixture
def downloads(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The remote files that were read, in order."""
    read: list[str] = []
    chunks = Bucket.chunks

    def count(bucket: Bucket, path: str) -> Iterator[bytes]:
        if bucket.folder is None:
            read.append(path)
        return chunks(bucket, path)

    monkeypatch.setattr(Bucket, "chunks", count)
    return read


def test_a_version_is_downloaded_once(store: ModelStore, downloads: list[str]) -> None:
    folder = store.open(REF)
    assert store.open(REF) == folder
    assert downloads == [f"m/1/{PARAMETERS_FILE}", f"m/1/{GOLDEN_FILE}"]
    assert (folder / PARAMETERS_FILE).read_bytes() == b"weights"


@pytest.mark.parametrize("name", [PARAMETERS_FILE, GOLDEN_FILE, "manifest.json"])
@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_copy_is_downloaded_again(
    store: ModelStore, downloads: list[str], name: str, damage: str
) -> None:
    path = store.open(REF) / name
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[:-1] if damage == "cut" else whole[:-1] + b"?")
    downloads.clear()
    assert (store.open(REF) / name).read_bytes() == whole
    assert len(downloads) == 2


def test_a_stranger_in_a_copy_is_thrown_out(store: ModelStore) -> None:
    stranger = store.open(REF) / "extra.py"
    stranger.write_bytes(b"")
    store.open(REF)
    assert not stranger.exists()


def test_what_a_killed_download_left_does_no_harm(store: ModelStore) -> None:
    folder = store.open(REF)
    folder.rename(folder.with_name("1.partial"))
    (folder.with_name("1.partial") / "extra.py").write_bytes(b"")
    assert sorted(path.name for path in store.open(REF).iterdir()) == [
        "claim",
        "golden",
        "manifest.json",
        PARAMETERS_FILE,
    ]
    assert not folder.with_name("1.partial").exists()


@pytest.mark.parametrize("name", [PARAMETERS_FILE, GOLDEN_FILE])
def test_a_damaged_original_is_refused_and_not_kept(
    store: ModelStore, s3_root: str, tmp_path: Path, name: str
) -> None:
    original = Bucket(s3_root).get(f"m/1/{name}")
    Bucket(s3_root).put(f"m/1/{name}", b"?" + original[1:])
    with pytest.raises(Corrupt, match=f"m@1 in {s3_root}: the content of {name}"):
        store.open(REF)
    Bucket(s3_root).delete(f"m/1/{name}")
    with pytest.raises(Corrupt, match=f"m@1 in {s3_root}: {name} is missing"):
        store.open(REF)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["1.lock"]
    Bucket(s3_root).put(f"m/1/{name}", original)
    store.open(REF)


def test_a_copy_of_a_deleted_version_is_not_served(store: ModelStore) -> None:
    store.open(REF)
    store.delete(REF)
    with pytest.raises(NotFound):
        store.open(REF)


def test_a_copy_of_another_version_of_that_name_is_replaced(
    store: ModelStore, s3_root: str, tmp_path: Path
) -> None:
    store.open(REF)
    for path in Bucket(s3_root).paths():
        Bucket(s3_root).delete(path)
    ModelStore(s3_root).publish("m", version(b"another"))
    assert (store.open(REF) / PARAMETERS_FILE).read_bytes() == b"another"


def test_stores_with_the_same_names_keep_apart(
    store: ModelStore, s3_root: str, tmp_path: Path
) -> None:
    other = ModelStore(f"{s3_root}/other", cache_dir=tmp_path)
    other.publish("m", version(b"another"))
    assert other.open(REF) != store.open(REF)
    assert (other.open(REF) / PARAMETERS_FILE).read_bytes() == b"another"
    assert ModelStore(f"{s3_root}/", cache_dir=tmp_path).open(REF) == store.open(REF)


def test_several_at_once_download_once(store: ModelStore, downloads: list[str]) -> None:
    start = threading.Barrier(4)

    def fetch() -> bytes:
        start.wait()
        return (store.open(REF) / PARAMETERS_FILE).read_bytes()

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(fetch) for _ in range(4)]
        assert {future.result() for future in found} == {b"weights"}
    assert len(downloads) == 2


def test_an_opened_file_survives_the_replacement_of_its_copy(store: ModelStore) -> None:
    folder = store.open(REF)
    with (folder / PARAMETERS_FILE).open("rb") as file:
        (folder / GOLDEN_FILE).write_bytes(b"damage")
        store.open(REF)
        assert file.read() == b"weights"


def test_the_cache_may_be_removed(store: ModelStore, tmp_path: Path) -> None:
    store.open(REF)
    shutil.rmtree(tmp_path)
    store.open(REF)


def test_a_cache_that_cannot_be_written_is_said(
    store: ModelStore, s3_root: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"^cannot keep a copy of m@1: [^\n]*$"):
        ModelStore(s3_root, cache_dir=tmp_path / "file").open(REF)


def test_the_cache_is_in_the_home_folder_by_default(
    store: ModelStore, s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ModelStore(s3_root).open(REF).is_relative_to(tmp_path / ".cache" / "mixer")
