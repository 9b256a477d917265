"""A complete tiny study, through its command line."""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from trainer import command
from trainer.studies.__main__ import main

TINY = (
    *("--image-size", "8", "--steps", "6", "--batch-size", "8", "--seeds", "4"),
    *("--sizes.width", "6", "--sizes.depth", "1", "--sizes.token-mlp-width", "5"),
    *("--sizes.channel-mlp-width", "7", "--sizes.heads", "2", "--sizes.resnet-width", "3"),
    *("--optimiser.warmup-steps", "2", "--evaluated-images", "12"),
)
NETWORKS = 3


def study(root: Path, data: Path, *more: str) -> int:
    folders = ("--data.path", str(data), "--out", str(root / "out"), "--run-dir", str(root / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["studies", "data-size", *folders, *TINY, *more])
        patch.setattr(command, "keep_freed_memory", lambda: True)
        return main()


def records(root: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in (root / "run").rglob("*.json")}


def test_study_writes_its_report_and_a_second_start_trains_what_is_missing(
    tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def kept_and_trained(*shares: str) -> tuple[int, int]:
        assert study(tmp_path, data_folder, "--shares", *shares) == 0
        printed = capsys.readouterr().out
        return printed.count(" kept "), printed.count(" trained ")

    assert kept_and_trained("0.5", "1") == (0, 2 * NETWORKS)
    first = records(tmp_path)
    assert len(first) == 2 * NETWORKS

    lost, *others = sorted(first)
    lost.unlink()
    assert kept_and_trained("0.5", "0.8", "1") == (2 * NETWORKS - 1, NETWORKS + 1)
    both = records(tmp_path)
    assert len(both) == 3 * NETWORKS
    assert all(both[file] == first[file] for file in others)
    again, before = json.loads(both[lost]), json.loads(first[lost])
    for measured in ("parameters", "train", "test"):
        assert again["result"][measured] == before["result"][measured]

    check_report(tmp_path / "out")


def check_report(out: Path) -> None:
    numbers = json.loads((out / "data-size.json").read_text())
    assert numbers["command"].startswith("python -m trainer.studies data-size --data.path")
    assert [run["seed"] for run in numbers["runs"]] == [4] * 3 * NETWORKS
    assert numbers["environments"][0]["packages"]["jax"]
    settings = [run["record"]["settings"] for run in numbers["runs"]]
    assert [each["images"] for each in settings] == [15, 24, 30] * NETWORKS
    assert {each["steps"] for each in settings} == {numbers["settings"]["steps"]} == {6}

    text = (out / "data-size.md").read_text()
    for claim in numbers["claims"]:
        assert f"| {claim['sentence']} | **{claim['verdict']}** | {claim['measured']} |" in text
    for name in ("Mixer", "ResNet", "ViT"):
        assert text.count(f"| {name}, ") == 3
    drawing = ET.parse(out / "data-size.svg")
    assert drawing.getroot().tag.endswith("svg")
    held = sum(claim["held"] for claim in numbers["claims"])
    assert f"(data-size.md) | {held} of 6 |" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--seeds", "1", "1"), "seeds (1, 1): at least one, and each once"),
        (("--batch-size", "31", "--shares", "0.9", "1"), "batch_size 31 exceeds 27 images"),
        (("--shares", "1"), "shares (1.0,): at least two, rising, above 0 and at most 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(
    more: tuple[str, ...],
    message: str,
    tmp_path: Path,
    data_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert study(tmp_path, data_folder, *more) == 1
    assert capsys.readouterr().err == f"trainer: {message}\n"
    assert not (tmp_path / "out").exists()
