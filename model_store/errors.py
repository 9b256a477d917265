"""Every way in which the store refuses, as one tree.

StoreError
├── NotFound          no such model, version or alias
├── AlreadyExists     the thing to create is there already
├── InvalidName       a model, alias or version name that the store does not allow
├── InvalidManifest   a manifest that does not fit the schema
├── Corrupt           a file's size or digest differs from the manifest
├── ParameterMismatch parameter names, shapes or values do not fit the architecture
└── WeightsRefused    a foreign weight file that is damaged, hostile or not what it claims

Each message is one clear line for the person at the command line (`ParameterMismatch` prints the
two key sets beneath its first line).
"""


class StoreError(Exception):
    """Something about the store or a weight file is not as it must be."""


class NotFound(StoreError):
    """No such model, version or alias."""


class AlreadyExists(StoreError):
    """The thing to create is there already."""


class InvalidName(StoreError):
    """A model, alias or version name that the store does not allow."""


class InvalidManifest(StoreError):
    """A manifest that does not fit the schema."""


class Corrupt(StoreError):
    """A file's size or digest differs from what the manifest says."""


class ParameterMismatch(StoreError):
    """Parameter names, shapes or values do not fit the architecture."""


class WeightsRefused(StoreError):
    """A foreign weight file that is damaged, hostile or not what it claims to be."""
