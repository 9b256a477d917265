"""A request's images, whichever way they were sent: raw body, multipart or JSON.

Request → body size limit, while it streams → by Content-Type → Intake

The declared type chooses between the three framings alone; what is in them, the bytes decide later.
Everything is read into memory, which the body limit bounds: no temporary files.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from service.base64_text import decode_base64
from service.errors import BadRequest, BodyTooLarge, ServiceError, TooManyImages
from service.workers import Workers

if TYPE_CHECKING:  # the library defines it for type checkers alone
    from python_multipart.multipart import MultipartCallbacks

T = TypeVar("T")

# What is shorter is done with sooner than another thread is woken.
LONG_BYTES = 2**16
# In a JSON string: what begins an escape, and white space that must not be there.
_NOT_PLAIN = b"\\\t\r\n"
# Beyond what `max_images` strings could need: where memory would go to empty lists and objects.
_MAX_JSON_VALUES = 100_000
_TOO_MANY = "At most {} images are allowed in one request."


@dataclass(frozen=True)
class Intake:
    """The encoded images in the order sent, a malformed one as the error it is answered with.

    `many` tells how to answer: with `results`, or as the single image that was asked about.
    """

    images: list[bytes | ServiceError]
    many: bool


async def read_images(
    request: Request, *, max_body_bytes: int, max_images: int, threads: Workers
) -> Intake:
    """Read the whole body; raise BadRequest, BodyTooLarge or TooManyImages.

    Large JSON is read on one of the `threads`: the event loop goes on meanwhile. A client that
    leaves raises starlette's ClientDisconnect.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind.startswith(b"multipart/"):
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise BadRequest("A multipart body must be multipart/form-data with a boundary.")
        return await _read_multipart(request, options[b"boundary"], max_body_bytes, max_images)
    body = await _read_whole(request, max_body_bytes)
    if kind == b"application/json":
        return await off_loop(threads, len(body), lambda: _from_json(body, max_images))
    return Intake([body], many=False)


async def off_loop(threads: Workers, size_bytes: int, work: Callable[[], T]) -> T:
    """Return what `work` on so many bytes returns, having run it in a thread if they are many."""
    if size_bytes < LONG_BYTES:
        return work()
    return await threads.run(work)


