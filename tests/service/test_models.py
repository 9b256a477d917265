"""The catalog: what is served, what is refused and why, and how references find models."""

import asyncio
import json
from pathlib import Path

import pytest

from model_store.store import ModelStore
from service.errors import ModelNotFound, NotReady
from service.metrics import Metrics
from service.models import Catalog
from service.settings import load_settings
from tests.models import random_checkpoint


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(str(tmp_path / "store"))
    store.publish("one", random_checkpoint(seed=1))
    store.publish("one", random_checkpoint(seed=2), alias="production")
    store.publish("two", random_checkpoint(seed=3))
    return store


def loaded(store: ModelStore, *references: str, **settings: object) -> Catalog:
    configured = {"store": store.root, "models": references, "buckets": (1, 2), **settings}

    async def load() -> Catalog:
        catalog = Catalog(load_settings(configured), Metrics())
        await catalog.load()
        catalog.device.close()
        return catalog

    return asyncio.run(load())


def damage_golden_logits(store: ModelStore, folder: str) -> None:
    """Change what the maker is said to have computed, and sign it, as no accident could."""
    path = Path(store.root) / folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["golden"][0]["logits"][0] += 0.5
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        (None, "one@2"),
        ("one", "one@2"),
        ("one@2", "one@2"),
        ("one@production", "one@2"),
        ("one@latest", "one@2"),
        ("one@1", "one@1"),
        ("two", "two@1"),
    ],
)
def test_references_find_versions(store: ModelStore, reference: str | None, version: str) -> None:
    catalog = loaded(store, "one", "one@1", "two")
    assert str(catalog.find(reference).version) == version


@pytest.mark.parametrize("reference", ["three", "one@3", "one@staging", "@"])
def test_an_unknown_reference_is_not_found(store: ModelStore, reference: str) -> None:
    catalog = loaded(store, "two")
    with pytest.raises(ModelNotFound):
        catalog.find(reference)


def test_the_default_model_can_be_named(store: ModelStore) -> None:
    assert str(loaded(store, "one", "two", default_model="two").find(None).version) == "two@1"


def test_a_model_that_is_not_there_is_named_and_the_others_serve(store: ModelStore) -> None:
    catalog = loaded(store, "absent", "two")
    assert catalog.missing == {"absent": "there is no such model or version in the store"}
    assert str(catalog.find("two").version) == "two@1"
    with pytest.raises(NotReady):
        catalog.find("absent")


def test_a_version_with_a_changed_byte_is_refused(store: ModelStore) -> None:
    parameters = Path(store.root) / "two/1/params.safetensors"
    content = bytearray(parameters.read_bytes())
    content[-1] ^= 1
    parameters.write_bytes(content)
    catalog = loaded(store, "two")
    assert catalog.missing == {"two": "a file's size or digest is not as it was published"}


def test_a_changed_manifest_is_refused(store: ModelStore) -> None:
    damage_golden_logits(store, "two/1")
    assert "two" in loaded(store, "two").missing


def test_a_version_that_misses_its_golden_outputs_is_refused(store: ModelStore) -> None:
    """With a tolerance that no arithmetic meets, the check itself is what refuses."""
    catalog = loaded(store, "two", golden_tolerance=1e-12)
    assert "two@1 does not reproduce its golden outputs" in catalog.missing["two"]
    assert not catalog.served


def test_reasons_show_no_paths(store: ModelStore, tmp_path: Path) -> None:
    (Path(store.root) / "two/1/params.safetensors").unlink()
    assert str(tmp_path) not in loaded(store, "two").missing["two"]


def test_the_golden_deviation_is_that_of_float32(store: ModelStore) -> None:
    assert 0 <= loaded(store, "two").served[0].golden_deviation < 1e-5
