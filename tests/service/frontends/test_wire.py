"""Messages over a real socket: whole, in order, whatever pieces the bytes come in."""

import asyncio
import socket

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from service.frontends.messages import Cancel, Exposed, Message, encode
from service.frontends.wire import Wire

SENT: list[Message] = [
    Cancel(1),
    Exposed(2, "x" * 300, "text/plain"),
    Cancel(3),
    Exposed(4, "line\nline\n", "y"),
]


@given(st.lists(st.integers(0, sum(len(encode(m)) for m in SENT)), max_size=12).map(sorted))
def test_pieces_are_put_together(cuts: list[int]) -> None:
    data, received = b"".join(map(encode, SENT)), list[Message]()
    wire = Wire(received.append, lambda: None)
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        wire.data_received(data[start:end])
    assert received == SENT


async def connected(received: list[Message], lost: asyncio.Event) -> tuple[Wire, Wire]:
    loop, (one, other) = asyncio.get_running_loop(), socket.socketpair()
    sender, receiver = Wire(received.append, lambda: None), Wire(received.append, lost.set)
    await loop.create_unix_connection(lambda: sender, sock=one)
    await loop.create_unix_connection(lambda: receiver, sock=other)
    return sender, receiver


def test_what_was_sent_before_the_end_arrives() -> None:
    async def run() -> None:
        received, lost = list[Message](), asyncio.Event()
        sender, _ = await connected(received, lost)
        for message in SENT:
            sender.send(message)
        sender.close()
        await lost.wait()
        assert received == SENT
        sender.send(SENT[0])  # to nobody, and no error

    uvloop.run(run())


def test_the_end_is_told_once() -> None:
    async def run() -> None:
        ends, lost = list[int](), asyncio.Event()
        sender, receiver = await connected([], lost)
        wire = Wire(lambda _: None, lambda: ends.append(1))
        wire.connection_lost(None)
        assert ends == [1]
        receiver.close()
        sender.close()
        await lost.wait()

    uvloop.run(run())
