"""The command line without Ray: what is refused before it starts, and what needs it no more."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.batch.__main__ import main
from deploy.batch.job import SUCCESS_FILE
from deploy.batch.parts import Part, part_name


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.txt"):
        (folder / name).write_bytes(b"never read here")
    return folder


def run(images: Path, *options: str, model: str = "cifar10-mixer@1") -> int:
    output = images.parent / "out"
    given = ["--input", str(images), "--output", str(output), "--model", model, *options]
    return main(given)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--task=embed", "--top-k=3"), "--top-k is for --task classify"),
        (("--task=classify", "--normalize"), "--normalize is for --task embed"),
        (("--task=classify", "--top-k=11"), "--top-k 11: allowed is 1 to 10"),
        (("--task=embed", "--suffix=.gif"), "there is no file that ends with .gif beneath"),
        (("--task=embed", "--store=ftp://x"), "'ftp://x' is neither a path nor an s3://"),
    ],
)
def test_it_is_refused_in_one_line(
    images: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(images, *options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("batch: ")
    assert said in line
    assert not (images.parent / "out").exists()


def test_no_such_input(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(images / "nowhere", "--task=embed") == 1
    assert f"batch: there is no file beneath {images}/nowhere\n" == capsys.readouterr().err


def test_no_such_model(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(images, "--task=embed", model="cifar10-mixer@77") == 1
    assert "there is no cifar10-mixer@77" in capsys.readouterr().err


def test_a_wrong_setting_is_wrong_usage(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIXER_PRECISION", "float8")
    assert run(images, "--task=embed") == 2
    assert "MIXER_PRECISION='float8'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--part-images=0", "--workers=-1", "--top-k=many"])
def test_numbers_are_checked(images: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(images, "--task=embed", option)
    assert option.partition("=")[0] in capsys.readouterr().err


def test_a_job_whose_parts_are_all_there_needs_no_ray(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("deploy.batch.__main__._compute", write_parts)
    options = ("--task=embed", "--suffix=.png", "--part-images=1")
    assert run(images, *options) == 0
    assert "2 images in 2 parts, of which 2 are to compute" in capsys.readouterr().err
    assert (images.parent / "out" / SUCCESS_FILE).exists()
    monkeypatch.undo()
    assert run(images, *options) == 0
    assert "of which 0 are to compute" in capsys.readouterr().err


def write_parts(_: object, parts: Sequence[Part], worker: dict[str, str]) -> None:
    for part in parts:
        Path(worker["output"], part_name(part.number)).write_bytes(b"a part")
