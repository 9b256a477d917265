import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.digests import LISTING, find_damage, write_digests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state" / "d").mkdir(parents=True)
    (tmp_path / "state" / "d" / "array").write_bytes(b"numbers")
    (tmp_path / "run").write_bytes(b"settings")
    write_digests(tmp_path)
    return tmp_path


def test_whole_folder_is_not_damaged(folder: Path) -> None:
    assert find_damage(folder) is None


def test_folder_without_a_listing_cannot_be_judged(folder: Path) -> None:
    (folder / LISTING).unlink()
    assert find_damage(folder) is None


def test_listing_is_that_of_sha256sum(folder: Path) -> None:
    digest = hashlib.sha256(b"numbers").hexdigest()
    assert f"{digest}  state/d/array\n" in (folder / LISTING).read_text()
    assert sorted(path.name for path in folder.iterdir()) == [LISTING, "run", "state"]


def flip_a_bit(folder: Path) -> None:
    (folder / "state" / "d" / "array").write_bytes(b"numbdrs")


def truncate(folder: Path) -> None:
    (folder / "state" / "d" / "array").write_bytes(b"num")


def remove(folder: Path) -> None:
    (folder / "state" / "d" / "array").unlink()


def exchange(folder: Path) -> None:
    (folder / "run").write_bytes(b"numbers")
    (folder / "state" / "d" / "array").write_bytes(b"settings")


def add(folder: Path) -> None:
    (folder / "state" / "b").write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_bit, "state/d/array is not what was written"),
        (truncate, "state/d/array is not what was written"),
        (remove, "state/d/array is missing"),
        (exchange, "run is not what was written"),
        (add, "state/b is not what was written"),
    ],
)
def test_damage_is_named(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    assert find_damage(folder) == message


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"0123"])
def test_damaged_listing_is_damage(folder: Path, content: bytes) -> None:
    (folder / LISTING).write_bytes(content)
    assert find_damage(folder) == f"{LISTING} is not what was written"


def test_each_bit_of_the_listing_counts(folder: Path) -> None:
    written = (folder / LISTING).read_bytes()
    for place in range(len(written)):
        for bit in range(8):
            damaged = bytearray(written)
            damaged[place] ^= 1 << bit
            (folder / LISTING).write_bytes(damaged)
            assert find_damage(folder) is not None, (place, bit)
