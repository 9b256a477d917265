"""Copying versions into a folder, as an init container does before a service starts."""

from pathlib import Path

import pytest

from model_store.bucket import Bucket
from model_store.errors import Corrupt, NotFound, StoreError
from model_store.fetch import fetch_version
from model_store.manifest import PARAMETERS_FILE
from model_store.store import ModelStore, VersionRef
from tests.model_store.versions import version


@pytest.fixture
def source(store: ModelStore) -> ModelStore:
    """`m` in three versions; production is the second."""
    store.publish("m", version(b"1"), "old")
    store.publish("m", version(b"2"), "production")
    store.publish("m", version(b"3"))
    return store


@pytest.fixture
def copies(tmp_path: Path) -> ModelStore:
    return ModelStore(str(tmp_path / "copies"))


@pytest.mark.parametrize(
    ("reference", "number"),
    [("m", 2), ("m@production", 2), ("m@old", 1), ("m@1", 1), ("m@3", 3), ("m@latest", 3)],
)
def test_the_reference_means_the_same_in_the_folder(
    source: ModelStore, copies: ModelStore, reference: str, number: int
) -> None:
    ref = VersionRef("m", number)
    assert fetch_version(source, reference, Path(copies.root)) == ref
    assert copies.resolve(reference) == ref
    assert copies.verify(ref) == source.manifest(ref)
    assert (copies.open(ref) / PARAMETERS_FILE).read_bytes() == str(number).encode()


def test_the_other_versions_and_aliases_stay_behind(source: ModelStore, copies: ModelStore) -> None:
    fetch_version(source, "m@production", Path(copies.root))
    assert copies.list() == (VersionRef("m", 2),)
    assert copies.aliases("m") == {"production": 2, "latest": 2}


def test_a_moved_alias_moves_in_the_folder(source: ModelStore, copies: ModelStore) -> None:
    fetch_version(source, "m", Path(copies.root))
    source.set_alias("production", VersionRef("m", 1))
    fetch_version(source, "m", Path(copies.root))
    assert copies.resolve("m") == VersionRef("m", 1)
    assert copies.list() == (VersionRef("m", 1), VersionRef("m", 2))


@pytest.mark.parametrize("name", [PARAMETERS_FILE, "manifest.json", "claim"])
@pytest.mark.parametrize("content", [None, b"?"])
def test_a_damaged_copy_is_made_whole(
    source: ModelStore, copies: ModelStore, name: str, content: bytes | None
) -> None:
    ref = fetch_version(source, "m", Path(copies.root))
    path = Path(copies.root) / ref.folder / name
    path.unlink() if content is None else path.write_bytes(content)
    fetch_version(source, "m", Path(copies.root))
    copies.verify(ref)


def test_a_damaged_original_is_refused(source: ModelStore, copies: ModelStore) -> None:
    Bucket(source.root).put(f"m/2/{PARAMETERS_FILE}", b"?")
    with pytest.raises(Corrupt, match=r"the content of params\.safetensors"):
        fetch_version(source, "m", Path(copies.root))
    with pytest.raises(NotFound):
        copies.resolve("m")


def test_a_folder_that_cannot_be_written_is_said(source: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"^cannot keep a copy of m@2: [^\n]*$"):
        fetch_version(source, "m", tmp_path / "file")
