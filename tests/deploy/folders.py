"""What lies in a folder of an image, or of a volume."""

import subprocess
from pathlib import Path


def installed(root: Path) -> set[str]:
    found = (root / "opt/mixer/lib").glob("python3*/site-packages/*.dist-info")
    return {folder.name.partition("-")[0].lower() for folder in found}


def size_mib(folder: Path) -> int:
    told = subprocess.run(
        ["du", "--summarize", "--one-file-system", "--block-size=1M", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(told.stdout.split()[0])


def written(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the size and the time of change of every file."""
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (each.st_size, each.st_mtime_ns) for path, each in found.items()}
