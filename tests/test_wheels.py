"""The wheels, which images are made of: nothing of the sources may be missing in them."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")


@pytest.mark.parametrize(
    ("project", "folders"), [(".", ["service", "model_store"]), ("trainer", ["trainer"])]
)
def test_a_wheel_has_every_module(tmp_path: Path, project: str, folders: list[str]) -> None:
    for folder in folders:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=LEFT_OUT)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    modules = {
        str(module.relative_to(tmp_path))
        for folder in folders
        for module in (tmp_path / folder).rglob("*.py")
    }
    assert len(modules) > 10
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    wheels = tmp_path / "wheels"
    command = [sys.executable, "-m", "pip", "wheel", *options, f"--wheel-dir={wheels}"]
    subprocess.run([*command, str(tmp_path / project)], check=True)
    (wheel,) = wheels.glob("*.whl")
    assert modules - set(zipfile.ZipFile(wheel).namelist()) == set()
