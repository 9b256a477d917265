"""Local copies of another store's versions, checked on every use."""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_store.bucket import Bucket
from model_store.contents import (
    CLAIM_FILE,
    MANIFEST_FILE,
    claim_content,
    difference,
    find_damage,
    measure,
)
from model_store.errors import Corrupt, NotFound, StoreError
from model_store.manifest import FileRecord, parse_manifest
from model_store.names import VersionRef


def folder_of(root: str, cache_dir: Path) -> Path:
    """Return where copies from one store are kept: two stores may have models of one name."""
    return cache_dir / hashlib.sha256(root.encode()).hexdigest()[:16]


class VersionCache:
    """A folder of versions of one other store, laid out as a store itself.

    An entry is trusted only after its manifest has been compared with the store's and every file
    with its digest; so entries need no flush to the disk, and a damaged one is fetched again.
    Nothing is evicted: the folder may be removed as a whole while no process is fetching.
    """

    def __init__(self, folder: Path, source: Bucket) -> None:
        """Keep copies of `source` beneath `folder`; two stores need two folders."""
        self._folder = folder.absolute()
        self._copies = Bucket(str(self._folder))
        self._source = source

    def fetch(self, ref: VersionRef, manifest_json: bytes) -> Path:
        """Return the folder of a whole and verified copy, downloading it where needed.

        Args:
            ref: the version.
            manifest_json: what the store says of it now.

        Raises:
            Corrupt: the store's own files differ from the manifest.
            StoreError: the cache's folder cannot be written.
        """
        entry = self._folder / ref.folder
        try:
            with self._only_one_fetches(entry):
                if not self._is_whole(ref, manifest_json):
                    self._download(ref, manifest_json, entry)
        except OSError as error:
            msg = f"cannot keep a copy of {ref}: {error}"
            raise StoreError(msg) from error
        return entry

    def _is_whole(self, ref: VersionRef, manifest_json: bytes) -> bool:
        expected = {MANIFEST_FILE: manifest_json, CLAIM_FILE: claim_content(manifest_json)}
        try:
            if any(self._copies.get(f"{ref.folder}/{n}") != data for n, data in expected.items()):
                return False
        except NotFound:
            return False
        manifest = parse_manifest(manifest_json, name=str(ref))
        return not find_damage(self._copies, ref.folder, manifest)

    def _download(self, ref: VersionRef, manifest_json: bytes, entry: Path) -> None:
        partial = entry.with_name(f"{entry.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
        try:
            for name, expected in parse_manifest(manifest_json, name=str(ref)).files.items():
                self._download_file(ref, name, expected, partial / name)
            (partial / MANIFEST_FILE).write_bytes(manifest_json)
            (partial / CLAIM_FILE).write_bytes(claim_content(manifest_json))
            shutil.rmtree(entry, ignore_errors=True)
            partial.rename(entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _download_file(
        self, ref: VersionRef, name: str, expected: FileRecord, target: Path
    ) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("wb") as file:
                found = measure(self._source.chunks(f"{ref.folder}/{name}"), copy_to=file)
            damage = difference(name, expected=expected, found=found)
        except NotFound:
            damage = f"{name} is missing"
        if damage:
            msg = f"{ref} in {self._source.root}: {damage}"
            raise Corrupt(msg)

    @contextmanager
    def _only_one_fetches(self, entry: Path) -> Iterator[None]:
        """Let one process at a time look at an entry; the kernel frees a killed one's lock."""
        entry.parent.mkdir(parents=True, exist_ok=True)
        with entry.with_name(f"{entry.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
