import asyncio
import base64
import json
import threading
from collections.abc import Iterable
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from service import intake
from service.errors import BadRequest, BodyTooLarge, ServiceError, TooManyImages
from service.intake import Intake, read_images
from tests.service.reading import CAT, DOG, LIMITS, THREADS, images, outcome, refused, slowly


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "content_type",
    [
        "image/jpeg",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain; charset=nonsense",
        "\xe9",
        None,
    ],
)
def test_raw_body_is_the_file_whatever_its_type(content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type.encode("latin-1")}
    assert outcome(content=CAT, headers=headers) == Intake([CAT], many=False)


def test_chunked_body_is_joined() -> None:
    assert images(outcome(content=slowly([CAT, b"", DOG]))) == [CAT + DOG]


def test_empty_body_is_an_empty_image() -> None:
    assert outcome(content=b"") == Intake([b""], many=False)


@pytest.mark.parametrize("framing", ["application/json", "image/png", "multipart/form-data"])
def test_announced_size_is_refused_before_the_body(framing: str) -> None:
    asked = []

    async def run() -> None:
        async def receive() -> Message:
            asked.append(1)
            return {"type": "http.request", "body": b"", "more_body": False}

        headers = [(b"content-type", framing.encode() + b"; boundary=x")]
        scope = {"type": "http", "headers": [*headers, (b"content-length", b"10001")]}
        await read_images(Request(scope, receive), **LIMITS, threads=THREADS)

    with pytest.raises(BodyTooLarge, match="10000 bytes"):
        asyncio.run(run())
    assert not asked


@pytest.mark.parametrize("length", [b"9" * 18, b"9" * 5000])
def test_absurd_announced_sizes_are_refused(length: bytes) -> None:
    async def never() -> Message:
        raise AssertionError

    scope = {"type": "http", "headers": [(b"content-length", length)]}
    with pytest.raises(BodyTooLarge):
        asyncio.run(read_images(Request(scope, never), **LIMITS, threads=THREADS))


@pytest.mark.parametrize("multipart", [False, True])
def test_streamed_size_is_refused_as_soon_as_it_is_passed(*, multipart: bool) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    sent = []

    def endless() -> Iterable[bytes]:
        yield head
        for _ in range(100):
            sent.append(1)
            yield b"\0" * 1000

    content_type = "multipart/form-data; boundary=x" if multipart else "image/png"
    error = outcome(content=slowly(endless()), headers={"Content-Type": content_type})
    assert isinstance(error, BodyTooLarge)
    assert len(sent) <= 11


def test_body_limit_is_exact() -> None:
    assert outcome(content=b"\0" * 10_000) == Intake([b"\0" * 10_000], many=False)
    refused(BodyTooLarge, "10000", content=b"\0" * 10_001)


def test_json_forms() -> None:
    assert outcome(json={"image": b64(CAT)}) == Intake([CAT], many=False)
    assert outcome(json={"images": [b64(CAT)]}) == Intake([CAT], many=True)
    uri = f"data:image/png;base64,{b64(DOG)}"
    assert outcome(json={"images": [b64(CAT), uri]}) == Intake([CAT, DOG], many=True)
    assert images(outcome(json={"image": ""})) == [b""]


def test_json_with_charset_and_byte_order_mark() -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"image": b64(CAT)}).encode()
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert images(outcome(content=body, headers=headers)) == [CAT]


