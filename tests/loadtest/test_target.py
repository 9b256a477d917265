import pytest

from loadtest.target import NotAllowed, Target, read_target


def test_an_url_is_taken_apart() -> None:
    target = read_target("http://127.0.0.1:8123/embed?model=a@1&normalize=true")
    assert target == Target("127.0.0.1", 8123, "127.0.0.1:8123", "/embed?model=a@1&normalize=true")


def test_defaults() -> None:
    target = read_target("http://127.0.0.1")
    assert (target.port, target.path) == (80, "/")


def test_names_are_resolved() -> None:
    assert read_target("http://localhost:99/").address == "127.0.0.1"


def test_an_address_of_the_sixth_version() -> None:
    target = read_target("http://[::1]:99/")
    assert (target.address, target.authority) == ("::1", "[::1]:99")


def test_other_machines_need_permission() -> None:
    # 192.0.2.0/24 is nobody's: RFC 5737.
    with pytest.raises(NotAllowed, match="not this machine; it needs --allow-remote"):
        read_target("http://192.0.2.7/classify")
    assert read_target("http://192.0.2.7/classify", allow_remote=True).address == "192.0.2.7"


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "127.0.0.1:8000", "ftp://localhost/", ""])
def test_only_http(url: str) -> None:
    with pytest.raises(NotAllowed, match="is no URL like"):
        read_target(url)


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(NotAllowed, match=r"nowhere\.invalid"):
        read_target("http://nowhere.invalid/")


def test_a_request_is_written_whole() -> None:
    target = read_target("http://127.0.0.1:8123/embed?x=1")
    written = target.request(b"body", {"Accept": "application/x-npy"})
    assert written == (
        b"POST /embed?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8123\r\nContent-Length: 4\r\n"
        b"Accept: application/x-npy\r\n\r\nbody"
    )
    assert target.request(b"", method="GET", path="/readyz").startswith(b"GET /readyz HTTP/1.1\r\n")
