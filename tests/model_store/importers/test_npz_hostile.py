"""Files that lie. Each is refused with one line that names the file, and without its folder."""

import io
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.errors import ParameterMismatch, StoreError, WeightsRefused
from model_store.importers.archive import Archive
from model_store.importers.npz import read_npz, write_npz
from tests.model_store.tiny import TINY, random_arrays

ARRAYS = random_arrays(TINY)
Members = dict[str, bytes]


def npy(array: np.ndarray, **kwargs: Any) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **kwargs)
    return stream.getvalue()


def members() -> Members:
    return {f"{name}.npy": npy(array) for name, array in ARRAYS.items()}


def write_zip(path: Path, content: Members, method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def refusal(path: Path, error: type[StoreError] = WeightsRefused, **kwargs: Any) -> str:
    """Read a file that must be refused; return the one line that says why."""
    with pytest.raises(error) as refused:
        read_npz(path, **kwargs)
    line = str(refused.value)
    assert line.startswith(f"{path.name}: ")
    assert line.isprintable()  # one line, and nothing that a terminal would obey
    assert str(path.parent) not in line
    return line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.npz"


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06", b"\x93NUMPY", b"\x00" * 1000])
def test_what_is_no_archive(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert "no .npz archive, or one cut short" in refusal(path)


def test_what_is_no_file(path: Path) -> None:
    assert "cannot be read (No such file or directory)" in refusal(path)
    path.mkdir()
    assert "cannot be read (Is a directory)" in refusal(path)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_what_is_cut_short(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "w.npz"
    write_npz(path, ARRAYS)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refusal(path)


@settings(max_examples=150, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255), compress=st.booleans())
def test_no_changed_byte_changes_a_weight(
    tmp_path_factory: pytest.TempPathFactory, where: float, bits: int, compress: bool
) -> None:
    path = tmp_path_factory.mktemp("flip") / "w.npz"
    write_zip(path, members(), zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= bits
    path.write_bytes(data)
    try:
        found = read_npz(path)  # a time stamp, say, may be anything
    except StoreError:
        return
    assert found.arrays.keys() == ARRAYS.keys()
    assert all(np.array_equal(found.arrays[name], array) for name, array in ARRAYS.items())


def test_a_changed_weight_fails_its_checksum(path: Path) -> None:
    write_npz(path, ARRAYS)
    data = path.read_bytes()
    weight = ARRAYS["head/bias"].tobytes()
    path.write_bytes(data.replace(weight, weight[:-1] + bytes([weight[-1] ^ 1])))
    assert "the array head/bias is damaged" in refusal(path)


class Bomb:
    """Unpickling it would raise in the test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise AssertionError('a pickle was run')",))


def test_a_pickle_in_an_object_array(path: Path) -> None:
    objects = np.array([Bomb()], dtype=object)
    write_zip(path, members() | {"head/bias.npy": npy(objects, allow_pickle=True)})
    assert "head/bias holds Python objects (a pickle), which are never read" in refusal(path)


@pytest.mark.parametrize("data", [pickle.dumps(Bomb()), b"", b"\x93NUMP", b"PK\x03\x04"])
def test_a_member_that_is_no_array(path: Path, data: bytes) -> None:
    write_zip(path, members() | {"head/bias.npy": data})
    assert "the array head/bias is damaged" in refusal(path)


@pytest.mark.parametrize("name", ["nested.zip", "pickle.pkl", "folder/", "head/bias"])
def test_members_of_another_kind(path: Path, name: str) -> None:
    write_zip(path, members() | {name: b""})
    assert f"it holds {name}, which is no .npy array" in refusal(path)


@pytest.mark.parametrize("name", ["\x1b[2J.npy", "a\nb.npy", "größe.npy", "a" * 300 + ".npy"])
def test_names_that_a_terminal_should_not_show(path: Path, name: str) -> None:
    write_zip(path, members() | {name: b""})
    assert "has more than letters, digits and . _ / -" in refusal(path)


def test_one_name_twice(path: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("stem/bias.npy", npy(ARRAYS["stem/bias"]))
    assert "it holds the array stem/bias twice" in refusal(path)


def test_one_parameter_in_both_layouts(path: Path) -> None:
    write_zip(path, members() | {"embedding/bias.npy": npy(ARRAYS["stem/bias"])})
    assert "are the same parameter" in refusal(path)


def test_thousands_of_arrays(path: Path) -> None:
    write_zip(path, {f"{i}.npy": b"" for i in range(4097)})
    assert "it holds 4097 arrays, at most 4096 are allowed" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression(path: Path, method: int) -> None:
    write_zip(path, members(), method)
    assert f"is packed by method {method}, not 0 or 8" in refusal(path)


def patched_directory(path: Path, offset: int, value: bytes) -> None:
    """Overwrite bytes at `offset` of the first entry of the zip's central directory."""
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02") + offset
    data[start : start + len(value)] = value
    path.write_bytes(data)


def test_a_directory_that_hides_its_last_entries(path: Path) -> None:
    # The comment of the entry before them is said to be so long that it swallows both.
    write_zip(path, members())
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"head/kernel.npy") - 46)
    data[entry + 32 : entry + 34] = (256).to_bytes(2, "little")
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive:
        assert not any(name.startswith("head/") for name in archive.namelist())
    assert "its directory is damaged: 40 arrays of 42 are listed" in refusal(path)


def test_an_archive_with_a_comment_is_read(path: Path) -> None:
    write_zip(path, members())
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"trained on a Friday"
    assert read_npz(path).config == TINY


def test_a_later_version_of_the_zip_format(path: Path) -> None:
    write_zip(path, members())
    patched_directory(path, 6, b"\xff")
    assert "no .npz archive, or one cut short" in refusal(path)


def test_an_array_that_ends_with_the_file(path: Path) -> None:
    # The directory places the first array in the comment, where only its beginning is.
    write_zip(path, members(), zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    beginning = data[:600]
    patched_directory(path, 42, struct.pack("<I", len(data)))
    comment_bytes = struct.pack("<H", len(beginning))
    path.write_bytes(path.read_bytes()[:-2] + comment_bytes + beginning)
    assert refusal(path) == "w.npz: the array stem/kernel is damaged"


def test_encryption(path: Path) -> None:
    write_zip(path, members())
    patched_directory(path, 8, b"\x01")
    assert "stem/kernel.npy is encrypted" in refusal(path)


@pytest.mark.parametrize("change", [-4, -1, 1, 4, 1 << 20])
def test_a_directory_that_lies_about_a_size(path: Path, change: int) -> None:
    write_zip(path, members(), zipfile.ZIP_DEFLATED)
    size = len(members()["stem/kernel.npy"]) + change
    patched_directory(path, 24, struct.pack("<I", size))
    assert re.search("does not fill its|expand to|is damaged", refusal(path))


def write_header(path: Path, literal: str) -> None:
    """Write a file whose last array has this header, and six zeros of float32."""
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + literal.encode().ljust(117) + b"\n"
    write_zip(path, members() | {"head/bias.npy": header + bytes(24)})


@pytest.mark.parametrize("shape", ["(7,)", "(5,)", "(-6,)", "()", "(0,)", "(1000000000000,)"])
def test_a_header_that_lies_about_a_size(path: Path, shape: str) -> None:
    write_header(path, f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}")
    assert f"head/bias of shape {shape} does not fill its 152 bytes" in refusal(path)


@pytest.mark.parametrize("shape", ["(6, 1)", "(-2, -3)", "(2, 3)"])
def test_a_header_with_another_shape_of_the_same_size(path: Path, shape: str) -> None:
    write_header(path, f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}")
    assert f"head/bias has shape {shape}" in refusal(path, ParameterMismatch)


@pytest.mark.parametrize("descr", ["[('a', '|u1'), ('b', '|u1')]", "('|u1', (2,))"])
def test_two_bytes_that_are_no_bfloat16(path: Path, descr: str) -> None:
    write_header(path, f"{{'descr': {descr}, 'fortran_order': False, 'shape': (12,)}}")
    assert "head/bias has dtype void16" in refusal(path)


@pytest.mark.parametrize(
    "literal", ["{[]: 1}", "(" * 90, "{'descr': (), 'fortran_order': 0, 'shape': 1}", "\xff", ""]
)
def test_a_header_that_is_no_header(path: Path, literal: str) -> None:
    write_header(path, literal)
    assert "the header of the array head/bias is damaged" in refusal(path)


def test_a_header_of_gigabytes(path: Path) -> None:
    header = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1)
    write_zip(path, members() | {"head/bias.npy": header + bytes(100)})
    assert "is not of version 1.0 of the npy format" in refusal(path)


def test_a_zip_bomb(path: Path) -> None:
    bomb = {"MixerBlock_0/token_mixing/Dense_0/kernel.npy": npy(np.zeros((1024, 1024), "f4"))}
    write_zip(path, members() | bomb, zipfile.ZIP_DEFLATED)
    assert "100 times the file are allowed" in refusal(path)


def test_more_bytes_than_the_caller_allows(path: Path) -> None:
    write_zip(path, members())
    size = sum(len(data) for data in members().values())
    assert f"expand to {size}: at most {size - 1} and" in refusal(path, max_bytes=size - 1)
    read_npz(path, max_bytes=size)


@pytest.mark.parametrize("dtype", ["f8", "i4", "c8", "U1", "V4", "V2,V2", "M8[s]", "?"])
def test_types_that_are_no_weights(path: Path, dtype: str) -> None:
    write_zip(path, members() | {"head/bias.npy": npy(np.zeros(6, dtype))})
    line = refusal(path)
    assert "the array head/bias has dtype" in line
    assert "float32, float16 and bfloat16 are allowed" in line


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers(path: Path, value: float) -> None:
    write_npz(path, ARRAYS | {"head/bias": np.full(6, value, np.float32)})
    line = refusal(path, ParameterMismatch)
    assert line == "w.npz: parameter head/bias holds NaN or infinite values"


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("stem/kernel", (4, 4, 1, 5), r"shape \(4, 4, 1, 5\), the architecture needs \(4, 4, 3, 5"),
        ("stem/kernel", (4, 2, 3, 5), r"the architecture needs \(4, 4, 3, 5\)"),
        ("stem/kernel", (48, 5), "has not 4 axes of at least 1"),
        ("stem/kernel", (0, 4, 3, 5), "has not 4 axes of at least 1"),
        ("MixerBlock_0/token_mixing/Dense_0/kernel", (8, 7), "8 tokens are no square grid"),
        ("MixerBlock_0/token_mixing/Dense_0/kernel", (), "has not 2 axes of at least 1"),
        ("MixerBlock_2/channel_mixing/Dense_1/kernel", (5, 11), r"needs \(11, 5\)"),
        ("head/kernel", (5, 0), "has not 2 axes of at least 1"),
        ("head/bias", (1, 6), r"the architecture needs \(6,\)"),
    ],
)
def test_shapes_of_no_mixer(path: Path, name: str, shape: tuple[int, ...], reason: str) -> None:
    write_npz(path, ARRAYS | {name: np.zeros(shape, np.float32)})
    assert re.search(reason, refusal(path, ParameterMismatch))


def test_shapes_are_refused_before_any_weight_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Archive, "read")
    write_npz(path, ARRAYS | {"head/bias": np.zeros(7, np.float32)})
    assert "head/bias has shape (7,)" in refusal(path, ParameterMismatch)
