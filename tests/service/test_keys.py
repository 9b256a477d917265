"""The list of keys: its form, whom it lets in, and how it follows its file."""

import hmac
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import Forbidden, Unauthenticated
from service.keys import ApiKeys, InvalidKeys

TOKENS = st.from_regex(r"[A-Za-z0-9._~+/-]{1,40}={0,2}", fullmatch=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text("ann: first-key\nbob:second/key==\n")
    return file


def test_names_comments_and_blank_lines_are_understood(file: Path) -> None:
    file.write_bytes("# of März\r\n\r\n ann : a1  # until May\r\nb2\r\n\tbob:c3".encode())
    keys = ApiKeys(file)
    assert [keys.caller([key]) for key in ("a1", "b2", "c3")] == ["ann", "unnamed", "bob"]
    for none in ("ann", "ann : a1", "#", "of", ""):
        with pytest.raises(Forbidden):
            keys.caller([none])


def test_one_right_key_of_several_is_enough(file: Path) -> None:
    assert ApiKeys(file).caller(["a proxy's", "second/key=="]) == "bob"


def test_no_key_is_unauthenticated_and_a_wrong_one_forbidden(file: Path) -> None:
    with pytest.raises(Unauthenticated) as unauthenticated:
        ApiKeys(file).caller([])
    assert unauthenticated.value.headers == {"WWW-Authenticate": "Bearer"}
    with pytest.raises(Forbidden) as forbidden:
        ApiKeys(file).caller(["first-kez", "ünknown"])
    assert "first" not in forbidden.value.detail


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(TOKENS, st.from_regex(r"[a-z0-9_.-]{1,9}", fullmatch=True), min_size=1))
def test_exactly_the_keys_of_the_file_are_known(
    tmp_path_factory: pytest.TempPathFactory, names: dict[str, str]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any_keys"
    file.write_text("\n".join(f"{name}: {key}" for key, name in names.items()))
    keys = ApiKeys(file)
    for key, name in names.items():
        assert keys.caller([key]) == name
        for near in {key[:-1], key + "a", key.swapcase(), f" {key}"} - names.keys():
            with pytest.raises(Forbidden):
                keys.caller([near])


@pytest.mark.parametrize("key", ["first-key", "second/key==", "third"])
def test_every_key_is_compared_whichever_fits(
    file: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Else the time would tell how far down the list a key is."""
    compared: list[int] = []
    compare = hmac.compare_digest

    def counting(a: bytes, b: bytes) -> bool:
        compared.append(len(a))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    try:
        ApiKeys(file).caller([key])
    except Forbidden:
        assert key == "third"
    assert compared == [32, 32]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no key"),
        ("# nothing yet\n\n", "holds no key"),
        ("good\nann: bob: hidden", "line 2"),
        ("hidden words", "line 1"),
        ("\n\nann:", "line 3"),
        (": hidden", "line 1"),
        ("ann smith: hidden", "line 1"),
        ("hiddén", "line 1"),
        ("hidden\0", "line 1"),
    ],
)
def test_a_wrong_file_is_refused_without_its_keys_being_told(
    file: Path, text: str, complaint: str
) -> None:
    file.write_text(text)
    with pytest.raises(InvalidKeys) as refusal:
        ApiKeys(file)
    assert complaint in str(refusal.value)
    assert "hid" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InvalidKeys, match="cannot be read: "):
            ApiKeys(path)


def test_a_secret_that_is_swapped_is_followed(tmp_path: Path) -> None:
    """As a kubelet does it: a new folder, and a symlink to it that replaces the older one."""

    def write_secret(key: str) -> None:
        folder = tmp_path / f"..{key}"
        folder.mkdir()
        (folder / "keys").write_text(key)
        (tmp_path / "..new").symlink_to(folder.name)
        (tmp_path / "..new").rename(tmp_path / "..data")

    write_secret("key1")
    (tmp_path / "keys").symlink_to("..data/keys")
    keys = ApiKeys(tmp_path / "keys")
    keys.look()
    assert keys.caller(["key1"])
    write_secret("key2")
    keys.look()
    assert keys.caller(["key2"])
    with pytest.raises(Forbidden):
        keys.caller(["key1"])


def test_a_file_rewritten_in_place_to_the_same_size_is_followed(file: Path) -> None:
    keys = ApiKeys(file)
    stat = file.stat()
    file.write_text(file.read_text().replace("first", "third"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    keys.look()
    assert keys.caller(["third-key"]) == "ann"


@pytest.mark.parametrize("text", [None, "", "two words"])
def test_a_new_file_that_is_wrong_keeps_the_old_keys_and_is_told_of_once(
    file: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ApiKeys(file)
    file.unlink()
    if text is not None:
        file.write_text(text)
    for _ in range(3):
        keys.look()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert keys.caller(["first-key"]) == "ann"
    caplog.clear()
    file.write_text("eve: new-key-of-eve")
    with caplog.at_level(logging.INFO, "mixer.keys"):
        for _ in range(2):
            keys.look()
    assert keys.caller(["new-key-of-eve"]) == "eve"
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "eve" in caplog.text
    assert "new-key" not in caplog.text
