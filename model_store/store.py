"""The model store: publish (atomic), resolve, verify, list and delete versions of models.

Beneath the root, a local folder or an object store:

    <model>/<version>/claim               put first, where nothing is: takes the number
    <model>/<version>/params.safetensors  and the other files that the manifest lists
    <model>/<version>/manifest.json       put last: the version exists from here on
    <model>/aliases/<alias>               a version number; moved by one put

There are no locks: each step is one atomic put, so a reader, or a crash between any two steps,
finds the state before or the state after. The claim holds the SHA-256 of the manifest, and the
manifest that of every file: a change to any one file is found.
"""

from pathlib import Path

from model_store.aliases import Aliases, check_settable
from model_store.bucket import Bucket
from model_store.cache import VersionCache, folder_of
from model_store.checkpoint import Checkpoint
from model_store.contents import CLAIM_FILE, MANIFEST_FILE, claim_content, find_damage
from model_store.errors import AlreadyExists, Corrupt, NotFound, StoreError
from model_store.manifest import Manifest, parse_manifest
from model_store.names import (
    LATEST,
    PRODUCTION,
    VersionRef,
    check_model_name,
    parse_path,
    parse_reference,
)
from model_store.version_files import VersionFiles

__all__ = ["ModelStore", "VersionRef"]


