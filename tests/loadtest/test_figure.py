import json
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree as ET

from loadtest.figure import main
from loadtest.result import summarise
from loadtest.sample import Sample


def test_the_picture_is_an_svg_that_names_the_most(tmp_path: Path) -> None:
    answered = [Sample(i / 10, done_s=i / 10 + 0.02, status=200) for i in range(10)]
    refused = [Sample(i / 10, done_s=i / 10 + 0.02, status=429) for i in range(30)]
    runs = [
        summarise(samples, mode="open", duration_s=2, limit_s=0.5, cpu_s=0)
        for samples in (answered, answered + refused, refused)
    ]
    file, picture = tmp_path / "runs.json", tmp_path / "picture.svg"
    file.write_text(json.dumps([asdict(run) for run in runs]))
    assert main([str(file), str(picture)]) == 0
    assert ET.parse(picture).getroot().tag.endswith("svg")
    assert "at most 5 answers per second within 500 ms" in picture.read_text()
    first = picture.read_bytes()
    assert main([str(file), str(picture)]) == 0
    assert picture.read_bytes() == first
