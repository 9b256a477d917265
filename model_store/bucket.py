"""The objects beneath the root of a store: in a local folder, in S3 or in Google Cloud Storage.

Everything that the store promises rests on three properties of these few operations: a put is
atomic (an object is there whole or not at all), `create` puts only where nothing is, and a
listing shows every put that has returned.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from model_store.errors import NotFound, StoreError

# One request brings this much, within the 30 s that obstore allows it on a line of 0.6 MB/s.
CHUNK_BYTES = 16 * 2**20

_SCHEMES = ("s3", "gs")
# obstore's 10, at growing intervals, leave a mistyped endpoint unexplained for a minute.
_MAX_RETRIES = 5


class Bucket:
    """Objects named by relative paths with `/`, beneath a folder or a URL.

    Credentials, region and endpoint come to obstore from the environment of the cloud's own tools
    (`AWS_*`, `GOOGLE_*`; an endpoint without TLS needs `AWS_ALLOW_HTTP=true`). `folder` is the
    local root, None for a remote one. Every operation raises `StoreError` in one line where the
    storage refuses or does not answer.
    """

    def __init__(self, root: str) -> None:
        """Name the root; a local folder need not exist before the first put."""
        scheme, is_url, _ = root.partition("://")
        if not root or (is_url and scheme not in _SCHEMES):
            msg = f"the store's root {root!r} is neither a path nor an s3:// or gs:// URL"
            raise StoreError(msg)
        self.folder = None if is_url else Path(root).absolute()
        self.root = root.rstrip("/") if is_url else str(self.folder)
        self._remote = self._connect() if is_url else None

    def get(self, path: str) -> bytes:
        """Return a small object's content.

        Raises:
            NotFound: no such object.
        """
        with self._one_line_errors(path):
            return bytes(self._objects().get(path).bytes())

    def get_up_to(self, path: str, max_bytes: int) -> bytes | None:
        """Return an object's content, or None, and nothing is read, where it has more bytes.

        Raises:
            NotFound: no such object.
        """
        with self._one_line_errors(path):
            found = self._objects().get(path)
            return bytes(found.bytes()) if found.meta["size"] <= max_bytes else None

    def chunks(self, path: str) -> Iterator[bytes]:
        """Read an object's content by `CHUNK_BYTES`: from afar in requests retried one by one.

        Raises:
            NotFound: no such object.
        """
        with self._one_line_errors(path):
            objects = self._objects()
            if self.folder:  # obstore would read files on a thread of its own, and copy
                yield from _read(self.folder / path)
                return
            size = objects.head(path)["size"]
            for start in range(0, size, CHUNK_BYTES):
                end = min(start + CHUNK_BYTES, size)
                yield bytes(objects.get_range(path, start=start, end=end))

    def exists(self, path: str) -> bool:
        """Say whether the object is there."""
        objects = self._objects()  # a store that is not there is an error of its own
        try:
            with self._one_line_errors(path):
                objects.head(path)
        except NotFound:
            return False
        return True

    def paths(self, prefix: str = "") -> list[str]:
        """List every object beneath a folder, sorted; none where there is no such folder."""
        with self._one_line_errors(prefix):
            # Chunk by chunk: of a million objects the whole records would take a gigabyte.
            listed = self._objects().list(prefix or None)
            return sorted(item["path"] for chunk in listed for item in chunk)

    def put(self, path: str, data: bytes) -> None:
        """Write an object, in the place of an earlier one."""
        with self._one_line_errors(path):
            if self.folder:
                _write(self.folder, path, data, exclusive=False)
            else:
                self._objects().put(path, data)

    def create(self, path: str, data: bytes) -> bool:
        """Write an object where there is none; False, and nothing written, where there is one."""
        try:
            with self._one_line_errors(path):
                if self.folder:
                    _write(self.folder, path, data, exclusive=True)
                else:
                    self._objects().put(path, data, mode="create")
        except _Exists:
            return False
        return True

    def delete(self, path: str) -> None:
        """Remove an object; one that is not there is no error."""
        objects = self._objects()
        try:
            with self._one_line_errors(path):
                objects.delete(path)
        except NotFound:
            return

    def _connect(self) -> ObjectStore:
        with self._one_line_errors(""):
            # Client options given here would hide those of the environment, AWS_ALLOW_HTTP too.
            return from_url(self.root, retry_config={"max_retries": _MAX_RETRIES})

    def _objects(self) -> ObjectStore:
        if self._remote is not None:
            return self._remote
        assert self.folder is not None
        if not self.folder.is_dir():
            msg = f"there is no store at {self.root}"
            raise NotFound(msg)
        return LocalStore(self.folder, automatic_cleanup=True)

    @contextmanager
    def _one_line_errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except (AlreadyExistsError, FileExistsError) as error:
            raise _Exists(path) from error
        except FileNotFoundError as error:
            msg = f"there is no {path} in {self.root}"
            raise NotFound(msg) from error
        except (BaseError, OSError, ValueError) as error:
            # The lines after the first are the Rust library's debugging output.
            msg = f"{self.root}/{path}: {str(error).partition(chr(10))[0]}"
            raise StoreError(msg) from error


class _Exists(StoreError):
    """The object to create is there already."""


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _write(root: Path, name: str, data: bytes, *, exclusive: bool) -> None:
    """Write a file so that neither a crash nor a power cut can leave half of it under its name.

    obstore's own local put does not flush to the disk. The name of the unfinished file is of the
    form that obstore's listings leave out, as those of its own unfinished files; and it begins with
    a dot, for whoever else reads whole folders.
    """
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}#{secrets.randbits(63)}")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.link(unfinished, path)
        else:
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    _flush_folders(root, path)


def _flush_folders(root: Path, path: Path) -> None:
    # Each folder on the way from the root may be new, and is then an entry of the one above.
    for folder in (each for each in path.parents if each.is_relative_to(root)):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