class ModelStore:
    """Versions of models beneath one root: a path, or an `s3://` or `gs://` URL.

    A version never changes and its number is never used again, not even after its deletion.
    """

    def __init__(self, root: str, *, cache_dir: Path | None = None) -> None:
        """Name the store; nothing is read or written yet.

        Args:
            root: a local folder, made by the first publish, or a URL.
            cache_dir: where verified copies of a remote store's versions are kept (default:
                `~/.cache/mixer`). A local store needs none.

        Raises:
            StoreError: the root is neither a path nor a URL of a known kind.
        """
        self._bucket = Bucket(root)
        self._aliases = Aliases(self._bucket)
        self._cache_dir = cache_dir
        self.root = self._bucket.root

    def publish(self, model: str, checkpoint: Checkpoint, alias: str | None = None) -> VersionRef:
        """Add a version under the next free number, then point `alias` at it.

        Raises:
            InvalidName: the model's or the alias's name is not allowed; nothing was written.
            StoreError: the storage refused. The version is there whole or not at all; the alias
                may not have moved.
        """
        check_model_name(model)
        if alias is not None:
            check_settable(alias)
        manifest_json = checkpoint.manifest.to_json()
        ref = self._claim(model, claim_content(manifest_json))
        for name, data in checkpoint.files.items():
            self._bucket.put(f"{ref.folder}/{name}", data)
        self._commit(ref, manifest_json)
        if alias is not None:
            self.set_alias(alias, ref)
        return ref

    def resolve(self, reference: str) -> VersionRef:
        """Return the version that `name@3`, `name@alias`, `name@latest` or `name` means now.

        A bare name means the alias `production` where it is set, else the latest version.

        Raises:
            InvalidName: the text is no reference.
            NotFound: no such model, version or alias.
        """
        model, selector = parse_reference(reference)
        if isinstance(selector, int):
            return self._existing(VersionRef(model, selector))
        if selector != LATEST and (version := self._aliases.get(model, selector or PRODUCTION)):
            return self._existing(VersionRef(model, version))
        if selector in (None, LATEST):
            return self.list(model)[-1]
        msg = f"{model} has no alias {selector} in {self.root}"
        raise NotFound(msg)

    def manifest(self, ref: VersionRef) -> Manifest:
        """Return what a version says of itself.

        Raises:
            NotFound: no such version.
            Corrupt: the manifest is not the one that was published.
            InvalidManifest: it is, but this program does not understand it.
        """
        return parse_manifest(self.manifest_json(ref), name=str(ref))

    def manifest_json(self, ref: VersionRef) -> bytes:
        """Return the manifest's bytes, after a comparison with the claim; raises as `manifest`."""
        self._existing(ref)
        manifest_json = self._bucket.get(f"{ref.folder}/{MANIFEST_FILE}")
        try:
            claim = self._bucket.get(f"{ref.folder}/{CLAIM_FILE}")
        except NotFound:
            claim = b""
        if claim != claim_content(manifest_json):
            msg = f"{ref} in {self.root}: {MANIFEST_FILE} is not the one that was published"
            raise Corrupt(msg)
        return manifest_json

    def open(self, ref: VersionRef) -> Path:
        """Return a local folder with the version's files, after a check of every byte.

        Raises:
            NotFound: no such version.
            Corrupt: a file is not as it was published.
            StoreError: the storage does not answer, or the cache cannot be written.
        """
        if (folder := self._folder(ref)) is not None:
            self.verify(ref)
            return folder
        cache_dir = self._cache_dir or Path.home() / ".cache" / "mixer"
        cache = VersionCache(folder_of(self.root, cache_dir), self._bucket)
        return cache.fetch(ref, self.manifest_json(ref))

    def read(self, ref: VersionRef) -> VersionFiles:
        """Return a version's files in memory; those of a local store are not compared yet.

        Those of a remote store are fetched and compared as by `open`.

        Raises:
            NotFound: no such version.
            Corrupt: a file cannot be read, or is not as it was published.
            StoreError: the storage does not answer, or the cache cannot be written.
        """
        manifest, name = self.manifest(ref), f"{ref} in {self.root}"
        if (folder := self._folder(ref)) is None:
            return VersionFiles(self.open(ref), manifest, name, found=None)
        found = {path.removeprefix(f"{ref.folder}/") for path in self._bucket.paths(ref.folder)}
        return VersionFiles(folder, manifest, name, found)

    def verify(self, ref: VersionRef) -> Manifest:
        """Read every file of a version where it is stored and compare it with its digest.

        Raises:
            NotFound: no such version.
            Corrupt: names every file that is damaged, missing or not of this version.
        """
        manifest = self.manifest(ref)
        if damage := find_damage(self._bucket, ref.folder, manifest):
            msg = f"{ref} in {self.root}: {'; '.join(damage)}"
            raise Corrupt(msg)
        return manifest

    def list(self, model: str | None = None) -> tuple[VersionRef, ...]:
        """Return every version, of one model or of all, in order.

        Raises:
            NotFound: there is no store, or no version of the model that is asked for.
        """
        prefix = check_model_name(model) if model else ""
        parsed = [parse_path(path) for path in self._bucket.paths(prefix)]
        versions = tuple(
            sorted(found[0] for found in parsed if found and found[1] == MANIFEST_FILE)
        )
        if model and not versions:
            msg = f"there is no model {model} in {self.root}"
            raise NotFound(msg)
        return versions

    def aliases(self, model: str) -> dict[str, int]:
        """Return each alias of a model, the computed `latest` too, and its version number.

        Raises:
            NotFound: no such model.
        """
        return {**self._aliases.get_all(model), LATEST: self.list(model)[-1].version}

    def set_alias(self, alias: str, ref: VersionRef) -> None:
        """Point an alias at a version, at once for every reader.

        Raises:
            InvalidName: the name is not allowed, or is `latest`, which is always computed.
            NotFound: no such version.
        """
        self._aliases.put(alias, self._existing(ref))

    def remove_alias(self, model: str, alias: str) -> None:
        """Remove an alias; its version stays.

        Raises:
            NotFound: no such alias.
        """
        self._aliases.remove(model, alias)

    def delete(self, ref: VersionRef, *, unfinished: bool = False) -> None:
        """Remove a version for good; its number stays taken.

        An alias set at the same moment may be left pointing at nothing: resolving it says so.

        Args:
            ref: the version.
            unfinished: remove what a crash in publish or delete left of a version that readers
                do not see. Its publisher must not be running any more.

        Raises:
            NotFound: no such version, or nothing left of it.
            StoreError: an alias points at it.
        """
        aliases = self._aliases.get_all(ref.model)
        if pointing := [name for name, version in aliases.items() if version == ref.version]:
            msg = f"{ref} is in use: move or remove its alias {', '.join(pointing)} first"
            raise StoreError(msg)
        if not unfinished:
            self._existing(ref)
        claim, manifest = f"{ref.folder}/{CLAIM_FILE}", f"{ref.folder}/{MANIFEST_FILE}"
        files = [path for path in self._bucket.paths(ref.folder) if path != claim]
        if not files:
            msg = f"nothing is left of {ref} in {self.root}"
            raise NotFound(msg)
        # The manifest goes first: from then on no reader sees the version.
        for path in sorted(files, key=lambda path: path != manifest):
            self._bucket.delete(path)

    def _folder(self, ref: VersionRef) -> Path | None:
        """Return where a local store has the version's files, as they are; None for a remote."""
        return self._bucket.folder and self._bucket.folder / ref.folder

    def _claim(self, model: str, content: bytes) -> VersionRef:
        """Take the next number: of two publishers that try the same one, one goes on to the next.

        A publisher that dies here or later leaves its number unused.
        """
        version = self._highest_number(model) + 1
        while not self._bucket.create(f"{model}/{version}/{CLAIM_FILE}", content):
            version += 1
        return VersionRef(model, version)

    def _highest_number(self, model: str) -> int:
        try:
            paths = self._bucket.paths(model)
        except NotFound:  # the very first publish makes the store
            return 0
        return max((found[0].version for path in paths if (found := parse_path(path))), default=0)

    def _commit(self, ref: VersionRef, manifest_json: bytes) -> None:
        path = f"{ref.folder}/{MANIFEST_FILE}"
        # A retry after a lost answer finds the manifest that it has put itself.
        if not self._bucket.create(path, manifest_json) and self._bucket.get(path) != manifest_json:
            msg = f"{ref} in {self.root} was published by another program"
            raise AlreadyExists(msg)

    def _existing(self, ref: VersionRef) -> VersionRef:
        if not self._bucket.exists(f"{ref.folder}/{MANIFEST_FILE}"):
            msg = f"there is no {ref} in {self.root}"
            raise NotFound(msg)
        return ref
