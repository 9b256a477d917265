"""One connection to the engine, with its shared memory and the calls that wait for an answer.

Nothing outlives it: when the engine has gone, every call ends with an error, and its successor is
met over another link with other memory, so that no answer can reach a call that it is not of.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import NamedTuple

import numpy as np

from service.batch import Answer
from service.deadlines import Deadlines
from service.errors import DeadlineExceeded, NotReady
from service.frontends.arena import Arena
from service.frontends.messages import (
    Admit,
    Admitted,
    Answered,
    Cancel,
    Expose,
    Exposed,
    FromFrontend,
    Message,
    Observe,
    Refused,
    Release,
    State,
    Submit,
)
from service.frontends.wire import Wire
from service.runner import Row

EXPOSE_TIMEOUT_S = 5.0  # half of what Prometheus waits for a scrape
GONE = "The engine has ended and is being replaced."


class _Call(NamedTuple):
    reply: asyncio.Future[Message]
    abandoned: Callable[[Message], None]  # takes the reply when nobody waits for it any more


class Link:
    """Calls to the engine, and their answers."""

    def __init__(self, on_state: Callable[["Link", State], None]) -> None:
        self.lost = asyncio.Event()
        self.heard_s = asyncio.get_running_loop().time()  # when the engine last said anything
        self._on_state = on_state
        self._wire = Wire(self._on_message, self._on_lost)
        self._arena, self._deadlines = Arena(), Deadlines()
        self._numbers = count()
        self._calls: dict[int, _Call] = {}
        self._observed: list[tuple[str, dict[str, str], float]] = []

    @classmethod
    async def connect(cls, address: str, on_state: Callable[["Link", State], None]) -> "Link":
        """Connect to the Unix socket at `address`; `on_state` is told what the engine serves."""
        loop, link = asyncio.get_running_loop(), cls(on_state)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.setblocking(False)
            await loop.sock_connect(connection, address)
            socket.send_fds(connection, [b"\n"], [link._arena.descriptor])
            await loop.create_unix_connection(lambda: link._wire, sock=connection)
        except BaseException:
            connection.close()
            link._arena.close()
            raise
        return link

    def close(self) -> None:
        """Send what is left, and end."""
        self._tell_observed()
        self._wire.close()

    def send(self, message: FromFrontend) -> None:
        """Send what needs no answer, after all that was observed before."""
        self._tell_observed()
        self._wire.send(message)

    def observe(self, metric: str, labels: dict[str, str], value: float) -> None:
        """Have the engine count."""
        if not self._observed:
            asyncio.get_running_loop().call_soon(self._tell_observed)
        self._observed.append((metric, labels, value))

    @asynccontextmanager
    async def admit(
        self, model: int, images: int, deadline: float, preparation_s: float
    ) -> AsyncIterator[int]:
        """Hold places for images; yields the permit to submit them under.

        Raises:
            ServiceError: they were refused, or the engine has gone.
        """
        permit = next(self._numbers)

        def release(reply: Message) -> None:
            if isinstance(reply, Admitted):
                self.send(Release(permit))

        admit = Admit(permit, model, images, deadline, preparation_s)
        _raise_refusal(await self._ask(admit, release, deadline))
        try:
            yield permit
        finally:
            self.send(Release(permit))

    async def submit(
        self, permit: int, pixels_HxWx3: np.ndarray, deadline: float, *, classes: int, width: int
    ) -> Answer[Row]:
        """Return the answer to one image: as many logits as classes, an embedding of that width.

        Raises:
            ServiceError: the deadline passed, the model failed, or the engine has gone.
        """
        self._check_alive()
        slot = self._arena.take(max(pixels_HxWx3.nbytes, 4 * (classes + width)))
        self._arena.array(slot.offset, pixels_HxWx3.shape, np.uint8)[:] = pixels_HxWx3
        # Only with the reply it is free again: until then the engine may read or write it.
        reply = await self._ask(
            Submit(next(self._numbers), permit, slot.offset, deadline),
            lambda _: self._arena.give_back(slot),
            deadline,
        )
        try:
            _raise_refusal(reply)
            assert isinstance(reply, Answered)
            answer = self._arena.array(slot.offset, (classes + width,), np.float32).copy()
        finally:
            self._arena.give_back(slot)
        row = Row(answer[:classes], answer[classes:])
        return Answer(row, reply.queue_s, reply.device_s, reply.batch_images, reply.bucket)

    async def expose(self, accept: str) -> Exposed:
        """Return all metrics as text.

        Raises:
            ServiceError: the engine has gone, or says nothing.
        """
        deadline = asyncio.get_running_loop().time() + EXPOSE_TIMEOUT_S
        reply = await self._ask(Expose(next(self._numbers), accept), lambda _: None, deadline)
        _raise_refusal(reply)
        assert isinstance(reply, Exposed)
        return reply

    async def _ask(
        self,
        message: Admit | Submit | Expose,
        abandoned: Callable[[Message], None],
        deadline: float,
    ) -> Message:
        """Return the reply; without one until the deadline, even the engine's loop stands still."""
        self._check_alive()
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._calls[message.call] = _Call(reply, abandoned)
        self.send(message)
        try:
            return await self._deadlines.wait(reply, deadline)
        except (TimeoutError, asyncio.CancelledError) as error:
            if not reply.cancelled():  # it came at the same moment
                abandoned(reply.result())
            elif isinstance(message, Submit):
                self.send(Cancel(message.call))
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded("The deadline passed before the answer.") from None
            raise

    def _check_alive(self) -> None:
        if self.lost.is_set():
            raise NotReady(GONE)

    def _tell_observed(self) -> None:
        if self._observed:
            self._wire.send(Observe(self._observed))
            self._observed = []

    def _on_message(self, message: Message) -> None:
        self.heard_s = asyncio.get_running_loop().time()
        if isinstance(message, State):
            self._on_state(self, message)
            return
        assert isinstance(message, Admitted | Answered | Exposed | Refused)
        call = self._calls.pop(message.call)
        if call.reply.done():
            call.abandoned(message)
        else:
            call.reply.set_result(message)

    def _on_lost(self) -> None:
        self.lost.set()
        for number, call in self._calls.items():
            if not call.reply.done():
                call.reply.set_result(Refused.of(number, NotReady(GONE)))
        self._calls.clear()
        self._arena.close()


def _raise_refusal(reply: Message) -> None:
    if isinstance(reply, Refused):
        raise reply.error()
