"""Base64 as clients write it, and what looks like it."""

import base64

import numpy as np
import pytest

from service.base64_text import CHUNK_BYTES, decode_base64, decode_base64url
from service.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", b""),
        ("Y2F0", b"cat"),
        ("Y2E=", b"ca"),
        ("+/+/", b"\xfb\xff\xbf"),
        (" Y2\r\nF0\t", b"cat"),
        ("data:image/png;base64,Y2F0", b"cat"),
        ("DATA:;BASE64,Y2F0", b"cat"),
        ("data:image/svg+xml;charset=utf-8;base64,Y2F0", b"cat"),
    ],
)
def test_base64(text: str, data: bytes) -> None:
    assert decode_base64(text.encode()) == data


@pytest.mark.parametrize(
    "text",
    [
        "Y",
        "Y2E",
        "Y2E==",
        "Y2F0=",
        "Y2F0====",
        "=Y2E",
        "Y2=E",
        "Y2E=Y2E=",
        "-_-_",
        "Y2F0é",
        "Y2F%30",
        "data:image/png,cat",
        "data:image/png;base64",
        "data:image/png;base64,?",
    ],
)
def test_malformed_base64(text: str) -> None:
    with pytest.raises(BadRequest):
        decode_base64(text.encode())


@pytest.mark.parametrize("excess", [-3, -1, 0, 1, 2, 3, 4])
def test_long_base64_is_decoded_across_its_chunks(excess: int) -> None:
    """The text's length runs over the end of a chunk; the white space moves the groups of four."""
    data = np.random.default_rng(7).bytes(CHUNK_BYTES // 4 * 3 + excess)
    text = base64.encodebytes(data)
    assert len(text) % CHUNK_BYTES, "the white space is at another place than a chunk's end"
    assert decode_base64(text) == decode_base64(base64.b64encode(data)) == data


@pytest.mark.parametrize("end", [b"AA==", b"AAA="])
def test_padding_at_the_end_of_a_chunk_is_no_end(end: bytes) -> None:
    with pytest.raises(BadRequest, match="padding"):
        decode_base64(b"A" * (CHUNK_BYTES - 4) + end + b"AAAA")


@pytest.mark.parametrize("text", ["-_-_", "-_-_Y2E", "-_-_Y2E=", "", "Y2F0"])
def test_base64url(text: str) -> None:
    assert decode_base64url(text) == base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize(
    "text", ["Y", "+/+/", "Y2 F0", "Y2F0====", "Y2F0=", "é", "Y2E=x", "Y2F0\n"]
)
def test_malformed_base64url(text: str) -> None:
    with pytest.raises(BadRequest):
        decode_base64url(text)
