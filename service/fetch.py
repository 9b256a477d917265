"""The `url=` form: an image fetched from a listed host, and from nowhere inside the network.

url → host on the list? → resolved once → every address public? → connect to that address → bytes

A redirect starts again at the beginning. The connection goes to the very address that was checked,
so a name server that answers differently the second time is never asked a second time; the Host
header, the server name of TLS and the certificate check are those of the original name.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import httpx

from service.errors import BadRequest, BodyTooLarge, UrlNotAllowed

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REDIRECTS = {301, 302, 303, 307, 308}

# In the public ranges by their numbers, and yet internal: protocol assignments with Oracle's
# metadata service, the retired 6to4 relays, and Azure's platform address.
_INTERNAL_V4 = tuple(
    map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32"))
)
# Only this block holds public IPv6 addresses; within it, tunnels, 6to4 and documentation do not.
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_INTERNAL_V6 = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public_address(address: Address) -> bool:
    """Tell whether an address is globally reachable unicast, and no metadata service.

    An IPv4 address within a NAT64 address is judged as itself; IPv4-mapped, 6to4 and Teredo
    addresses are refused whatever they hold.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public_address(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _UNICAST_V6 and not any(address in block for block in _INTERNAL_V6)
    special = address.is_multicast or any(address in block for block in _INTERNAL_V4)
    return address.is_global and not special


async def resolve(host: str) -> Sequence[Address]:
    """Ask the system for a name's addresses, the preferred first; raise OSError for none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(sockaddr[0]) for *_, sockaddr in found]


class UrlFetcher:
    """Fetches images from the hosts in `allow`: exact names, or `*.example.org` for its subdomains.

    `max_bytes` bounds a response, `timeout_s` a whole fetch with its redirects, in seconds. `tls`
    replaces the public certificate authorities. Nothing is kept between fetches: no connection, no
    cookie; and the environment (proxies) is not looked at.
    """

    def __init__(
        self,
        allow: Sequence[str],
        *,
        max_bytes: int,
        timeout_s: float,
        max_redirects: int = 3,
        resolve: Callable[[str], Awaitable[Sequence[Address]]] = resolve,
        is_public: Callable[[Address], bool] = is_public_address,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._hosts = frozenset(_ascii(name) for name in allow if not name.startswith("*."))
        self._domains = tuple("." + _ascii(name[2:]) for name in allow if name.startswith("*."))
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._max_redirects = max_redirects
        self._resolve = resolve
        self._is_public = is_public
        self._transport = _transport(tls)

    async def fetch(self, url: str) -> bytes:
        """Return the bytes behind a URL.

        Raises UrlNotAllowed for what may not be asked, BodyTooLarge, and BadRequest for a host that
        does not answer as hoped.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(_parsed(url))
        except TimeoutError as error:
            raise BadRequest(f"The URL took longer than {self._timeout_s:g} s.") from error

    async def close(self) -> None:
        """Close what is still open."""
        await self._transport.aclose()

    async def _follow(self, url: httpx.URL) -> bytes:
        for _ in range(1 + self._max_redirects):
            self._check_host(url)
            async with self._answer(url) as response:
                location = response.headers.get("location")
                if response.status_code not in _REDIRECTS or location is None:
                    return await self._content(url.host, response)
            url = _parsed(location, url)
        raise BadRequest(f"The URL redirects more than {self._max_redirects} times.")

    def _check_host(self, url: httpx.URL) -> None:
        if url.scheme not in {"http", "https"} or url.userinfo:
            raise UrlNotAllowed("A URL must be http or https, without user name and password.")
        host = url.raw_host.decode("ascii")
        if host not in self._hosts and not host.endswith(self._domains):
            raise UrlNotAllowed(f"The host {url.host!r:.80} is not on this server's list.")

    @asynccontextmanager
    async def _answer(self, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        """Connect to a checked address, and say what goes wrong in our own words."""
        try:
            response = await self._connect(url, await self._addresses(url))
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.ConnectError as error:
            raise BadRequest(f"The host {url.host} cannot be connected to.") from error
        except httpx.HTTPError as error:
            raise BadRequest(f"The host {url.host} broke off its answer.") from error

    async def _addresses(self, url: httpx.URL) -> Sequence[Address]:
        try:
            addresses = await self._resolve(url.raw_host.decode("ascii"))
        except (OSError, UnicodeError) as error:
            raise BadRequest(f"The host {url.host} has no known address.") from error
        if not addresses or not all(map(self._is_public, addresses)):
            raise UrlNotAllowed(f"The host {url.host} has an address that is not public.")
        return addresses

    async def _connect(self, url: httpx.URL, addresses: Sequence[Address]) -> httpx.Response:
        *others, last = addresses
        for address in others:
            try:
                return await self._transport.handle_async_request(_request(url, address))
            except httpx.ConnectError:
                continue
        return await self._transport.handle_async_request(_request(url, last))

    async def _content(self, host: str, response: httpx.Response) -> bytes:
        if response.status_code != 200:
            raise BadRequest(f"The host {host} answered with status {response.status_code}.")
        # A compressed answer could inflate without bound; identity was asked for.
        if response.headers.get("content-encoding", "identity") != "identity":
            raise BadRequest(f"The host {host} answered with a content encoding.")
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > self._max_bytes:
                raise BodyTooLarge(f"The image is larger than {self._max_bytes} bytes.")
        return bytes(content)


def _transport(tls: ssl.SSLContext | None) -> httpx.AsyncHTTPTransport:
    # A kept connection would be found again by its address, without a look at the name in its
    # certificate.
    return httpx.AsyncHTTPTransport(
        verify=tls or True, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
    )


def _ascii(host: str) -> str:
    """Return a host name as URLs carry it: lower case, IDNA."""
    return httpx.URL(scheme="http", host=host).raw_host.decode("ascii")


def _parsed(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        parsed = httpx.URL(url) if base is None else base.join(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise BadRequest("The URL is malformed.") from error
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise BadRequest(f"The URL's port {parsed.port} does not exist.")
    return parsed


def _request(url: httpx.URL, address: Address) -> httpx.Request:
    headers = {
        "Host": url.netloc.decode("ascii"),
        "User-Agent": "mixer-serve",
        "Accept": "image/*",
        "Accept-Encoding": "identity",
    }
    name = {"sni_hostname": url.raw_host.decode("ascii")}
    return httpx.Request("GET", url.copy_with(host=str(address)), headers=headers, extensions=name)
