"""Load that goes on, by its own clock, until it is told that it was enough."""

import asyncio
import itertools
import threading

from loadtest.connections import Connections
from loadtest.sample import Sample
from loadtest.target import Target

LONGEST_ANSWER_S = 60.0


class SteadyLoad:
    """Several clients in turn, each with keep-alive connections of its own; nothing is retried.

    Open loop: a request is sent when its instant has come, whatever has become of the others.
    """

    def __init__(self, target: Target, request: bytes, *, rate_per_s: float, clients: int) -> None:
        self.samples: list[Sample] = []
        self._request, self._rate_per_s = request, rate_per_s
        self._clients = [Connections(target, 100, self._settle) for _ in range(clients)]
        self._open = 0
        self._settled = asyncio.Event()

    def now_s(self) -> float:
        """Seconds since the start; may be asked by any thread."""
        return self._clients[0].now_s()

    async def run(self, enough: threading.Event) -> None:
        """Send until `enough` is set, then wait for what is unanswered, up to a minute."""
        for number, client in enumerate(itertools.cycle(self._clients)):
            instant_s = number / self._rate_per_s
            await asyncio.sleep(max(0.0, instant_s - self.now_s()))
            if enough.is_set():
                break
            self._send(client, Sample(instant_s, released_s=self.now_s()))
        try:
            async with asyncio.timeout(LONGEST_ANSWER_S):
                while self._open:
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            pass  # closing makes failures of them
        for client in self._clients:
            await client.close()

    def _send(self, client: Connections, sample: Sample) -> None:
        self.samples.append(sample)
        self._open += 1
        client.send(self._request, sample)

    def _settle(self, _: Sample) -> None:
        self._open -= 1
        self._settled.set()
