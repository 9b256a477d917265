"""Copying versions from one store into the folder of another, before a service starts."""

from pathlib import Path

from model_store.bucket import Bucket
from model_store.cache import VersionCache
from model_store.names import LATEST, VersionRef
from model_store.store import ModelStore


def fetch_version(source: ModelStore, reference: str, folder: Path) -> VersionRef:
    """Copy a version, checked, into the store at `folder`, with the aliases that point at it.

    What is there already, whole, is not copied again; so a killed fetch may be repeated.

    Raises:
        NotFound: no such version.
        Corrupt: a file is not as it was published; the version is not at `folder` then.
        StoreError: a storage does not answer, or the folder cannot be written.
    """
    ref = source.resolve(reference)
    VersionCache(folder, Bucket(source.root)).fetch(ref, source.manifest_json(ref))
    copies = ModelStore(str(folder))
    for alias, version in source.aliases(ref.model).items():
        if version == ref.version and alias != LATEST:
            copies.set_alias(alias, ref)
    return ref
