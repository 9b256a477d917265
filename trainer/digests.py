"""The digests of a folder's files: written into it, and compared before it is trusted.

The listing is what `sha256sum` writes, so that `sha256sum --check SHA256SUMS` reads it too.
"""

import hashlib
from pathlib import Path

LISTING = "SHA256SUMS"


def write_digests(folder: Path) -> None:
    """Write the SHA-256 of every file below `folder` into its listing, whole or not at all."""
    unfinished = folder / f"{LISTING}.tmp"
    unfinished.write_text("".join(f"{line}\n" for line in sorted(_lines(folder))))
    unfinished.rename(folder / LISTING)


def find_damage(folder: Path) -> str | None:
    """Say what differs from the listing; None where nothing does, or where there is no listing."""
    listing = folder / LISTING
    if not listing.is_file():
        return None
    # Other ends of lines than the one that was written are damage.
    recorded = set(listing.read_bytes().decode(errors="replace").removesuffix("\n").split("\n"))
    # A line that lacks its name is the listing's own damage.
    differing = sorted(line[66:] or LISTING for line in recorded ^ _lines(folder))
    if not differing:
        return None
    state = "is not what was written" if (folder / differing[0]).is_file() else "is missing"
    return f"{differing[0]} {state}"


def _lines(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent / LISTING != path)
    return {f"{_sha256(path)}  {path.relative_to(folder)}" for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
