"""What the folder of a version must hold, and the check that it does."""

import hashlib
from collections.abc import Callable, Iterable, Set
from typing import BinaryIO

from model_store.bucket import Bucket
from model_store.errors import NotFound
from model_store.manifest import FileRecord, Manifest, record

MANIFEST_FILE = "manifest.json"
# Takes the number for one publisher, holds the SHA-256 of its manifest, and outlives a deletion.
CLAIM_FILE = "claim"

Buffer = bytes | memoryview


def claim_content(manifest_json: bytes) -> bytes:
    """Return what the claim of the version with this manifest holds."""
    return f"{record(manifest_json).sha256}\n".encode()


def measure(chunks: Iterable[Buffer], copy_to: BinaryIO | None = None) -> FileRecord:
    """Return the size and digest of a stream, writing it to a file on the way if one is given."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        if copy_to is not None:
            copy_to.write(chunk)
    return FileRecord(bytes=size, sha256=digest.hexdigest())


def difference(name: str, *, expected: FileRecord, found: FileRecord) -> str | None:
    """Return in words how a file differs from its record, or None if it does not."""
    if found.bytes != expected.bytes:
        return f"{name} has {found.bytes} bytes instead of {expected.bytes}"
    if found.sha256 != expected.sha256:
        return f"the content of {name} is not that of its SHA-256"
    return None


def find_damage(bucket: Bucket, folder: str, manifest: Manifest) -> list[str]:
    """Read every file of a version once and name, in words, each that is not as it must be."""
    return damage_of(
        {path.removeprefix(f"{folder}/") for path in bucket.paths(folder)},
        lambda name: bucket.chunks(f"{folder}/{name}"),
        manifest,
    )


def damage_of(
    found: Set[str], chunks: Callable[[str], Iterable[Buffer]], manifest: Manifest
) -> list[str]:
    """Name, in words, each of a version's files that is not as it must be.

    Args:
        found: the names of the files that are there.
        chunks: gives a file's content; raises NotFound where there is none.
        manifest: what must be there.
    """
    strangers = found - manifest.files.keys() - {MANIFEST_FILE, CLAIM_FILE}
    damage = [f"{name} is no file of this version" for name in sorted(strangers)]
    for name, expected in manifest.files.items():
        try:
            actual = measure(chunks(name))
        except NotFound:
            damage.append(f"{name} is missing")
            continue
        if words := difference(name, expected=expected, found=actual):
            damage.append(words)
    return damage
