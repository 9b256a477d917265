"""A whole file in memory."""

from pathlib import Path

import pytest

from model_store.errors import Corrupt, NotFound
from model_store.in_memory import read_file


@pytest.mark.parametrize("size", [0, 1, 4096, 10_001])
def test_it_is_what_the_file_holds(tmp_path: Path, size: int) -> None:
    content = bytes(i % 251 for i in range(size))
    (tmp_path / "file").write_bytes(content)
    assert bytes(read_file(tmp_path / "file")) == content


def test_it_stays_when_the_file_changes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    content = read_file(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"after")
    assert bytes(content) == b"before"


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"^there is no .*/file$"):
        read_file(tmp_path / "file")


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match=r"^[^\n]+Is a directory[^\n]+$"):
        read_file(tmp_path)
