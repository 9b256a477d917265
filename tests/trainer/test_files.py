from pathlib import Path

import pytest

from trainer.files import write_atomically


def test_content_replaces_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    for content in ("a longer first text\n", "gelée\n"):
        write_atomically(file, content)
    assert file.read_bytes() == "gelée\n".encode()
    assert [*tmp_path.iterdir()] == [file]


def test_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_atomically(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(file, "new \ud800")
    assert file.read_text() == "old"
    assert [*tmp_path.iterdir()] == [file]
