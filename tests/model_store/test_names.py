import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.errors import InvalidName
from model_store.names import (
    VersionRef,
    check_alias_name,
    check_model_name,
    parse_path,
    parse_reference,
    parse_version,
)

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
versions = st.integers(1, 999_999_999)


@settings(max_examples=30, deadline=None)
@given(names, versions)
def test_a_version_is_found_again_from_its_text_and_its_path(model: str, version: int) -> None:
    ref = VersionRef(model, version)
    assert parse_reference(str(ref)) == (model, version)
    assert parse_path(f"{ref.folder}/manifest.json") == (ref, "manifest.json")


@settings(max_examples=30, deadline=None)
@given(names)
def test_an_allowed_name_is_one_plain_segment_of_a_path(name: str) -> None:
    assert check_model_name(name) == name
    assert name not in (".", "..")
    assert "/" not in name


@pytest.mark.parametrize(
    "name", ["", "A", ".hidden", "-rf", "..", "a/b", "a@b", "a b", "a\n", "é", "a" * 65, "a\\b"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        check_model_name(name)
    with pytest.raises(InvalidName):
        check_alias_name(name)
    with pytest.raises(InvalidName):
        VersionRef(name, 1)


def test_an_alias_is_not_digits_alone_but_a_model_may_be() -> None:
    with pytest.raises(InvalidName, match="digits alone"):
        check_alias_name("7")
    assert check_alias_name("v7") == "v7"
    assert check_model_name("7") == "7"


@pytest.mark.parametrize(
    "text", ["", "0", "01", "-1", "+1", "1.0", " 1", "1\n", "\u0661", "1" * 10]
)
def test_a_version_has_one_spelling(text: str) -> None:
    assert parse_version(text) is None


@pytest.mark.parametrize("text", ["m@", "m@0", "m@01", "m@-1", "m@1@2", "@1", "m@Production"])
def test_a_reference_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        parse_reference(text)


def test_references_name_a_version_an_alias_or_neither() -> None:
    assert parse_reference("m@12") == ("m", 12)
    assert parse_reference("m@production") == ("m", "production")
    assert parse_reference("m") == ("m", None)


def test_versions_count_from_1() -> None:
    with pytest.raises(InvalidName):
        VersionRef("m", 0)


@pytest.mark.parametrize(
    "path", ["m/1", "m/aliases/production", "m/1/golden/0.png", "M/1/a", "m/01/a", "x/m/1/a"]
)
def test_other_paths_are_no_files_of_versions(path: str) -> None:
    assert parse_path(path) is None
