"""The names of models, versions and aliases: `mixer-b16@3`, `mixer-b16@production`."""

import re
from dataclasses import dataclass

from model_store.errors import InvalidName

# The version with the highest number. It is computed, never stored, so it cannot lag or go back.
LATEST = "latest"
# What a bare model name means where this alias is set.
PRODUCTION = "production"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_VERSION_FILE = re.compile(rf"({_NAME.pattern})/({_VERSION.pattern})/([^/]+)")
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, order=True)
class VersionRef:
    """One version of one model; versions count from 1 and a number is never used twice."""

    model: str
    version: int

    def __post_init__(self) -> None:
        check_model_name(self.model)
        if self.version < 1:
            msg = f"{self.version} is no version number: they count from 1"
            raise InvalidName(msg)

    @property
    def folder(self) -> str:
        """Where the version lies beneath the root of the store."""
        return f"{self.model}/{self.version}"

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"


def check_model_name(name: str) -> str:
    """Return the name.

    Raises:
        InvalidName: it could not be one segment of a path on every file system and object store.
    """
    if not _NAME.fullmatch(name):
        msg = f"model name {name!r} is not 1 to 64 of a-z 0-9 . _ - beginning with a-z or 0-9"
        raise InvalidName(msg)
    return name


def check_alias_name(name: str) -> str:
    """Return the name.

    Raises:
        InvalidName: it has other characters, or digits alone, which would name a version.
    """
    if not _NAME.fullmatch(name) or _DIGITS.fullmatch(name):
        msg = (
            f"alias {name!r} is not 1 to 64 of a-z 0-9 . _ - beginning with a-z or 0-9, "
            "or is digits alone"
        )
        raise InvalidName(msg)
    return name


def parse_version(text: str) -> int | None:
    """Return the version number that this text is, or None.

    >>> parse_version("12"), parse_version("012"), parse_version("production")
    (12, None, None)
    """
    return int(text) if _VERSION.fullmatch(text) else None


def parse_path(path: str) -> tuple[VersionRef, str] | None:
    """Return the version and the name of a file directly in its folder; None for any other path.

    >>> parse_path("mixer-b16/3/manifest.json")
    (VersionRef(model='mixer-b16', version=3), 'manifest.json')
    """
    match = _VERSION_FILE.fullmatch(path)
    return (VersionRef(match[1], int(match[2])), match[3]) if match else None


def parse_reference(text: str) -> tuple[str, int | str | None]:
    """Split `name`, `name@3` or `name@alias` into the model and a version, an alias or None.

    Raises:
        InvalidName: a part of it is no name of its kind.
    """
    model, at, selector = text.partition("@")
    check_model_name(model)
    if not at:
        return model, None
    return model, parse_version(selector) or check_alias_name(selector)
