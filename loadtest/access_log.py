"""The service's access log as a trace to replay.

A line of it: `2026-01-31 12:00:00,250 INFO mixer.request POST /classify 200 12.5 ms id=…`, written
when the request ended; it arrived that many milliseconds earlier.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from loadtest.schedules import Schedule

_LINE = re.compile(
    r"^(?P<ended>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) INFO mixer\.request "
    r"(?P<method>GET|POST) (?P<path>/classify|/embed) \d{3} (?P<elapsed_ms>\d+\.\d) ms id="
)


class NothingToReplay(ValueError):
    """The log holds no request for an image."""


@dataclass(frozen=True, slots=True)
class Trace:
    """When each request arrived, and which endpoint it asked, in the same order."""

    schedule: Schedule
    paths: tuple[str, ...]


def read_trace(lines: Iterable[str], *, speed: float = 1.0) -> Trace:
    """Return the requests for images, the first at 0 s, `speed` times as fast as they came.

    All other lines are passed over: probes, metrics, messages of the server.

    Raises:
        NothingToReplay: no line is a request for an image.
        ValueError: `speed` is not positive and finite.
    """
    if not 0 < speed < float("inf"):
        raise ValueError(f"speed is {speed}; it must be positive and finite")
    found = sorted(
        (_arrival_s(match), match["path"]) for line in lines if (match := _LINE.match(line))
    )
    if not found:
        raise NothingToReplay("the log holds no line of mixer.request for /classify or /embed")
    arrivals_s = (np.array([at_s for at_s, _ in found]) - found[0][0]) / speed
    # The trace ends just after its last request: what followed is not known.
    duration_s = float(np.nextafter(arrivals_s[-1], np.inf))
    return Trace(Schedule(arrivals_s, duration_s), tuple(path for _, path in found))


def _arrival_s(match: re.Match[str]) -> float:
    ended = datetime.strptime(match["ended"], "%Y-%m-%d %H:%M:%S,%f")
    # Against a day of its own, so that no time zone and no summer time comes in.
    return (ended - datetime(2000, 1, 1)).total_seconds() - float(match["elapsed_ms"]) / 1e3
