import asyncio
import ipaddress
from collections.abc import Iterator, Sequence

import pytest

from service.errors import BadRequest, UrlNotAllowed
from service.fetch import Address, is_public_address, resolve
from tests.service.upstream import CAT, INTERNAL, LOOPBACK, Names, Upstream, answer, fetch


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


def test_fetches_from_the_checked_address_under_the_original_name(upstream: Upstream) -> None:
    names = Names()
    url = f"http://A.test:{upstream.port}/cat#fragment"
    assert fetch(url, resolve=names) == CAT
    assert upstream.seen == [(f"a.test:{upstream.port}", "/cat")]
    assert upstream.headers[0]["Accept-Encoding"] == "identity"
    assert names.asked == ["a.test"]


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("a.test", True),
        ("c.test", False),
        ("xa.test", False),
        ("a.test.", False),
        ("x.a.test", False),
        ("images.example.org", True),
        ("deep.images.EXAMPLE.org", True),
        ("example.org", False),
        ("badexample.org", False),
        ("xn--bcher-kva.test", True),
        ("bücher.test", True),
        ("127.0.0.1", False),
        ("2130706433", False),
        ("[::1]", False),
        ("*.example.org.evil.test", False),
    ],
)
def test_hosts_are_listed_exactly(upstream: Upstream, host: str, *, allowed: bool) -> None:
    listed = ("A.test", "*.Example.org", "Bücher.test")
    url = f"http://{host}:{upstream.port}/cat"
    if allowed:
        assert fetch(url, listed) == CAT
    else:
        with pytest.raises(UrlNotAllowed, match="list"):
            fetch(url, listed)
        assert not upstream.seen


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.test/cat",
        "file:///etc/passwd",
        "file://a.test/etc/passwd",
        "//a.test/cat",
        "a.test/cat",
        "http://user@a.test/cat",
        "http://a.test@evil.test/cat",
        "http://:secret@a.test/cat",
        "http:///cat",
        "",
    ],
)
def test_other_urls_are_not_allowed(url: str) -> None:
    names = Names()
    with pytest.raises(UrlNotAllowed):
        fetch(url, resolve=names)
    assert not names.asked


@pytest.mark.parametrize(
    "url",
    [
        "http://a.test\n/cat",
        "http://a.test/\ud800",
        "http://[::1/cat",
        "http://a.test:x/cat",
        "http://a.test:99999/cat",
        "http://a.test:0/cat",
        "http://a.test/" + "x" * 70_000,
    ],
)
def test_malformed_urls(url: str) -> None:
    with pytest.raises(BadRequest, match="URL"):
        fetch(url)


@pytest.mark.parametrize("found", [[INTERNAL], [LOOPBACK, INTERNAL], [INTERNAL, LOOPBACK], []])
def test_every_address_must_be_public(upstream: Upstream, found: list[Address]) -> None:
    with pytest.raises(UrlNotAllowed, match="public"):
        fetch(f"http://a.test:{upstream.port}/cat", resolve=Names(a_test=found))
    assert not upstream.seen


def test_the_default_rule_refuses_loopback(upstream: Upstream) -> None:
    url = f"http://localhost:{upstream.port}/cat"
    with pytest.raises(UrlNotAllowed, match="public"):
        fetch(url, ["localhost"], resolve=resolve, is_public=is_public_address)
    assert not upstream.seen


def test_a_name_is_not_asked_again_after_the_check(upstream: Upstream) -> None:
    answers = iter([[LOOPBACK], [INTERNAL]])

    async def rebinding(_host: str) -> Sequence[Address]:
        return next(answers)

    assert fetch(f"http://a.test:{upstream.port}/cat", resolve=rebinding) == CAT
    assert next(answers) == [INTERNAL]


def test_the_next_address_is_tried(upstream: Upstream) -> None:
    names = Names(a_test=[INTERNAL, LOOPBACK])  # nobody listens on the first
    assert fetch(f"http://a.test:{upstream.port}/cat", resolve=names, is_public=bool) == CAT


def test_redirects_are_followed_and_checked_at_every_hop(upstream: Upstream) -> None:
    port = upstream.port
    upstream.answers["/far"] = answer(b"moved", 302, Location=f"http://b.test:{port}/near")
    upstream.answers["/near"] = answer(b"moved", 308, Location="/cat", Set_Cookie="secret=1")
    names = Names()
    assert fetch(f"http://a.test:{port}/far", resolve=names) == CAT
    assert names.asked == ["a.test", "b.test", "b.test"]
    assert [host for host, _ in upstream.seen] == [f"{name}.test:{port}" for name in "abb"]
    assert "Cookie" not in upstream.headers[2]


@pytest.mark.parametrize(
    "location", ["http://inside.test:{}/cat", "http://c.test:{}/cat", "file:///etc/passwd"]
)
def test_redirects_to_what_is_not_allowed(upstream: Upstream, location: str) -> None:
    upstream.answers["/far"] = answer(b"", 301, Location=location.format(upstream.port))
    names = Names(inside_test=[INTERNAL])
    with pytest.raises(UrlNotAllowed):
        fetch(f"http://a.test:{upstream.port}/far", ["a.test", "inside.test"], resolve=names)
    assert len(upstream.seen) == 1


def test_redirects_are_counted(upstream: Upstream) -> None:
    upstream.answers["/round"] = answer(b"", 307, Location="/round")
    with pytest.raises(BadRequest, match="more than 3"):
        fetch(f"http://a.test:{upstream.port}/round")
    assert len(upstream.seen) == 4


def test_redirect_nowhere(upstream: Upstream) -> None:
    upstream.answers["/far"] = answer(b"", 302, Location="http://a.test:x/")
    with pytest.raises(BadRequest, match="malformed"):
        fetch(f"http://a.test:{upstream.port}/far")
    upstream.answers["/far"] = answer(b"", 302)
    with pytest.raises(BadRequest, match="302"):
        fetch(f"http://a.test:{upstream.port}/far")


def test_environment_proxies_are_ignored(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert fetch(f"http://a.test:{upstream.port}/cat") == CAT


def test_the_system_resolver_gives_addresses() -> None:
    assert LOOPBACK in asyncio.run(resolve("127.0.0.1"))
    assert all(
        isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
        for address in asyncio.run(resolve("localhost"))
    )
