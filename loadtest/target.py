"""Where load may be sent, and the bytes of a request to it."""

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


class NotAllowed(ValueError):
    """The URL is not one that load may be sent to."""


@dataclass(frozen=True, slots=True)
class Target:
    """One address of a server, and the path and query that requests go to."""

    address: str
    port: int
    authority: str
    path: str

    def request(
        self,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        path: str | None = None,
    ) -> bytes:
        """Return a whole HTTP/1.1 request with `body`, ready to be written many times over."""
        fields = {"Host": self.authority, "Content-Length": str(len(body)), **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f"{method} {self.path if path is None else path} HTTP/1.1\r\n{lines}\r\n"
        return head.encode("ascii") + body


def read_target(url: str, *, allow_remote: bool = False) -> Target:
    """Resolve `url` once, so that no request waits for a name server.

    Raises:
        NotAllowed: the scheme is not http, the name is unknown, or the address is not of this
            machine and `allow_remote` is false.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise NotAllowed(f"{url!r} is no URL like http://127.0.0.1:8000/classify")
    port = parts.port or 80
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NotAllowed(f"the host of {url!r} is not known: {error.strerror}") from error
    # IPv4 first: `localhost` is both, and the service listens on 127.0.0.1 by default.
    address = str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])
    if not allow_remote and not ipaddress.ip_address(address).is_loopback:
        raise NotAllowed(
            f"{parts.hostname} ({address}) is not this machine; it needs --allow-remote"
        )
    query = f"?{parts.query}" if parts.query else ""
    return Target(address, port, parts.netloc, (parts.path or "/") + query)
