"""A version's content before it is published: a manifest, and the files that it lists."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from model_store.contents import CLAIM_FILE, MANIFEST_FILE
from model_store.errors import Corrupt, InvalidManifest
from model_store.manifest import Manifest, record

# What every file system and object store keeps as it is.
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


@dataclass(frozen=True)
class Checkpoint:
    """A manifest and the bytes of every file that it lists.

    Raises:
        InvalidManifest: a file's name is not allowed, or is one that the store itself uses.
        Corrupt: the files are not those that the manifest lists.
    """

    manifest: Manifest
    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        for name in self.files:
            if not _FILE_NAME.fullmatch(name) or name in (MANIFEST_FILE, CLAIM_FILE):
                msg = f"a version's file cannot be called {name!r}"
                raise InvalidManifest(msg)
        found = {name: record(data) for name, data in self.files.items()}
        listed = self.manifest.files
        if wrong := [name for name in found | listed if found.get(name) != listed.get(name)]:
            msg = f"not as the manifest lists them: {', '.join(sorted(wrong))}"
            raise Corrupt(msg)