async def _read_whole(request: Request, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    await _receive(request, max_bytes, chunks.append)
    return b"".join(chunks)


async def _receive(request: Request, max_bytes: int, take: Callable[[bytes], object]) -> None:
    """Have the body taken as it arrives, until it is larger than allowed."""
    announced = request.headers.get("content-length", "0")
    if len(announced) > 18 or int(announced) > max_bytes:  # the server has checked its digits
        raise _too_large(max_bytes)
    received, more = 0, True
    while more:  # as Starlette's `Request.stream`, less its generator
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        take(chunk)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {max_bytes} bytes.")


async def _read_multipart(
    request: Request, boundary: bytes, max_body_bytes: int, max_images: int
) -> Intake:
    form, delimiter, delimiters = _ImageForm(max_images), b"\r\n--" + boundary, 0

    def write(chunk: bytes) -> None:
        nonlocal delimiters
        # No file may hold the delimiter, and the parser is slow over what only resembles one.
        delimiters += chunk.count(delimiter)
        if delimiters > max_images + 1:
            raise TooManyImages(_TOO_MANY.format(max_images))
        parser.write(chunk)

    try:
        parser = MultipartParser(boundary, form.callbacks)
        await _receive(request, max_body_bytes, write)
        parser.finalize()
    except FormParserError as error:
        raise BadRequest("The multipart body is malformed.") from error
    if not form.ended:
        raise BadRequest("The multipart body ends before its closing boundary.")
    if not form.images:
        raise BadRequest("The form has no file: send one or more files named `image`.")
    return Intake([bytes(image) for image in form.images], many=len(form.images) > 1)


class _ImageForm:
    """Receives the parser's events; refuses a part as soon as its headers are known."""

    def __init__(self, max_images: int) -> None:
        self.images: list[bytearray] = []
        self.ended = False
        self._max_images = max_images
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self.callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_file,
            "on_part_data": lambda data, start, end: self.images[-1].extend(data[start:end]),
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._disposition = b""

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _begin_file(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name != "image":
            raise BadRequest(f"The form has a field {name!r:.80}; only `image` is allowed.")
        if b"filename" not in options:
            raise BadRequest("The form's field `image` is text: send it as a file.")
        if len(self.images) == self._max_images:
            raise TooManyImages(_TOO_MANY.format(self._max_images))
        self.images.append(bytearray())

    def _end(self) -> None:
        self.ended = True


_JSON_FORMS = 'send {"image": "<base64>"} or {"images": ["<base64>", …]}.'


def _from_json(body: bytes, max_images: int) -> Intake:
    rest, lifted = _lift_long_strings(body, max_images + 1)  # the images and one key
    content = _parsed(rest, max_images)
    if not isinstance(content, dict):
        raise BadRequest(f"The JSON is no object: {_JSON_FORMS}")
    for key in content.keys() - {"image", "images"}:
        raise BadRequest(f"The JSON has an unknown key {key!r:.80}: {_JSON_FORMS}")
    if len(content) != 1:
        raise BadRequest(f"The JSON needs either `image` or `images`: {_JSON_FORMS}")
    if "image" in content:
        return Intake([_image(content["image"], "image", lifted)], many=False)
    items = content["images"]
    if not isinstance(items, list) or not items:
        raise BadRequest(f"`images` must be a list of one image at least: {_JSON_FORMS}")
    if len(items) > max_images:
        raise TooManyImages(f"{len(items)} images were sent; at most {max_images} are allowed.")
    return Intake(
        [_image_or_error(item, f"images[{i}]", lifted) for i, item in enumerate(items)], many=True
    )


def _lift_long_strings(body: bytes, max_strings: int) -> tuple[bytes, dict[str, bytes]]:
    """Return the JSON with a token for each long string, and the strings by their tokens.

    The parser is one call of C code, in which no other thread runs: 20 ms for a body of 16 MiB,
    and nothing for what is left of it. A string that is not plain is left for the parser, and all
    behind it.
    """
    rest: list[bytes] = []
    lifted: dict[str, bytes] = {}
    scanned = copied = 0
    for _ in range(max_strings):
        start = body.find(b'"', scanned) + 1
        end = body.find(b'"', start)
        if not start or end < 0 or any(body.find(c, start, end) >= 0 for c in _NOT_PLAIN):
            break
        scanned = end + 1
        if end - start >= LONG_BYTES:
            token = secrets.token_hex()  # no client can guess it, and so write it
            lifted[token] = body[start:end]
            rest += (body[copied:start], token.encode())
            copied = end
    return b"".join([*rest, body[copied:]]), lifted


def _parsed(body: bytes, max_images: int) -> object:
    # Every value but the first follows a comma or an opening bracket.
    if sum(map(body.count, (b",", b"[", b"{"))) > _MAX_JSON_VALUES + 2 * max_images:
        raise TooManyImages(_TOO_MANY.format(max_images))
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is no valid JSON.") from error


def _image_or_error(value: object, name: str, lifted: Mapping[str, bytes]) -> bytes | ServiceError:
    try:
        return _image(value, name, lifted)
    except ServiceError as error:
        return error


def _image(value: object, name: str, lifted: Mapping[str, bytes]) -> bytes:
    if not isinstance(value, str):
        raise BadRequest(f"`{name}` must be a string of base64.")
    # What is not ASCII becomes a question mark, which is no base64 either.
    text = lifted.get(value) or value.encode("ascii", "replace")
    try:
        return decode_base64(text)
    except BadRequest as error:
        raise BadRequest(f"`{name}`: {error.detail}") from error
