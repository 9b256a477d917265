"""A tiny real HTTP server whose answers the test decides, one by one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from loadtest.target import Target, read_target


@dataclass
class Seen:
    """What the server has received, in order of arrival."""

    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0


# The number of the request → the bytes to answer; None closes the connection.
Behaviour = Callable[[int], Awaitable[bytes | None]]


def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    fields = {"content_length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Some Reason\r\n{lines}\r\n".encode() + body


async def at_once(_: int) -> bytes:
    return answer()


@asynccontextmanager
async def answering(behaviour: Behaviour = at_once) -> AsyncIterator[tuple[Target, Seen]]:
    """Serve on a free loopback port; yields the target and what arrives."""
    seen = Seen()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length:")[1].split()[0])
                seen.heads.append(head)
                seen.bodies.append(await reader.readexactly(length))
                reply = await behaviour(len(seen.heads) - 1)
                if reply is None:
                    break
                writer.write(reply)
                if b"connection: close" in reply:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield read_target(f"http://127.0.0.1:{port}/classify?top_k=3"), seen
    finally:
        server.close()
