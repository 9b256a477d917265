"""Load on a running service: `python -m loadtest.open_loop --url … --rate 100 --duration-s 20`.

Open loop: requests go out when the schedule says, whatever has been answered. A generator that
waits for answers slows down with the server and so hides its overload. Closed loop: a number of
clients that each wait for their answer; it measures the most that a server can do.

Timers have a grain of 1 ms, so a request is sent up to 1 ms late; latency counts from the schedule
and includes it, and `generator` reports it.
"""

import argparse
import asyncio
import itertools
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import uvloop

from loadtest.access_log import read_trace
from loadtest.connections import Connections
from loadtest.result import LoadResult, describe, summarise
from loadtest.sample import Sample
from loadtest.schedules import Schedule, bursty, constant, poisson
from loadtest.target import Target, read_target


async def run_open_loop(
    target: Target,
    schedule: Schedule,
    requests: Sequence[bytes],
    *,
    limit_s: float | None = None,
    drain_s: float = 10.0,
    max_connections: int = 800,
) -> LoadResult:
    """Send the requests in turn, each at its scheduled instant; measure the answers.

    `requests` are whole HTTP requests (`Target.request`), begun again when they are used up. A 2xx
    answer later than `limit_s` after its arrival counts as late. What is unanswered `drain_s` after
    the last arrival, or finds `max_connections` busy, counts as failed.
    """
    _require_any(requests)
    samples = [Sample(scheduled_s) for scheduled_s in schedule.arrivals_s.tolist()]
    unsettled, settled = len(samples), asyncio.Event()

    def count_down(_: Sample) -> None:
        nonlocal unsettled
        unsettled -= 1
        if unsettled == 0:
            settled.set()

    cpu_began_s = time.process_time()
    connections = Connections(target, max_connections, count_down)
    for sample, request in zip(samples, itertools.cycle(requests)):
        await _until(sample.scheduled_s, connections)
        sample.released_s = connections.now_s()
        connections.send(request, sample)
    if samples:
        await _wait(settled, drain_s)
    await connections.close()
    return summarise(
        samples,
        mode="open",
        duration_s=schedule.duration_s,
        limit_s=limit_s,
        cpu_s=time.process_time() - cpu_began_s,
    )


async def run_closed_loop(
    target: Target,
    requests: Sequence[bytes],
    *,
    clients: int,
    duration_s: float,
    limit_s: float | None = None,
    drain_s: float = 10.0,
) -> LoadResult:
    """Let each client send its next request as soon as its last is settled, until `duration_s`.

    Latency counts from the sending. Refusals count as answers: the client asks again at once.
    """
    _require_any(requests)
    following, samples = itertools.cycle(requests), list[Sample]()
    busy, settled = clients, asyncio.Event()

    def send_next(_: Sample | None = None) -> None:
        nonlocal busy
        now_s = connections.now_s()
        if now_s < duration_s:
            samples.append(Sample(now_s, released_s=now_s))
            connections.send(next(following), samples[-1])
            return
        busy -= 1
        if busy == 0:
            settled.set()

    cpu_began_s = time.process_time()
    # A connection that the server closes is still counted for a moment when its client goes on.
    connections = Connections(target, 2 * clients, send_next)
    for _ in range(clients):
        send_next()
    await _wait(settled, duration_s + drain_s)
    await connections.close()
    return summarise(
        samples,
        mode="closed",
        duration_s=duration_s,
        limit_s=limit_s,
        cpu_s=time.process_time() - cpu_began_s,
    )


def _require_any(requests: Sequence[bytes]) -> None:
    if not requests:
        raise ValueError("requests is empty; at least one is needed")


async def _until(instant_s: float, connections: Connections) -> None:
    # Sleeps at least once, so that answers are read even when the schedule is overtaken.
    while True:
        wait_s = instant_s - connections.now_s()
        # Whole milliseconds, rounded up: loops round to them, and some of them down.
        await asyncio.sleep(max(0, math.ceil(wait_s * 1e3) / 1e3))
        if wait_s <= 0 or connections.now_s() >= instant_s:
            return


