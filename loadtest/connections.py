"""Keep-alive connections to one server, cheap: no task and no timer for each request."""

import asyncio
import time
from collections.abc import Callable
from typing import cast

import httptools

from loadtest.sample import Failure, Sample
from loadtest.target import Target

# Shorter than any server keeps them: a request could cross the server's close on the wire.
LONGEST_IDLE_S = 4.0


class Connections:
    """Sends each request at once on an idle connection, or on a new one.

    `on_settled` is called once with each sample when its answer, or its failure, is known.
    """

    def __init__(self, target: Target, limit: int, on_settled: Callable[[Sample], None]) -> None:
        self.began_s = time.monotonic()
        self._target, self._limit, self._on_settled = target, limit, on_settled
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._opening: dict[asyncio.Task[None], Sample] = {}

    def now_s(self) -> float:
        """Seconds since the start of the run."""
        return time.monotonic() - self.began_s

    def send(self, request: bytes, sample: Sample) -> None:
        """Start a request; never waits."""
        while self._idle:
            connection = self._idle.pop()  # the newest: the others may grow old and leave
            if self.now_s() - connection.idle_since_s < LONGEST_IDLE_S:
                connection.send(request, sample)
                return
            connection.abort()
        if len(self._open) + len(self._opening) >= self._limit:
            self._fail(sample, Failure.NO_CONNECTION)
            return
        task = asyncio.get_running_loop().create_task(self._send_on_new(request, sample))
        self._opening[task] = sample
        task.add_done_callback(self._opening.pop)

    async def _send_on_new(self, request: bytes, sample: Sample) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self), self._target.address, self._target.port
            )
        except OSError:
            self._fail(sample, Failure.NOT_CONNECTED)
            return
        self._open.add(connection)
        connection.send(request, sample)

    def answered(self, connection: "_Connection", sample: Sample) -> None:
        """Take back a connection whose answer is complete."""
        sample.done_s = self.now_s()
        if connection.keep_alive:
            connection.idle_since_s = sample.done_s
            self._idle.append(connection)
        else:
            connection.abort()
        self._on_settled(sample)

    def lost(self, connection: "_Connection", sample: Sample | None, failure: Failure) -> None:
        """Forget a connection that is gone, and fail what it carried."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if sample is not None:
            self._fail(sample, failure)

    def _fail(self, sample: Sample, failure: Failure) -> None:
        sample.done_s, sample.failure = self.now_s(), failure
        self._on_settled(sample)

    async def close(self) -> None:
        """End everything; what was still under way fails as unanswered."""
        opening = dict(self._opening)
        for task, sample in opening.items():
            if task.cancel():
                self._fail(sample, Failure.UNANSWERED)
        for connection in list(self._open):
            connection.abort(Failure.UNANSWERED)
        await asyncio.gather(*opening, return_exceptions=True)


class _Connection(asyncio.Protocol):
    """One socket with at most one request on it; the parser calls the methods named `on_…`."""

    def __init__(self, owner: Connections) -> None:
        self.keep_alive = False
        self.idle_since_s = 0.0
        self._owner = owner
        self._sample: Sample | None = None
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses, so a check would refuse them.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, sample: Sample) -> None:
        sample.sent_s = self._owner.now_s()
        self._sample = sample
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort(Failure.MALFORMED)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._sample is not None and name.lower() == b"server-timing":
            self._sample.server_timing = value

    def on_headers_complete(self) -> None:
        self.keep_alive = self._parser.should_keep_alive()
        if self._sample is not None:
            self._sample.status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        sample, self._sample = self._sample, None
        if sample is None:  # an answer to nothing: the next one could be taken for another's
            self.abort()
        else:
            self._owner.answered(self, sample)

    def abort(self, failure: Failure = Failure.CLOSED) -> None:
        self._leave(failure)
        self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._leave(Failure.CLOSED)

    def _leave(self, failure: Failure) -> None:
        sample, self._sample = self._sample, None
        self._owner.lost(self, sample, failure)
