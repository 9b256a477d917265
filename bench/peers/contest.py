"""All servers started, then loaded in short turns, round after round; the table of what they did.

A shared machine may change its speed every ten seconds, so that turns are short; the fewer servers,
the nearer they are to each other. A server that runs idle beside another would take CPU time from
it: all but one are stopped.
"""

import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvloop

from bench.peers.peer import Command, Encoded, class_ids
from bench.peers.processes import ServerProcesses, started
from loadtest.open_loop import run_closed_loop
from loadtest.result import LoadResult
from loadtest.target import read_target

START_TIMEOUT_S = 120.0
WARM_UP_S = 3.0  # under load, for batchers that learn
POLL_S = 0.2


class NotServing(Exception):
    """A server did not start, or answers otherwise than the others; the message says how."""


@dataclass(frozen=True)
class Contestant:
    """A server: its command line for a port, and how a JPEG file is sent to its path."""

    name: str
    command: Callable[[int], Command]
    path: str
    encode: Callable[[bytes], Encoded]


@dataclass(frozen=True)
class Load:
    """What is sent in each turn: the files one after another, by so many connections, so long."""

    files: Sequence[bytes]
    connections: int
    turn_s: float


@dataclass(frozen=True)
class Score:
    """What one server did in one turn."""

    images_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_answer: float
    unanswered: int  # refused and failed


class Entrant:
    """A contestant's server, which runs in its turns alone."""

    def __init__(
        self, contestant: Contestant, load: Load, server: ServerProcesses, url: str, log: Path
    ) -> None:
        self.name, self.log, self.pid = contestant.name, log, server.pid
        self.classes: list[int] = []  # of its first answer
        self._load, self._server = load, server
        self._target = read_target(url)
        encoded = [contestant.encode(file) for file in load.files]
        self._requests = [self._target.request(body, headers) for headers, body in encoded]

    def play(self) -> Score:
        """Take one turn.

        Raises:
            NotServing: nothing was answered.
        """
        with self._server.resumed():
            began_cpu_s = self._server.cpu_s()
            result = self.ask(self._load.turn_s)
            return score(result, self._server.cpu_s() - began_cpu_s)

    def ask(self, duration_s: float) -> LoadResult:
        """Have all connections ask for so long."""
        clients = self._load.connections
        return uvloop.run(
            run_closed_loop(self._target, self._requests, clients=clients, duration_s=duration_s)
        )


@contextmanager
def entered(contestant: Contestant, load: Load, log: Path) -> Iterator[Entrant]:
    """Start a contestant's server and warm it up; it is stopped until its first turn.

    Raises:
        NotServing: it does not start, or does not answer.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}{contestant.path}"
    with started(contestant.command(port), log) as server:
        entrant = Entrant(contestant, load, server, url, log)
        entrant.classes = _first_answer(contestant, url, load.files[0], server)
        entrant.ask(WARM_UP_S)
        server.pause()
        yield entrant


def score(result: LoadResult, cpu_s: float) -> Score:
    """Return the score of a run in which the server took so much CPU time.

    Raises:
        NotServing: nothing was answered.
    """
    p50_ms, p99_ms = result.latency_ms.p50, result.latency_ms.p99
    if p50_ms is None or p99_ms is None:
        raise NotServing(f"no answer under load: {result.statuses} {result.failures}")
    return Score(
        images_per_s=result.throughput_per_s,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        cpu_ms_per_answer=cpu_s * 1e3 / result.answered,
        unanswered=result.requests - result.answered,
    )


def table(scores: dict[str, list[Score]], ours: str) -> Iterator[str]:
    """Yield the lines of a table: medians over the rounds, and of the ratios within each round.

    Of the ratios the quartiles, too, where there are three rounds or more.
    """
    yield "| server | images/s | to ours | p50 ms | p99 ms | CPU ms an answer | unanswered |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, rounds in scores.items():
        ratios = [
            theirs.images_per_s / our.images_per_s
            for theirs, our in zip(rounds, scores[ours], strict=True)
        ]
        cells = [
            f"{statistics.median(s.images_per_s for s in rounds):.1f}",
            "1.00" if name == ours else _with_quartiles(ratios),
            f"{statistics.median(s.p50_ms for s in rounds):.0f}",
            f"{statistics.median(s.p99_ms for s in rounds):.0f}",
            f"{statistics.median(s.cpu_ms_per_answer for s in rounds):.2f}",
            f"{sum(s.unanswered for s in rounds)}",
        ]
        yield f"| {' | '.join([name, *cells])} |"


def _with_quartiles(ratios: Sequence[float]) -> str:
    median = f"{statistics.median(ratios):.2f}"
    if len(ratios) < 3:
        return median
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{median} ({low:.2f} to {high:.2f})"


def _first_answer(
    contestant: Contestant, url: str, file: bytes, server: ServerProcesses
) -> list[int]:
    headers, body = contestant.encode(file)
    deadline_s, last = time.monotonic() + START_TIMEOUT_S, "nothing"
    while time.monotonic() < deadline_s:
        if server.has_ended():
            raise NotServing(f"ended while starting; its last answer: {last}")
        try:
            response = httpx.post(url, headers=dict(headers), content=body, timeout=30)
            if response.status_code == httpx.codes.OK:
                return class_ids(response.content)
            last = f"{response.status_code} {response.text[:200]}"
            if response.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                raise NotServing(f"fails: {last}")  # not ready yet has other statuses
        except httpx.TransportError as error:
            last = repr(error)
        time.sleep(POLL_S)
    raise NotServing(f"not ready within {START_TIMEOUT_S:.0f} s; its last answer: {last}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
