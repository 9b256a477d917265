"""The catalog: how references find models, and who is told to wait."""

from pathlib import Path

import pytest

from model_store.store import ModelStore
from service.errors import ModelNotFound, NotReady
from service.models import Catalog
from tests.service.watching import loaded, version


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    store = ModelStore(str(tmp_path_factory.mktemp("store")))
    store.publish("one", version(1))
    store.publish("one", version(2), alias="production")
    store.publish("two", version(3))
    return store


@pytest.fixture(scope="module")
def catalog(store: ModelStore) -> Catalog:
    """`one` (which is version 2), `one@1` and `two`, and `absent`."""
    return loaded(store, "one", "one@1", "two", "absent")


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
def test_references_find_versions(catalog: Catalog, reference: str | None, version: str) -> None:
    assert str(catalog.find(reference).version) == version


@pytest.mark.parametrize("reference", ["three", "one@3", "one@staging", "@"])
def test_an_unknown_reference_is_not_found(catalog: Catalog, reference: str) -> None:
    with pytest.raises(ModelNotFound):
        catalog.find(reference)


def test_the_default_model_can_be_named(store: ModelStore) -> None:
    assert str(loaded(store, "one", "two", default_model="two").find(None).version) == "two@1"


def test_a_model_that_is_not_there_is_named_and_the_others_serve(catalog: Catalog) -> None:
    assert catalog.missing == {"absent": "there is no such model or version in the store"}
    assert str(catalog.find("two").version) == "two@1"
    with pytest.raises(NotReady):
        catalog.find("absent")


def test_references_to_one_version_are_served_by_one_model(store: ModelStore) -> None:
    catalog = loaded(store, "one", "one@2", "one@production")
    assert [str(model.version) for model in catalog.served] == ["one@2"]


def test_a_reason_is_news_until_it_is_known(store: ModelStore, tmp_path: Path) -> None:
    catalog = loaded(ModelStore(str(tmp_path)), "one")
    assert catalog.explain("one", "it burnt")
    assert not catalog.explain("one", "it burnt")
    assert catalog.missing == {"one": "it burnt"}
    assert catalog.explain("one", None)
    assert catalog.missing == {}
