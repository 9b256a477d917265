"""Finding and opening versions: in which store, when they are read, and on which threads."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store.errors import Corrupt, NotFound
from model_store.store import ModelStore, VersionRef
from model_store.version_files import VersionFiles
from service.settings import load_settings
from service.stores import Stores
from tests.service.watching import TIMEOUT_S, version


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(str(tmp_path / "store"))
    for model in ("one", "two"):
        store.publish(model, version(1))
    return store


@pytest.fixture
def stores(store: ModelStore) -> Iterator[Stores]:
    stores = Stores(load_settings({"store": store.root, "models": ("one", "two")}))
    yield stores
    stores.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read, in order."""
    seen: list[str] = []
    read = ModelStore.read

    def noted(store: ModelStore, ref: VersionRef) -> VersionFiles:
        seen.append(f"{ref} by {threading.current_thread().name}")
        return read(store, ref)

    monkeypatch.setattr(ModelStore, "read", noted)
    return seen


def test_the_first_model_is_read_once_and_ahead(stores: Stores, read: list[str]) -> None:
    stores.open_ahead()
    located = [stores.locate(reference, None) for reference in ("one", "two", "one")]
    for stored in located:
        opening = stores.open(stored)
        opening.checked.result(TIMEOUT_S)
        assert opening.files.result().manifest == stored.store.manifest(stored.version)
    # A version that is loaded again is read and compared again.
    assert read == ["one@1 by read_0", "two@1 by read_0", "one@1 by read_0"]


def test_the_digests_of_what_was_read_ahead_decide(stores: Stores, store: ModelStore) -> None:
    path = Path(store.root) / "one/1/params.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    stores.open_ahead()
    opening = stores.open(stores.locate("one", None))
    assert opening.files.result(TIMEOUT_S)
    with pytest.raises(Corrupt, match=r"the content of params\.safetensors"):
        opening.checked.result(TIMEOUT_S)


def test_what_could_not_be_read_ahead_is_tried_again(
    stores: Stores, store: ModelStore, read: list[str]
) -> None:
    manifest = Path(store.root) / "one/1/manifest.json"
    content = manifest.read_bytes()
    stored = stores.locate("one", None)
    manifest.unlink()
    stores.open_ahead()
    with pytest.raises(NotFound, match="there is no one@1"):
        stores.open(stored).checked.result(TIMEOUT_S)
    manifest.write_bytes(content)
    stores.open(stored).checked.result(TIMEOUT_S)
    assert len(read) == 2  # ahead there was nothing to read


def test_what_moved_meanwhile_is_opened_instead(
    stores: Stores, store: ModelStore, read: list[str]
) -> None:
    stores.open_ahead()
    stores.open(stores.locate("two", None)).checked.result(TIMEOUT_S)
    store.publish("one", version(2))
    opening = stores.open(stores.locate("one", None))
    assert opening.files.result(TIMEOUT_S).manifest == store.manifest(VersionRef("one", 2))
    assert [each.partition(" ")[0] for each in read] == ["one@1", "two@1", "one@2"]
