"""Files written as base64 text, in JSON, in `data:` URIs and in a query.

Everything is done in chunks: each is one call of C code, during which no other thread runs.
"""

import binascii
import re
from collections.abc import Iterator

from service.errors import BadRequest

CHUNK_BYTES = 2**18  # less than a millisecond of decoding, and whole groups of four characters

_WHITE_SPACE = b" \t\r\n"
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*={0,2}")


def decode_base64(text: bytes) -> bytes:
    """Decode standard base64 with padding, bare or as a `data:` URI; white space is skipped.

    Anything else raises BadRequest.
    """
    text = b"".join(chunk.translate(None, _WHITE_SPACE) for chunk in _chunks(text))
    if text[:5].lower() == b"data:":
        header, comma, text = text.partition(b",")
        if not comma or not header.lower().endswith(b";base64"):
            raise BadRequest("The data URI is not of the form data:image/…;base64,….")
    return _decoded(text)


def decode_base64url(text: str) -> bytes:
    """Decode URL-safe base64, with or without padding; anything else raises BadRequest."""
    if not _BASE64URL.fullmatch(text):
        raise BadRequest("The text is no valid URL-safe base64 (A-Z, a-z, 0-9, - and _).")
    padding = "" if text.endswith("=") else "=" * (-len(text) % 4)
    return _decoded((text.replace("-", "+").replace("_", "/") + padding).encode())


def _decoded(text: bytes) -> bytes:
    try:
        parts = [binascii.a2b_base64(chunk, strict_mode=True) for chunk in _chunks(text)]
    except ValueError as error:
        raise BadRequest("The text is no valid base64.") from error
    data = b"".join(parts)
    # Strict mode lets padding pass where none belongs, as it must at the end of a chunk.
    padded_early = any(len(part) != CHUNK_BYTES // 4 * 3 for part in parts[:-1])
    if padded_early or len(text) != (len(data) + 2) // 3 * 4:
        raise BadRequest("The text is no valid base64: its padding is wrong.")
    return data


def _chunks(text: bytes) -> Iterator[bytes]:
    return (text[start : start + CHUNK_BYTES] for start in range(0, len(text), CHUNK_BYTES))
