"""The movable names of versions, such as `production`: one small object each, moved by one put."""

from model_store.bucket import Bucket
from model_store.errors import Corrupt, InvalidName, NotFound
from model_store.names import (
    LATEST,
    VersionRef,
    check_alias_name,
    check_model_name,
    parse_version,
)


class Aliases:
    """The aliases of every model in a bucket, at `<model>/aliases/<alias>`.

    `latest` is none of them: it is the highest version, whatever anyone sets.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def get(self, model: str, alias: str) -> int | None:
        """Return the version number that an alias holds, or None where it is not set.

        Whether there is such a version is not looked at.

        Raises:
            Corrupt: its content is no version number.
        """
        path = _path(model, check_alias_name(alias))
        try:
            content = self._bucket.get(path)
        except NotFound:
            return None
        version = parse_version(content.decode(errors="replace").strip())
        if version is None:
            msg = f"alias {model}@{alias} in {self._bucket.root} holds no version number"
            raise Corrupt(msg)
        return version

    def get_all(self, model: str) -> dict[str, int]:
        """Return every alias of a model; none where there is no such model."""
        folder = _path(model, "")
        names = [path.removeprefix(folder) for path in self._bucket.paths(folder.rstrip("/"))]
        found = {name: self.get(model, name) for name in names}
        return {name: version for name, version in found.items() if version is not None}

    def put(self, alias: str, ref: VersionRef) -> None:
        """Point an alias at a version."""
        check_settable(alias)
        self._bucket.put(_path(ref.model, alias), f"{ref.version}\n".encode())

    def remove(self, model: str, alias: str) -> None:
        """Remove an alias, a damaged one too.

        Raises:
            NotFound: no such alias.
        """
        check_settable(alias)
        path = _path(model, alias)
        if not self._bucket.exists(path):
            msg = f"{model} has no alias {alias} in {self._bucket.root}"
            raise NotFound(msg)
        self._bucket.delete(path)


def check_settable(alias: str) -> None:
    """Accept the names that a person may give.

    Raises:
        InvalidName: not a name of an alias, or `latest`.
    """
    if check_alias_name(alias) == LATEST:
        msg = f"alias {LATEST} cannot be set or removed: it is always the highest version"
        raise InvalidName(msg)


def _path(model: str, alias: str) -> str:
    return f"{check_model_name(model)}/aliases/{alias}"
