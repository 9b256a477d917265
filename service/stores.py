"""Where versions are found and opened: in the configured store, else among the embedded ones."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from model_store.errors import NotFound
from model_store.names import VersionRef, parse_reference
from model_store.store import ModelStore
from model_store.version_files import VersionFiles
from service.settings import Settings

log = logging.getLogger("mixer.models")

BUILTIN_ROOT = Path(__file__).parent.parent / "model_store" / "builtin"


class Stored(NamedTuple):
    """A version, and the store that it lies in."""

    store: ModelStore
    version: VersionRef


class Opening(NamedTuple):
    """What opening a version gives: its files soon, and later whether they are as published."""

    files: Future[VersionFiles]
    checked: Future[None]


class _Ahead(NamedTuple):
    stored: Stored
    files: VersionFiles


class Stores:
    """The configured store, which may be absent, and the embedded versions.

    Versions are read on one thread, in turn, and compared with their digests on another: for a
    large model that takes a core about as long as importing the service takes another one.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._embedded = ModelStore(str(BUILTIN_ROOT))
        self._reader, self._checker = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "check")
        self._ahead: _Ahead | None = None

    def locate(self, reference: str, served: Stored | None) -> Stored:
        """Return the version that the reference means now.

        Looked up in the configured store, else among the embedded versions. What is `served` for
        it stays when it cannot move, or the store does not know the reference any more.

        Raises:
            StoreError: there is no such version, or the store could not be read.
        """
        found = self._locate(reference, served)
        if served is None and found.store is self._embedded and self._configured is not None:
            log.info("%s is not in the store, but among the embedded", reference)
        return found

    def open_ahead(self) -> None:
        """Begin to open what will be loaded first, while the service is still being imported."""
        self._reader.submit(self._read_first)

    def open(self, stored: Stored) -> Opening:
        """Begin to open a version, or go on with it: see `ModelStore.read`."""
        files = self._reader.submit(self._read, stored)
        return Opening(files, self._checker.submit(lambda: files.result().check()))

    def close(self) -> None:
        """End the threads without waiting for what they are doing."""
        for thread in (self._reader, self._checker):
            thread.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def _configured(self) -> ModelStore | None:
        root, cache_dir = self._settings.store, self._settings.cache_dir
        return None if root is None else ModelStore(root, cache_dir=cache_dir.expanduser())

    def _locate(self, reference: str, served: Stored | None) -> Stored:
        _, selector = parse_reference(reference)
        if served is not None and isinstance(selector, int):
            return served
        if self._configured is not None:
            with suppress(NotFound):
                return Stored(self._configured, self._configured.resolve(reference))
        return served or Stored(self._embedded, self._embedded.resolve(reference))

    def _read_first(self) -> None:
        with suppress(Exception):  # who loads it will meet it again, and tell
            stored = self._locate(self._settings.models[0], None)
            files = stored.store.read(stored.version)
            self._checker.submit(files.check)
            self._ahead = _Ahead(stored, files)

    def _read(self, stored: Stored) -> VersionFiles:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.stored == stored:
            return ahead.files
        return stored.store.read(stored.version)