def test_one_bad_item_spoils_no_neighbour() -> None:
    first, second, third = images(outcome(json={"images": [b64(CAT), "?", 7]}))
    assert first == CAT
    assert isinstance(second, BadRequest)
    assert isinstance(third, BadRequest)
    assert (second.detail[:11], third.detail[:11]) == ("`images[1]`", "`images[2]`")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([], "no object"),
        ("cat", "no object"),
        (None, "no object"),
        ({}, "either"),
        ({"image": "", "images": [""]}, "either"),
        ({"picture": ""}, "'picture'"),
        ({"image": "", "k" * 999: ""}, "'kkk"),
        ({"images": []}, "`images` must be a list"),
        ({"images": "cat"}, "`images` must be a list"),
        ({"images": {"a": "b"}}, "`images` must be a list"),
        ({"image": "?"}, "`image`"),
        ({"image": ["cat"]}, "`image` must be a string"),
        ({"image": None}, "`image` must be a string"),
        ({"image": "\ud800"}, "`image`"),
        ({"image": "é"}, "`image`"),
    ],
)
def test_json_of_another_shape_is_named(content: object, named: str) -> None:
    body = json.dumps(content).encode()
    error = outcome(content=body, headers={"Content-Type": "application/json"})
    assert isinstance(error, BadRequest)
    assert named in error.detail
    assert len(error.detail) < 250


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"image": "\xff"}',
        b'{"image": ' + b"9" * 5000 + b"}",
        b'{"images": ' + b"[" * 9000,
        b'{"images": ' + b'{"a":' * 1900,
    ],
    ids=["empty", "cut", "no UTF-8", "long number", "deep lists", "deep objects"],
)
def test_malformed_json(body: bytes) -> None:
    refused(BadRequest, "JSON", content=body, headers={"Content-Type": "application/json"})


def test_json_image_limit() -> None:
    assert len(images(outcome(json={"images": [""] * 3}))) == 3
    refused(TooManyImages, "4 images", json={"images": [""] * 4})


def test_json_of_many_values_is_refused_unparsed() -> None:
    # Not JSON at all: only a refusal before parsing can call it too many images.
    body = b'{"images": [' + b"[]," * 60_000
    headers = {"Content-Type": "application/json"}
    limits = {"max_body_bytes": 2**20, "max_images": 3}
    assert isinstance(outcome(limits, content=body, headers=headers), TooManyImages)


def test_large_json_is_read_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    on_loop, limits = [], {"max_body_bytes": 2**20, "max_images": 3}

    def decode(text: bytes) -> bytes:
        on_loop.append(threading.current_thread() is threading.main_thread())
        return text

    monkeypatch.setattr(intake, "decode_base64", decode)
    for length in (1_000, 100_000):
        assert images(outcome(limits, json={"image": "A" * length})) == [b"A" * length]
    assert on_loop == [True, False]


def test_the_parser_sees_no_long_string(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed, loads = [], json.loads

    def parse(body: bytes) -> object:
        parsed.append(len(body))
        return loads(body)

    monkeypatch.setattr(json, "loads", parse)
    files = [bytes([at]) * 100_000 for at in range(3)]
    limits = {"max_body_bytes": 2**20, "max_images": 3}
    assert images(outcome(limits, json={"images": [b64(file) for file in files]})) == files
    assert parsed[0] < 1_000


TEXTS = st.binary(max_size=30).map(b64) | st.text(max_size=30)
VALUES = TEXTS | st.none() | st.integers() | st.lists(TEXTS | st.booleans(), max_size=5)
CONTENTS = st.dictionaries(st.sampled_from(["image", "images", "x"]), VALUES, max_size=2) | VALUES


@given(content=CONTENTS, ascii_only=st.booleans(), indent=st.none() | st.just(1), cut=st.integers())
def test_lifting_long_strings_changes_no_outcome(
    content: object, ascii_only: bool, indent: int | None, cut: int
) -> None:
    whole = json.dumps(content, ensure_ascii=ascii_only, indent=indent).encode()
    for body in (whole, whole[: cut % (len(whole) + 1)]):
        with patch.object(intake, "LONG_BYTES", 8):
            lifted = read_json(body)
        assert lifted == read_json(body)


def read_json(body: bytes) -> object:
    """Return what comes of a body, errors as what clients see of them."""
    try:
        read = intake._from_json(body, max_images=3)
    except ServiceError as error:
        return error.code, error.detail
    shown = [each if isinstance(each, bytes) else (each.code, each.detail) for each in read.images]
    return shown, read.many


def test_a_client_that_leaves_raises_its_disconnect() -> None:
    async def run() -> None:
        messages: list[Message] = [
            {"type": "http.request", "body": b"cat", "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            return messages.pop(0)

        await read_images(
            Request({"type": "http", "headers": []}, receive), **LIMITS, threads=THREADS
        )

    with pytest.raises(ClientDisconnect):
        asyncio.run(run())
