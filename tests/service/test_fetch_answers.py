import asyncio
import ssl
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler

import pytest

from service.errors import BadRequest, BodyTooLarge
from service.fetch import Address, UrlFetcher, resolve
from tests.service.certificates import server_context, trusting
from tests.service.upstream import CAT, INTERNAL, Names, Upstream, answer, fetch, raw


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.mark.parametrize("status", [204, 304, 404, 500])
def test_other_answers_name_host_and_status(upstream: Upstream, status: int) -> None:
    upstream.answers["/cat"] = answer(b"", status)
    with pytest.raises(BadRequest, match=rf"a\.test answered with status {status}\."):
        fetch(f"http://a.test:{upstream.port}/cat")


def test_size_is_bounded_while_it_streams(upstream: Upstream) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not upstream.release.is_set():
            handler.wfile.write(b"\0" * 1000)

    upstream.answers["/endless"] = endless
    with pytest.raises(BodyTooLarge, match="1000 bytes"):
        fetch(f"http://a.test:{upstream.port}/endless")
    upstream.answers["/limit"] = answer(b"\0" * 1000)
    assert len(fetch(f"http://a.test:{upstream.port}/limit")) == 1000


def test_time_is_bounded(upstream: Upstream) -> None:
    def silent(_: BaseHTTPRequestHandler) -> None:
        upstream.release.wait()

    upstream.answers["/silent"] = silent
    with pytest.raises(BadRequest, match=r"0\.1 s"):
        fetch(f"http://a.test:{upstream.port}/silent", timeout_s=0.1)


def test_time_bounds_the_name_server_too() -> None:
    async def silent(_host: str) -> Sequence[Address]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(BadRequest, match=r"0\.1 s"):
        fetch("http://a.test/cat", resolve=silent, timeout_s=0.1)


def test_compressed_answers_are_refused(upstream: Upstream) -> None:
    upstream.answers["/cat"] = answer(CAT, Content_Encoding="gzip")
    with pytest.raises(BadRequest, match="encoding"):
        fetch(f"http://a.test:{upstream.port}/cat")


def test_broken_answers(upstream: Upstream) -> None:
    upstream.answers["/cut"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\ncat")
    upstream.answers["/junk"] = raw(b"junk\r\n\r\n")
    upstream.answers["/empty"] = raw(b"")
    for path in ("cut", "junk", "empty"):
        with pytest.raises(BadRequest, match="broke off"):
            fetch(f"http://a.test:{upstream.port}/{path}")


def test_unreachable_and_unknown_hosts(upstream: Upstream) -> None:
    names = Names(a_test=[INTERNAL])
    with pytest.raises(BadRequest, match="cannot be connected"):
        fetch(f"http://a.test:{upstream.port}/cat", resolve=names, is_public=bool)
    for host in ("no-such-host.invalid", "x" * 70 + ".test"):
        with pytest.raises(BadRequest, match="no known address"):
            fetch(f"http://{host}/cat", [host], resolve=resolve)


def test_tls_checks_the_original_name(upstream: Upstream) -> None:
    asked: list[str | None] = []
    context, authority = server_context("a.test")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    upstream.server.socket = context.wrap_socket(upstream.server.socket, server_side=True)
    tls = trusting(authority)
    assert fetch(f"https://a.test:{upstream.port}/cat", tls=tls) == CAT
    assert asked == ["a.test"]
    with pytest.raises(BadRequest, match=r"b\.test cannot be connected"):
        fetch(f"https://b.test:{upstream.port}/cat", tls=tls)
    with pytest.raises(BadRequest, match=r"a\.test cannot be connected"):
        fetch(f"https://a.test:{upstream.port}/cat", tls=ssl.create_default_context())
    assert len(upstream.seen) == 1


def test_tls_name_is_checked_on_a_shared_address_too(upstream: Upstream) -> None:
    context, authority = server_context("a.test")
    upstream.server.socket = context.wrap_socket(upstream.server.socket, server_side=True)

    async def run() -> None:
        fetcher = UrlFetcher(
            ["a.test", "b.test"],
            max_bytes=1000,
            timeout_s=20,
            resolve=Names(),
            is_public=bool,
            tls=trusting(authority),
        )
        assert await fetcher.fetch(f"https://a.test:{upstream.port}/cat") == CAT
        with pytest.raises(BadRequest):
            await fetcher.fetch(f"https://b.test:{upstream.port}/cat")
        await fetcher.close()

    asyncio.run(run())
