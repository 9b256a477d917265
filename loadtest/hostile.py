"""Requests that no client should send, and the status that the HTTP contract promises for each."""

import struct
import time
import zlib
from dataclasses import dataclass
from http.client import HTTPConnection

import numpy as np

from loadtest.pictures import draw_pictures

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Attack:
    """One request; `announced_bytes` is a Content-Length that the body does not fill."""

    name: str
    status: int
    body: bytes
    content_type: str = "application/octet-stream"
    path: str = "/classify"
    announced_bytes: int | None = None


def attacks(seed: int) -> list[Attack]:
    """Return every attack; the random bytes in them come from the seed."""
    noise = np.random.default_rng(seed).bytes(20_000)
    jpeg, png = (picture.data for picture in draw_pictures(2, seed))
    return [
        Attack("noise", 415, b"\x01" + noise),
        Attack("empty", 415, b""),
        Attack("truncated", 400, jpeg[: len(jpeg) // 2]),
        Attack("damaged", 400, png[:60] + noise[:60] + png[120:]),
        Attack("pixel bomb", 413, _claiming_png(60_000, 60_000)),
        Attack("oversized", 413, b"", announced_bytes=17 * MIB),
        Attack("broken JSON", 400, b'{"image": "', "application/json"),
        Attack("broken base64", 400, b'{"image": "%%%"}', "application/json"),
        Attack("too many images", 413, _many_images(65), "application/json"),
        Attack("broken multipart", 400, b"--x\r\nnothing", "multipart/form-data; boundary=x"),
        Attack("wrong parameter", 422, jpeg, path="/classify?top_k=0"),
        Attack("unknown model", 404, jpeg, path="/classify?model=nobody"),
        Attack("internal address", 403, b"", path="/classify?url=http://127.0.0.1:1/x.png"),
    ]


def send(connection: HTTPConnection, attack: Attack) -> str | None:
    """Send the attack; return what is wrong with the answer, or None."""
    length = len(attack.body) if attack.announced_bytes is None else attack.announced_bytes
    _begin(connection, attack.path, length, attack.content_type)
    connection.send(attack.body)
    return _status_fault(connection, attack.status)


def upload_slowly(
    connection: HTTPConnection, picture: bytes, *, pieces: int, pause_s: float
) -> str | None:
    """Send a good picture in pieces, which must be answered."""
    size = -(-len(picture) // pieces)
    _begin(connection, "/classify", len(picture))
    for start in range(0, len(picture), size):
        connection.send(picture[start : start + size])
        time.sleep(pause_s)
    return _status_fault(connection, 200)


def leave(connection: HTTPConnection, picture: bytes) -> None:
    """Leave after half a picture; nothing is expected, but others must not notice."""
    _begin(connection, "/classify", len(picture))
    connection.send(picture[: len(picture) // 2])
    connection.close()


def _begin(
    connection: HTTPConnection,
    path: str,
    length: int,
    content_type: str = "application/octet-stream",
) -> None:
    connection.putrequest("POST", path)
    connection.putheader("Content-Type", content_type)
    connection.putheader("Content-Length", str(length))
    connection.endheaders()


def _status_fault(connection: HTTPConnection, expected: int) -> str | None:
    status = connection.getresponse().status
    return None if status == expected else f"status {status} instead of {expected}"


def _claiming_png(width: int, height: int) -> bytes:
    """Return a small PNG whose header claims to be large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _many_images(count: int) -> bytes:
    return b'{"images": [' + b", ".join([b'"AAAA"'] * count) + b"]}"