async def _wait(settled: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await settled.wait()
    except TimeoutError:
        pass  # what is left is reported as unanswered


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 when it cannot be followed."""
    options = _parser().parse_args(arguments)
    try:
        result = uvloop.run(_run(options))
    except (OSError, ValueError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 2
    print(describe(result))
    if options.json is not None:
        result.write(options.json)
    return 0


async def _run(options: argparse.Namespace) -> LoadResult:
    target = read_target(options.url, allow_remote=options.allow_remote)
    bodies = _bodies(options.images, options.seed)
    limit_ms = options.limit_ms if options.limit_ms is not None else options.timeout_ms
    limit_s = None if limit_ms is None else limit_ms / 1e3
    if options.clients is not None:
        requests = _requests(target, bodies, [target.path] * len(bodies), options)
        return await run_closed_loop(
            target,
            requests,
            clients=options.clients,
            duration_s=options.duration_s,
            limit_s=limit_s,
        )
    schedule, paths = _schedule(options, target, len(bodies))
    return await run_open_loop(
        target,
        schedule,
        _requests(target, bodies, paths, options),
        limit_s=limit_s,
        max_connections=options.max_connections,
    )


def _schedule(
    options: argparse.Namespace, target: Target, bodies: int
) -> tuple[Schedule, Sequence[str]]:
    if options.replay is not None:
        with options.replay.open(encoding="utf-8") as log:
            trace = read_trace(log, speed=options.speed)
        return trace.schedule, trace.paths
    rate_per_s, duration_s, seed = options.rate, options.duration_s, options.seed
    if options.arrivals == "constant":
        schedule = constant(rate_per_s, duration_s)
    elif options.arrivals == "poisson":
        schedule = poisson(rate_per_s, duration_s, seed)
    else:
        schedule = bursty(rate_per_s, duration_s, seed, on_s=options.on_s, off_s=options.off_s)
    return schedule, [target.path] * bodies


def _bodies(folder: Path, seed: int) -> list[bytes]:
    files = [file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()]
    if not files:
        raise ValueError(f"{folder} holds no file to send")
    return [files[index] for index in np.random.default_rng(seed).permutation(len(files))]


def _requests(
    target: Target, bodies: Sequence[bytes], paths: Sequence[str], options: argparse.Namespace
) -> list[bytes]:
    headers = {"Content-Type": "application/octet-stream"}
    if options.timeout_ms is not None:
        headers["X-Request-Timeout-Ms"] = str(options.timeout_ms)
    return list(_in_turn(target, bodies, paths, headers))


def _in_turn(
    target: Target, bodies: Sequence[bytes], paths: Sequence[str], headers: dict[str, str]
) -> Iterator[bytes]:
    made: dict[tuple[str, int], bytes] = {}  # one copy of a request that is sent many times
    for turn, path in enumerate(paths):
        key = path, turn % len(bodies)
        if key not in made:
            made[key] = target.request(bodies[key[1]], headers, path=path)
        yield made[key]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.open_loop", description=__doc__)
    add = parser.add_argument
    add("--url", required=True, help="such as http://127.0.0.1:8000/classify")
    add("--images", type=Path, required=True, help="folder; its files are sent as they are")
    add("--duration-s", type=float, default=20.0)
    add("--rate", type=float, default=20.0, help="mean arrivals per second")
    add("--arrivals", choices=("poisson", "constant", "bursty"), default="poisson")
    add("--on-s", type=float, default=1.0, help="length of a burst")
    add("--off-s", type=float, default=4.0, help="silence between two bursts")
    add("--replay", type=Path, help="log of the service whose requests are sent again")
    add("--speed", type=float, default=1.0, help="how many times as fast as in the log")
    add("--clients", type=int, help="closed loop with so many clients, instead of a schedule")
    add("--seed", type=int, default=0)
    add("--timeout-ms", type=int, help="sent as X-Request-Timeout-Ms")
    add("--limit-ms", type=float, help="latest useful answer; default: --timeout-ms")
    add("--max-connections", type=int, default=800)
    add("--allow-remote", action="store_true", help="send load to another machine")
    add("--json", type=Path, help="file to write the result to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
