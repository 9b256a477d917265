import asyncio
import logging

import numpy as np
import pytest
from starlette.types import Message, Receive, Scope, Send

from loadtest.access_log import NothingToReplay, read_trace
from service.metrics import Metrics
from service.observe import ObserveMiddleware

LOG = """\
2026-01-31 23:59:59,900 INFO mixer.server ready: open http://127.0.0.1:8000/docs
2026-02-01 00:00:00,250 INFO mixer.request POST /classify 200 150.0 ms id=a
2026-02-01 00:00:00,300 INFO mixer.request GET /readyz 200 0.4 ms id=b
2026-02-01 00:00:00,400 INFO mixer.request GET /embed 304 400.0 ms id=c
2026-02-01 00:00:01,000 INFO mixer.request POST /embed 429 0.0 ms id=d
2026-02-01 00:00:01,100 INFO mixer.request POST unmatched 404 0.1 ms id=e
Traceback (most recent call last):
2026-02-01 00:00:02,000 INFO mixer.request POST /classify 499 500.0 ms id=f
"""


def test_arrivals_are_ends_less_durations() -> None:
    trace = read_trace(LOG.splitlines())
    assert trace.paths == ("/embed", "/classify", "/embed", "/classify")
    assert np.allclose(trace.schedule.arrivals_s, [0, 0.1, 1.0, 1.5])
    assert trace.schedule.duration_s > trace.schedule.arrivals_s[-1]


def test_speed_divides_time() -> None:
    trace = read_trace(LOG.splitlines(), speed=2)
    assert np.allclose(trace.schedule.arrivals_s, [0, 0.05, 0.5, 0.75])


def test_a_log_without_requests_is_refused() -> None:
    with pytest.raises(NothingToReplay, match=r"no line of mixer\.request"):
        read_trace(LOG.splitlines()[:1])


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_wrong_speed_is_named(speed: float) -> None:
    with pytest.raises(ValueError, match="speed is"):
        read_trace(LOG.splitlines(), speed=speed)


def test_what_the_service_writes_is_read(caplog: pytest.LogCaptureFixture) -> None:
    class Route:
        path = "/classify"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = Route()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def nothing() -> Message:
        raise AssertionError

    async def drop(_: Message) -> None:
        pass

    async def ask() -> None:
        scope: Scope = {"type": "http", "method": "POST", "headers": []}
        await ObserveMiddleware(app, Metrics())(scope, nothing, drop)

    with caplog.at_level(logging.INFO, "mixer.request"):
        asyncio.run(ask())
    # The command's format: service/cli.py.
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    trace = read_trace(formatter.format(record) for record in caplog.records)
    assert trace.paths == ("/classify",)
