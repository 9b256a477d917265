from pathlib import Path
from xml.etree import ElementTree as ET

from bench.plot import draw
from bench.rows import Row


def row(part: str, series: str, unit: str, at: float | None) -> Row:
    return Row(part, series, unit, (1.0, 2.0, 4.0), "command", at, "batch")


def test_each_part_with_a_curve_has_a_panel(tmp_path: Path) -> None:
    rows = [row("bounds", "device", "images/s", at) for at in (1, 8, 32)]
    rows += [row("bounds", "pipeline bound", "images/s", None)]
    rows += [row("compute", "ours", "ratio", 1), row("start", "cold", "s", None)]
    file = tmp_path / "picture.svg"
    draw(rows, file)
    text = file.read_text()
    assert ET.fromstring(text).tag.endswith("svg")
    assert "the device alone" in text
    assert "our graph over the converted" in text
    assert "pipeline bound" in text
    assert "closed loop" not in text
    first = file.read_bytes()
    draw(rows, file)
    assert file.read_bytes() == first


def test_without_a_curve_there_is_no_file(tmp_path: Path) -> None:
    draw([row("start", "cold", "s", None)], tmp_path / "picture.svg")
    assert not (tmp_path / "picture.svg").exists()
