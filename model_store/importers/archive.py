"""The arrays of an untrusted `.npz`, of which nothing is expanded before its size is known.

zip directory -> headers of the arrays -> (the importer checks the shapes) -> the arrays
"""

import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import SEEK_END
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from model_store.errors import WeightsRefused
from model_store.importers.imported import ALLOWED_DTYPES, Shape, check_plain_names

MAX_BYTES = 4 << 30  # of the arrays together; the largest Mixer, H/14 at 448 pixels, has 2.4 GB
MAX_EXPANSION = 100  # trained weights hardly shrink (1.1 times); a zip bomb does a thousandfold
_NPY = ".npy"
_ENCRYPTED = 0x1
_BFLOAT16 = np.dtype("V2")  # npy headers have no name for it: numpy writes two bytes of void
_END_RECORD = struct.Struct("<4s4H2LH")  # its fifth field counts the members
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what np.savez and savez_compressed write


class Archive:
    """An open `.npz` whose directory was found harmless; its arrays are read one by one."""

    def __init__(self, archive: zipfile.ZipFile, file_bytes: int) -> None:
        self._archive = archive
        self._file_bytes = file_bytes
        self._members = _harmless_members(archive)

    @property
    def names(self) -> list[str]:
        """The names of the arrays."""
        return list(self._members)

    def check_size(self, names: Sequence[str], max_bytes: int) -> None:
        """Refuse arrays that declare more than `max_bytes`, or absurdly more than the file has.

        Raises:
            WeightsRefused: what is declared is above one of the two limits.
        """
        declared = sum(self._members[name].file_size for name in names)
        limit = min(max_bytes, MAX_EXPANSION * self._file_bytes)
        if declared > limit:
            msg = (
                f"its {self._file_bytes} bytes expand to {declared}: at most {max_bytes} and "
                f"{MAX_EXPANSION} times the file are allowed"
            )
            raise WeightsRefused(msg)

    def shape(self, name: str) -> Shape:
        """Return the shape in an array's header, having held it against the declared size.

        Raises:
            WeightsRefused: no plain `.npy` header, a type that is not allowed, or a header that
                promises another size than the directory.
        """
        shape, dtype, header_bytes = self._header(name)
        _check_dtype(name, dtype)
        declared = self._members[name].file_size
        if header_bytes + math.prod(shape) * dtype.itemsize != declared:
            msg = f"the array {name} of shape {shape} does not fill its {declared} bytes"
            raise WeightsRefused(msg)
        return shape

    def read(self, name: str) -> np.ndarray:
        """Return an array as float32, once its shape was checked.

        Raises:
            WeightsRefused: the bytes are cut short, or fail the archive's checksum.
        """
        with _damage_refused(f"the array {name} is damaged"), self._open(name) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
        if array.dtype == _BFLOAT16:
            array = _float32_of_bfloat16(array)
        return array.astype(np.float32, copy=False)

    def _open(self, name: str) -> IO[bytes]:
        return self._archive.open(self._members[name])

    def _header(self, name: str) -> tuple[Shape, np.dtype, int]:
        with _damage_refused(f"the array {name} is damaged"), self._open(name) as stream:
            # Version 1.0 bounds the header to 64 kB. np.savez takes 2.0 only for headers above
            # that, and 3.0 only for named fields: no array of floating point has either.
            if np.lib.format.read_magic(stream) != (1, 0):
                msg = f"the array {name} is not of version 1.0 of the npy format"
                raise WeightsRefused(msg)
            shape, _, dtype = _parse_header(name, stream)
            return shape, dtype, stream.tell()


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """Open an `.npz` and look at its directory alone.

    Raises:
        WeightsRefused: no zip archive, a damaged one, or one that holds what no `.npz` of a Mixer
            has: encryption, other files, a name twice, an unusual compression, hidden members.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as stream:
        file_bytes = stream.seek(0, SEEK_END)
        with _damage_refused("it is no .npz archive, or one cut short"):
            archive = zipfile.ZipFile(stream)
        _check_complete(archive, stream)
        with archive:
            yield Archive(archive, file_bytes)


@contextmanager
def _damage_refused(what: str) -> Iterator[None]:
    try:
        yield
    except (
        EOFError,
        RuntimeError,  # zipfile's NotImplementedError, for a later version of the format
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise WeightsRefused(what) from error


def _check_complete(archive: zipfile.ZipFile, stream: BinaryIO) -> None:
    """Count the members: zipfile does not, and one changed length in the directory hides some.

    A Mixer that lost its last two arrays so would be a sound one without a head.
    """
    stream.seek(-(_END_RECORD.size + len(archive.comment)), SEEK_END)
    signature, *_, members, _, _, _ = _END_RECORD.unpack(stream.read(_END_RECORD.size))
    if signature != b"PK\x05\x06" or members != len(archive.infolist()):
        msg = f"its directory is damaged: {len(archive.infolist())} arrays of {members} are listed"
        raise WeightsRefused(msg)


def _harmless_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    check_plain_names(archive.namelist())
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        _check_member(info)
        name = info.filename.removesuffix(_NPY)
        if name in members:
            msg = f"it holds the array {name} twice"
            raise WeightsRefused(msg)
        members[name] = info
    return members


def _check_member(info: zipfile.ZipInfo) -> None:
    if not info.filename.endswith(_NPY):
        msg = f"it holds {info.filename}, which is no {_NPY} array"
        raise WeightsRefused(msg)
    if info.flag_bits & _ENCRYPTED:
        msg = f"its member {info.filename} is encrypted"
        raise WeightsRefused(msg)
    if info.compress_type not in _METHODS:
        msg = f"its member {info.filename} is packed by method {info.compress_type}, not 0 or 8"
        raise WeightsRefused(msg)


def _parse_header(name: str, stream: IO[bytes]) -> tuple[Shape, bool, np.dtype]:
    try:
        return np.lib.format.read_array_header_1_0(stream)
    except Exception as error:
        # numpy evaluates a literal of the file here: any of a dozen types for a hostile one.
        msg = f"the header of the array {name} is damaged"
        raise WeightsRefused(msg) from error


def _check_dtype(name: str, dtype: np.dtype) -> None:
    if dtype.hasobject:
        msg = f"the array {name} holds Python objects (a pickle), which are never read"
        raise WeightsRefused(msg)
    if not (dtype == _BFLOAT16 or (dtype.kind == "f" and dtype.itemsize in {2, 4})):
        msg = f"the array {name} has dtype {dtype.name}: {ALLOWED_DTYPES} are allowed"
        raise WeightsRefused(msg)


def _float32_of_bfloat16(array: np.ndarray) -> np.ndarray:
    # A bfloat16 is the upper half of the float32 of the same value.
    return (array.view("<u2").astype(np.uint32) << 16).view(np.float32)
