"""The files of one version, each read once: what is compared with its digest is what is used."""

from collections.abc import Set
from functools import cached_property
from pathlib import Path

import numpy as np

from model_store.contents import damage_of
from model_store.errors import Corrupt, NotFound
from model_store.in_memory import read_file
from model_store.manifest import PARAMETERS_FILE, Manifest
from model_store.parameters import parse_parameters


class VersionFiles:
    """What lies in the folder of a version, in memory; `check` says whether it is as published.

    A file that is missing is told by whoever asks for it.
    """

    def __init__(self, folder: Path, manifest: Manifest, name: str, found: Set[str] | None) -> None:
        """Read all that the manifest lists.

        Args:
            folder: where the files are.
            manifest: which there must be.
            name: of the version, for messages.
            found: which there are; None where all have been compared with their digests already.

        Raises:
            Corrupt: a file cannot be read.
        """
        self.manifest = manifest
        self._folder, self._name, self._found = folder, name, found
        there = manifest.files if found is None else found & manifest.files.keys()
        self._files = {file: read_file(folder / file) for file in there}

    def __getitem__(self, name: str) -> memoryview:
        """Return a file's content.

        Raises:
            NotFound: it is not there.
        """
        if name not in self._files:
            msg = f"{self._name} has no file {name}"
            raise NotFound(msg)
        return self._files[name]

    def parameters(self) -> dict[str, np.ndarray]:
        """Return names and arrays, which share the memory of what was read.

        Raises:
            NotFound: they are not there.
            Corrupt: see `parse_parameters`.
        """
        return parse_parameters(self._folder / PARAMETERS_FILE, self[PARAMETERS_FILE])

    def check(self) -> None:
        """Compare every file with its digest, the first time.

        Raises:
            Corrupt: names every file that is damaged, missing or not of this version.
        """
        if self._damage:
            msg = f"{self._name}: {'; '.join(self._damage)}"
            raise Corrupt(msg)

    @cached_property
    def _damage(self) -> list[str]:
        if self._found is None:
            return []
        return damage_of(self._found, lambda name: [self[name]], self.manifest)
