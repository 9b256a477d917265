"""Who may ask: the API keys of a file, which is read again whenever it changes.

Only SHA-256 digests stay in memory, and every comparison takes the same time. No key is ever logged
or shown; of a bad line its number is.
"""

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from service.errors import Forbidden, Unauthenticated
from service.settings import InvalidSetting, Settings, environment_name

log = logging.getLogger("mixer.keys")

POLL_S = 1.0
UNNAMED = "unnamed"

# What may stand behind `Bearer` (RFC 6750 section 2.1); a name goes into the log.
_LINE = re.compile(r"(?:(?P<name>[\w.-]{1,64})\s*:\s*)?(?P<key>[A-Za-z0-9._~+/-]+=*)", re.ASCII)


class InvalidKeys(Exception):
    """The file is no list of keys; the message is one line and holds no key."""


class Key(NamedTuple):
    """The digest of a key, and whose it is."""

    digest: bytes
    name: str


class ApiKeys:
    """The keys of a file: one a line, `key` or `name: key`; `#` begins a comment.

    A Kubernetes Secret is such a file: its symlink is swapped, so another file is at the path.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; raise InvalidKeys if it holds none or cannot be read."""
        self._path = path
        self._complaint: str | None = None
        self._stamp, self._keys = _read(path)

    def caller(self, given: Iterable[str]) -> str:
        """Return the name of the key among those that a request gave.

        Raises:
            Unauthenticated: it gave none.
            Forbidden: it gave none that is in the file.
        """
        digests = [hashlib.sha256(key.encode()).digest() for key in given]
        if not digests:
            raise Unauthenticated("Send a key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`.")
        # All are compared, whichever fits.
        names = [
            key.name
            for key in self._keys
            for digest in digests
            if hmac.compare_digest(key.digest, digest)
        ]
        if not names:
            raise Forbidden("The key is not one that this server knows.")
        return names[0]

    async def watch(self) -> None:
        """Follow the file; runs until cancelled. In a thread: a mounted file may be slow."""
        while True:
            await asyncio.sleep(POLL_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take the file's keys if it has changed; the old ones stay where it is not right."""
        try:
            if _stamp(self._path) == self._stamp:
                return
            self._stamp, self._keys = _read(self._path)
        except (InvalidKeys, OSError) as error:
            reason = str(error) if isinstance(error, InvalidKeys) else _unreadable(error)
            if reason != self._complaint:
                log.error("the API keys stay as they were: the file %s", reason)
            self._complaint = reason
        else:
            self._complaint = None
            names = ", ".join(key.name for key in self._keys)
            log.info("the API keys have changed; %d hold now: %s", len(self._keys), names)


def read_keys(settings: Settings) -> ApiKeys | None:
    """Return the API keys, where a file of them is set.

    Raises:
        InvalidSetting: the file is not right.
    """
    file = settings.api_keys_file
    try:
        return None if file is None else ApiKeys(file.expanduser())
    except InvalidKeys as error:
        name = environment_name("api_keys_file")
        raise InvalidSetting(f"{name}={str(file)!r}: the file {error}") from error


def _read(path: Path) -> tuple[tuple[int, ...], list[Key]]:
    """Return the file's stamp, taken first so that no later change is missed, and its keys."""
    try:
        return _stamp(path), _parse(path.read_text("utf-8", "replace"))
    except OSError as error:
        raise InvalidKeys(_unreadable(error)) from error


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes with a file's contents, or with the permission to read them."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _parse(text: str) -> list[Key]:
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    keys = [_key(line, number) for number, line in enumerate(lines, 1) if line]
    if not keys:
        raise InvalidKeys("holds no key: put one on each line, `key` or `name: key`")
    return keys


def _key(line: str, number: int) -> Key:
    found = _LINE.fullmatch(line)
    if found is None:
        raise InvalidKeys(
            f"is wrong in line {number}: allowed are `key` and `name: key`, "
            "a key of letters, digits and ._~+/- with = at its end"
        )
    return Key(hashlib.sha256(found["key"].encode()).digest(), found["name"] or UNNAMED)


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"
